//! Rows that are not ready yet: delayed ones, and all of them while the queue is paused.

use std::time::Duration;

use mysql::{Conn, prelude::Queryable};

use super::transaction::Transaction;
use crate::db::{Error, id_list};

/// Rows made ready in one transaction.
const PROMOTE_BATCH: usize = 500;

/// Makes up to [`PROMOTE_BATCH`] delayed rows that are due ready; true if there may be more.
pub fn promote(conn: &mut Conn, skip_locked: bool) -> Result<bool, Error> {
    let skip = if skip_locked { "SKIP LOCKED" } else { "" };
    let tx = Transaction::start(conn)?;
    let ids: Vec<u64> = tx.conn.query(format!(
        "SELECT res_id FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE status = 'new' AND run_at <= NOW(6) ORDER BY run_at LIMIT {PROMOTE_BATCH} FOR UPDATE {skip}"
    ))?;
    if !ids.is_empty() {
        tx.conn.query_drop(format!(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET run_at = NULL WHERE res_id IN ({}) AND status = 'new'",
            id_list(&ids)
        ))?;
    }
    tx.commit()?;
    Ok(ids.len() == PROMOTE_BATCH)
}

/// The time until the next delayed row is due, by the server's clock; None if there is none.
pub fn next_due(conn: &mut Conn) -> Result<Option<Duration>, Error> {
    let micros: Option<i64> = conn.query_first(
        "SELECT TIMESTAMPDIFF(MICROSECOND, NOW(6), run_at) FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE status = 'new' AND run_at > '1971-01-01' ORDER BY run_at LIMIT 1",
    )?;
    Ok(micros.map(|micros| Duration::from_micros(micros.max(0).unsigned_abs())))
}

/// Whether an operator has paused the queue.
pub fn is_paused(conn: &mut Conn) -> Result<bool, Error> {
    Ok(conn.query_first::<u8, _>("SELECT 1 FROM res_meta WHERE name = 'paused'")?.is_some())
}
