//! The dispatcher's and the completer's SQL on `res_queue`, `res_error` and `res_daemon`. Every statement expects
//! the global database as the current one and changes a row only if it still is what the caller thinks it is.

use std::time::Duration;

use mysql::{Conn, prelude::Queryable};

use super::job::{FinishedAttempt, Job, JobResult, Next, Status};
use crate::db::{self, Error, id_list, literal};

/// Where a claim goes on: just after this priority and `res_id`. Index entries of earlier claims are delete-marked
/// and stay until no snapshot needs them; starting behind them keeps a claim's time flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub priority: i64,
    pub id: u64,
}

/// Who claims, and how this server lets it.
#[derive(Clone, Debug)]
pub struct Claimer {
    pub owner: String,
    pub skip_locked: bool,
}

/// A claim's conditions: equalities on the claim's index; the pause switch, which so holds from the moment it is
/// committed; and no number below 1, which a signed `res_id` can have and nothing else here can hold
/// (as a sum, so that no plan goes by it).
const READY: &str = "status = 'new' AND run_at IS NULL AND res_id + 0 > 0 \
                     AND NOT EXISTS (SELECT 1 FROM res_meta WHERE name = 'paused')";
/// What a claim sets. Whoever may INSERT may also write the greatest number of attempts there is.
const CLAIMED: &str =
    "status = 'in_progress', attempts = LEAST(COALESCE(attempts, 0), 4294967294) + 1, started_at = NOW(6)";
/// A table from before resq may have columns of these names that are NULL in old rows.
const COLUMNS: &str = "res_id, COALESCE(priority, 0), res_name, COALESCE(res_type, 'default'), res_url, \
                       COALESCE(attempts, 0), max_attempts, interruptions";
type Columns = (u64, i64, String, String, Option<String>, u32, Option<u32>, u32);

fn job(row: Columns, claim_id: u64, counting: u32) -> Job {
    let (id, _, name, res_type, url, attempts, max_attempts, interruptions) = row;
    Job { id, name, res_type, url, attempt: attempts.saturating_add(counting), max_attempts, interruptions, claim_id }
}

/// A claim's read. It locks what it reads, so it may read nothing but what it takes: a sort in its plan would lock
/// every ready row.
pub fn locking_read(limit: usize, after: Option<Cursor>) -> String {
    let behind = after.map_or_else(String::new, |Cursor { priority, id }| {
        format!("AND (priority > {priority} OR (priority = {priority} AND res_id > {id}))")
    });
    format!(
        "SELECT {COLUMNS} FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE {READY} {behind} ORDER BY priority, res_id LIMIT {limit} FOR UPDATE SKIP LOCKED"
    )
}

/// A claim's UPDATE where there is no SKIP LOCKED. The ORDER BY names the whole index: by less it sorts, and locks
/// every ready row.
pub fn token_update(owner: &str, claim_id: u64, limit: usize) -> String {
    format!(
        "UPDATE res_queue SET {CLAIMED}, owner = {}, claim_id = {claim_id} \
         WHERE {READY} ORDER BY status, run_at, priority, res_id LIMIT {limit}",
        literal(owner),
    )
}

impl Claimer {
    /// Claims up to `limit` ready rows in one short transaction, in the order of (priority, res_id), `within` it
    /// running what has to be committed together with the claim. Returns the jobs and where the next claim may go on.
    pub fn claim(
        &self,
        conn: &mut Conn,
        claim_id: u64,
        limit: usize,
        after: Option<Cursor>,
        within: impl Fn(&mut Conn, &[Job]) -> Result<(), Error>,
    ) -> Result<(Vec<Job>, Option<Cursor>), Error> {
        conn.query_drop("START TRANSACTION")?;
        let rows = if self.skip_locked {
            self.lock_and_mark(conn, claim_id, limit, after)?
        } else {
            self.mark_by_token(conn, claim_id, limit)?
        };
        let Some(rows) = rows.filter(|rows| !rows.is_empty()) else {
            conn.query_drop("ROLLBACK")?;
            return Ok((Vec::new(), None));
        };
        // A claim by token names no place to start at.
        let last = rows.last().filter(|_| self.skip_locked).map(|row| Cursor { priority: row.1, id: row.0 });
        // The rows were read before the UPDATE that counts the attempt where they are locked first, else after it.
        let jobs: Vec<Job> = rows.into_iter().map(|row| job(row, claim_id, u32::from(self.skip_locked))).collect();
        within(conn, &jobs)?;
        conn.query_drop("COMMIT")?;
        Ok((jobs, last))
    }

