//! A worker's session and claim, and what is recorded by them.

use std::{sync::atomic::AtomicBool, thread, time::Duration};

use mysql::{Conn, prelude::Queryable};

use super::{
    completion::Completion,
    ledger::Claim,
    stop::{Stop, of_record},
    stretch::Part,
    work::Plan,
};
use crate::{
    base::backoff::Backoff,
    db::{Error, Packet},
    queue::Session,
};

/// The pause before a record that lost a race is repeated.
pub(super) const RACES: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1), 0.5);

/// By which a worker's attempts hold their databases.
pub struct Recorder<'a> {
    /// The rollout.
    pub plan: &'a Plan,
    /// By which each of its databases is held in turn.
    pub claim: &'a Claim,
    /// The worker's.
    pub session: &'a mut Session,
    /// Becomes true when the daemon stops.
    pub stopping: &'a AtomicBool,
    /// The database whose lock the session holds.
    pub held: Option<String>,
    /// Called when some are recorded as migrated.
    pub on_migrated: &'a dyn Fn(),
    /// That has happened.
    pub has_recorded: bool,
}

impl Recorder<'_> {
    /// The session's connection.
    pub(super) fn conn(&mut self) -> Result<&mut Conn, Stop> {
        let is_valid = self.session.is_lease_valid();
        if is_valid { self.session.conn().map_err(|_| Stop::Lost) } else { Err(Stop::Lost) }
    }

    /// Records that migrations are complete, in a transaction of its own.
    pub(super) fn complete(&mut self, done: &Completion) -> Result<(), Stop> {
        self.record(Some(done), [])
    }

    /// Records these, and what `others` do, in a transaction of its own.
    pub(super) fn record<'s>(
        &mut self,
        done: Option<&Completion>,
        others: impl IntoIterator<Item = &'s String>,
    ) -> Result<(), Stop> {
        let mut packet = Packet::default();
        packet.add(Part::Complete, 1, "START TRANSACTION");
        done.iter().for_each(|done| done.add(&mut packet));
        others.into_iter().for_each(|statement| packet.add(Part::Complete, 1, statement));
        packet.add(Part::Commit, 1, "COMMIT");
        let mut races = RACES;
        loop {
            match packet.run(self.conn()?) {
                Err(stopped) if stopped.error.is_lost_race() => self.after_race(&mut races, &stopped.error)?,
                ended => {
                    ended.map_err(of_record)?;
                    done.iter().for_each(|done| self.recorded(done));
                    return Ok(());
                }
            }
        }
    }

    /// Notes that they are.
    pub(super) fn recorded(&mut self, done: &Completion) {
        self.plan.keeps(done.number);
        if done.is_last {
            for db_name in &done.databases {
                log::info!("rollout {}: migrated a database={db_name}", self.plan.rollout);
            }
            self.has_recorded = true;
            (self.on_migrated)();
        }
    }

    /// Waits a moment before a record that has lost a race is repeated. A database that has been altered is not given up for
    /// that: an abort would leave it as if it had not been begun.
    pub(super) fn after_race(&mut self, races: &mut Backoff, error: &Error) -> Result<(), Stop> {
        log::info!("rollout {}: a record lost a race and is repeated: {error}", self.plan.rollout);
        self.conn()?.query_drop("ROLLBACK")?;
        thread::sleep(races.next(fastrand::f64()));
        Ok(())
    }
}
