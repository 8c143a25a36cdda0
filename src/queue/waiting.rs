//! The jobs that wait for the server, as operators see them: what their rows say.

use serde_json::{Value as Json, json};

use super::{
    admin::Queue,
    outcome::{LONGEST_POSTPONEMENT, WAITING},
};
use crate::db::{Error, limited, literal};

/// A job whose last attempt was postponed, because the server could not run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The column `res_id`.
    pub id: u64,
    /// The column `res_name`, with what is not UTF-8 replaced.
    pub name: String,
    /// What it waits for.
    pub reason: String,
    /// How long until it is tried again, in seconds; 0: now.
    pub retry_s: u64,
}

impl Waiting {
    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({"res_id": self.id, "res_name": self.name, "reason": self.reason, "retry_s": self.retry_s})
    }
}

impl Queue {
    /// The jobs that wait for the server, by `res_id`, at most 1,000. Those that are tried again at this moment are among
    /// them, those that are ready and not claimed yet are not: there may be any number of those.
    ///
    /// # Errors
    /// Those of the database.
    pub fn waiting(&mut self) -> Result<Vec<Waiting>, Error> {
        let rows = |of: &str| {
            format!(
                "(SELECT res_id, CAST(res_name AS BINARY) AS name, CAST(last_error AS CHAR) AS reason, \
                 GREATEST(COALESCE(TIMESTAMPDIFF(SECOND, NOW(6), run_at), 0), 0) AS retry_s \
                 FROM res_queue FORCE INDEX (res_queue_claim) WHERE {of} AND LEFT(last_error, {}) = {} LIMIT 1000)",
                WAITING.len(),
                literal(WAITING)
            )
        };
        // No postponed job is due later, however many others are.
        let soon = format!("status = 'new' AND run_at <= NOW(6) + INTERVAL {} SECOND", LONGEST_POSTPONEMENT.as_secs());
        let both = format!("{} UNION ALL {}", rows("status = 'in_progress'"), rows(&soon));
        let sql = format!("SELECT res_id, name, reason, retry_s FROM ({both}) z ORDER BY res_id LIMIT 1000");
        type Columns = (u64, Vec<u8>, String, u64);
        let rows: Vec<Columns> = self.link.run(|conn| limited::read(conn, &sql))?;
        let one = |(id, name, reason, retry_s): Columns| Waiting {
            id,
            name: String::from_utf8_lossy(&name).into_owned(),
            reason: reason.strip_prefix(WAITING).unwrap_or(&reason).to_string(),
            retry_s,
        };
        Ok(rows.into_iter().map(one).collect())
    }
}
