//! RSQ/1 as bytes: where a frame ends ([`frame`]), what it says ([`message`]) and what a state may be called
//! ([`state`]). Values in, values out: this module knows no socket and no clock, and depends on nothing, because the
//! function that the database server loads links it too.

mod frame;
mod message;
mod reader;
mod state;

pub use frame::{Frame, MAX_FRAME, MAX_FRAME_BEFORE_WELCOME, Splitter, split};
pub use message::{ClientMessage, Gap, MAX_NAME_CHARS, MAX_PAYLOAD, MAX_STATES, Role, ServerMessage, VERSION};
pub use state::{MAX_STATE, Pattern, State};

use std::fmt;

/// What an ERROR frame says in its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Code {
    Malformed = 1,
    Version = 2,
    Token = 3,
    Role = 4,
    TooLarge = 5,
    State = 6,
    Slow = 7,
    ShuttingDown = 8,
    TooManyConnections = 9,
    TimedOut = 10,
}

/// Why bytes are not RSQ/1: the sender's fault, and the end of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Malformed(&'static str),
    Version(u8),
    TooLarge { bytes: usize, limit: usize },
    State(String),
}

impl Error {
    /// The code under which a server tells its peer.
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
            Error::Version(version) => write!(f, "version {version} is not spoken here, only {VERSION}"),
            Error::TooLarge { bytes, limit } => write!(f, "too large: {bytes} bytes, at most {limit}"),
            Error::State(state) => write!(
                f,
                "{state:?} is not a state: 1 to {MAX_STATE} of A-Z a-z 0-9 _ . : -, in a subscription also * at the end"
            ),
        }
    }
}

impl std::error::Error for Error {}
