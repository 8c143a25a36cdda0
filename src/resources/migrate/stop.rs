//! Why an attempt to migrate a database stops before its end, as an error's class says. Pure.

use super::{position::Position, stretch::Part};
use crate::db::{Error, ErrorClass, Stopped};

/// How a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No database of this wave could be begun.
    Nothing,
    /// Its databases are migrated; or the last one failed, or waits; recorded.
    Recorded,
    /// The claim, the lease or the server is lost: what it had claimed is claimed again later.
    Lost,
}

/// Why an attempt stops.
pub enum Stop {
    /// Nothing can be recorded, or need be.
    Lost,
    /// The daemon stops.
    Stopping,
    /// It is none of the rollout's any more.
    Skipped(String),
    /// Something that passes.
    Waits {
        /// The server's words.
        message: String,
        /// The attempt lost its worker.
        is_interrupted: bool,
        /// How far the database is, if that is known.
        back_to: Option<Position>,
    },
    /// An operator has to see to it.
    Failed {
        /// The file; empty: none had begun.
        file: String,
        /// The statement in it, from 1.
        statement: usize,
        /// What the operator reads.
        message: String,
        /// How far the database is, if that is known.
        back_to: Option<Position>,
    },
}

/// What an error of one of resq's own statements means: it is repeated later.
impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error.class() {
            ErrorClass::ConnectionLost => Stop::Lost,
            _ => Stop::Waits { message: error.to_string(), is_interrupted: false, back_to: None },
        }
    }
}

impl From<mysql::Error> for Stop {
    fn from(error: mysql::Error) -> Stop {
        Error::from(error).into()
    }
}

/// What an error means of the statements that record how far a database is.
pub fn of_record(stopped: Stopped<Part>) -> Stop {
    // The condition is that the claim is held.
    if stopped.is_unmet() { Stop::Lost } else { stopped.error.into() }
}
