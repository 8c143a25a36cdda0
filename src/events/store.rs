//! The event log's SQL: numbering what is committed, reading on, pruning. Every statement expects the global database
//! as the current one.

use std::sync::Arc;

use mysql::{Conn, Row, prelude::Queryable};

use crate::{
    base::text::printable,
    db::Error,
    events::event::{Event, LogHead},
    wire::Pattern,
};

/// A page ends with the event that fills it; a single one may be larger. As much as one subscriber's queue takes.
const PAGE_BYTES: usize = 1 << 20;

/// Where the log begins and ends.
pub fn head(conn: &mut Conn) -> Result<LogHead, Error> {
    let row: Option<(u64, u64, u64)> =
        conn.query_first("SELECT log_id, first_seq, head_seq FROM res_log WHERE id = 1")?;
    let (log_id, first_seq, head_seq) = row.ok_or(Error::Corrupt("res_log has no row"))?;
    Ok(LogHead { log_id, first_seq, head_seq })
}

/// What a look at the log found.
pub struct Found {
    /// The greatest outbox id that was numbered; None: there was nothing to number.
    pub moved: Option<u64>,
    /// The next page of the log.
    pub events: Vec<Arc<Event>>,
}

/// Numbers up to `limit` committed events whose outbox id is above `floor`, then reads on after `after_seq`, whoever
/// numbered what is there. One round trip; the commit is the server's.
pub fn look(conn: &mut Conn, floor: u64, after_seq: u64, limit: usize) -> Result<Found, Error> {
    let page = page(after_seq, limit);
    let mut results =
        conn.query_iter(format!("CALL res_number({floor}, {limit}, @res_last); SELECT @res_last; {page}"))?;
    let mut found = Found { moved: None, events: Vec::new() };
    while let Some(rows) = results.iter() {
        for row in rows {
            let mut row = row?;
            match row.len() {
                1 => found.moved = row.take::<Option<u64>, _>(0).flatten(),
                _ => found.events.push(event(row)?),
            }
        }
    }
    Ok(found)
}

/// The first events after `after_seq`, at most `limit` and about [`PAGE_BYTES`], in order.
pub fn read(conn: &mut Conn, after_seq: u64, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
    let rows: Vec<Row> = conn.query(page(after_seq, limit))?;
    rows.into_iter().map(event).collect()
}

fn page(after_seq: u64, limit: usize) -> String {
    // The sizes are summed before any payload is read.
    format!(
        "SELECT e.seq, CAST(UNIX_TIMESTAMP(e.at) * 1000000 AS UNSIGNED), e.state, e.payload \
         FROM (SELECT seq, SUM(bytes) OVER (ORDER BY seq) - bytes AS before_it FROM \
               (SELECT seq, bytes FROM res_event WHERE seq > {after_seq} ORDER BY seq LIMIT {limit}) page) z \
         STRAIGHT_JOIN res_event e ON e.seq = z.seq WHERE z.before_it < {PAGE_BYTES} ORDER BY e.seq"
    )
}

/// The least id in the outbox, committed or not: of a transaction on this node that wrote events and has not ended yet,
/// if all that is committed was moved.
pub fn oldest_unmoved(conn: &mut Conn) -> Result<Option<u64>, Error> {
    conn.query_drop("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")?;
    Ok(conn.query_first("SELECT MIN(id) FROM res_outbox")?.flatten())
}

/// Whether a page of at most `limit` ended for want of room, so that there may be more.
pub fn is_full(page: &[Arc<Event>], limit: usize) -> bool {
    page.len() == limit || page.iter().map(|event| event.frame.len()).sum::<usize>() >= PAGE_BYTES
}

fn event(row: Row) -> Result<Arc<Event>, Error> {
    let (seq, at, state, payload): (u64, u64, String, Vec<u8>) = mysql::from_row_opt(row)?;
    // Whoever writes to the outbox past `publish` may write what no frame can carry. Its number stays taken, so it is
    // describe as what it is instead of stopping the log for everybody.
    let event = Event::new(seq, at, &state, &payload).or_else(|error| {
        log::error!("event {seq} can't be delivered as it is ({error}), state `{}`", printable(&state));
        Event::new(seq, at, "resq.unreadable", b"null")
    });
    event.map(Arc::new).map_err(|_| Error::Corrupt("an event of res_event cannot be encoded"))
}

/// An event as it is stored: seq, µs since 1970, state, payload.
pub type Stored = (u64, u64, String, Vec<u8>);

/// Hands events on in their order, as they come from the server, until `take` wants no more: the first `limit` that
/// match after `since`, without it the newest.
pub fn each(
    conn: &mut Conn,
    since: Option<u64>,
    pattern: Option<Pattern<'_>>,
    limit: u32,
    mut take: impl FnMut(Stored) -> bool,
) -> Result<(), Error> {
    // A state has no character that means anything in a literal.
    let wanted = match pattern {
        Some(Pattern::Exact(state)) => format!("state = '{state}'"),
        Some(Pattern::Prefix(prefix)) => format!("LEFT(state, {}) = '{prefix}'", prefix.len()),
        None => "TRUE".into(),
    };
    let chosen = match since {
        Some(since) => format!("seq > {since} AND {wanted} ORDER BY seq"),
        None => format!("{wanted} ORDER BY seq DESC"),
    };
    let mut rows = conn.query_iter(format!(
        "SELECT e.seq, CAST(UNIX_TIMESTAMP(e.at) * 1000000 AS UNSIGNED), e.state, e.payload \
         FROM (SELECT seq FROM res_event WHERE {chosen} LIMIT {limit}) z \
         STRAIGHT_JOIN res_event e ON e.seq = z.seq ORDER BY z.seq"
    ))?;
    for row in rows.by_ref() {
        if !take(mysql::from_row_opt(row?)?) {
            break;
        }
    }
    Ok(())
}

/// Committed events that have no number yet.
pub fn waiting(conn: &mut Conn) -> Result<u64, Error> {
    Ok(conn.query_first("SELECT COUNT(*) FROM res_outbox")?.unwrap_or(0))
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
