//! RSQ/1 as bytes: where a frame ends ([`split`], [`Splitter`]), what it means ([`ClientMessage`], [`ServerMessage`]) and
//! which states are valid ([`State`], [`Pattern`]). Values in, values out: knows no socket and no clock, and has no
//! dependency, because the loadable functions link it into the database server.
//!
//! All integers are big-endian. A string is a `u16` length in bytes and that much UTF-8.

mod frame;
mod message;
mod reader;
mod start;
mod state;

pub use frame::{Frame, MAX_FRAME, MAX_FRAME_BEFORE_WELCOME, Splitter, split};
pub use message::{
    ClientMessage, Gap, MAX_NAME_CHARS, MAX_PAYLOAD, MAX_STATES, MAX_UNACKED, Role, ServerMessage, VERSION,
};
pub use start::{ConsumerName, Start};
pub use state::{MAX_STATE, Pattern, State};

use std::fmt;

/// The codes of ERROR frames: why a server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    /// The bytes are not RSQ/1, or a frame is not allowed at this point.
    Malformed = 1,
    /// The version in HELLO is not supported.
    Version = 2,
    /// The token in HELLO is wrong.
    Token = 3,
    /// The peer's role does not allow this frame.
    Role = 4,
    /// A frame or a payload exceeds its limit.
    TooLarge = 5,
    /// A state or pattern is invalid, or not one of the states that the server allows.
    State = 6,
    /// The peer has read nothing for too long.
    Slow = 7,
    /// The server is stopping.
    ShuttingDown = 8,
    /// The server has no room for another connection.
    TooManyConnections = 9,
    /// HELLO, or any byte after a PING, did not arrive in time; or the database did not answer in time.
    TimedOut = 10,
    /// A newer connection holds this consumer.
    TakenOver = 11,
    /// An operator has moved or removed this consumer.
    Moved = 12,
}

/// Why bytes are not RSQ/1: the sender's fault, and the end of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a frame or a message; what is wrong with it.
    Malformed(&'static str),
    /// HELLO with this version.
    Version(u8),
    /// A frame or a payload that exceeds its limit.
    TooLarge {
        /// Its size in bytes.
        bytes: usize,
        /// The greatest size allowed, in bytes.
        limit: usize,
    },
    /// The text is not a state or pattern; its first 64 characters.
    State(String),
}

impl Error {
    /// The code of the ERROR frame that reports it.
    pub fn code(&self) -> Code {
        match self {
            Error::Malformed(_) => Code::Malformed,
            Error::Version(_) => Code::Version,
            Error::TooLarge { .. } => Code::TooLarge,
            Error::State(_) => Code::State,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed(what) => write!(f, "malformed: {what}"),
            Error::Version(version) => write!(f, "version {version} is not supported, only {VERSION}"),
            Error::TooLarge { bytes, limit } => write!(f, "too large: {bytes} bytes, at most {limit}"),
            Error::State(state) => write!(
                f,
                "{state:?} is not a state: 1 to {MAX_STATE} of A-Z a-z 0-9 _ . : -, in a subscription also * at the end"
            ),
        }
    }
}

impl std::error::Error for Error {}
