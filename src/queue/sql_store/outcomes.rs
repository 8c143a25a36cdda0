//! Recording how attempts ended.

use mysql::{Conn, prelude::Queryable};

use super::transaction::Transaction;
use crate::{
    db::{Error, ReadRows, id_list, literal},
    queue::{
        job::Status,
        outcome::{JobError, Next, Outcome, WAITING},
    },
};

/// Writes `outcomes` and returns those that were written, with the transaction still open. A row that is no longer held
/// under the outcome's claim is left alone: its attempt has lost the job. The UPDATEs repeat that condition, since
/// another node of a cluster may commit a change of a row despite its lock; that counts as a lost race.
pub fn record<'c, 'o>(
    conn: &'c mut Conn,
    outcomes: &'o [Outcome],
) -> Result<(Transaction<'c>, Vec<&'o Outcome>), Error> {
    let tx = Transaction::start(conn)?;
    let mut held: Vec<&Outcome> = Vec::with_capacity(outcomes.len());
    for batch in outcomes.chunk_by(|a, b| a.attempt.job.claim_id == b.attempt.job.claim_id) {
        let ids: Vec<u64> = tx.conn.read_rows(format!(
            "SELECT res_id FROM res_queue FORCE INDEX (PRIMARY) WHERE res_id IN ({}) AND claim_id = {} \
             AND status = 'in_progress' ORDER BY res_id FOR UPDATE",
            id_list(batch.iter().map(|outcome| &outcome.attempt.job.id)),
            batch[0].attempt.job.claim_id,
        ))?;
        held.extend(batch.iter().filter(|outcome| ids.binary_search(&outcome.attempt.job.id).is_ok()));
    }
    record_done(tx.conn, &held)?;
    for outcome in &held {
        if let Err(error) = &outcome.attempt.result {
            record_failed(tx.conn, outcome, error)?;
        }
    }
    Ok((tx, held))
}

/// All successes in one statement. A job's result is the column `db_name`.
fn record_done(conn: &mut Conn, held: &[&Outcome]) -> Result<(), Error> {
    let mut ids = Vec::new();
    let mut claim_ids = Vec::new();
    let mut results = String::new();
    for outcome in held {
        if let Ok(result) = &outcome.attempt.result {
            ids.push(outcome.attempt.job.id);
            claim_ids.push(outcome.attempt.job.claim_id);
            if let Some(result) = result {
                results += &format!(" WHEN {} THEN {}", outcome.attempt.job.id, literal(result));
            }
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let result = if results.is_empty() { "NULL".to_string() } else { format!("CASE res_id{results} END") };
    conn.query_drop(format!(
        "UPDATE res_queue FORCE INDEX (PRIMARY) SET status = 'done', db_name = {result}, last_error = NULL, \
         owner = NULL, claim_id = NULL WHERE res_id IN ({}) AND status = 'in_progress' AND claim_id IN ({})",
        id_list(&ids),
        id_list(&claim_ids),
    ))?;
    expect_changed(conn, ids.len())
}

fn record_failed(conn: &mut Conn, outcome: &Outcome, error: &JobError) -> Result<(), Error> {
    let job = &outcome.attempt.job;
    let (uncounted, interrupted, message) = match error {
        JobError::Failed(message) | JobError::Permanent(message) => (0, 0, literal(message)),
        JobError::Interrupted(message) => (1, 1, literal(message)),
        // Only in the row: it may happen every minute of a night.
        JobError::Postponed(message) => (1, 0, literal(&format!("{WAITING}{message}"))),
    };
    if !matches!(error, JobError::Postponed(_)) {
        conn.query_drop(format!(
            "INSERT INTO res_error (res_id, attempt, message) VALUES ({}, {}, {message})",
            job.id, job.attempt
        ))?;
    }
    let (status, run_at) = match outcome.next {
        Next::Done => (Status::Done, "NULL".into()),
        Next::Retry { after } => (Status::New, format!("NOW(6) + INTERVAL {} MICROSECOND", after.as_micros())),
        Next::Error => (Status::Error, "NULL".into()),
    };
    conn.query_drop(format!(
        "UPDATE res_queue FORCE INDEX (PRIMARY) SET status = '{}', run_at = {run_at}, last_error = {message}, \
         attempts = GREATEST(attempts, {uncounted}) - {uncounted}, \
         interruptions = LEAST(interruptions, 1000) + {interrupted}, owner = NULL, claim_id = NULL \
         WHERE res_id = {} AND status = 'in_progress' AND claim_id = {}",
        status.as_str(),
        job.id,
        job.claim_id
    ))?;
    expect_changed(conn, 1)
}

/// A statement changes every row that was locked for it, or the transaction starts over.
fn expect_changed(conn: &Conn, rows: usize) -> Result<(), Error> {
    if conn.affected_rows() == rows as u64 { Ok(()) } else { Err(Error::RaceLost) }
}
