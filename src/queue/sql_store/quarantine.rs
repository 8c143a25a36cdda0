//! The list of jobs that are set aside, for operators; no rule depends on it.

use mysql::{Conn, prelude::Queryable};

use crate::{
    db::{Error, id_list, quarantine::Report},
    queue::store::Change,
};

/// Adds and removes rows of `owner`'s, and removes those of daemons that are gone.
pub fn report(conn: &mut Conn, owner: &str, added: &[Report<Change>], removed: &[u64]) -> Result<(), Error> {
    if !removed.is_empty() {
        let ids = id_list(removed);
        conn.exec_drop(format!("DELETE FROM res_quarantine WHERE owner = ? AND res_id IN ({ids})"), (owner,))?;
    }
    if added.is_empty() {
        return Ok(());
    }
    conn.query_drop("DELETE FROM res_quarantine WHERE owner NOT IN (SELECT owner FROM res_daemon)")?;
    conn.exec_batch(
        "INSERT INTO res_quarantine (res_id, owner, what, message, retry_at) \
         VALUES (?, ?, ?, LEFT(?, 1000), NOW(6) + INTERVAL ? MICROSECOND) ON DUPLICATE KEY UPDATE \
         what = VALUES(what), message = VALUES(message), retry_at = VALUES(retry_at)",
        added.iter().map(|row| (row.id, owner, row.change.as_str(), &row.message, row.pause.as_micros() as u64)),
    )?;
    Ok(())
}
