//! Why a drop did not happen or is not complete, and what to do then.

use super::resource_server::ForeignKey;
use crate::{
    base::failure::{Exit, Failure},
    db::{Error, codes::*},
    queue::audit,
};

/// Foreign keys that a message names.
const SHOWN: usize = 10;

/// Why something was not dropped.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// So many of the jobs are in progress. Nothing was dropped.
    #[error(
        "{} in progress; nothing was dropped; use `resqctl pause`, and try again when they are done",
        if *.0 == 1 { "1 job is".into() } else { format!("{} jobs are", .0) }
    )]
    Running(u64),
    /// Other databases refer to tables of these. Nothing was dropped.
    #[error(
        "foreign keys of other databases refer to what was to be dropped: {}; nothing was dropped; drop these \
         constraints first",
        list(.0)
    )]
    Referenced(Vec<ForeignKey>),
    /// The rows of the jobs cannot be deleted: a foreign key or a trigger refuses it. Nothing was dropped.
    #[error("the rows of these jobs cannot be deleted: {}; nothing was dropped; {}", .0, to_delete_rows(.0))]
    Rows(Error),
    /// These jobs have no complete database, or one that is being dropped already. Nothing was marked.
    #[error(
        "{} no complete database (or it is being dropped already), so there is nothing to drop later; nothing was marked; \
         without --after they are dropped at once",
        without(.0)
    )]
    Incomplete(Vec<u64>),
    /// No database is marked, or the drop has begun.
    #[error(
        "no database of these jobs can be restored: none is marked to be dropped later, or its drop has begun (see \
         `resqctl status`)"
    )]
    TooLate,
    /// This database could not be dropped, since this job is in progress; those before it were.
    #[error("cannot drop database `{0}`: job {1} is in progress; repeat the command when it is done")]
    Busy(String, u64),
    /// The server reports success, and this database is still there; those before it were dropped.
    #[error("the server reports that it dropped `{0}`, which is still there; repeat the command")]
    StillThere(String),
    /// A statement failed with which this database was to be dropped; those before it were.
    #[error("cannot drop database `{}`: {}; {}", .0, .1, to_drop(.1))]
    Database(String, Error),
    /// A statement on the queue or the registry failed.
    #[error(transparent)]
    Queue(#[from] Error),
}

fn list(keys: &[ForeignKey]) -> String {
    let one = |key: &ForeignKey| {
        let ForeignKey { from_db, from_table, name, to_db, to_table } = key;
        format!("`{name}` of `{from_db}`.`{from_table}` refers to `{to_db}`.`{to_table}`")
    };
    let (shown, more) = keys.split_at(keys.len().min(SHOWN));
    let shown: Vec<String> = shown.iter().map(one).collect();
    let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
    format!("{}{more}", shown.join(", "))
}

fn without(ids: &[u64]) -> String {
    format!("{} {}", audit::target_of(ids), if ids.len() == 1 { "has" } else { "have" })
}

fn to_delete_rows(error: &Error) -> &'static str {
    match error.code() {
        Some(ER_ROW_IS_REFERENCED | ER_ROW_IS_REFERENCED_2) => {
            "remove the rows that refer to them, or give that foreign key ON DELETE CASCADE or SET NULL \
             (information_schema.KEY_COLUMN_USAGE lists it under REFERENCED_TABLE_NAME = 'res_queue')"
        }
        _ => "remove what refuses it, then repeat the command",
    }
}

fn to_drop(error: &Error) -> &'static str {
    match error.code() {
        Some(ER_ROW_IS_REFERENCED | ER_ROW_IS_REFERENCED_2 | ER_FK_CANNOT_DROP_PARENT) => {
            "a foreign key of another database refers to one of its tables (an administrator finds it in \
             information_schema.KEY_COLUMN_USAGE, by REFERENCED_TABLE_SCHEMA); MariaDB has dropped the tables before that \
             one; remove the constraint, then repeat the command to complete the drop"
        }
        Some(ER_DB_DROP_RMDIR) => {
            "its folder in the server's data directory holds a file that is not the server's, and its tables may be gone \
             already; remove that file, then repeat the command to complete the drop"
        }
        _ => "repeat the command to complete the drop",
    }
}

impl From<DropError> for Failure {
    fn from(error: DropError) -> Failure {
        match error {
            DropError::Queue(error) => error.into(),
            other => Failure::new(Exit::Failed, other.to_string()),
        }
    }
}
