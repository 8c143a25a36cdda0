//! What a client of the broker trusts and presents, read from its files when it connects: a renewed file counts from the
//! next connection on.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::{
    failure::Failed,
    files::{BadFile, authorities, certificates, private_key},
    provider,
};

/// How a client encrypts its connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// The broker's certificate must name its host and come from a trusted authority. Without this, an active attacker can
    /// pose as the broker.
    pub verify: bool,
    /// A PEM file of the authorities to trust, instead of the public ones.
    pub ca: Option<PathBuf>,
    /// PEM files of the client's own certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn load(&self) -> Result<Arc<ClientConfig>, BadFile> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        // The versions are those that the provider supports.
        let builder = builder.expect("ring supports the default versions");
        let builder = match (self.verify, &self.ca) {
            (true, Some(path)) => builder.with_root_certificates(authorities(path)?),
            (true, None) => {
                builder.with_root_certificates(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
            }
            (false, _) => builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate { provider })),
        };
        let mut config = match &self.certificate {
            Some((cert, key)) => builder
                .with_client_auth_cert(certificates(cert)?, private_key(key)?)
                .map_err(|error| BadFile::new(key, format!("does not fit {} ({error})", cert.display())))?,
            None => builder.with_no_client_auth(),
        };
        // Connections are few and long.
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// The name of a host, which its certificate has to bear.
///
/// # Errors
/// No certificate can be for such a name.
pub fn server_name(host: &str) -> std::io::Result<ServerName<'static>> {
    ServerName::try_from(host.to_string())
        .map_err(|_| Failed::error(format!("{host:?} is not a host name that a certificate can be for")))
}

/// Accepts every certificate whose key the server has.
#[derive(Debug)]
struct AnyCertificate {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
