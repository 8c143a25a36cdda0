//! What a failure of TLS means to the people on this side, and what they can do about it.

use std::{fmt, io};

use rustls::{AlertDescription, CertificateError, Error};

/// Why TLS ended a connection. It is inside the [`io::Error`] of a read or write.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The peer's mistake or its complaint, as a sentence about "it".
    pub why: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS: {}", self.why)
    }
}

impl std::error::Error for Failed {}

impl Failed {
    /// A failure that ends a connection.
    pub fn error(why: impl Into<String>) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Failed { why: why.into() })
    }

    /// Whether this error is one of TLS, and not of the network.
    pub fn is_in(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Failed>())
    }
}

/// An error of rustls in words that name a cause and a remedy.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidMessage(_) => {
            "it sent something else than TLS; is this the port of a tls:// address of its broker.listen?".into()
        }
        Error::NoCertificatesPresented => "it presented no certificate, and one is required".into(),
        Error::InvalidCertificate(problem) => certificate(problem),
        Error::AlertReceived(alert) => complaint(*alert),
        Error::PeerIncompatible(what) => format!("no version or cipher of TLS in common ({what:?})"),
        other => other.to_string(),
    }
}

fn certificate(problem: &CertificateError) -> String {
    use CertificateError as E;
    match problem {
        E::Expired | E::ExpiredContext { .. } => {
            "its certificate has expired; renew it, or correct the clock of this machine".into()
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "its certificate is not valid yet; is the clock of this machine right?".into()
        }
        // The second: from one that bears the name of a trusted one.
        E::UnknownIssuer | E::BadSignature => {
            "its certificate is from an authority that is not trusted here; give that authority's by tls_ca".into()
        }
        // The words of rustls name the host and the names in the certificate.
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            format!(
                "its certificate is for another host ({problem}); connect by a name in it, or issue one for this name"
            )
        }
        other => format!("its certificate is refused ({other})"),
    }
}

fn complaint(alert: AlertDescription) -> String {
    use AlertDescription as A;
    match alert {
        A::CertificateRequired => {
            "it requires a certificate of this side (tls_client_ca); give one by tls_cert and tls_key".into()
        }
        A::UnknownCA | A::BadCertificate | A::CertificateExpired | A::CertificateUnknown | A::DecryptError => {
            format!("it refused the certificate of this side ({alert:?})")
        }
        other => format!("it ended the connection ({other:?})"),
    }
}
