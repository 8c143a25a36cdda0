//! The SQL of watched tables: who reads, how far, and numbering what was read. Expects the global database as the current
//! one. Every change holds the reader's lease, and fails where another daemon has it.

use mysql::{Conn, prelude::Queryable};

use super::{gtid::GtidSet, position::Position, text::json_literal, transactions::NewEvent};
use crate::db::{Error, ReadRows, literal, run_script};

/// How long a daemon that stopped responding keeps the others from reading, in seconds.
pub const LEASE_S: u32 = 10;
/// Bytes of one INSERT, unless one row has more.
const STATEMENT_BYTES: usize = 512 << 10;
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

/// Begins a transaction that fails unless `owner` has the lease, and stores the position in it.
fn begin(conn: &mut Conn, owner: &str, position: Option<&Position>) -> Result<(), Error> {
    let position = match position {
        None => String::new(),
        Some(Position { server, file, pos, gtids }) => {
            let gtids = gtids.as_ref().map_or_else(|| "NULL".into(), |gtids| literal(&gtids.to_string()));
            let (server, file) = (literal(server), literal(file));
            format!(", server = {server}, file = {file}, pos = {pos}, gtids = {gtids}, saved_at = NOW(6)")
        }
    };
    conn.query_drop("START TRANSACTION")?;
    conn.query_drop(format!(
        "UPDATE res_watch SET lease_until = NOW(6) + INTERVAL {LEASE_S} SECOND{position} WHERE id = 1 AND owner = {}",
        literal(owner)
    ))?;
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

/// Numbers these events in their order, and stores the position behind them, in one transaction.
///
/// # Errors
/// As [`save`].
pub fn number(conn: &mut Conn, owner: &str, events: &[NewEvent], position: &Position) -> Result<(), Error> {
    begin(conn, owner, Some(position))?;
    let count = events.len();
    // Blocks every other numbering until the end.
    let count_up = format!("UPDATE res_log SET head_seq = LAST_INSERT_ID(head_seq + {count}) WHERE id = 1");
    let statements = inserts("res_event (seq, bytes, state, payload, at, numbered_at)", events, |place, values| {
        format!("(LAST_INSERT_ID() - {}, {values}, NOW(6))", count - 1 - place)
    });
    match statements.as_slice() {
        // One round trip for all of it.
        [one] => Ok(run_script(conn, &format!("{count_up}; {one}; COMMIT"))?),
        many => {
            conn.query_drop(count_up)?;
            many.iter().try_for_each(|statement| conn.query_drop(statement))?;
            Ok(conn.query_drop("COMMIT")?)
        }
    }
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
    let rows = inserts("res_watch_row (n, bytes, state, payload, at)", events, |place, values| {
        format!("({}, {values})", staged + 1 + place as u64)
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

/// INSERT statements for these events. `row` makes a row of an event's place and its values.
fn inserts(into: &str, events: &[NewEvent], row: impl Fn(usize, String) -> String) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let values = format!(
            "{}, '{}', {}, FROM_UNIXTIME({}.{:06})",
            event.payload.len(),
            event.state,
            json_literal(&event.payload),
            event.at_us / 1_000_000,
            event.at_us % 1_000_000
        );
        let row = row(place, values);
        match statements.last_mut().filter(|last| last.len() + row.len() < STATEMENT_BYTES) {
            Some(last) => {
                last.push(',');
                last.push_str(&row);
            }
            None => statements.push(format!("INSERT INTO {into} VALUES {row}")),
        }
    }
    statements
}
