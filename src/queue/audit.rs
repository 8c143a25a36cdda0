//! The audit: who did what to the queue, and why. A row is written in the transaction of the action itself, so that there is
//! neither one without the other. Never decides whether an action is allowed.

use mysql::{Conn, prelude::Queryable};
use serde_json::{Value as Json, json};

use crate::{
    base::exact::integer,
    db::{Error, limited, literal},
};

/// Characters of a target or a reason that are kept.
const LONGEST: usize = 1000;
/// Characters of a name that are kept.
const LONGEST_NAME: usize = 255;
/// Ids that a target names one by one.
const IDS_SHOWN: usize = 50;

/// Who acts, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `alice@host via resqctl`, or the login at resqd's HTTP server.
    pub who: String,
    /// In the operator's words.
    pub reason: Option<String>,
}

/// One action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Ascending with time.
    pub id: u64,
    /// UTC, as the server prints it.
    pub at: String,
    /// See [`Actor::who`].
    pub who: String,
    /// One word: `retry`.
    pub action: String,
    /// What it acted on: `job 17`, or a filter.
    pub target: String,
    /// See [`Actor::reason`].
    pub reason: Option<String>,
    /// How many jobs it has changed.
    pub count: u64,
    /// How far it has come, if it acts on all jobs that match a filter.
    pub batch: Option<Batch>,
}

/// How far an action on all jobs that match a filter has come. It goes through them in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The greatest id when it was started.
    pub up_to_id: u64,
    /// Jobs up to this id are done.
    pub done_to_id: u64,
    /// Jobs that the server refused to change.
    pub refused: u64,
    /// Why it refused the last of them.
    pub last_error: Option<String>,
    /// When it ended: UTC, as the server prints it.
    pub ended_at: Option<String>,
}

impl Entry {
    /// An object for programs.
    pub fn to_json(&self) -> Json {
        let batch = self.batch.as_ref().map(|batch| {
            json!({
                "up_to_id": integer(batch.up_to_id), "done_to_id": integer(batch.done_to_id),
                "refused": integer(batch.refused),
                "last_error": batch.last_error, "ended_at": batch.ended_at,
            })
        });
        json!({
            "id": integer(self.id), "at": self.at, "who": self.who, "action": self.action, "target": self.target,
            "reason": self.reason, "count": integer(self.count), "batch": batch,
        })
    }
}

/// Enters an action; part of the transaction of its first change. Returns the id of its row.
///
/// # Errors
/// Those of the database.
pub fn record(conn: &mut Conn, actor: &Actor, action: &str, target: &str, count: u64) -> Result<u64, Error> {
    let reason = actor.reason.as_deref().map_or_else(|| "NULL".into(), |reason| literal(&cut(reason, LONGEST)));
    conn.query_drop(format!(
        "INSERT INTO res_audit (who, action, target, reason, count) VALUES ({}, {}, {}, {reason}, {count})",
        literal(&cut(&actor.who, LONGEST_NAME)),
        literal(action),
        literal(&cut(target, LONGEST)),
    ))?;
    Ok(conn.last_insert_id())
}

/// Adds to the jobs that an action has changed; part of the transaction that changes them.
///
/// # Errors
/// Those of the database.
pub fn add(conn: &mut Conn, id: u64, count: u64) -> Result<(), Error> {
    Ok(conn.query_drop(format!("UPDATE res_audit SET count = count + {count} WHERE id = {id}"))?)
}

/// The newest actions below `after`, newest first.
pub(super) fn newest(conn: &mut Conn, after: Option<u64>, limit: u32) -> Result<Vec<Entry>, Error> {
    type Text = Option<String>;
    type Columns = (u64, String, String, String, String, Text, u64, Option<u64>, Option<u64>, Option<u64>, Text, Text);
    let before = after.map_or_else(String::new, |after| format!("WHERE a.id < {after}"));
    let rows: Vec<Columns> = limited::read(
        conn,
        &format!(
            "SELECT a.id, CAST(a.at AS CHAR), a.who, a.action, a.target, a.reason, a.count, \
         b.up_to_id, b.done_to_id, b.refused, b.last_error, CAST(b.ended_at AS CHAR) \
         FROM res_audit a LEFT JOIN res_batch b ON b.id = a.id {before} ORDER BY a.id DESC LIMIT {limit}"
        ),
    )?;
    let entry = |(id, at, who, action, target, reason, count, up_to_id, done_to_id, refused, last_error, ended_at)| {
        let ids = Option::zip(up_to_id, done_to_id).zip(refused);
        let batch =
            ids.map(|((up_to_id, done_to_id), refused)| Batch { up_to_id, done_to_id, refused, last_error, ended_at });
        Entry { id, at, who, action, target, reason, count, batch }
    };
    Ok(rows.into_iter().map(entry).collect())
}

/// `job 17`, `jobs 17,18`; of many, the first ones and how many there are.
pub fn target_of(ids: &[u64]) -> String {
    let shown: Vec<String> = ids.iter().take(IDS_SHOWN).map(u64::to_string).collect();
    let (noun, more) = (if ids.len() == 1 { "job" } else { "jobs" }, ids.len() - shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{noun} {}{more}", shown.join(","))
}

fn cut(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_names_the_first_ids_and_counts_the_rest() {
        let ids: Vec<u64> = (1..=70).collect();
        assert_eq!(target_of(&[17]), "job 17");
        assert_eq!(target_of(&[1, u64::MAX]), "jobs 1,18446744073709551615");
        let long = target_of(&ids);
        assert!(long.starts_with("jobs 1,2,") && long.ends_with(",50 and 20 more"), "{long}");
        assert!(target_of(&vec![u64::MAX; 10_000]).len() > LONGEST, "cut when it is written");
    }
}
