//! Running several statements in one round trip.

use mysql::{Conn, prelude::Queryable};

use super::Error;

/// Why a script stopped.
#[derive(Debug)]
pub struct ScriptError {
    /// The number of the statement that failed, from 1.
    pub statement: usize,
    /// Why it failed.
    pub error: Error,
}

impl From<ScriptError> for Error {
    fn from(failed: ScriptError) -> Error {
        failed.error
    }
}

/// Sends a script of one or several statements as a whole; the server finds where each ends.
///
/// # Errors
///
/// The first statement that failed; those after it were not run.
pub fn run_script(conn: &mut Conn, script: &str) -> Result<(), ScriptError> {
    let failed = |statement, error: mysql::Error| ScriptError { statement, error: error.into() };
    let mut results = conn.query_iter(script).map_err(|error| failed(1, error))?;
    let mut statement = 0;
    while let Some(rows) = results.iter() {
        statement += 1;
        for row in rows {
            row.map_err(|error| failed(statement, error))?;
        }
    }
    Ok(())
}

/// Wakes the daemons of the server. Where the function is missing, they poll.
pub fn ring(conn: &mut Conn) {
    let _ = conn.query_drop("DO resq_ring()");
}
