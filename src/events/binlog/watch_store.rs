//! The SQL of watched tables: who reads, how far, and numbering what was read. Expects the global database as the current
//! one. Every change holds the reader's lease, and fails where another daemon has it.

use std::fmt::Write;

use mysql::{Conn, from_row_opt, prelude::Queryable};

use super::{gtid::GtidSet, position::Position, temporal::instant, text::push_literal, transactions::NewEvent};
use crate::{
    db::{Error, ReadRows, literal, run_script},
    events::store::WRITTEN_US,
};

/// How long a daemon that stopped responding keeps the others from reading, in seconds.
pub const LEASE_S: u32 = 10;
/// Bytes of one INSERT, unless one row has more: half of what every server takes, since a payload may double as a literal.
const STATEMENT_BYTES: usize = 500_000;
/// Rows deleted in one statement.
const DELETED: u32 = 10_000;

/// Another daemon reads now.
pub const DISPLACED: &str = "another resqd reads the binary log for watched tables now";

/// Takes the lease, if no other daemon has it. The position; None: nothing was ever read.
///
/// # Errors
/// The server's.
pub fn claim(conn: &mut Conn, owner: &str) -> Result<Option<Option<Position>>, Error> {
    let me = literal(owner);
    conn.query_drop(format!(
        "UPDATE res_watch SET owner = {me}, lease_until = NOW(6) + INTERVAL {LEASE_S} SECOND \
         WHERE id = 1 AND (owner = {me} OR lease_until IS NULL OR lease_until < NOW(6))"
    ))?;
    if conn.affected_rows() != 1 {
        return Ok(None);
    }
    read(conn).map(Some)
}

/// The stored position; None: nothing was ever read.
///
/// # Errors
/// The server's.
pub fn read(conn: &mut Conn) -> Result<Option<Position>, Error> {
    type Stored = (Option<String>, Option<String>, u64, Option<String>);
    let stored: Option<Stored> = conn.read_first("SELECT server, file, pos, gtids FROM res_watch WHERE id = 1")?;
    let Some((Some(server), file, pos, gtids)) = stored else { return Ok(None) };
    let parse = |text: String| GtidSet::parse(&text).ok_or(Error::Corrupt("res_watch holds GTIDs that cannot be read"));
    let gtids = gtids.map(parse).transpose()?;
    Ok(Some(Position { server, file: file.unwrap_or_default(), pos, gtids }))
}

/// Gives the lease up, so that another daemon takes it at once.
///
/// # Errors
/// The server's.
pub fn release(conn: &mut Conn, owner: &str) -> Result<(), Error> {
    let me = literal(owner);
    Ok(conn.query_drop(format!("UPDATE res_watch SET lease_until = NULL WHERE id = 1 AND owner = {me}"))?)
}

/// Renews the lease if `owner` has it, and stores the position.
fn renewal(owner: &str, position: Option<&Position>) -> String {
    let position = match position {
        None => String::new(),
        Some(Position { server, file, pos, gtids }) => {
            let gtids = gtids.as_ref().map_or_else(|| "NULL".into(), |gtids| literal(&gtids.to_string()));
            let (server, file) = (literal(server), literal(file));
            format!(", server = {server}, file = {file}, pos = {pos}, gtids = {gtids}, saved_at = NOW(6)")
        }
    };
    format!(
        "UPDATE res_watch SET lease_until = NOW(6) + INTERVAL {LEASE_S} SECOND{position} WHERE id = 1 AND owner = {}",
        literal(owner)
    )
}

/// Begins a transaction that fails unless `owner` has the lease, and stores the position in it.
fn begin(conn: &mut Conn, owner: &str, position: Option<&Position>) -> Result<(), Error> {
    conn.query_drop("START TRANSACTION")?;
    conn.query_drop(renewal(owner, position))?;
    if conn.affected_rows() == 1 { Ok(()) } else { Err(Error::Corrupt(DISPLACED)) }
}

/// Stores the position, and renews the lease.
///
/// # Errors
/// The server's, or [`DISPLACED`].
pub fn save(conn: &mut Conn, owner: &str, position: &Position) -> Result<(), Error> {
    begin(conn, owner, Some(position))?;
    Ok(conn.query_drop("COMMIT")?)
}

/// Where events came into the log, as it was in the transaction that numbered them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the last one.
    pub head_seq: u64,
    /// Identifies the log.
    pub log_id: u64,
    /// When the event before the first one was written, in µs since 1970; None: the log has none (any more).
    pub before_at: Option<u64>,
}

/// Numbers these events in their order, and stores the position behind them, in one transaction and two round trips.
///
/// # Errors
/// As [`save`].
pub fn number(conn: &mut Conn, owner: &str, events: &[NewEvent], position: &Position) -> Result<Place, Error> {
    let (place, numbered_at) = reserve(conn, owner, events.len(), position)?;
    let first = place.head_seq + 1 - events.len() as u64;
    let columns = "res_event (numbered_at, seq, bytes, state, payload, at)";
    let mut statements = inserts(columns, events, |place, row| {
        let _ = write!(row, "'{numbered_at}', {}", first + place as u64);
    });
    if let Some(last) = statements.last_mut() {
        last.push_str("; COMMIT");
    }
    statements.iter().try_for_each(|statement| run_script(conn, statement))?;
    Ok(place)
}

