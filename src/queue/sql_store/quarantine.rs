//! The list of jobs that are set aside, for operators; no rule depends on it.

use mysql::{Conn, prelude::Queryable};

use crate::{
    db::{Error, id_list, literal, quarantine::Report},
    queue::store::Change,
};

/// Adds and removes rows of `owner`'s, and removes those of daemons that are gone.
pub fn report(conn: &mut Conn, owner: &str, added: &[Report<Change>], removed: &[u64]) -> Result<(), Error> {
    if !removed.is_empty() {
        let ids = id_list(removed);
        let owner = literal(owner);
        conn.query_drop(format!("DELETE FROM res_quarantine WHERE owner = {owner} AND res_id IN ({ids})"))?;
    }
    if added.is_empty() {
        return Ok(());
    }
    conn.query_drop("DELETE FROM res_quarantine WHERE owner NOT IN (SELECT owner FROM res_daemon)")?;
    let rows: Vec<String> = added
        .iter()
        .map(|row| {
            let (message, pause_us) = (literal(&row.message), row.pause.as_micros());
            format!(
                "({}, {}, '{}', LEFT({message}, 1000), NOW(6) + INTERVAL {pause_us} MICROSECOND)",
                row.id,
                literal(owner),
                row.change.as_str()
            )
        })
        .collect();
    Ok(conn.query_drop(format!(
        "INSERT INTO res_quarantine (res_id, owner, what, message, retry_at) VALUES {} ON DUPLICATE KEY UPDATE \
         what = VALUES(what), message = VALUES(message), retry_at = VALUES(retry_at)",
        rows.join(", ")
    ))?)
}
