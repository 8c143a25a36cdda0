//! Certificates made by `scripts/certificates.sh`, as a user makes them.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::{Arc, OnceLock},
};

use resq::{base::tls::ClientTls, config};

use crate::ROOT;

/// A private authority and what it has signed. The files are removed with it.
pub struct Certificates {
    dir: tempfile::TempDir,
}

impl Certificates {
    /// With a server's certificate for these names.
    pub fn new(names: &[&str]) -> Certificates {
        let certificates = Certificates { dir: tempfile::tempdir().unwrap() };
        certificates.make("server", names, 825);
        certificates
    }

    /// Those for 127.0.0.1 and localhost that the tests of this process share.
    pub fn shared() -> &'static Certificates {
        static SHARED: OnceLock<Certificates> = OnceLock::new();
        SHARED.get_or_init(|| Certificates::new(&["127.0.0.1", "localhost"]))
    }

    /// Makes or replaces a certificate of this kind. `days`: how long it is valid, or how long it has not been.
    pub fn make(&self, kind: &str, names: &[&str], days: i32) {
        let script = format!("{ROOT}/scripts/certificates.sh");
        let mut command = Command::new(script);
        command.arg(self.dir.path()).arg(kind).args(names).env("DAYS", days.to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The path of a file here.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Settings of a broker with these addresses and this certificate.
    pub fn broker(&self, listen: &[&str]) -> config::Broker {
        config::Broker {
            listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
            tls_cert: Some(self.file("server.pem")),
            tls_key: Some(self.file("server.key")),
            ..config::Broker::default()
        }
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> ClientTls {
        ClientTls { verify: true, ca: Some(self.file("ca.pem")), certificate: None }
    }

    /// The same with the client's certificate of this name.
    pub fn client_with(&self, name: &str) -> ClientTls {
        let certificate = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        ClientTls { certificate: Some(certificate), ..self.client() }
    }

    /// The environment by which programs trust it.
    pub fn env(&self) -> [(&'static str, String); 2] {
        [("RESQ_TLS", "verify".into()), ("RESQ_TLS_CA", self.file("ca.pem").display().to_string())]
    }
}

/// A blocking client's end of TLS.
pub type TlsClient = rustls::StreamOwned<rustls::ClientConnection, std::net::TcpStream>;

/// Connects a client that knows the server as 127.0.0.1. The handshake happens with the first read or write.
pub fn tls_connect(address: SocketAddr, config: Arc<rustls::ClientConfig>) -> TlsClient {
    let name = resq::base::tls::server_name("127.0.0.1").unwrap();
    let session = rustls::ClientConnection::new(config, name).unwrap();
    TlsClient::new(session, std::net::TcpStream::connect(address).unwrap())
}
