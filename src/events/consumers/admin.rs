//! Consumers as operators see and move them. Expects the global database as the current one.

use mysql::{Conn, prelude::Queryable};
use serde_json::{Value as Json, json};

use crate::{
    base::exact::integer,
    db::{Error, ReadRows, limited, literal},
};

/// A consumer, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// It is done with every event up to this number, as far as stored.
    pub position: u64,
    /// How many events of the log follow, of whatever state.
    pub lag: u64,
    /// What its last connection consumed: patterns, with blanks between them.
    pub states: String,
    /// Its last connection; None: an operator was the last to move it.
    pub client: Option<String>,
    /// When that took it: UTC, as the server prints it.
    pub taken_at: String,
    /// When the position was stored: likewise.
    pub updated_at: String,
}

impl Consumer {
    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({
            "name": self.name, "position": integer(self.position), "lag": integer(self.lag),
            "states": self.states.split(' ').filter(|state| !state.is_empty()).collect::<Vec<_>>(),
            "client": self.client, "taken_at": self.taken_at, "updated_at": self.updated_at,
        })
    }
}

/// Consumers by name: those after `after`, at most `limit`.
///
/// # Errors
/// The server's, which stops the read after 5 seconds.
pub fn by_name(conn: &mut Conn, after: Option<&str>, limit: u32) -> Result<Vec<Consumer>, Error> {
    select(conn, &format!("WHERE c.name > {} ORDER BY c.name LIMIT {limit}", literal(after.unwrap_or_default())))
}

/// The consumers that are furthest behind, at most `limit`.
///
/// # Errors
/// The server's, which stops the read after 5 seconds.
pub fn furthest_behind(conn: &mut Conn, limit: u32) -> Result<Vec<Consumer>, Error> {
    select(conn, &format!("ORDER BY c.position, c.name LIMIT {limit}"))
}

fn select(conn: &mut Conn, rest: &str) -> Result<Vec<Consumer>, Error> {
    type Columns = (String, u64, u64, String, Option<String>, String, String);
    let rows: Vec<Columns> = limited::read(
        conn,
        &format!(
            "SELECT c.name, c.position, IF(l.head_seq > c.position, l.head_seq - c.position, 0), c.states, c.client, \
             CAST(c.taken_at AS CHAR), CAST(c.updated_at AS CHAR) \
             FROM res_consumer c JOIN res_log l ON l.id = 1 {rest}"
        ),
    )?;
    let consumer = |(name, position, lag, states, client, taken_at, updated_at)| Consumer {
        name,
        position,
        lag,
        states,
        client,
        taken_at,
        updated_at,
    };
    Ok(rows.into_iter().map(consumer).collect())
}

/// How many there are.
///
/// # Errors
/// The server's.
pub fn count(conn: &mut Conn) -> Result<u64, Error> {
    Ok(conn.read_first("SELECT COUNT(*) FROM res_consumer")?.unwrap_or(0))
}

/// Moves a consumer to this position and takes it from its connection. False: there is none of this name.
///
/// # Errors
/// The server's.
pub fn set(conn: &mut Conn, name: &str, position: u64) -> Result<bool, Error> {
    conn.query_drop(format!(
        "UPDATE res_consumer c JOIN res_log l ON l.id = 1 \
         SET c.position = {position}, c.log_id = l.log_id, c.holder = {}, c.client = NULL, c.taken_at = NOW(6), \
         c.updated_at = NOW(6) WHERE c.name = {}",
        fastrand::u64(1..),
        literal(name)
    ))?;
    Ok(conn.affected_rows() > 0)
}

/// Removes a consumer. False: there is none of this name.
///
/// # Errors
/// The server's.
pub fn remove(conn: &mut Conn, name: &str) -> Result<bool, Error> {
    conn.query_drop(format!("DELETE FROM res_consumer WHERE name = {}", literal(name)))?;
    Ok(conn.affected_rows() > 0)
}
