//! One attempt to migrate one database, on a worker's thread: take the lock of its name, run what it lacks, record each
//! statement. Owns the order of record and statement, so that an attempt that ends anywhere is continued by the next one; what
//! an error means is decided by its class alone.

use std::time::{Duration, Instant};

use mysql::Conn;

use super::{
    completion::Completion,
    files::Migration,
    ledger::{Claimed, Migrated, Registered},
    opening::First,
    position::Position,
    recorder::Recorder,
    stop::{Ended, Stop, of_record},
    stretch::settings,
    verdict::Verdict,
};
use crate::{
    base::backoff::Backoff,
    db::{Error, ErrorClass, codes::*, run_script},
    resources::{elsewhere, resource_server},
};

/// How long to wait for a killed session to release the lock of the name, in seconds.
const NAME_WAIT_S: u32 = 10;
/// How many attempts may lose their worker in a database before it counts as failed.
const MAX_INTERRUPTIONS: u32 = 20;
/// The pause before a database that waits for the server is tried again.
const POSTPONE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 0.5);

/// A claimed database.
pub(super) struct Attempt<'l, 'a> {
    /// Of whose session and claim it is.
    pub recorder: &'l mut Recorder<'a>,
    /// Its row of the rollout.
    pub claimed: &'l Claimed,
    /// As the candidate's.
    pub new_until: Option<Instant>,
}

impl Attempt<'_, '_> {
    pub(super) fn conn(&mut self) -> Result<&mut Conn, Stop> {
        self.recorder.conn()
    }

    /// Returns what is left to be recorded of its end; None: nothing is.
    pub(super) fn migrate(&mut self, opened: Option<(Registered, First)>) -> Result<Option<Completion>, Stop> {
        let plan = self.recorder.plan;
        let (registered, first) = match opened {
            None => (self.enter()?, First::Done(0)),
            // The record says what would have begun.
            Some((read, First::NotEntered)) => {
                let Claimed { db_name, .. } = self.claimed;
                // It may have been taken, and counts how often.
                resource_server::unlock(self.recorder.conn()?, db_name)?;
                let number = plan.due(self.claimed, read.version)[0].number;
                let forgotten = self.recorder.claim.forget(&[db_name], number);
                self.recorder.record(None, [&forgotten])?;
                (self.enter()?, First::Done(0))
            }
            Some(opened) => opened,
        };
        let from = registered.version;
        let values = plan.values(self.claimed, &registered);
        let files = plan.due(self.claimed, from);
        let Some(last) = files.last() else {
            return Err(Stop::Skipped(format!("database `{}` has version {from} already", self.claimed.db_name)));
        };
        if self.claimed.interrupted > MAX_INTERRUPTIONS {
            return Err(self.worn_out(&files, registered.begun.as_ref()));
        }
        let mut done = match first {
            First::Failed(at, error) => {
                let before = Position::new(files[0].number, &files[0].statements(&values)[..at], true);
                return Err(self.meaning(files[0], at, error, Some(before)));
            }
            First::Unrecorded(stopped) => return Err(of_record(stopped)),
            First::Done(count) => count,
            First::NotEntered => 0,
        };
        for file in &files {
            let begun = registered.begun.as_ref().filter(|position| position.number == file.number);
            let is_last = file.number == last.number;
            let reached = self.run_file(file, &values, begun, std::mem::take(&mut done), (from, is_last))?;
            if let Some(reached) = reached {
                let done = self.completion(&reached, from, is_last);
                if is_last {
                    return Ok(Some(done));
                }
                self.recorder.complete(&done)?;
            }
            if file.leaves_trace() && !is_last {
                self.renew()?;
            }
        }
        Ok(None)
    }

    /// What records that a migration is complete.
    pub(super) fn completion(&self, reached: &Position, from: u32, is_last: bool) -> Completion {
        let migrated = Migrated { database: self.claimed, from };
        Completion::of_one(self.recorder.claim, self.recorder.plan, reached, migrated, is_last)
    }

    /// What was begun takes the connection or the daemon down each time, so that nothing could be recorded after it.
    fn worn_out(&self, files: &[&Migration], begun: Option<&Position>) -> Stop {
        let file = files.iter().find(|file| begun.is_some_and(|begun| begun.number == file.number));
        let path = file.or(files.first()).map_or("", |file| &file.path);
        let times = self.claimed.interrupted;
        let message =
            format!("{times} attempts lost their connection or their daemon here; see the server's log and resqd's");
        self.failed(path, begun.map_or(0, |begun| begun.statement as usize), message, None)
    }

