//! Why the building of a database stopped, and what that means for its job. Pure.

use super::template::Template;
use crate::{
    db::{Error, codes::*},
    queue::JobError,
};

/// Template errors that another attempt cannot avoid: a syntax error, an empty statement.
const HOPELESS: &[u16] = &[ER_PARSE_ERROR, ER_EMPTY_QUERY, ER_SYNTAX_ERROR];

/// Why a build stopped.
pub enum Broken {
    /// CREATE DATABASE found a database that did not exist before. Something else created it; it is left alone.
    NotOurs(String),
    /// What becomes of the job.
    Failed(JobError),
}

impl From<JobError> for Broken {
    fn from(error: JobError) -> Broken {
        Broken::Failed(error)
    }
}

/// What the failure of a file's statement means.
pub fn failed(template: &Template, statement: usize, db_name: &str, error: &Error) -> Broken {
    let text = format!("{}, statement {statement}: {error}", template.name);
    if error.code() == Some(ER_DB_CREATE_EXISTS) && text.contains(&format!("'{db_name}'")) {
        return Broken::NotOurs(text);
    }
    Broken::Failed(match error.code() {
        Some(code) if HOPELESS.contains(&code) => JobError::Permanent(text),
        _ => JobError::of_statement(error, text),
    })
}

/// For the statements on resq's own tables and locks, whose failures no job has caused. If a table is not found, the
/// server was unable to look.
pub fn not_asked(error: Error) -> JobError {
    if error.is_missing_table() { JobError::Postponed(error.to_string()) } else { JobError::of_queue(&error) }
}