    /// None: another node's commit took some of the rows, which on a cluster no lock of ours could have shown.
    fn lock_and_mark(
        &self,
        conn: &mut Conn,
        claim_id: u64,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<Option<Vec<Columns>>, Error> {
        let rows: Vec<Columns> = conn.query_opt(locking_read(limit, after))?.into_iter().collect::<Result<_, _>>()?;
        if rows.is_empty() {
            return Ok(Some(rows));
        }
        conn.query_drop(format!(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET {CLAIMED}, owner = {}, claim_id = {claim_id} \
             WHERE res_id IN ({}) AND status = 'new'",
            literal(&self.owner),
            id_list(rows.iter().map(|row| &row.0)),
        ))?;
        Ok((conn.affected_rows() == rows.len() as u64).then_some(rows))
    }

    /// For servers without SKIP LOCKED.
    fn mark_by_token(&self, conn: &mut Conn, claim_id: u64, limit: usize) -> Result<Option<Vec<Columns>>, Error> {
        conn.query_drop(token_update(&self.owner, claim_id, limit))?;
        if conn.affected_rows() == 0 {
            return Ok(None);
        }
        let rows = conn.query_opt(format!(
            "SELECT {COLUMNS} FROM res_queue FORCE INDEX (res_queue_claim) \
             WHERE status = 'in_progress' AND claim_id = {claim_id} ORDER BY priority, res_id"
        ))?;
        Ok(Some(rows.into_iter().collect::<Result<_, _>>()?))
    }

    /// Makes up to 500 delayed rows ready whose time has come; true if there may be more.
    pub fn promote_delayed(&self, conn: &mut Conn) -> Result<bool, Error> {
        const LIMIT: usize = 500;
        let skip = if self.skip_locked { "SKIP LOCKED" } else { "" };
        conn.query_drop("START TRANSACTION")?;
        let ids: Vec<u64> = conn.query(format!(
            "SELECT res_id FROM res_queue FORCE INDEX (res_queue_claim) \
             WHERE status = 'new' AND run_at <= NOW(6) ORDER BY run_at LIMIT {LIMIT} FOR UPDATE {skip}"
        ))?;
        if !ids.is_empty() {
            conn.query_drop(format!(
                "UPDATE res_queue FORCE INDEX (PRIMARY) SET run_at = NULL WHERE res_id IN ({}) AND status = 'new'",
                id_list(&ids)
            ))?;
        }
        conn.query_drop("COMMIT")?;
        Ok(ids.len() == LIMIT)
    }
}

/// How long until the next delayed row is due, by the server's clock; None if there is none.
pub fn next_due(conn: &mut Conn) -> Result<Option<Duration>, Error> {
    let micros: Option<i64> = conn.query_first(
        "SELECT TIMESTAMPDIFF(MICROSECOND, NOW(6), run_at) FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE status = 'new' AND run_at > '1971-01-01' ORDER BY run_at LIMIT 1",
    )?;
    Ok(micros.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs())))
}

/// Whether an operator has paused the queue.
pub fn paused(conn: &mut Conn) -> Result<bool, Error> {
    Ok(conn.query_first::<u8, _>("SELECT 1 FROM res_meta WHERE name = 'paused'")?.is_some())
}

/// Keeps `owner`'s jobs for `lease_s` seconds more.
pub fn renew_lease(conn: &mut Conn, owner: &str, lease_s: u32) -> Result<(), Error> {
    Ok(conn.exec_drop(
        "INSERT INTO res_daemon (owner, lease_until) VALUES (?, NOW(6) + INTERVAL ? SECOND) \
         ON DUPLICATE KEY UPDATE lease_until = VALUES(lease_until)",
        (owner, lease_s),
    )?)
}

