//! Reads that must not run for long: how the server is made to stop them, and counts that end at a limit.

use mysql::{Conn, prelude::FromRow};

use super::{Error, ReadRows, codes::*};

/// After how many seconds the server stops a read.
const LIMIT_S: u32 = 5;

/// Runs `select`, which begins with SELECT, for a limited time.
///
/// # Errors
/// [`Error::TooSlow`] after 5 seconds; otherwise the server's.
pub fn read<T: FromRow>(conn: &mut Conn, select: &str) -> Result<Vec<T>, Error> {
    conn.read_rows(limited(select)).map_err(too_slow)
}

/// The first row of `select`; see [`read`].
///
/// # Errors
/// As for [`read`].
pub fn read_first<T: FromRow>(conn: &mut Conn, select: &str) -> Result<Option<T>, Error> {
    conn.read_first(limited(select)).map_err(too_slow)
}

fn too_slow(error: Error) -> Error {
    match error.code() {
        Some(ER_STATEMENT_TIMEOUT | ER_QUERY_TIMEOUT) => Error::TooSlow,
        _ => error,
    }
}

/// One text serves both servers: MariaDB runs what is in the comment and skips the hint, MySQL the other way round. They
/// stop the statement with 1969 and 3024.
fn limited(select: &str) -> String {
    let rest = select.strip_prefix("SELECT ").unwrap_or(select);
    format!(
        "/*M!100500 SET STATEMENT max_statement_time={LIMIT_S} FOR */ SELECT /*+ MAX_EXECUTION_TIME({LIMIT_S}000) */ {rest}"
    )
}

/// A number of rows that was not counted beyond a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capped {
    /// How many there are, or the limit.
    pub count: u64,
    /// There are more than the limit.
    pub is_more: bool,
}

impl Capped {
    /// Of rows that were counted up to `limit` + 1.
    pub fn new(counted: u64, limit: u64) -> Capped {
        Capped { count: counted.min(limit), is_more: counted > limit }
    }
}

/// `17`, `100000+`.
impl std::fmt::Display for Capped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.count, if self.is_more { "+" } else { "" })
    }
}
