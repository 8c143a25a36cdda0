//! One attempt to migrate one database, on a worker's thread: claim it, take the lock of its name, run what it lacks,
//! record each statement. Owns the order of record and statement, so that an attempt that ends anywhere is continued by the
//! next one; what an error means is decided by its class alone. One task of a worker is a lane of attempts, each of which
//! begins with the record that ends the one before.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use mysql::{Conn, prelude::Queryable};

use super::{
    files::Migration,
    ledger::{Claim, Claimed, Registered, Verdict},
    opening::{Begun, First, Opening, Part, settings},
    position::Position,
    stop::{Stop, of_record},
    work::{Candidate, Plan},
};
use crate::{
    base::backoff::Backoff,
    db::{Error, ErrorClass, Packet, codes::*, run_script},
    queue::Session,
    resources::{elsewhere, resource_server},
};

/// How long to wait for a killed session to release the lock of the name, in seconds.
const NAME_WAIT_S: u32 = 10;
/// How many attempts may lose their worker in a database before it counts as failed.
const MAX_INTERRUPTIONS: u32 = 20;
/// How long a database is not begun while this daemon's workers run jobs: new resources go first, and rollouts still go on.
const JOBS_FIRST: Duration = Duration::from_millis(200);
/// The pause before a database that waits for the server is tried again.
const POSTPONE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 0.5);

/// How a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No database of this wave could be begun.
    Nothing,
    /// Its databases are migrated; or the last one failed, or waits; recorded.
    Recorded,
    /// The claim, the lease or the server is lost: the database is claimed again later.
    Lost,
}

/// Attempts one after the other, on one session.
pub struct Lane<'a> {
    /// The rollout.
    pub plan: &'a Plan,
    /// By which each of its databases is held in turn.
    pub claim: &'a Claim,
    /// The wave.
    pub wave: u32,
    /// Those that it may begin.
    pub candidates: VecDeque<Candidate>,
    /// The worker's.
    pub session: &'a mut Session,
    /// Becomes true when the daemon stops.
    pub stopping: &'a AtomicBool,
    /// The database whose lock the session holds.
    pub held: Option<String>,
}

/// Migrates candidates until there is no more, a job waits for the worker, or one of them fails; without any, the next
/// database that can be claimed. `on_migrated` is called for each but the last.
pub fn run(mut lane: Lane<'_>, on_migrated: &dyn Fn()) -> Ended {
    let (mut ended, mut next) = (Ended::Nothing, None);
    loop {
        let begun = match next.take() {
            Some(begun) => begun,
            None => match lane.begin(ended == Ended::Nothing) {
                Ok(Some(begun)) => begun,
                Ok(None) => return ended,
                Err(_) => return Ended::Lost,
            },
        };
        let (rollout, Begun { database, opened }) = (lane.plan.rollout, begun);
        let mut attempt = Attempt { lane: &mut lane, claimed: &database };
        let result = catch_unwind(AssertUnwindSafe(|| attempt.migrate(opened)));
        let result = result.unwrap_or_else(|_| {
            let message = format!("database `{}`: the migration panicked; see resqd's log", database.db_name);
            Err(Stop::Failed { file: String::new(), statement: 0, message, back_to: None })
        });
        match result {
            Ok(following) => {
                log::info!("rollout {rollout}: migrated a database={}", database.db_name);
                (ended, next) = (Ended::Recorded, following);
                on_migrated();
            }
            Err(stop) => return attempt.give_up(stop),
        }
    }
}

impl<'a> Lane<'a> {
    /// The session's connection.
    pub(super) fn conn(&mut self) -> Result<&mut Conn, Stop> {
        let is_valid = self.session.is_lease_valid();
        if is_valid { self.session.conn().map_err(|_| Stop::Lost) } else { Err(Stop::Lost) }
    }

    fn begin(&mut self, is_first: bool) -> Result<Option<Begun>, Stop> {
        self.session.load().wait_for_none(JOBS_FIRST);
        while let Some(opening) = self.next_opening() {
            let begun = self.open(opening)?;
            if begun.is_some() {
                return Ok(begun);
            }
        }
        if !is_first {
            return Ok(None);
        }
        let (claim, wave) = (self.claim, self.wave);
        let claimed = claim.next(self.conn()?, wave)?;
        Ok(claimed.map(|database| Begun { database, opened: None }))
    }

    fn next_opening(&mut self) -> Option<Opening<'a>> {
        if self.stopping.load(Ordering::Relaxed) || self.session.load().is_job_waiting() {
            self.candidates.clear();
        }
        std::iter::from_fn(|| self.candidates.pop_front()).find_map(|candidate| Opening::of(self.plan, candidate))
    }

    /// Begins a candidate; None: it is no longer to be had.
    fn open(&mut self, opening: Opening<'a>) -> Result<Option<Begun>, Stop> {
        let mut packet = Packet::default();
        packet.add(Part::Claim, 1, "START TRANSACTION");
        self.add(&mut packet, &opening);
        let ended = packet.run(self.conn()?);
        match &ended {
            Err(stopped) if matches!(stopped.purpose, Part::Look | Part::Claim) => {
                let has_some = stopped.purpose == Part::Look && stopped.is_unmet();
                self.conn()?.query_drop("ROLLBACK")?;
                if has_some {
                    self.candidates.push_front(opening.apart());
                }
                Ok(None)
            }
            // What is unknown after a lost connection, the next poll finds out.
            Err(stopped) if stopped.purpose == Part::Commit && !stopped.error.is_lost_race() => Err(Stop::Lost),
            Err(stopped) if stopped.purpose == Part::Commit => {
                self.conn()?.query_drop("ROLLBACK")?;
                Ok(None)
            }
            _ => Ok(Some(self.opened(opening.begun(ended)))),
        }
    }

    fn add(&self, packet: &mut Packet<Part>, opening: &Opening<'_>) {
        opening.add_claim(packet, self.claim, self.wave);
        opening.add_entry(packet, self.claim, self.held.as_deref());
    }

    fn opened(&mut self, begun: Begun) -> Begun {
        self.held = Some(begun.database.db_name.clone());
        begun
    }
}

