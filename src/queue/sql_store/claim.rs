//! Claiming ready rows, and releasing them unstarted.

use std::time::Duration;

use mysql::{Conn, FromRowError, Row, Value, prelude::Queryable};

use super::transaction::Transaction;
use crate::{
    db::{Error, ReadRows, except, id_list, literal},
    queue::{
        job::Job,
        store::{Claim, Cursor},
    },
};

/// The identity that a daemon claims under, and how its server lets it claim.
#[derive(Clone, Debug)]
pub struct Claimer {
    /// The column `owner`; unique among all daemons that ever served the queue.
    pub owner: String,
    /// How many workers run its jobs.
    pub workers: u32,
    /// Whether the server has SKIP LOCKED; without it, jobs are claimed by token.
    pub skip_locked: bool,
}

/// A claim's conditions: equalities on the claim's index; the pause flag, so that pausing takes effect at its commit;
/// and `res_id >= 1`, since a signed `res_id` can be less and [`Job::id`] can't: the driver panics where a number does not
/// fit its type. The last is written as a sum, to keep the optimizer from choosing the primary key for it.
const READY: &str = "status = 'new' AND run_at IS NULL AND res_id + 0 > 0 \
                     AND NOT EXISTS (SELECT 1 FROM res_meta WHERE name = 'paused')";
/// What a claim sets. Any account that may INSERT may also write the greatest possible number of attempts.
const CLAIMED: &str =
    "status = 'in_progress', attempts = LEAST(COALESCE(attempts, 0), 4294967294) + 1, started_at = NOW(6)";
/// A table that is older than resq may have columns of these names that are NULL in old rows.
/// The last one is how long the row has been ready, to the second; read after the UPDATE, since it was inserted.
const COLUMNS: &str = "res_id, COALESCE(priority, 0), res_name, COALESCE(res_type, 'default'), res_url, \
                       COALESCE(attempts, 0), max_attempts, interruptions, \
                       CAST(UNIX_TIMESTAMP() - IF(status = 'new', UNIX_TIMESTAMP(updated_at), \
                       UNIX_TIMESTAMP(created_at)) AS SIGNED)";
type Columns = (u64, i64, String, String, Option<String>, u32, Option<u32>, u32, Option<i64>);

/// `uncounted`: attempts that the row did not count yet when it was read.
fn job(row: Columns, claim_id: u64, uncounted: u32) -> Job {
    let (id, _, name, res_type, url, attempts, max_attempts, interruptions, _) = row;
    Job { id, name, res_type, url, attempt: attempts.saturating_add(uncounted), max_attempts, interruptions, claim_id }
}

/// A claim's read. It locks what it reads, so it must read only what it claims: a sort in its plan would lock every
/// ready row.
pub fn locking_read(limit: usize, after: Option<Cursor>, excluded: &[u64]) -> String {
    format!("SELECT {COLUMNS} {} FOR UPDATE SKIP LOCKED", next_rows(limit, after, excluded))
}

/// The next ready rows in the order of claims.
fn next_rows(limit: usize, after: Option<Cursor>, excluded: &[u64]) -> String {
    let behind = after.map_or_else(String::new, |Cursor { priority, id }| {
        format!("AND (priority > {priority} OR (priority = {priority} AND res_id > {id}))")
    });
    let except = except("res_id", excluded);
    format!(
        "FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE {READY} {except} {behind} ORDER BY priority, res_id LIMIT {limit}"
    )
}

/// A claim's UPDATE where there is no SKIP LOCKED. The ORDER BY names the whole index: with less of it the server sorts,
/// and locks every ready row.
pub fn token_update(owner: &str, claim_id: u64, limit: usize, excluded: &[u64]) -> String {
    format!(
        "UPDATE res_queue SET {CLAIMED}, owner = {}, claim_id = {claim_id} \
         WHERE {READY} {} ORDER BY status, run_at, priority, res_id LIMIT {limit}",
        literal(owner),
        except("res_id", excluded),
    )
}

/// Which ready rows to claim.
#[derive(Clone, Copy)]
pub(super) enum Which<'a> {
    /// The next ones in the order of claims.
    Next { limit: usize, after: Option<Cursor>, excluded: &'a [u64] },
    /// Those with these ids.
    Ids(&'a [u64]),
}

impl Which<'_> {
    fn locking_read(self) -> String {
        match self {
            Which::Next { limit, after, excluded } => locking_read(limit, after, excluded),
            Which::Ids(ids) => format!(
                "SELECT {COLUMNS} FROM res_queue FORCE INDEX (PRIMARY) WHERE res_id IN ({}) AND {READY} \
                 ORDER BY priority, res_id FOR UPDATE SKIP LOCKED",
                id_list(ids)
            ),
        }
    }

    fn token_update(self, owner: &str, claim_id: u64) -> String {
        match self {
            Which::Next { limit, excluded, .. } => token_update(owner, claim_id, limit, excluded),
            Which::Ids(ids) => format!(
                "UPDATE res_queue FORCE INDEX (PRIMARY) SET {CLAIMED}, owner = {}, claim_id = {claim_id} \
                 WHERE res_id IN ({}) AND {READY}",
                literal(owner),
                id_list(ids)
            ),
        }
    }
}

