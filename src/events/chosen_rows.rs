//! Single rows of the event log: numbering and deleting chosen ones, which isolates those that the server refuses, and the
//! list of these for operators. Expects the global database as the current one. Decides nothing.

use std::fmt;

use mysql::{Conn, prelude::Queryable};
use serde_json::{Value as Json, json};

use crate::db::{Error, ReadRows, except, id_list, limited, literal, quarantine::Report};

/// Rows numbered in one transaction at most: more as constants in a statement are slow.
pub const MOST: usize = 300;
/// As in `res_number`: clusters limit the size of a transaction.
const MOST_BYTES: u64 = 16 << 20;
/// A row that no daemon has tried for so long is not listed any more. Longer than any pause between two attempts.
const FORGOTTEN_AFTER: &str = "INTERVAL 10 MINUTE";

/// What the server refuses to do with a row of the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Moving it from `res_outbox` to `res_event`, which gives it its number.
    Numbering,
    /// Deleting it from `res_event` when it is old.
    Deletion,
}

impl Refused {
    /// The value of the column `what` in `res_event_quarantine`: one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::Numbering => "numbering",
            Refused::Deletion => "deletion",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The committed rows of the outbox behind `floor` but for `excluded` ones, by id: at most `limit`, and about 16 MiB.
///
/// # Errors
/// The server's.
pub fn unnumbered(conn: &mut Conn, floor: u64, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
    let rows: Vec<(u64, u64)> = conn.read_rows(format!(
        "SELECT id, COALESCE(bytes, 0) FROM res_outbox WHERE id > {floor} {} ORDER BY id LIMIT {limit}",
        except("id", excluded)
    ))?;
    let mut before = 0;
    let fits = |(_, bytes): &(u64, u64)| {
        before += bytes;
        before - bytes < MOST_BYTES
    };
    Ok(rows.into_iter().take_while(fits).map(|(id, _)| id).collect())
}

/// Numbers these rows in their order, in one transaction, as `res_number` does with the first ones. Rows that are gone are
/// left out.
///
/// # Errors
/// The server's; nothing was numbered.
pub fn number(conn: &mut Conn, ids: &[u64]) -> Result<(), Error> {
    conn.query_drop("START TRANSACTION")?;
    // First, as in `res_number`: it blocks every other daemon of this node, and conflicts with those of other nodes.
    conn.query_drop(
        "UPDATE res_log SET mover = CONCAT(LEFT(@@hostname, 100), ':', @@port, ':', CONNECTION_ID()), moved_at = NOW(6) \
         WHERE id = 1",
    )?;
    let head: Option<u64> = conn.read_first("SELECT head_seq FROM res_log WHERE id = 1")?;
    let head = head.ok_or(Error::Corrupt("res_log has no row"))?;
    let from = |ids: &[u64]| format!("{} STRAIGHT_JOIN res_outbox o FORCE INDEX (PRIMARY) ON o.id = p.id", places(ids));
    let found: Vec<u64> = conn.read_rows(format!("SELECT o.id FROM {} ORDER BY o.id FOR UPDATE", from(ids)))?;
    if !found.is_empty() {
        let (from, count) = (from(&found), found.len());
        conn.query_drop(format!(
            "INSERT INTO res_event (seq, bytes, state, payload, at, numbered_at) \
             SELECT {head} + p.n, o.bytes, o.state, o.payload, o.at, NOW(6) FROM {from}"
        ))?;
        conn.query_drop(format!("DELETE o FROM {from}"))?;
        conn.query_drop(format!("UPDATE res_log SET head_seq = {head} + {count} WHERE id = 1"))?;
    }
    Ok(conn.query_drop("COMMIT")?)
}

/// A table of these ids and their places, from 1.
fn places(ids: &[u64]) -> String {
    let rows: Vec<String> = (1..).zip(ids).map(|(n, id)| format!("SELECT {n} AS n, {id} AS id")).collect();
    format!("({}) p", rows.join(" UNION ALL "))
}

/// Lets numbering go on behind events that are beyond the head, where only another hand can have written them. False:
/// there are none.
///
/// # Errors
/// The server's.
pub fn skip_taken(conn: &mut Conn) -> Result<bool, Error> {
    conn.query_drop(
        "UPDATE res_log SET head_seq = GREATEST(head_seq, (SELECT COALESCE(MAX(seq), 0) FROM res_event)) WHERE id = 1",
    )?;
    Ok(conn.affected_rows() > 0)
}

/// The oldest events but for `excluded` ones: at most `limit`, and only those numbered more than `days` days ago.
///
/// # Errors
/// The server's.
pub fn old(conn: &mut Conn, days: u32, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
    let rows: Vec<(u64, bool)> = conn.read_rows(format!(
        "SELECT seq, COALESCE(numbered_at, at, NOW(6)) < NOW(6) - INTERVAL {days} DAY FROM res_event \
         WHERE TRUE {} ORDER BY seq LIMIT {limit}",
        except("seq", excluded)
    ))?;
    Ok(rows.into_iter().take_while(|(_, is_old)| *is_old).map(|(seq, _)| seq).collect())
}

/// Deletes the events from the first to the last one of `seqs`, which is in ascending order, but for `excluded` ones. The
/// log begins behind them then.
///
/// # Errors
/// The server's; nothing was deleted.
pub fn delete(conn: &mut Conn, seqs: &[u64], excluded: &[u64]) -> Result<(), Error> {
    let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return Ok(()) };
    conn.query_drop("START TRANSACTION")?;
    conn.query_drop(format!("DELETE FROM res_event WHERE seq BETWEEN {first} AND {last} {}", except("seq", excluded)))?;
    conn.query_drop(format!("UPDATE res_log SET first_seq = GREATEST(first_seq, {last} + 1) WHERE id = 1"))?;
    Ok(conn.query_drop("COMMIT")?)
}

