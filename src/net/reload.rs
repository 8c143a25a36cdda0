//! What a running broker takes over from settings that were read again: certificates and tokens. Checked before the event
//! loop gets it; connections stay as they are.

use std::sync::Arc;

use crossbeam_channel::Sender;
use mio::Waker;

use super::{
    listener::{self, StartError},
    rsq::access::Tokens,
    tls::ServerTls,
};
use crate::{
    base::tls::BadFile,
    config::{Config, Listen, Secret},
};

/// Takes effect for the next connections and requests.
pub struct Reloaded {
    /// None: there is no certificate, and no listener that needs one.
    pub tls: Option<ServerTls>,
    /// Who may do what by RSQ/1.
    pub tokens: Tokens,
    /// Permits HTTP requests to read and to act.
    pub http_token: Option<Secret>,
    /// Permits HTTP requests to read.
    pub http_read_token: Option<Secret>,
}

/// Hands new certificates and tokens to a running broker.
#[derive(Clone)]
pub struct Reloader {
    pub(super) sender: Sender<Reloaded>,
    pub(super) waker: Arc<Waker>,
    /// What it listens on, whatever the settings say now.
    pub(super) listen: Vec<Listen>,
    pub(super) http_listen: Vec<Listen>,
    pub(super) insecure: bool,
}

impl Reloader {
    /// Reads the files of certificates, and hands them over together with the tokens of these settings.
    ///
    /// # Errors
    /// A file cannot be used, or an address that other machines can reach would be left without a token: nothing has
    /// changed.
    pub fn reload(&self, config: &Config) -> Result<(), StartError> {
        let tls = ServerTls::load(&config.broker)?;
        if tls.is_none() && self.listen.iter().chain(&self.http_listen).any(|listen| listen.tls) {
            let why = "is no longer set, and addresses with tls:// need it";
            return Err(BadFile::new("broker.tls_cert".as_ref(), why).into());
        }
        listener::check(&self.listen, &config.broker, self.insecure)?;
        listener::check_http(&self.http_listen, &config.http, self.insecure)?;
        let tokens = Tokens::new(&config.broker);
        let (http_token, http_read_token) = (config.http.token.clone(), config.http.read_token.clone());
        // Without a receiver the broker has ended.
        if self.sender.send(Reloaded { tls, tokens, http_token, http_read_token }).is_ok() {
            let _ = self.waker.wake();
        }
        Ok(())
    }
}
