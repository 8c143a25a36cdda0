//! Where in the event log a time lies. Events are numbered in the order of time and after they were written, so every event
//! written at a time or later was numbered then or later. That holds by one server's clock: where clocks of a cluster's nodes
//! differ, or one is set back, the place is wrong by as much.

use mysql::Conn;

use super::{store, updates::LogHead};
use crate::db::{Error, ReadRows};

/// The greatest time that every server converts, in µs since 1970: the end of 2037.
const LATEST_US: u64 = 2_145_916_800_000_000;

/// The number after which follow all events that were numbered at this time or later, in µs since 1970 by the server's clock:
/// every event written at that time or later is among them. Reads one row per halving of the log.
///
/// # Errors
/// The server's.
pub fn locate(conn: &mut Conn, unix_time_us: u64) -> Result<u64, Error> {
    let head = store::head(conn)?;
    let time_us = unix_time_us.min(LATEST_US);
    let time = format!("FROM_UNIXTIME({}.{:06})", time_us / 1_000_000, time_us % 1_000_000);
    Ok(numbered_since(conn, head, &time)? - 1)
}

/// The number of the first event that was numbered at this time or later: they are numbered in the order of time.
///
/// # Errors
/// The server's.
pub fn numbered_since(conn: &mut Conn, head: LogHead, time: &str) -> Result<u64, Error> {
    let (mut low, mut high) = (head.first_seq, head.head_seq + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let sql = format!("SELECT COALESCE(numbered_at, at) >= {time} FROM res_event WHERE seq = {middle}");
        // Pruned meanwhile: it lies before.
        match conn.read_first(sql)?.unwrap_or(false) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    Ok(low)
}
