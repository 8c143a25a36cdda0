//! TLS for listeners: the certificate and what is asked of clients, from the files of the settings; and one peer's stream,
//! which answers in plain words to a peer that does not begin TLS.

use std::{
    fs,
    io::{self, ErrorKind, IoSlice, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
};

use mio::net::TcpStream;
use rustls::{
    CertificateError, Error, RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};

use super::{
    connection::Kind,
    http::{request::Rejection, response::Response},
    rsq::{encode, refusal::Refusal},
};
use crate::{
    base::tls::{BadFile, Failed, TlsStream, authorities, certificates, explain, private_key, provider},
    config,
    wire::{Code, MAX_FRAME_BEFORE_WELCOME},
};

/// The first byte of every TLS connection: the type of the record that a handshake begins with. RSQ/1 begins with 0, and
/// HTTP with a letter.
const HANDSHAKE: u8 = 0x16;

const TLS_EXPECTED: &str = "this address expects TLS; connect with --tls verify, or client.tls in the settings";

/// What listeners with TLS show and ask for. A clone shares it.
#[derive(Clone)]
pub struct ServerTls {
    rsq: Arc<ServerConfig>,
    http: Arc<ServerConfig>,
}

impl ServerTls {
    /// Reads the files of the settings; None: they name none.
    ///
    /// # Errors
    /// One of them cannot be used, or they do not belong together.
    pub fn load(config: &config::Broker) -> Result<Option<ServerTls>, BadFile> {
        let (Some(cert), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        let chain = certificates(cert)?;
        check_dates(cert, &chain)?;
        let private = private_key(key)?;
        if fs::metadata(key).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            log::warn!(
                "broker: the key {} can be read by every user of this machine; continuing with it",
                key.display()
            );
        }
        let base = || {
            let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
            builder.expect("ring supports the default versions")
        };
        let finish = |builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>| {
            let config = builder.with_single_cert(chain.clone(), private.clone_key());
            let mut config = config.map_err(|error| match error {
                Error::InconsistentKeys(_) => {
                    BadFile::new(key, format!("is not the key of the certificate in {}", cert.display()))
                }
                other => BadFile::new(cert, format!("cannot be used with {} ({other})", key.display())),
            })?;
            // Connections are few and long, so nothing is kept to shorten the next one.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            Ok(Arc::new(config))
        };
        let rsq = match &config.tls_client_ca {
            Some(path) => {
                let roots = Arc::new(authorities(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
                base().with_client_cert_verifier(verifier.map_err(|error| BadFile::new(path, error.to_string()))?)
            }
            None => base().with_no_client_auth(),
        };
        let http = base().with_no_client_auth();
        Ok(Some(ServerTls { rsq: finish(rsq)?, http: finish(http)? }))
    }

    fn config(&self, kind: Kind) -> Arc<ServerConfig> {
        match kind {
            Kind::Rsq => self.rsq.clone(),
            Kind::Http => self.http.clone(),
        }
    }
}

/// Refuses a certificate that every client would refuse today.
fn check_dates(path: &Path, chain: &[CertificateDer<'static>]) -> Result<(), BadFile> {
    let Some((own, others)) = chain.split_first() else { return Ok(()) };
    // Dates are checked before names and issuers, so any trust and any name do.
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let verifier = verifier.map_err(|error| BadFile::new(path, error.to_string()))?;
    let any_name = ServerName::from(std::net::Ipv4Addr::LOCALHOST);
    use CertificateError as E;
    match verifier.verify_server_cert(own, others, &any_name, &[], UnixTime::now()) {
        Err(Error::InvalidCertificate(
            problem @ (E::Expired
            | E::ExpiredContext { .. }
            | E::NotValidYet
            | E::NotValidYetContext { .. }
            | E::BadEncoding
            | E::InvalidPurpose
            | E::InvalidPurposeContext { .. }),
        )) => Err(BadFile::new(path, explain(&Error::InvalidCertificate(problem)))),
        _ => Ok(()),
    }
}

/// A peer of a listener with TLS.
pub struct TlsPeer {
    stream: TlsStream<TcpStream>,
    kind: Kind,
    /// Its first byte was that of TLS.
    has_begun: bool,
}

impl TlsPeer {
    /// A peer just accepted.
    ///
    /// # Errors
    /// The certificate cannot be used after all.
    pub fn new(socket: TcpStream, tls: &ServerTls, kind: Kind) -> io::Result<TlsPeer> {
        let stream = TlsStream::server(socket, tls.config(kind)).map_err(io::Error::other)?;
        Ok(TlsPeer { stream, kind, has_begun: false })
    }

    /// The encrypted stream.
    pub fn stream(&self) -> &TlsStream<TcpStream> {
        &self.stream
    }

    /// The socket, to be registered.
    pub fn socket_mut(&mut self) -> &mut TcpStream {
        self.stream.socket_mut()
    }

    /// Tells the peer that no more follows; best effort.
    pub fn close(&mut self) {
        let _ = self.stream.close();
    }

    /// Examines the first byte. A peer without TLS gets the reason in its own protocol.
    fn begin(&mut self) -> io::Result<()> {
        let mut first = [0];
        if self.stream.socket().peek(&mut first)? == 1 && first[0] != HANDSHAKE {
            let answer = match self.kind {
                Kind::Rsq => encode::refusal(&Refusal::new(Code::Malformed, TLS_EXPECTED)),
                Kind::Http => Response::from(&Rejection::new(400, "this address expects HTTPS")).encode(true, false),
            };
            let socket = self.stream.socket_mut();
            // A close with unread bytes would reset the connection, and with it the answer.
            let _ = socket.read(&mut [0; MAX_FRAME_BEFORE_WELCOME]);
            let _ = socket.write_all(&answer);
            return Err(Failed::error("it does not speak TLS, which this address expects"));
        }
        self.has_begun = true;
        Ok(())
    }
}

impl Read for TlsPeer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.has_begun {
            self.begin()?;
        }
        self.stream.read(buffer)
    }
}

impl Write for TlsPeer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    /// Fails during the handshake, where only an ERROR can be there to be sent: the peer is removed at once.
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.stream.is_open() {
            true => self.stream.write_vectored(pieces),
            false => Err(io::Error::new(ErrorKind::NotConnected, "it did not finish the handshake of TLS")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
