//! Connecting to one host with or without TLS, as `database.tls` says. The driver does the TLS; nothing here decides
//! which host is connected to.

use std::{
    fs::File,
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
};

use mysql::{Conn, DriverError, OptsBuilder, SslOpts};
use r2d2::ManageConnection;
use r2d2_mysql::MySqlConnectionManager;

use super::{Error, OpenError, session::LEAST_PACKET};
use crate::config::{Database, Tls};

/// More than any file of authorities has; all public ones together take a fifth of it.
const AUTHORITY_BYTES: u64 = 1 << 20;

/// One way to connect to a host.
struct Login {
    manager: MySqlConnectionManager,
    /// The same, without asking the server for its `max_allowed_packet`.
    incurious: MySqlConnectionManager,
}

impl Login {
    fn new(opts: OptsBuilder) -> Login {
        let assumed = opts.clone().max_allowed_packet(Some(LEAST_PACKET));
        Login { manager: MySqlConnectionManager::new(opts), incurious: MySqlConnectionManager::new(assumed) }
    }

    fn connect(&self) -> Result<Conn, Error> {
        match self.manager.connect() {
            // The driver's question had no answer: where sql_select_limit is 0, nothing has until the session is set up.
            Err(mysql::Error::DriverError(DriverError::SetupError)) => Ok(self.incurious.connect()?),
            result => Ok(result?),
        }
    }
}

/// One host, and the ways to connect to it that the settings allow.
pub struct Endpoint {
    /// At least one of the two is there.
    encrypted: Option<Login>,
    plain: Option<Login>,
    /// Where both are: encryption failed last time, so that the next connection does not try it.
    is_plain: AtomicBool,
}

impl Endpoint {
    /// The host of `opts`, by the TLS settings of `config`.
    pub fn new(opts: OptsBuilder, config: &Database) -> Endpoint {
        // Nothing can be intercepted on a Unix socket.
        let tls = if config.socket.is_some() { Tls::Off } else { config.tls };
        let verifies = tls == Tls::Verify;
        let ssl = SslOpts::default()
            .with_root_cert_path(config.tls_ca.clone())
            .with_danger_accept_invalid_certs(!verifies)
            .with_danger_skip_domain_validation(!verifies);
        let plain = matches!(tls, Tls::Off | Tls::Preferred).then(|| Login::new(opts.clone()));
        let encrypted = (tls != Tls::Off).then(|| Login::new(opts.ssl_opts(ssl)));
        Endpoint { encrypted, plain, is_plain: AtomicBool::new(false) }
    }

    /// Opens a connection; without TLS where that is preferred and the server has none.
    ///
    /// # Errors
    ///
    /// The login failed, or no TLS was agreed on where it is required.
    pub fn connect(&self) -> Result<Conn, Error> {
        let (encrypted, plain) = match (&self.encrypted, &self.plain) {
            (Some(encrypted), Some(plain)) => (encrypted, plain),
            (Some(only), None) | (None, Some(only)) => return only.connect(),
            (None, None) => unreachable!("every setting allows one of them"),
        };
        if !self.is_plain.load(Ordering::Relaxed) {
            match encrypted.connect() {
                Err(error) if error.is_tls_missing() || error.is_tls_failure() => {
                    log::debug!("database: continuing without TLS: {error}");
                    self.is_plain.store(true, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        // The server may have TLS when it is back.
        plain.connect().inspect_err(|_| self.is_plain.store(false, Ordering::Relaxed))
    }
}

/// Reads the file of authorities once, at start: the driver takes an empty file for no authority at all, and then
/// reports a trusted server as one with an unknown issuer.
///
/// # Errors
///
/// [`OpenError::Authority`]: the file cannot be read, or holds no certificate.
pub fn check_authority(config: &Database) -> Result<(), OpenError> {
    let Some(path) = &config.tls_ca else { return Ok(()) };
    let wrong = |why: String| OpenError::Authority { path: path.clone(), why };
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(AUTHORITY_BYTES).read_to_end(&mut text))
        .map_err(|error| wrong(format!("cannot read it ({error})")))?;
    let begin = b"-----BEGIN CERTIFICATE-----";
    if !text.windows(begin.len()).any(|part| part == begin) {
        return Err(wrong("there is no certificate in it".into()));
    }
    Ok(())
}
