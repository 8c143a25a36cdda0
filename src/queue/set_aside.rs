//! The jobs that daemons have set aside, as operators see them. Reads only what the daemons have reported.

use mysql::Conn;
use serde_json::{Value as Json, json};

use super::admin::Queue;
use crate::{
    base::exact::integer,
    db::{Error, limited},
};

/// A job that a daemon has set aside, because the server refuses to change its row.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAside {
    /// The column `res_id`.
    pub id: u64,
    /// The column `res_name`, with what is not UTF-8 replaced.
    pub name: String,
    /// What the server refuses: `claim`, `promotion`, `reclaim`, `release` or `outcome`.
    pub change: String,
    /// The server's message.
    pub message: String,
    /// Since when: UTC, as the server prints it.
    pub since: String,
    /// How long until it is tried again, in seconds; 0: now.
    pub retry_s: u64,
    /// The daemon that has set it aside.
    pub owner: String,
}

impl SetAside {
    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({
            "res_id": integer(self.id), "res_name": self.name, "refused": self.change, "error": self.message,
            "since": self.since, "retry_s": self.retry_s, "owner": self.owner,
        })
    }
}

impl Queue {
    /// The jobs that running daemons have set aside; see [`set_aside`].
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_aside(&mut self) -> Result<Vec<SetAside>, Error> {
        self.link.run(set_aside)
    }
}

/// The jobs that running daemons have set aside, by `res_id`, at most 1,000. `conn` is in the global database. A row that
/// has gone on by other means is left out, even before its daemon notices.
///
/// # Errors
/// Those of the database.
pub fn set_aside(conn: &mut Conn) -> Result<Vec<SetAside>, Error> {
    type Columns = (u64, Vec<u8>, String, String, String, u64, String);
    let rows: Result<Vec<Columns>, Error> = limited::read(
        conn,
        "SELECT z.res_id, CAST(COALESCE(q.res_name, '') AS BINARY), z.what, z.message, CAST(z.since AS CHAR), \
             GREATEST(COALESCE(TIMESTAMPDIFF(SECOND, NOW(6), z.retry_at), 0), 0), z.owner \
             FROM res_quarantine z JOIN res_daemon d ON d.owner = z.owner JOIN res_queue q ON q.res_id = z.res_id \
             WHERE d.lease_until >= NOW(6) AND q.status = IF(z.what IN ('claim', 'promotion'), 'new', 'in_progress') \
             ORDER BY z.res_id LIMIT 1000",
    );
    match rows {
        // Set up by an older version, whose daemons set nothing aside.
        Err(error) if error.is_missing_table() => Ok(Vec::new()),
        rows => Ok(rows?
            .into_iter()
            .map(|(id, name, change, message, since, retry_s, owner)| {
                let name = String::from_utf8_lossy(&name).into_owned();
                SetAside { id, name, change, message, since, retry_s, owner }
            })
            .collect()),
    }
}
