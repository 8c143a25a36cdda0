//! The queue's depth and age as metrics want them: cheap however many rows there are. Expects the global database as the
//! current one.

use mysql::{Conn, prelude::Queryable};

use crate::{db::Error, queue::sql_store::READY_SINCE};

/// Counting stops here.
pub const COUNTED: u64 = 100_000;

/// How long the server may work on one of the queries, in seconds.
const WITHIN_S: u32 = 2;

/// What is read at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Jobs in `new`, delayed or not; at most [`COUNTED`], as the two below.
    pub new: u64,
    /// Jobs in `in_progress`.
    pub in_progress: u64,
    /// Jobs in `error`.
    pub error: u64,
    /// How long the oldest ready job has been ready, in seconds; 0: there is none.
    pub oldest_waiting_s: u64,
    /// Events committed and not numbered yet; at most [`COUNTED`].
    pub outbox: u64,
}

/// Reads a sample.
///
/// # Errors
/// The server's; it took too long.
pub fn read(conn: &mut Conn) -> Result<Sample, Error> {
    let count = |status: &str| {
        format!("SELECT 1 FROM res_queue FORCE INDEX (res_queue_claim) WHERE status = '{status}' LIMIT {COUNTED}")
    };
    let mut counted = |rows: String| number(conn, &format!("COUNT(*) FROM ({rows}) z"));
    let (new, in_progress, error) = (counted(count("new"))?, counted(count("in_progress"))?, counted(count("error"))?);
    let outbox = counted(format!("SELECT 1 FROM res_outbox LIMIT {COUNTED}"))?;
    // The first of each priority, which the index has without reading the others.
    let oldest = number(
        conn,
        &format!(
            "COALESCE(TIMESTAMPDIFF(SECOND, MIN({READY_SINCE}), NOW()), 0) FROM \
         (SELECT priority, MIN(res_id) AS res_id FROM res_queue FORCE INDEX (res_queue_claim) \
          WHERE status = 'new' AND run_at IS NULL GROUP BY priority LIMIT 1000) z \
         JOIN res_queue q ON q.res_id = z.res_id"
        ),
    )?;
    Ok(Sample { new, in_progress, error, oldest_waiting_s: oldest, outbox })
}

/// The number that a SELECT of `what` returns, within the time limit: MySQL takes it as a hint, which MariaDB takes for a
/// comment, and MariaDB as a prefix that runs on MariaDB only.
fn number(conn: &mut Conn, what: &str) -> Result<u64, Error> {
    let hint = format!("/*+ MAX_EXECUTION_TIME({}) */", WITHIN_S * 1000);
    let sql = format!("/*M!100100 SET STATEMENT max_statement_time={WITHIN_S} FOR */ SELECT {hint} {what}");
    let value: Option<i64> = conn.query_first(sql)?;
    Ok(value.unwrap_or(0).max(0).unsigned_abs())
}
