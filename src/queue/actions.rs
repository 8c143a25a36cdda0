//! What operators and applications do to the queue: enqueue, seed, retry, cancel, pause, resume. Each is one short
//! transaction, to which a queue that acts for an operator adds the row of the audit.

use std::ops::Range;

use mysql::{Conn, prelude::Queryable};

use super::{
    admin::{NewJob, Queue},
    audit::{self, Actor},
    change::Change,
    search,
};
use crate::db::{Capped, Error, ReadRows, id_list, literal, ring};

/// What an action was done to, for the audit.
pub(super) struct Done {
    pub target: String,
    pub count: u64,
}

/// A series of rows that is inserted by [`Queue::seed`].
#[derive(Clone, Debug)]
pub struct Seeding {
    prefix: String,
    res_type: String,
    /// Part of the names: no other seeding ever has it.
    unique: u64,
    audit: Option<u64>,
}

impl Queue {
    /// From now on each call that changes something leaves a row in `res_audit`, in its own transaction.
    pub fn acting(self, actor: Actor) -> Queue {
        Queue { actor: Some(actor), ..self }
    }

    /// Runs `change`, a single statement, and enters it as `action`.
    pub(super) fn act<T>(
        &mut self,
        action: &str,
        mut change: impl FnMut(&mut Conn) -> Result<(T, Done), Error>,
    ) -> Result<T, Error> {
        let actor = &self.actor;
        self.link.run(|conn| {
            let Some(actor) = actor else { return Ok(change(conn)?.0) };
            conn.query_drop("START TRANSACTION")?;
            let (value, done) = change(conn)?;
            audit::record(conn, actor, action, &done.target, done.count)?;
            conn.query_drop("COMMIT")?;
            Ok(value)
        })
    }

    /// Inserts one row in a transaction of its own; returns its `res_id`.
    ///
    /// # Errors
    /// Those of the database. After a lost connection it is unknown whether the row was inserted.
    pub fn enqueue(&mut self, job: &NewJob) -> Result<u64, Error> {
        let insert = format!(
            "INSERT INTO res_queue (res_name, res_type, res_url, priority, run_at) VALUES ({}, {}, {}, {}, {})",
            literal(&job.name),
            literal(&job.res_type),
            job.url.as_deref().map_or_else(|| "NULL".into(), literal),
            job.priority,
            if job.delay_s == 0 { "NULL".into() } else { format!("NOW(6) + INTERVAL {} SECOND", job.delay_s) },
        );
        self.act("add", |conn| {
            conn.query_drop(&insert)?;
            let id = conn.last_insert_id();
            Ok((id, Done { target: audit::target_of(&[id]), count: 1 }))
        })
    }

    /// Begins a series of seeded rows, whose names no other series has.
    ///
    /// # Errors
    /// Those of the database.
    pub fn begin_seeding(&mut self, prefix: &str, res_type: &str) -> Result<Seeding, Error> {
        let actor = &self.actor;
        let (unique, audit) = self.link.run(|conn| {
            conn.query_drop("START TRANSACTION")?;
            conn.query_drop(
                "INSERT INTO res_meta (name, value) VALUES ('seedings', LAST_INSERT_ID(1)) \
                 ON DUPLICATE KEY UPDATE value = LAST_INSERT_ID(value + 1)",
            )?;
            let unique: u64 = conn.read_first("SELECT LAST_INSERT_ID()")?.unwrap_or_default();
            let target = format!("jobs {prefix}_{unique}_… of type {res_type}");
            let entered = actor.as_ref().map(|actor| audit::record(conn, actor, "seed", &target, 0)).transpose()?;
            conn.query_drop("COMMIT")?;
            Ok((unique, entered))
        })?;
        Ok(Seeding { prefix: prefix.into(), res_type: res_type.into(), unique, audit })
    }

    /// Inserts one batch of a series, named `<prefix>_<unique>_<number>`.
    ///
    /// # Errors
    /// Those of the database.
    pub fn seed(&mut self, seeding: &Seeding, numbers: Range<u64>) -> Result<(), Error> {
        let Seeding { prefix, res_type, unique, audit } = seeding;
        let (count, res_type) = (numbers.end - numbers.start, literal(res_type));
        let row = |n| format!("({}, {res_type}, TRUE)", literal(&format!("{prefix}_{unique}_{n}")));
        let rows: Vec<String> = numbers.map(row).collect();
        let sql = format!("INSERT INTO res_queue (res_name, res_type, seeded) VALUES {}", rows.join(", "));
        self.link.run(|conn| {
            conn.query_drop("START TRANSACTION")?;
            conn.query_drop(&sql)?;
            if let Some(id) = audit {
                audit::add(conn, *id, count)?;
            }
            Ok(conn.query_drop("COMMIT")?)
        })
    }

    /// Puts jobs in `error` back to `new`, with no attempts counted; returns how many. Others are left alone.
    ///
    /// # Errors
    /// Those of the database.
    pub fn retry(&mut self, ids: &[u64]) -> Result<u64, Error> {
        self.change(Change::Retry, ids)
    }

    /// Cancels waiting jobs: `new` becomes `error`; returns how many. Others are left alone.
    ///
    /// # Errors
    /// Those of the database.
    pub fn cancel(&mut self, ids: &[u64]) -> Result<u64, Error> {
        self.change(Change::Cancel, ids)
    }

    /// How many of these jobs a change would change now.
    ///
    /// # Errors
    /// Those of the database.
    pub fn count(&mut self, change: Change, ids: &[u64]) -> Result<Capped, Error> {
        let tail = format!("WHERE res_id IN ({}) AND status = '{}'", id_list(ids), change.from().as_str());
        self.link.run(|conn| search::count(conn, &tail, ids.len() as u64))
    }

    fn change(&mut self, change: Change, ids: &[u64]) -> Result<u64, Error> {
        let update = change.update(ids, self.actor.as_ref().and_then(|actor| actor.reason.as_deref()));
        self.act(change.as_str(), |conn| {
            conn.query_drop(&update)?;
            let count = conn.affected_rows();
            Ok((count, Done { target: audit::target_of(ids), count }))
        })
    }

    /// Pauses the queue: from this commit on, no daemon claims jobs. Running jobs continue.
    ///
    /// # Errors
    /// Those of the database.
    pub fn pause(&mut self) -> Result<(), Error> {
        self.switch("pause", "INSERT IGNORE INTO res_meta (name, value) VALUES ('paused', NOW())")
    }

    /// Resumes a paused queue.
    ///
    /// # Errors
    /// Those of the database.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.switch("resume", "DELETE FROM res_meta WHERE name = 'paused'")?;
        // No trigger notifies the daemons of this.
        self.ring();
        Ok(())
    }

    fn switch(&mut self, action: &str, statement: &str) -> Result<(), Error> {
        self.act(action, |conn| {
            conn.query_drop(statement)?;
            Ok(((), Done { target: "the queue".into(), count: 0 }))
        })
    }

    fn ring(&mut self) {
        let _ = self.link.run(|conn| {
            ring(conn);
            Ok(())
        });
    }
}