    /// Takes the lock of the name and makes the session ready.
    fn enter(&mut self) -> Result<Registered, Stop> {
        let (db_name, res_id) = (&self.claimed.db_name, self.claimed.res_id);
        let mut locked = resource_server::lock(self.conn()?, db_name, 0)?;
        let mut registered = self.registered()?;
        let was_held = !locked.held;
        if was_held {
            // What holds it is an attempt whose daemon has lost its lease.
            resource_server::kill_holder(self.conn()?, db_name);
            locked = resource_server::lock(self.conn()?, db_name, NAME_WAIT_S)?;
        }
        if !locked.held {
            let message = format!("another session holds the lock of `{db_name}`");
            return Err(Stop::Waits { message, is_interrupted: false, back_to: None });
        }
        if !locked.exists {
            return Err(self.failed(
                "",
                0,
                format!(
                    "database `{db_name}` is gone, without resq having dropped it; restore it, or free its name with \
                     `resqctl drop {res_id} --yes`"
                ),
                None,
            ));
        }
        let is_interrupted = registered.begun.as_ref().is_some_and(|position| !position.is_done);
        if is_interrupted && let Some(node) = elsewhere::end(&self.recorder.plan.others, db_name, NAME_WAIT_S)? {
            let message = format!("the statement that was interrupted still runs on node {node}");
            return Err(Stop::Waits { message, is_interrupted: false, back_to: None });
        }
        if was_held || is_interrupted {
            // What has been ended ran on until now, and recorded what it did.
            registered = self.registered()?;
        }
        self.make_ready()?;
        Ok(registered)
    }

    fn registered(&mut self) -> Result<Registered, Stop> {
        let (claim, Claimed { db_name, res_id, .. }) = (self.recorder.claim, self.claimed);
        let registered = claim.registered(self.conn()?, db_name)?;
        registered
            .filter(|found| found.is_ready && found.res_id == *res_id)
            .ok_or_else(|| Stop::Skipped(format!("database `{db_name}` was dropped, or is being dropped")))
    }

    fn make_ready(&mut self) -> Result<(), Stop> {
        self.recorder.held = Some(self.claimed.db_name.clone());
        let settings = settings(&self.claimed.db_name).join("; ");
        Ok(run_script(self.conn()?, &settings).map_err(Error::from)?)
    }

    /// Resets the session for the next file. That releases the lock for a moment, in which nothing of this attempt runs.
    fn renew(&mut self) -> Result<(), Stop> {
        self.recorder.session.renew().map_err(|_| Stop::Lost)?;
        let db_name = &self.claimed.db_name;
        if !resource_server::lock(self.conn()?, db_name, 0)?.held {
            return Err(Stop::Lost);
        }
        self.make_ready()
    }

    /// What an error of the file's own statement means. `before`: how far the database is if this statement did nothing.
    pub(super) fn meaning(&self, file: &Migration, at: usize, error: Error, before: Option<Position>) -> Stop {
        let text = format!("{}, statement {}: {error}", file.path, at + 1);
        let is_interrupted = error.may_be_own_deed();
        let is_worn_out = is_interrupted && self.claimed.interrupted >= MAX_INTERRUPTIONS;
        if error.class() == ErrorClass::Permanent || is_worn_out {
            // Only the answer of a server that goes on says that the statement did nothing.
            let back_to = before.filter(|_| !is_worn_out);
            return self.failed(&file.path, at + 1, error.to_string(), back_to);
        }
        if matches!(error, Error::Lost(_) | Error::Unavailable(_)) {
            return Stop::Lost;
        }
        let did_nothing = matches!(error.code(), Some(ER_LOCK_WAIT_TIMEOUT | ER_LOCK_DEADLOCK));
        Stop::Waits { message: text, is_interrupted, back_to: before.filter(|_| did_nothing) }
    }

    pub(super) fn failed(&self, file: &str, statement: usize, error: String, back_to: Option<Position>) -> Stop {
        let message = match file {
            "" => error,
            file => format!("database `{}`, {file}, statement {statement}: {error}", self.claimed.db_name),
        };
        Stop::Failed { file: file.into(), statement, message, back_to }
    }

    /// Records why the attempt stopped.
    pub(super) fn give_up(&mut self, stop: Stop) -> Ended {
        let (rollout, db_name) = (self.recorder.plan.rollout, &self.claimed.db_name);
        let (verdict, message, back_to) = match stop {
            Stop::Lost => return Ended::Lost,
            Stop::Stopping => {
                (Verdict::Waits { pause_ms: 0, is_interrupted: false, is_free: true }, String::new(), None)
            }
            Stop::Skipped(message) => (Verdict::Skipped, message, None),
            Stop::Waits { message, is_interrupted, back_to } => {
                let pause = POSTPONE.pause(self.claimed.postponed.saturating_add(1), fastrand::f64());
                log::info!("rollout {rollout}: waits for the server ({message}) database={db_name}");
                let pause_ms = pause.as_millis() as u64;
                (Verdict::Waits { pause_ms, is_interrupted, is_free: false }, message, back_to)
            }
            Stop::Failed { file, statement, message, back_to } => {
                log::warn!(
                    "rollout {rollout}: a database cannot be migrated; the others go on up to max-failures: {message}"
                );
                (Verdict::Failed { file, statement }, message, back_to)
            }
        };
        // The file may have changed the session, or left its transaction open.
        if self.recorder.session.renew().is_err() {
            return Ended::Lost;
        }
        let (claim, claimed) = (self.recorder.claim, self.claimed);
        let recorded =
            self.conn().and_then(|conn| Ok(claim.give_up(conn, claimed, &verdict, &message, back_to.as_ref())?));
        if recorded.is_ok_and(|is_held| is_held) { Ended::Recorded } else { Ended::Lost }
    }
}