pub(super) struct Attempt<'l, 'a> {
    pub lane: &'l mut Lane<'a>,
    pub claimed: &'l Claimed,
}

impl Attempt<'_, '_> {
    pub(super) fn conn(&mut self) -> Result<&mut Conn, Stop> {
        self.lane.conn()
    }

    /// Returns the database that was begun in one packet with the end of this one.
    fn migrate(&mut self, opened: Option<(Registered, First)>) -> Result<Option<Begun>, Stop> {
        let plan = self.lane.plan;
        let (registered, first) = match opened {
            None => (self.enter()?, First::Done(0)),
            // The record says what would have begun.
            Some((read, First::NotEntered)) => {
                let none = Position::new(plan.due(self.claimed, read.version)[0].number, &[], true);
                let entered = self.enter().map_err(|stop| stop.back_to(none))?;
                (Registered { begun: None, ..entered }, First::Done(0))
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
                if is_last {
                    return self.finish(&files, &reached, from);
                }
                self.complete(&reached, from, false)?;
            }
            if file.leaves_trace() && !is_last {
                self.renew()?;
            }
        }
        self.lane.candidates.clear();
        Ok(None)
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

    /// Records that the database is migrated. If nothing of it stays in the session, the next candidate is begun in the same
    /// packet.
    fn finish(&mut self, files: &[&Migration], reached: &Position, from: u32) -> Result<Option<Begun>, Stop> {
        if !files.iter().all(|file| file.is_plain) {
            self.lane.candidates.clear();
        }
        let plan = self.lane.plan;
        let is_job_running = self.lane.session.load().is_job_running();
        let Some(opening) = (!is_job_running).then(|| self.lane.next_opening()).flatten() else {
            return self.complete(reached, from, true).map(|()| None);
        };
        let mut packet = Packet::default();
        packet.add(Part::Complete, 1, "START TRANSACTION");
        self.add_completion(&mut packet, reached, from, true);
        self.lane.add(&mut packet, &opening);
        let ended = packet.run(self.conn()?);
        match ended {
            Err(stopped) if matches!(stopped.purpose, Part::Complete | Part::Look | Part::Claim | Part::Commit) => {
                let is_lost = stopped.purpose == Part::Complete && stopped.is_unmet();
                if is_lost || stopped.error.class() == ErrorClass::ConnectionLost {
                    return Err(Stop::Lost);
                }
                if stopped.purpose == Part::Look && stopped.is_unmet() {
                    self.lane.candidates.push_front(opening.apart());
                }
                // Another daemon has begun the other one, or a race is lost: this one is recorded all the same.
                self.conn()?.query_drop("ROLLBACK")?;
                self.complete(reached, from, true).map(|()| None)
            }
            ended => {
                plan.keeps(reached.number);
                Ok(Some(self.lane.opened(opening.begun(ended))))
            }
        }
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
        if is_interrupted && let Some(node) = elsewhere::end(&self.lane.plan.others, db_name, NAME_WAIT_S)? {
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
        let (claim, Claimed { db_name, res_id, .. }) = (self.lane.claim, self.claimed);
        let registered = claim.registered(self.conn()?, db_name)?;
        registered
            .filter(|found| found.is_ready && found.res_id == *res_id)
            .ok_or_else(|| Stop::Skipped(format!("database `{db_name}` was dropped, or is being dropped")))
    }

    fn make_ready(&mut self) -> Result<(), Stop> {
        self.lane.held = Some(self.claimed.db_name.clone());
        let settings = settings(&self.claimed.db_name).join("; ");
        Ok(run_script(self.conn()?, &settings).map_err(Error::from)?)
    }

    /// Resets the session for the next file. That releases the lock for a moment, in which nothing of this attempt runs.
    fn renew(&mut self) -> Result<(), Stop> {
        self.lane.session.renew().map_err(|_| Stop::Lost)?;
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
    fn give_up(&mut self, stop: Stop) -> Ended {
        let (rollout, db_name) = (self.lane.plan.rollout, &self.claimed.db_name);
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
        if self.lane.session.renew().is_err() {
            return Ended::Lost;
        }
        let (claim, claimed) = (self.lane.claim, self.claimed);
        let recorded =
            self.conn().and_then(|conn| Ok(claim.give_up(conn, claimed, &verdict, &message, back_to.as_ref())?));
        if recorded.is_ok_and(|is_held| is_held) { Ended::Recorded } else { Ended::Lost }
    }
}
