//! TLS by rustls, for the broker, its clients and the loadable functions: certificates from files (`files`), what a client
//! trusts (`client`), an encrypted stream over a socket that does not block (`stream`), and what a failure means
//! (`failure`). Never opens a connection, and never decides who may connect.

mod client;
mod failure;
mod files;
mod stream;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

pub use client::{ClientTls, server_name};
pub use failure::{Failed, explain};
pub use files::{BadFile, authorities, certificates, private_key};
pub use stream::TlsStream;

/// The cryptography that every configuration uses: the one that the database's driver is built with.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
