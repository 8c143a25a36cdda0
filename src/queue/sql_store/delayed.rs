//! Rows that are not ready yet: delayed ones, and all of them while the queue is paused.

use std::time::Duration;

use mysql::{Conn, prelude::Queryable};

use super::transaction::Transaction;
use crate::db::{Error, Link, ReadRows, codes::ER_LOCK_WAIT_TIMEOUT, except, id_list};

/// Since when a ready row `q` of the queue is ready: since it was inserted or retried, or since a delay was over. Any other
/// change of the row counts as well.
pub const READY_SINCE: &str = "COALESCE(q.run_at, q.updated_at, q.created_at)";

/// Up to `limit` delayed rows that are due, in the order of their times. No id below 1: see [`super::claim`].
pub fn due(conn: &mut Conn, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
    conn.read_rows(format!(
        "SELECT res_id FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE status = 'new' AND run_at <= NOW(6) AND res_id + 0 > 0 {} ORDER BY run_at LIMIT {limit}",
        except("res_id", excluded)
    ))
}

/// Makes those of these rows ready that are due; returns how many. It waits for no row that is locked.
pub fn promote(link: &mut Link, ids: &[u64], skip_locked: bool) -> Result<u64, Error> {
    if skip_locked {
        return link.run(|conn| promote_locking(conn, ids, "SKIP LOCKED"));
    }
    // Halves of halves, down to the locked rows.
    let (mut promoted, mut left) = (0, vec![ids]);
    while let Some(ids) = left.pop() {
        let done = link.run(|conn| match promote_locking(conn, ids, "NOWAIT") {
            Err(error) if error.code() == Some(ER_LOCK_WAIT_TIMEOUT) => {
                conn.query_drop("ROLLBACK")?;
                Ok(None)
            }
            done => done.map(Some),
        })?;
        match done {
            Some(count) => promoted += count,
            None if ids.len() > 1 => left.extend(<[_; 2]>::from(ids.split_at(ids.len() / 2))),
            None => {}
        }
    }
    Ok(promoted)
}

/// `locked`: what to do about rows that are locked.
fn promote_locking(conn: &mut Conn, ids: &[u64], locked: &str) -> Result<u64, Error> {
    let tx = Transaction::start(conn)?;
    let ids: Vec<u64> = tx.conn.read_rows(format!(
        "SELECT res_id FROM res_queue FORCE INDEX (PRIMARY) \
         WHERE res_id IN ({}) AND status = 'new' AND run_at <= NOW(6) FOR UPDATE {locked}",
        id_list(ids)
    ))?;
    let mut promoted = 0;
    if !ids.is_empty() {
        tx.conn.query_drop(format!(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET run_at = NULL WHERE res_id IN ({}) AND status = 'new'",
            id_list(&ids)
        ))?;
        promoted = tx.conn.affected_rows();
    }
    tx.commit()?;
    Ok(promoted)
}

/// The time until the next delayed row is due, by the server's clock; None if there is none.
pub fn next_due(conn: &mut Conn, excluded: &[u64]) -> Result<Option<Duration>, Error> {
    let micros: Option<i64> = conn.read_first(format!(
        "SELECT TIMESTAMPDIFF(MICROSECOND, NOW(6), run_at) FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE status = 'new' AND run_at > '1971-01-01' AND res_id + 0 > 0 {} ORDER BY run_at LIMIT 1",
        except("res_id", excluded)
    ))?;
    Ok(micros.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs())))
}

/// Selects a row if an operator has paused the queue.
pub const PAUSED: &str = "SELECT 1 FROM res_meta WHERE name = 'paused'";

/// Whether an operator has paused the queue.
pub fn is_paused(conn: &mut Conn) -> Result<bool, Error> {
    Ok(conn.read_first::<u8>(PAUSED)?.is_some())
}
