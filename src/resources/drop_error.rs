//! Why a drop did not happen or is not complete, and what to do then.

use std::fmt;

use super::resource_server::ForeignKey;
use crate::{
    base::failure::{Exit, Failure},
    db::{Error, codes::*},
};

/// Foreign keys that a message names.
const SHOWN: usize = 10;

/// Why something was not dropped.
#[derive(Debug)]
pub enum DropError {
    /// So many of the jobs are in progress. Nothing was dropped.
    Running(u64),
    /// Other databases refer to tables of these. Nothing was dropped.
    Referenced(Vec<ForeignKey>),
    /// The rows of the jobs cannot be deleted: a foreign key or a trigger refuses it. Nothing was dropped.
    Rows(Error),
    /// One database could not be dropped; those before it were.
    Database(String, Obstacle),
    /// A statement on the queue or the registry failed.
    Queue(Error),
}

/// Why one database could not be dropped.
#[derive(Debug)]
pub enum Obstacle {
    /// Its job is in progress.
    Busy(u64),
    /// The server reports success, and the database is still there.
    StillThere,
    /// A statement failed.
    Failed(Error),
}

impl From<Error> for DropError {
    fn from(error: Error) -> DropError {
        DropError::Queue(error)
    }
}

impl From<Error> for Obstacle {
    fn from(error: Error) -> Obstacle {
        Obstacle::Failed(error)
    }
}

impl fmt::Display for DropError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DropError::Running(n) => {
                let jobs = if *n == 1 { "1 job is".into() } else { format!("{n} jobs are") };
                write!(
                    f,
                    "{jobs} in progress; nothing was dropped; use `resqctl pause`, and try again when they are done"
                )
            }
            DropError::Database(db_name, Obstacle::Busy(id)) => {
                write!(
                    f,
                    "cannot drop database `{db_name}`: job {id} is in progress; repeat the command when it is done"
                )
            }
            DropError::Referenced(keys) => {
                let one = |key: &ForeignKey| {
                    let ForeignKey { from_db, from_table, name, to_db, to_table } = key;
                    format!("`{name}` of `{from_db}`.`{from_table}` refers to `{to_db}`.`{to_table}`")
                };
                let (shown, more) = keys.split_at(keys.len().min(SHOWN));
                let shown: Vec<String> = shown.iter().map(one).collect();
                let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
                write!(
                    f,
                    "foreign keys of other databases refer to what was to be dropped: {}{more}; nothing was dropped; \
                     drop these constraints first",
                    shown.join(", ")
                )
            }
            DropError::Rows(error) => {
                write!(f, "the rows of these jobs cannot be deleted: {error}; nothing was dropped; ")?;
                f.write_str(match error.code() {
                    Some(ER_ROW_IS_REFERENCED | ER_ROW_IS_REFERENCED_2) => {
                        "remove the rows that refer to them, or give that foreign key ON DELETE CASCADE or SET NULL \
                         (information_schema.KEY_COLUMN_USAGE lists it under REFERENCED_TABLE_NAME = 'res_queue')"
                    }
                    _ => "remove what refuses it, then repeat the command",
                })
            }
            DropError::Database(db_name, Obstacle::StillThere) => {
                write!(f, "the server reports that it dropped `{db_name}`, which is still there; repeat the command")
            }
            DropError::Database(db_name, Obstacle::Failed(error)) => {
                write!(f, "cannot drop database `{db_name}`: {error}; ")?;
                f.write_str(match error.code() {
                    Some(ER_ROW_IS_REFERENCED | ER_ROW_IS_REFERENCED_2 | ER_FK_CANNOT_DROP_PARENT) => {
                        "a foreign key of another database refers to one of its tables (an administrator finds it in \
                         information_schema.KEY_COLUMN_USAGE, by REFERENCED_TABLE_SCHEMA); MariaDB has dropped the \
                         tables before that one; remove the constraint, then repeat the command to complete the drop"
                    }
                    Some(ER_DB_DROP_RMDIR) => {
                        "its folder in the server's data directory holds a file that is not the server's, and its \
                         tables may be gone already; remove that file, then repeat the command to complete the drop"
                    }
                    _ => "repeat the command to complete the drop",
                })
            }
            DropError::Queue(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DropError {}

impl From<DropError> for Failure {
    fn from(error: DropError) -> Failure {
        match error {
            DropError::Queue(error) => error.into(),
            other => Failure::new(Exit::Failed, other.to_string()),
        }
    }
}