/// Ends the lease at once: what `owner` still holds may be reclaimed.
pub fn end_lease(conn: &mut Conn, owner: &str) -> Result<(), Error> {
    Ok(conn.exec_drop("DELETE FROM res_daemon WHERE owner = ?", (owner,))?)
}

/// Puts up to 500 jobs whose daemon's lease has run out back to `new`, with a growing pause; returns how many.
/// Such an attempt does not count, the interruption does.
pub fn reclaim_expired(conn: &mut Conn) -> Result<u64, Error> {
    const LOST: &str = "SELECT q.res_id, q.claim_id FROM res_queue q FORCE INDEX (res_queue_claim) \
         LEFT JOIN res_daemon d ON d.owner = q.owner \
         WHERE q.status = 'in_progress' AND (d.owner IS NULL OR d.lease_until < NOW(6)) LIMIT 500";
    let mut reclaimed = 0;
    if conn.query_first::<(u64, Option<u64>), _>(LOST)?.is_none() {
        return Ok(reclaimed);
    }
    // On a cluster this node may be behind: the lease was renewed on another one, and the job is being done there.
    db::catch_up(conn)?;
    let lost: Vec<(u64, Option<u64>)> = conn.query(LOST)?;
    for (id, claim_id) in &lost {
        conn.exec_drop(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET status = 'new', owner = NULL, claim_id = NULL, \
             attempts = GREATEST(attempts, 1) - 1, interruptions = LEAST(interruptions, 1000) + 1, \
             run_at = IF(interruptions > 1, NOW(6) + INTERVAL POW(2, LEAST(interruptions - 1, 6)) SECOND, NULL) \
             WHERE res_id = ? AND status = 'in_progress' AND claim_id <=> ?",
            (id, claim_id),
        )?;
        reclaimed += conn.affected_rows();
    }
    if reclaimed > 0 {
        conn.query_drop("DELETE FROM res_daemon WHERE lease_until < NOW(6) - INTERVAL 1 DAY")?;
    }
    Ok(reclaimed)
}

/// Gives jobs of one claim back that were not started, all of them or these: as if they had never been claimed.
/// `within` the transaction runs what takes back what was committed with the claim.
pub fn release_claimed(
    conn: &mut Conn,
    claim_id: u64,
    ids: Option<&[u64]>,
    within: impl Fn(&mut Conn) -> Result<(), Error>,
) -> Result<(), Error> {
    conn.query_drop("START TRANSACTION")?;
    match ids {
        Some(ids) => unclaim(conn, claim_id, "PRIMARY", &format!("AND res_id IN ({})", id_list(ids)))?,
        None => unclaim(conn, claim_id, "res_queue_claim", "")?,
    }
    within(conn)?;
    Ok(conn.query_drop("COMMIT")?)
}

fn unclaim(conn: &mut Conn, claim_id: u64, index: &str, and: &str) -> Result<(), Error> {
    Ok(conn.query_drop(format!(
        "UPDATE res_queue FORCE INDEX ({index}) SET status = 'new', owner = NULL, claim_id = NULL, attempts = GREATEST(attempts, 1) - 1 \
         WHERE status = 'in_progress' AND claim_id = {claim_id} {and}"
    ))?)
}

/// An attempt's end with what follows from it.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub attempt: FinishedAttempt,
    pub next: Next,
}

impl Outcome {
    const REFUSED: &str = "the outcome could not be recorded";

    /// The same job outcome in error, with a text that every character set can hold: the server refused this outcome.
    pub fn refused(&self, error: &Error) -> Outcome {
        let error = format!("{}: server error {}", Outcome::REFUSED, error.code().unwrap_or_default());
        let attempt =
            FinishedAttempt { job: self.attempt.job.clone(), result: JobResult::Failed { error, permanent: true } };
        Outcome { attempt, next: Next::Error }
    }

    pub fn is_refused(&self) -> bool {
        matches!(&self.attempt.result, JobResult::Failed { error, .. } if error.starts_with(Outcome::REFUSED))
    }
}

