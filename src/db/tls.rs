//! TLS to the database: what `database.tls` means for one host, and what an error says about it. The driver speaks
//! TLS; nothing here decides which host is asked.

use std::{
    fs::File,
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
};

use mysql::{Conn, OptsBuilder, SslOpts};
use r2d2::ManageConnection;
use r2d2_mysql::MySqlConnectionManager;

use super::Error;
use crate::{
    base::failure::{Exit, Failure},
    config::{Database, Tls},
};

/// More than any file of certificates has: the public authorities together take a fifth of it.
const AUTHORITY_BYTES: u64 = 1 << 20;

/// One host, in the ways in which the settings let it be connected to.
pub struct Endpoint {
    /// One of them at least.
    encrypted: Option<MySqlConnectionManager>,
    plain: Option<MySqlConnectionManager>,
    /// Where there are both: the last encrypted connection could not be had, so that the next need not try.
    is_plain: AtomicBool,
}

impl Endpoint {
    pub fn new(opts: OptsBuilder, config: &Database) -> Endpoint {
        // Nobody sits in between on a socket.
        let tls = if config.socket.is_some() { Tls::Off } else { config.tls };
        let verifies = tls == Tls::Verify;
        let ssl = SslOpts::default()
            .with_root_cert_path(config.tls_ca.clone())
            .with_danger_accept_invalid_certs(!verifies)
            .with_danger_skip_domain_validation(!verifies);
        let plain = matches!(tls, Tls::Off | Tls::Preferred).then(|| MySqlConnectionManager::new(opts.clone()));
        let encrypted = (tls != Tls::Off).then(|| MySqlConnectionManager::new(opts.ssl_opts(ssl)));
        Endpoint { encrypted, plain, is_plain: AtomicBool::new(false) }
    }

    pub fn connect(&self) -> Result<Conn, Error> {
        let (encrypted, plain) = match (&self.encrypted, &self.plain) {
            (Some(encrypted), Some(plain)) => (encrypted, plain),
            (Some(only), None) | (None, Some(only)) => return Ok(only.connect()?),
            (None, None) => unreachable!("every setting allows one of them"),
        };
        if !self.is_plain.load(Ordering::Relaxed) {
            match encrypted.connect().map_err(Error::from) {
                Err(error) if error.is_tls_missing() || error.is_tls_failure() => {
                    log::debug!("going on without TLS: {error}");
                    self.is_plain.store(true, Ordering::Relaxed);
                }
                result => return result,
            }
        }
        // A server that comes back may have TLS.
        plain.connect().map_err(|error| {
            self.is_plain.store(false, Ordering::Relaxed);
            error.into()
        })
    }
}

/// Looks at the file of authorities once, at the start: the driver takes an empty one for no authority, and says of a
/// server that it would have trusted that nobody knows it.
pub fn check_authority(config: &Database) -> Result<(), Failure> {
    let Some(path) = &config.tls_ca else { return Ok(()) };
    let wrong = |why: &str| {
        let takes = "it takes a file of certificates in PEM form, such as the server's ca.pem";
        Failure::new(Exit::Usage, format!("database.tls_ca {}: {why}; {takes}", path.display()))
    };
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(AUTHORITY_BYTES).read_to_end(&mut text))
        .map_err(|error| wrong(&format!("cannot read it ({error})")))?;
    let begin = b"-----BEGIN CERTIFICATE-----";
    if !text.windows(begin.len()).any(|part| part == begin) {
        return Err(wrong("there is no certificate in it"));
    }
    Ok(())
}
