//! Why a program ends: the message that its `main` prints and its exit code. Any module may return a [`Failure`]; only
//! `cli` prints one.

use std::process::ExitCode;

/// The exit codes of all programs. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The work failed, or was only partly done.
    Failed = 1,
    /// Wrong arguments or settings: the same call will fail again.
    Usage = 2,
    /// The database server or resqd cannot be reached, or refuses the login.
    Unreachable = 3,
    /// Something did not happen within the time given.
    TimedOut = 4,
}

/// The end of a program that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What was tried, what came back, and what to do next.
    pub message: String,
}

impl Failure {
    /// A failure with this exit code and message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into() }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> ExitCode {
        ExitCode::from(failure.exit as u8)
    }
}