/// Writes `outcomes` in one transaction. Rows that are no longer held under their claim are left alone: their worker
/// lost them, another has them. Returns how many were written. The UPDATEs ask again, since another node's commit may
/// take a row from under its lock; that is a lost race.
pub fn finish(
    conn: &mut Conn,
    outcomes: &[Outcome],
    within: impl Fn(&mut Conn, &[&Outcome]) -> Result<(), Error>,
) -> Result<usize, Error> {
    conn.query_drop("START TRANSACTION")?;
    let mut held: Vec<&Outcome> = Vec::with_capacity(outcomes.len());
    for batch in outcomes.chunk_by(|a, b| a.attempt.job.claim_id == b.attempt.job.claim_id) {
        let ids: Vec<u64> = conn.query(format!(
            "SELECT res_id FROM res_queue FORCE INDEX (PRIMARY) WHERE res_id IN ({}) AND claim_id = {} \
             AND status = 'in_progress' ORDER BY res_id FOR UPDATE",
            id_list(batch.iter().map(|outcome| &outcome.attempt.job.id)),
            batch[0].attempt.job.claim_id,
        ))?;
        held.extend(batch.iter().filter(|outcome| ids.binary_search(&outcome.attempt.job.id).is_ok()));
    }
    finish_done(conn, &held)?;
    for outcome in &held {
        match &outcome.attempt.result {
            JobResult::Done { .. } => {}
            JobResult::Failed { error, .. } => finish_failed(conn, outcome, error, false)?,
            JobResult::Interrupted { why } => finish_failed(conn, outcome, why, true)?,
        }
    }
    if !held.is_empty() {
        within(conn, &held)?;
    }
    conn.query_drop("COMMIT")?;
    Ok(held.len())
}

fn finish_done(conn: &mut Conn, held: &[&Outcome]) -> Result<(), Error> {
    let mut ids = Vec::new();
    let mut claim_ids = Vec::new();
    let mut names = String::new();
    for outcome in held {
        if let JobResult::Done { db_name } = &outcome.attempt.result {
            ids.push(outcome.attempt.job.id);
            claim_ids.push(outcome.attempt.job.claim_id);
            if let Some(name) = db_name {
                names += &format!(" WHEN {} THEN {}", outcome.attempt.job.id, literal(name));
            }
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let db_name = if names.is_empty() { "NULL".to_string() } else { format!("CASE res_id{names} END") };
    conn.query_drop(format!(
        "UPDATE res_queue FORCE INDEX (PRIMARY) SET status = 'done', db_name = {db_name}, last_error = NULL, \
         owner = NULL, claim_id = NULL WHERE res_id IN ({}) AND status = 'in_progress' AND claim_id IN ({})",
        id_list(&ids),
        id_list(&claim_ids),
    ))?;
    expect_changed(conn, ids.len())
}

fn finish_failed(conn: &mut Conn, outcome: &Outcome, error: &str, interrupted: bool) -> Result<(), Error> {
    let job = &outcome.attempt.job;
    conn.exec_drop("INSERT INTO res_error (res_id, attempt, message) VALUES (?, ?, ?)", (job.id, job.attempt, error))?;
    let (status, pause_us) = match outcome.next {
        Next::Done => (Status::Done, None),
        Next::Retry { after } => (Status::New, Some(after.as_micros() as u64)),
        Next::Error => (Status::Error, None),
    };
    conn.exec_drop(
        "UPDATE res_queue FORCE INDEX (PRIMARY) SET status = ?, run_at = NOW(6) + INTERVAL ? MICROSECOND, \
         last_error = ?, attempts = GREATEST(attempts, ?) - ?, interruptions = LEAST(interruptions, 1000) + ?, owner = NULL, claim_id = NULL \
         WHERE res_id = ? AND status = 'in_progress' AND claim_id = ?",
        (status.as_str(), pause_us, error, interrupted, interrupted, interrupted, job.id, job.claim_id),
    )?;
    expect_changed(conn, 1)
}

/// A statement changes the rows that were locked for it, or the transaction begins anew.
fn expect_changed(conn: &Conn, rows: usize) -> Result<(), Error> {
    if conn.affected_rows() == rows as u64 { Ok(()) } else { Err(Error::RaceLost) }
}