/// Adds rows to the list of those that the server refuses, and removes others.
///
/// # Errors
/// The server's.
pub fn report(conn: &mut Conn, what: Refused, added: &[Report<Refused>], removed: &[u64]) -> Result<(), Error> {
    if !removed.is_empty() {
        let ids = id_list(removed);
        conn.query_drop(format!("DELETE FROM res_event_quarantine WHERE what = '{what}' AND id IN ({ids})"))?;
    }
    conn.query_drop(format!("DELETE FROM res_event_quarantine WHERE retry_at < NOW(6) - {FORGOTTEN_AFTER}"))?;
    if added.is_empty() {
        return Ok(());
    }
    let row = |Report { change, id, message, pause }: &Report<Refused>| {
        let (message, pause_us) = (literal(message), pause.as_micros());
        format!("('{change}', {id}, LEFT({message}, 1000), NOW(6) + INTERVAL {pause_us} MICROSECOND)")
    };
    Ok(conn.query_drop(format!(
        "INSERT INTO res_event_quarantine (what, id, message, retry_at) VALUES {} ON DUPLICATE KEY UPDATE \
         message = VALUES(message), retry_at = VALUES(retry_at)",
        added.iter().map(row).collect::<Vec<_>>().join(", ")
    ))?)
}

/// A row of the event log that daemons have set aside, because the server refuses to change it.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAside {
    /// What the server refuses: `numbering` or `deletion`.
    pub what: String,
    /// The column `id` of `res_outbox`, or `seq` of `res_event`.
    pub id: u64,
    /// Its state, with what is not UTF-8 replaced.
    pub state: String,
    /// The server's words.
    pub message: String,
    /// Since when: UTC, as the server prints it.
    pub since: String,
    /// How long until it is tried again, in seconds; 0: now.
    pub retry_s: u64,
}

impl SetAside {
    /// What it is: `outbox row 17`, `event 5`.
    pub fn name(&self) -> String {
        let table = if self.what == Refused::Numbering.as_str() { "outbox row" } else { "event" };
        format!("{table} {}", self.id)
    }

    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({
            "refused": self.what, "id": self.id, "state": self.state, "error": self.message, "since": self.since,
            "retry_s": self.retry_s,
        })
    }
}

/// The rows of the event log that daemons have set aside, at most 1,000. A row that has gone on by other means is left
/// out, even before a daemon notices.
///
/// # Errors
/// Those of the database.
pub fn set_aside(conn: &mut Conn) -> Result<Vec<SetAside>, Error> {
    type Columns = (String, u64, Vec<u8>, String, String, u64);
    let rows = limited::read::<Columns>(
        conn,
        &format!(
            "SELECT z.what, z.id, CAST(COALESCE(o.state, e.state, '') AS BINARY), z.message, CAST(z.since AS CHAR), \
             GREATEST(COALESCE(TIMESTAMPDIFF(SECOND, NOW(6), z.retry_at), 0), 0) \
             FROM res_event_quarantine z LEFT JOIN res_outbox o ON z.what = 'numbering' AND o.id = z.id \
             LEFT JOIN res_event e ON z.what = 'deletion' AND e.seq = z.id \
             WHERE z.retry_at >= NOW(6) - {FORGOTTEN_AFTER} AND (o.id IS NOT NULL OR e.seq IS NOT NULL) \
             ORDER BY z.what DESC, z.id LIMIT 1000"
        ),
    );
    match rows {
        // Set up by an older version, whose daemons set nothing aside.
        Err(error) if error.is_missing_table() => Ok(Vec::new()),
        rows => Ok(rows?
            .into_iter()
            .map(|(what, id, state, message, since, retry_s)| {
                let state = String::from_utf8_lossy(&state).into_owned();
                SetAside { what, id, state, message, since, retry_s }
            })
            .collect()),
    }
}
