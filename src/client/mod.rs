//! A peer of the broker for programs that block: [`Subscriber`] receives events, and reconnects and resumes by
//! itself; [`Publisher`] sends them. Works over TCP and, on Unix, over a Unix socket; never starts an async runtime
//! and holds no more than one frame and one read buffer.

mod connection;
mod failure;
mod input;
mod position;
mod publisher;
mod stream;
mod subscriber;

use std::{fmt, io};

use crate::{
    base::text::printable,
    config::{self, Secret},
    wire::{self, Code},
};

pub use crate::base::address::{Address, InvalidAddress};
pub use crate::wire::Gap;
pub use input::{Lines, Publication};
pub use publisher::Publisher;
pub use subscriber::{Delivery, Subscriber, Subscription};

/// Where to go, as whom.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: Address,
    /// Shown in the daemon's log: at most 64 characters, none of them a control character.
    pub name: String,
    pub token: Option<Secret>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number in the log; 0: ephemeral, not in the log.
    pub seq: u64,
    /// When it was written, in microseconds since 1970; not ordered like `seq`.
    pub unix_time_us: u64,
    pub state: String,
    pub payload: Vec<u8>,
}

/// What went wrong, by what the caller can do about it.
#[derive(Debug)]
pub enum Error {
    /// No connection, or it broke: trying again later may help.
    Unreachable { address: Address, cause: io::Error },
    /// The broker said ERROR. [`Error::is_final`] tells whether trying again can help.
    Refused { address: Address, code: u16, message: String },
    /// What the caller asked for is not RSQ/1: a wrong state, name or payload. Nothing was sent.
    Invalid(wire::Error),
    /// A publisher waited in vain for the broker to confirm.
    TimedOut { address: Address },
}

impl Error {
    /// Whether the same attempt must fail again: a wrong token, version, role, state or frame.
    pub fn is_final(&self) -> bool {
        const AGAIN: [Code; 4] = [Code::Slow, Code::ShuttingDown, Code::TooManyConnections, Code::TimedOut];
        match self {
            Error::Unreachable { .. } | Error::TimedOut { .. } => false,
            // A code that a newer server invented may be of either kind: try again, with pauses.
            Error::Refused { code, .. } => (1..=10).contains(code) && !AGAIN.iter().any(|again| *again as u16 == *code),
            Error::Invalid(_) => true,
        }
    }

    /// Whether the broker refused with this code.
    pub fn is_refusal(&self, wanted: Code) -> bool {
        matches!(self, Error::Refused { code, .. } if *code == wanted as u16)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable { address, cause } => write!(f, "no connection to resqd at {address}: {cause}"),
            Error::Refused { address, code, message } => {
                write!(f, "resqd at {address} refused (error {code}): {}", printable(message))
            }
            Error::Invalid(cause) => cause.fmt(f),
            Error::TimedOut { address } => write!(f, "resqd at {address} did not confirm in time"),
        }
    }
}

impl std::error::Error for Error {}

impl Peer {
    /// A peer without a token.
    pub fn new(address: Address, name: impl Into<String>) -> Peer {
        Peer { address, name: name.into(), token: None }
    }

    /// The peer that the settings describe: the socket where one is set, else host and port.
    pub fn from_config(config: &config::Config, name: impl Into<String>) -> Peer {
        let config::Client { host, port, socket } = config.client.clone();
        let address = socket.map_or(Address::Tcp { host, port }, Address::Unix);
        Peer { address, name: name.into(), token: config.broker.token.clone() }
    }
}

#[cfg(test)]
mod tests;
