//! Claiming ready rows, and releasing them unstarted.

use mysql::{Conn, prelude::Queryable};

use super::transaction::Transaction;
use crate::{
    db::{Error, id_list, literal},
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
    /// Whether the server has SKIP LOCKED; without it, jobs are claimed by token.
    pub skip_locked: bool,
}

/// A claim's conditions: equalities on the claim's index; the pause flag, so that pausing takes effect at its commit;
/// and `res_id >= 1`, since a signed `res_id` can be less and [`Job::id`] can't. The last is written as a sum, to keep
/// the optimizer from choosing the primary key for it.
const READY: &str = "status = 'new' AND run_at IS NULL AND res_id + 0 > 0 \
                     AND NOT EXISTS (SELECT 1 FROM res_meta WHERE name = 'paused')";
/// What a claim sets. Any account that may INSERT may also write the greatest possible number of attempts.
const CLAIMED: &str =
    "status = 'in_progress', attempts = LEAST(COALESCE(attempts, 0), 4294967294) + 1, started_at = NOW(6)";
/// A table that is older than resq may have columns of these names that are NULL in old rows.
const COLUMNS: &str = "res_id, COALESCE(priority, 0), res_name, COALESCE(res_type, 'default'), res_url, \
                       COALESCE(attempts, 0), max_attempts, interruptions";
type Columns = (u64, i64, String, String, Option<String>, u32, Option<u32>, u32);

/// `uncounted`: attempts that the row did not count yet when it was read.
fn job(row: Columns, claim_id: u64, uncounted: u32) -> Job {
    let (id, _, name, res_type, url, attempts, max_attempts, interruptions) = row;
    Job { id, name, res_type, url, attempt: attempts.saturating_add(uncounted), max_attempts, interruptions, claim_id }
}

/// A claim's read. It locks what it reads, so it must read only what it claims: a sort in its plan would lock every
/// ready row.
pub fn locking_read(limit: usize, after: Option<Cursor>) -> String {
    let behind = after.map_or_else(String::new, |Cursor { priority, id }| {
        format!("AND (priority > {priority} OR (priority = {priority} AND res_id > {id}))")
    });
    format!(
        "SELECT {COLUMNS} FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE {READY} {behind} ORDER BY priority, res_id LIMIT {limit} FOR UPDATE SKIP LOCKED"
    )
}

/// A claim's UPDATE where there is no SKIP LOCKED. The ORDER BY names the whole index: with less of it the server sorts,
/// and locks every ready row.
pub fn token_update(owner: &str, claim_id: u64, limit: usize) -> String {
    format!(
        "UPDATE res_queue SET {CLAIMED}, owner = {}, claim_id = {claim_id} \
         WHERE {READY} ORDER BY status, run_at, priority, res_id LIMIT {limit}",
        literal(owner),
    )
}

impl Claimer {
    /// Marks up to `limit` ready rows as claimed, in the order of (priority, res_id), and returns them with the
    /// transaction still open. None: nothing was claimed and no transaction is open.
    pub(super) fn claim<'c>(
        &self,
        conn: &'c mut Conn,
        claim_id: u64,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Option<(Transaction<'c>, Claim)>, Error> {
        let tx = Transaction::start(conn)?;
        let rows = if self.skip_locked {
            self.lock_and_mark(tx.conn, claim_id, limit, after)?
        } else {
            self.mark_by_token(tx.conn, claim_id, limit)?
        };
        let Some(last) = rows.last() else {
            tx.roll_back()?;
            return Ok(None);
        };
        // A claim by token can't continue behind a row.
        let cursor = self.skip_locked.then_some(Cursor { priority: last.1, id: last.0 });
        // Rows that are locked first were read before the UPDATE that counts the attempt, others after it.
        let uncounted = u32::from(self.skip_locked);
        let jobs = rows.into_iter().map(|row| job(row, claim_id, uncounted)).collect();
        Ok(Some((tx, Claim { jobs, cursor })))
    }

    /// Empty also if another node of a cluster has committed a change of one of the rows, which no lock shows.
    fn lock_and_mark(
        &self,
        conn: &mut Conn,
        claim_id: u64,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Vec<Columns>, Error> {
        let rows: Vec<Columns> = conn.query_opt(locking_read(limit, after))?.into_iter().collect::<Result<_, _>>()?;
        if rows.is_empty() {
            return Ok(rows);
        }
        conn.query_drop(format!(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET {CLAIMED}, owner = {}, claim_id = {claim_id} \
             WHERE res_id IN ({}) AND status = 'new'",
            literal(&self.owner),
            id_list(rows.iter().map(|row| &row.0)),
        ))?;
        Ok(if conn.affected_rows() == rows.len() as u64 { rows } else { Vec::new() })
    }

    fn mark_by_token(&self, conn: &mut Conn, claim_id: u64, limit: usize) -> Result<Vec<Columns>, Error> {
        conn.query_drop(token_update(&self.owner, claim_id, limit))?;
        if conn.affected_rows() == 0 {
            return Ok(Vec::new());
        }
        let rows = conn.query_opt(format!(
            "SELECT {COLUMNS} FROM res_queue FORCE INDEX (res_queue_claim) \
             WHERE status = 'in_progress' AND claim_id = {claim_id} ORDER BY priority, res_id"
        ))?;
        rows.into_iter().map(|row| row.map_err(Error::from)).collect()
    }
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