impl Claimer {
    /// Marks up to `limit` ready rows as claimed, in the order of (priority, res_id), and returns them with the
    /// transaction still open, and how long each had been ready. None: nothing was claimed and no transaction is open.
    pub(super) fn claim<'c>(
        &self,
        conn: &'c mut Conn,
        claim_id: u64,
        which: Which<'_>,
    ) -> Result<Option<(Transaction<'c>, Claim, Vec<Duration>)>, Error> {
        let (tx, rows) = if self.skip_locked {
            self.lock_and_mark(conn, claim_id, which)?
        } else {
            let tx = Transaction::start(conn)?;
            let rows = self.mark_by_token(tx.conn, claim_id, which)?;
            (tx, rows)
        };
        let Some(last) = rows.last() else {
            tx.roll_back()?;
            return Ok(None);
        };
        // A claim by token can't continue behind a row.
        let cursor = self.skip_locked.then_some(Cursor { priority: last.1, id: last.0 });
        // Rows that are locked first were read before the UPDATE that counts the attempt, others after it.
        let uncounted = u32::from(self.skip_locked);
        let waited = |row: &Columns| Duration::from_secs(row.8.unwrap_or(0).max(0).unsigned_abs());
        let waited = rows.iter().map(waited).collect();
        let jobs = rows.into_iter().map(|row| job(row, claim_id, uncounted)).collect();
        Ok(Some((tx, Claim { jobs, cursor }, waited)))
    }

    /// Empty also if another node of a cluster has committed a change of one of the rows, which no lock shows.
    fn lock_and_mark<'c>(
        &self,
        conn: &'c mut Conn,
        claim_id: u64,
        which: Which<'_>,
    ) -> Result<(Transaction<'c>, Vec<Columns>), Error> {
        let (tx, rows) = Transaction::start_with(conn, &which.locking_read())?;
        let rows = checked(rows)?;
        if rows.is_empty() {
            return Ok((tx, rows));
        }
        tx.conn.query_drop(format!(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET {CLAIMED}, owner = {}, claim_id = {claim_id} \
             WHERE res_id IN ({}) AND status = 'new' AND run_at IS NULL",
            literal(&self.owner),
            id_list(rows.iter().map(|row| &row.0)),
        ))?;
        let are_ours = tx.conn.affected_rows() == rows.len() as u64;
        Ok((tx, if are_ours { rows } else { Vec::new() }))
    }

    fn mark_by_token(&self, conn: &mut Conn, claim_id: u64, which: Which<'_>) -> Result<Vec<Columns>, Error> {
        conn.query_drop(which.token_update(&self.owner, claim_id))?;
        if conn.affected_rows() == 0 {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM res_queue FORCE INDEX (res_queue_claim) \
             WHERE status = 'in_progress' AND claim_id = {claim_id} ORDER BY priority, res_id"
        );
        read(conn, &sql)
    }
}

/// Runs a query for [`COLUMNS`].
fn read(conn: &mut Conn, sql: &str) -> Result<Vec<Columns>, Error> {
    checked(conn.query_opt::<Columns, _>(sql)?)
}

fn checked(rows: Vec<Result<Columns, FromRowError>>) -> Result<Vec<Columns>, Error> {
    rows.into_iter().map(|row| row.map_err(|FromRowError(row)| Error::Corrupt(wrong_column(&row)))).collect()
}

/// What is wrong with a row that makes no job: an old table may allow NULL, or any bytes, where resq's own does not.
fn wrong_column(row: &Row) -> &'static str {
    let is_text = |at: usize| matches!(row.as_ref(at), Some(Value::Bytes(bytes)) if str::from_utf8(bytes).is_ok());
    match row.as_ref(2) {
        Some(Value::NULL) => "res_name is NULL",
        _ if !is_text(2) => "res_name is not valid UTF-8",
        _ if !is_text(3) => "res_type is not valid UTF-8",
        _ if !is_text(4) && row.as_ref(4) != Some(&Value::NULL) => "res_url is not valid UTF-8",
        _ => "a number in the row is out of range",
    }
}

/// The rows that a claim would take, by their place in the order of claims.
pub(super) fn ready(
    conn: &mut Conn,
    limit: usize,
    after: Option<Cursor>,
    excluded: &[u64],
) -> Result<Vec<Cursor>, Error> {
    let sql = format!("SELECT res_id, COALESCE(priority, 0) {}", next_rows(limit, after, excluded));
    conn.read_map(sql, |(id, priority)| Cursor { priority, id })
}

/// Which of these claims have jobs in progress.
pub(super) fn holding(conn: &mut Conn, claim_ids: &[u64]) -> Result<Vec<u64>, Error> {
    conn.read_rows(format!(
        "SELECT DISTINCT claim_id FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE status = 'in_progress' AND claim_id IN ({}) ORDER BY claim_id",
        id_list(claim_ids)
    ))
}

/// The jobs of one claim that are in progress.
pub(super) fn claimed(conn: &mut Conn, claim_id: u64) -> Result<Vec<u64>, Error> {
    conn.read_rows(format!(
        "SELECT res_id FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE status = 'in_progress' AND claim_id = {claim_id}"
    ))
}

/// Puts jobs of one claim back to `new` as if they had never been claimed, those with these ids or all of them. Returns
/// the open transaction.
pub(super) fn release<'c>(conn: &'c mut Conn, claim_id: u64, ids: Option<&[u64]>) -> Result<Transaction<'c>, Error> {
    let tx = Transaction::start(conn)?;
    let (index, which) = match ids {
        Some(ids) => ("PRIMARY", format!("AND res_id IN ({})", id_list(ids))),
        None => ("res_queue_claim", String::new()),
    };
    tx.conn.query_drop(format!(
        "UPDATE res_queue FORCE INDEX ({index}) \
         SET status = 'new', owner = NULL, claim_id = NULL, attempts = GREATEST(attempts, 1) - 1 \
         WHERE status = 'in_progress' AND claim_id = {claim_id} {which}"
    ))?;
    Ok(tx)
}