/// Begins the transaction of [`number`]: stores the position and takes `count` numbers. Returns the server's time as well.
/// With these, the rows that follow have literals in place of expressions, which takes the server a tenth less time.
fn reserve(conn: &mut Conn, owner: &str, count: usize, position: &Position) -> Result<(Place, String), Error> {
    // The update of the log's head blocks every other numbering until the end.
    let mut results = conn.query_iter(format!(
        "START TRANSACTION; {}; UPDATE res_log SET head_seq = head_seq + {count} WHERE id = 1; \
         SELECT l.head_seq, l.log_id, {WRITTEN_US}, CAST(NOW(6) AS CHAR) \
         FROM res_log l LEFT JOIN res_event e ON e.seq = l.head_seq - {count} WHERE l.id = 1",
        renewal(owner, Some(position))
    ))?;
    let (mut statement, mut found) = (0, None);
    while let Some(rows) = results.iter() {
        statement += 1;
        if statement == 2 && rows.affected_rows() != 1 {
            return Err(Error::Corrupt(DISPLACED));
        }
        for row in rows {
            found = Some(from_row_opt(row?)?);
        }
    }
    let (head_seq, log_id, before_at, now) = found.ok_or(Error::Corrupt("res_log has no row"))?;
    Ok((Place { head_seq, log_id, before_at }, now))
}

/// Removes what is left of a large transaction that was not read to its end.
///
/// # Errors
/// The server's.
pub fn clear_staged(conn: &mut Conn) -> Result<(), Error> {
    loop {
        conn.query_drop(format!("DELETE FROM res_watch_row ORDER BY n LIMIT {DELETED}"))?;
        if conn.affected_rows() < u64::from(DELETED) {
            return Ok(());
        }
    }
}

/// Keeps a piece of a large transaction, whose events follow the first `staged` ones.
///
/// # Errors
/// As [`save`].
pub fn stage(conn: &mut Conn, owner: &str, events: &[NewEvent], staged: u64) -> Result<(), Error> {
    begin(conn, owner, None)?;
    let rows = inserts("res_watch_row (n, bytes, state, payload, at)", events, |place, row| {
        let _ = write!(row, "{}", staged + 1 + place as u64);
    });
    rows.iter().try_for_each(|statement| conn.query_drop(statement))?;
    Ok(conn.query_drop("COMMIT")?)
}

/// Numbers all `staged` events of a large transaction, and stores the position behind it, in one transaction.
///
/// # Errors
/// As [`save`].
pub fn number_staged(conn: &mut Conn, owner: &str, staged: u64, position: &Position) -> Result<(), Error> {
    begin(conn, owner, Some(position))?;
    conn.query_drop(format!("UPDATE res_log SET head_seq = LAST_INSERT_ID(head_seq + {staged}) WHERE id = 1"))?;
    conn.query_drop(format!(
        "INSERT INTO res_event (seq, bytes, state, payload, at, numbered_at) \
         SELECT LAST_INSERT_ID() - {staged} + n, bytes, state, payload, at, NOW(6) FROM res_watch_row ORDER BY n"
    ))?;
    if conn.affected_rows() != staged {
        return Err(Error::Corrupt("res_watch_row does not hold the events that were put there"));
    }
    Ok(conn.query_drop("COMMIT")?)
}

/// The server's time, in µs since 1970.
///
/// # Errors
/// The server's.
pub fn now_us(conn: &mut Conn) -> Result<u64, Error> {
    Ok(conn.read_first("SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)")?.unwrap_or_default())
}

/// INSERT statements for these events. `begin` writes what precedes an event's values, by its place.
fn inserts(into: &str, events: &[NewEvent], begin: impl Fn(usize, &mut String)) -> Vec<String> {
    let insert = format!("INSERT INTO {into} VALUES ");
    let mut statements: Vec<String> = Vec::new();
    let mut at = (0, String::new());
    for (place, event) in events.iter().enumerate() {
        // The events of one transaction have one time.
        if at.1.is_empty() || at.0 != event.at_us {
            at = (event.at_us, instant(event.at_us / 1_000_000, &format!(".{:06}", event.at_us % 1_000_000)));
        }
        let is_full = statements.last().is_none_or(|last| last.len() + event.payload.len() >= STATEMENT_BYTES);
        if is_full {
            statements.push(insert.clone());
        }
        let Some(row) = statements.last_mut() else { break };
        row.push_str(if is_full { "(" } else { ",(" });
        begin(place, row);
        let _ = write!(row, ", {}, '{}', ", event.payload.len(), event.state);
        push_literal(&event.payload, row);
        let _ = write!(row, ", '{}')", at.1.trim_end_matches('Z'));
    }
    statements
}
