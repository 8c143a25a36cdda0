//! From argv to a running program: puts argv into argh's form, takes the settings' flags out of it, starts the log,
//! and turns a failure into one line and an exit code. Nothing else in the crate prints an error or exits.

use std::{fmt, process::ExitCode};

/// Why a program ends; the number is its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    TimedOut = 4,
}

/// What `main` prints: what was tried, what came back, what to do next.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Failure { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> ExitCode {
        ExitCode::from(failure.exit as u8)
    }
}
