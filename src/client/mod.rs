//! A blocking client of the broker: [`Subscriber`] receives events, reconnects and resumes; [`Publisher`] sends ephemeral
//! events. Works over TCP with or without TLS and, on Unix, over Unix sockets. Never starts an async runtime, and buffers no more than one
//! frame, one read buffer and one batch of publications.

mod connection;
mod failure;
mod input;
mod position;
mod publisher;
mod stream;
mod subscriber;
mod tls_stream;

use std::io;

use crate::{
    base::text::printable,
    config::{self, ClientTlsMode, Secret},
    wire::{self, Code},
};

pub use crate::base::address::{Address, InvalidAddress};
pub use crate::base::tls::ClientTls;
pub use crate::wire::{Gap, Start};
pub use input::{InvalidLine, Lines, Publication};
pub use publisher::Publisher;
#[cfg(feature = "daemon")]
pub(crate) use stream::Stream;
pub use subscriber::{Consumer, Delivery, Subscriber, Subscription};

/// The broker to connect to, and the identity to present there.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The broker's address.
    pub address: Address,
    /// The name of this peer in the daemon's log: at most 64 characters, none of them a control character.
    pub name: String,
    /// The broker's shared secret, if it has one.
    pub token: Option<Secret>,
    /// How connections by TCP are encrypted; None: not at all.
    pub tls: Option<ClientTls>,
}

/// One event, as a subscriber receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The sequence number in the event log, from 1; 0 for an ephemeral event, which is not in the log.
    pub seq: u64,
    /// When it was written, in microseconds since 1970 by the clock of the database server or broker; not ordered like
    /// `seq`.
    pub unix_time_us: u64,
    /// 1 to 64 of `A-Z a-z 0-9 _ . : -`.
    pub state: String,
    /// At most 1,000,000 bytes. JSON for the queue's own events, anything for published ones.
    pub payload: Vec<u8>,
}

/// Why a client call failed, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no connection, or it broke: trying again later may help.
    #[error("no connection to resqd at {address}: {cause}")]
    Unreachable {
        /// The broker's address.
        address: Address,
        /// What the system or the connection reported.
        cause: io::Error,
    },
    /// The broker sent an ERROR frame. [`Error::is_final`] says whether trying again can help.
    #[error("resqd at {address} refused (error {code}): {}", printable(.message))]
    Refused {
        /// The broker's address.
        address: Address,
        /// The code of the ERROR frame, usually one of [`Code`].
        code: u16,
        /// The broker's explanation; not escaped.
        message: String,
    },
    /// An argument cannot be sent by RSQ/1: a state, pattern, name or payload. Nothing was sent.
    #[error(transparent)]
    Invalid(wire::Error),
    /// The broker did not confirm a publisher's events in time.
    #[error("resqd at {address} did not confirm in time")]
    TimedOut {
        /// The broker's address.
        address: Address,
    },
}

impl Error {
    /// Whether the same attempt must fail again: the token, version, role, state or frame is wrong,
    /// or another client has taken the consumer.
    pub fn is_final(&self) -> bool {
        const AGAIN: [Code; 5] =
            [Code::Slow, Code::ShuttingDown, Code::TooManyConnections, Code::TimedOut, Code::Moved];
        match self {
            Error::Unreachable { .. } | Error::TimedOut { .. } => false,
            // A code that only newer servers send may be of either kind: try again, with pauses.
            Error::Refused { code, .. } => (1..=12).contains(code) && !AGAIN.iter().any(|again| *again as u16 == *code),
            Error::Invalid(_) => true,
        }
    }

    /// Whether the broker refused with the code `wanted`.
    pub fn is_refusal(&self, wanted: Code) -> bool {
        matches!(self, Error::Refused { code, .. } if *code == wanted as u16)
    }
}

impl Peer {
    /// A peer without a token and without TLS.
    pub fn new(address: Address, name: impl Into<String>) -> Peer {
        Peer { address, name: name.into(), token: None, tls: None }
    }

    /// The peer that the settings describe: the socket if one is set, otherwise host and port.
    pub fn from_config(config: &config::Config, name: impl Into<String>) -> Peer {
        let config::Client { host, port, socket, .. } = config.client.clone();
        let address = socket.map_or(Address::Tcp { host, port }, Address::Unix);
        let tls = Peer::tls_from_config(&config.client);
        Peer { address, name: name.into(), token: config.broker.token.clone(), tls }
    }

    /// How the settings encrypt a client's connection.
    pub fn tls_from_config(config: &config::Client) -> Option<ClientTls> {
        let config::Client { tls, tls_ca, tls_cert, tls_key, .. } = config.clone();
        let verify = match tls {
            ClientTlsMode::Off => return None,
            ClientTlsMode::Required => false,
            ClientTlsMode::Verify => true,
        };
        Some(ClientTls { verify, ca: tls_ca, certificate: tls_cert.zip(tls_key) })
    }
}

#[cfg(test)]
mod tests;
