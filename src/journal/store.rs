//! The event log's SQL: numbering what is committed, reading on, pruning. Every statement expects the global database
//! as the current one.

use std::sync::Arc;

use mysql::{Conn, Error, Row, prelude::Queryable};

use crate::{
    broker::{Event, LogHead},
    text::printable,
};

/// A page ends with the event that fills it; a single one may be larger. As much as one subscriber's queue takes.
const PAGE_BYTES: usize = 1 << 20;

/// Where the log begins and ends.
pub fn head(conn: &mut Conn) -> Result<LogHead, Error> {
    let row: Option<(u64, u64, u64)> =
        conn.query_first("SELECT log_id, first_seq, head_seq FROM res_log WHERE id = 1")?;
    let (log_id, first_seq, head_seq) = row.ok_or_else(Error::server_disconnected)?;
    Ok(LogHead { log_id, first_seq, head_seq })
}

/// Numbers up to `limit` committed events whose outbox id is above `floor`; the greatest id moved, None if there
/// were none. One round trip; the commit is the server's.
pub fn number(conn: &mut Conn, floor: u64, limit: usize) -> Result<Option<u64>, Error> {
    let mut results = conn.query_iter(format!("CALL res_number({floor}, {limit}, @res_last); SELECT @res_last"))?;
    let mut last = None;
    while let Some(rows) = results.iter() {
        for row in rows {
            last = row?.take::<Option<u64>, _>(0).flatten();
        }
    }
    Ok(last)
}

/// The first events after `after_seq`, at most `limit` and about [`PAGE_BYTES`], in order.
pub fn read(conn: &mut Conn, after_seq: u64, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
    // The sizes are summed before any payload is read.
    let rows: Vec<Row> = conn.query(format!(
        "SELECT e.seq, CAST(UNIX_TIMESTAMP(e.at) * 1000000 AS UNSIGNED), e.state, e.payload \
         FROM (SELECT seq, SUM(bytes) OVER (ORDER BY seq) - bytes AS before_it FROM \
               (SELECT seq, bytes FROM res_event WHERE seq > {after_seq} ORDER BY seq LIMIT {limit}) page) z \
         STRAIGHT_JOIN res_event e ON e.seq = z.seq WHERE z.before_it < {PAGE_BYTES} ORDER BY e.seq"
    ))?;
    rows.into_iter().map(event).collect()
}

/// Whether a page of at most `limit` ended for want of room, so that there may be more.
pub fn is_full(page: &[Arc<Event>], limit: usize) -> bool {
    page.len() == limit || page.iter().map(|event| event.frame.len()).sum::<usize>() >= PAGE_BYTES
}

fn event(row: Row) -> Result<Arc<Event>, Error> {
    let (seq, at, state, payload): (u64, u64, String, Vec<u8>) = mysql::from_row_opt(row)?;
    // Whoever writes to the outbox past `publish` may write what no frame can carry. Its number stays taken, so it is
    // told as what it is instead of stopping the log for everybody.
    let event = Event::new(seq, at, &state, &payload).or_else(|error| {
        log::error!("event {seq} can't be delivered as it is ({error}), state `{}`", printable(&state));
        Event::new(seq, at, "resq.unreadable", b"null")
    });
    event.map(Arc::new).map_err(|error| Error::IoError(std::io::Error::other(error.to_string())))
}

/// Deletes at most `limit` of the oldest events if they were written more than `days` days ago; the new first number
/// if that changed it.
pub fn prune(conn: &mut Conn, days: u32, limit: usize) -> Result<Option<u64>, Error> {
    let old: Vec<(u64, bool)> =
        conn.query(format!("SELECT seq, at < NOW(6) - INTERVAL {days} DAY FROM res_event ORDER BY seq LIMIT {limit}"))?;
    let Some((last, _)) = old.iter().take_while(|(_, is_old)| *is_old).last() else { return Ok(None) };
    conn.query_drop("START TRANSACTION")?;
    conn.query_drop(format!("DELETE FROM res_event WHERE seq <= {last}"))?;
    conn.query_drop(format!("UPDATE res_log SET first_seq = GREATEST(first_seq, {last} + 1) WHERE id = 1"))?;
    conn.query_drop("COMMIT")?;
    Ok(Some(last + 1))
}
