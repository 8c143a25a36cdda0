//! One attempt to migrate one database, on a worker's thread: claim it, take the lock of its name, run what it lacks,
//! record each statement. Owns the order of record and statement, so that an attempt that ends anywhere is continued by the
//! next one; what an error means is decided by its class alone.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use mysql::{Conn, prelude::Queryable};

use super::{
    elsewhere,
    files::Migration,
    ledger::{Claim, Claimed, Position, Registered, Verdict},
    statement::{Kind, Statement},
};
use crate::{
    base::backoff::Backoff,
    db::{self, Error, ErrorClass, OtherHosts, codes::*, ident},
    queue::Session,
    resources::{resource_server, template::Values},
};

/// Seconds that a statement waits for a lock: later statements of the application on that table wait behind it.
const LOCK_WAIT_S: u32 = 5;
/// How long to wait for a killed session to release the lock of the name, in seconds.
const NAME_WAIT_S: u32 = 10;
/// How many attempts may lose their worker in a database before it counts as failed.
const MAX_INTERRUPTIONS: u32 = 20;
/// The pause before a database that waits for the server is tried again.
const POSTPONE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), 0.5);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// No database of this wave could be begun.
    Nothing,
    /// The database is migrated, or failed, or waits; recorded.
    Recorded,
    /// The claim, the lease or the server is lost: the database is claimed again later.
    Lost,
}

/// What all attempts of a rollout need.
pub struct Plan {
    /// Its number.
    pub rollout: u64,
    /// The global database, unquoted.
    pub global_db: String,
    /// The migrations, in the order of their numbers.
    pub files: Vec<Migration>,
    /// The cluster's other nodes, on which an earlier attempt may have left a statement running.
    pub others: OtherHosts,
}

/// Why an attempt stops.
enum Stop {
    /// Nothing can be recorded, or need be.
    Lost,
    /// The daemon stops.
    Stopping,
    /// It is none of the rollout's any more.
    Skipped(String),
    /// Something that passes.
    Waits { message: String, is_interrupted: bool, back_to: Option<Position> },
    /// An operator has to see to it.
    Failed { file: String, statement: usize, message: String, back_to: Option<Position> },
}

/// What an error of one of resq's own statements means: it is repeated later.
impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        match error.class() {
            ErrorClass::ConnectionLost => Stop::Lost,
            _ => Stop::Waits { message: error.to_string(), is_interrupted: false, back_to: None },
        }
    }
}

impl From<mysql::Error> for Stop {
    fn from(error: mysql::Error) -> Stop {
        Error::from(error).into()
    }
}

/// Claims the next database of `wave` and migrates it. `stopping` becomes true when the daemon stops.
pub fn run(plan: &Plan, claim: &Claim, wave: u32, session: &mut Session, stopping: &AtomicBool) -> Ended {
    let claimed = match conn(session).and_then(|conn| Ok(claim.next(conn, wave)?)) {
        Ok(Some(claimed)) => claimed,
        Ok(None) => return Ended::Nothing,
        Err(_) => return Ended::Lost,
    };
    let mut attempt = Attempt { plan, claim, claimed: &claimed, session, stopping };
    let result = catch_unwind(AssertUnwindSafe(|| attempt.migrate()));
    let result = result.unwrap_or_else(|_| {
        let message = format!("database `{}`: the migration panicked; see resqd's log", claimed.db_name);
        Err(Stop::Failed { file: String::new(), statement: 0, message, back_to: None })
    });
    match result {
        Ok(()) => {
            log::info!("rollout {}: migrated a database={}", plan.rollout, claimed.db_name);
            Ended::Recorded
        }
        Err(stop) => attempt.give_up(stop),
    }
}

/// The session's connection.
fn conn(session: &mut Session) -> Result<&mut Conn, Stop> {
    if session.is_lease_valid() { session.conn().map_err(|_| Stop::Lost) } else { Err(Stop::Lost) }
}

struct Attempt<'a> {
    plan: &'a Plan,
    claim: &'a Claim,
    claimed: &'a Claimed,
    session: &'a mut Session,
    stopping: &'a AtomicBool,
}

impl Attempt<'_> {
    fn conn(&mut self) -> Result<&mut Conn, Stop> {
        conn(self.session)
    }

    fn migrate(&mut self) -> Result<(), Stop> {
        let Claimed { db_name, to_version, res_type, .. } = self.claimed;
        let registered = self.enter()?;
        let from = registered.version;
        let values = Values {
            global_db: &self.plan.global_db,
            res_db: db_name,
            res_name: &registered.res_name,
            res_type,
            res_url: &registered.res_url,
            res_id: self.claimed.res_id,
        };
        let plan = self.plan;
        let is_due = |file: &&Migration| file.is_for(res_type) && file.number > from && file.number <= *to_version;
        let files: Vec<&Migration> = plan.files.iter().filter(is_due).collect();
        let Some(last) = files.last() else {
            return Err(Stop::Skipped(format!("database `{db_name}` has version {from} already")));
        };
        let last = last.number;
        for file in files {
            let begun = registered.begun.as_ref().filter(|position| position.number == file.number);
            self.run_file(file, &values, begun, from, file.number == last)?;
            if file.leaves_trace() && file.number != last {
                self.renew()?;
            }
        }
        Ok(())
    }

    /// Takes the lock of the name and makes the session ready.
    fn enter(&mut self) -> Result<Registered, Stop> {
        let (db_name, res_id) = (&self.claimed.db_name, self.claimed.res_id);
        let mut locked = resource_server::lock(self.conn()?, db_name, 0)?;
        let registered = self.registered()?;
        if !locked.held {
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
        if registered.begun.as_ref().is_some_and(|position| !position.is_done)
            && let Some(node) = elsewhere::end(&self.plan.others, db_name, NAME_WAIT_S)?
        {
            let message = format!("the statement that was interrupted still runs on node {node}");
            return Err(Stop::Waits { message, is_interrupted: false, back_to: None });
        }
        self.make_ready()?;
        Ok(registered)
    }

    fn registered(&mut self) -> Result<Registered, Stop> {
        let (claim, Claimed { db_name, res_id, .. }) = (self.claim, self.claimed);
        let registered = claim.registered(self.conn()?, db_name)?;
        registered
            .filter(|found| found.is_ready && found.res_id == *res_id)
            .ok_or_else(|| Stop::Skipped(format!("database `{db_name}` was dropped, or is being dropped")))
    }

    fn make_ready(&mut self) -> Result<(), Stop> {
        let select = format!(
            "SET SESSION lock_wait_timeout = {LOCK_WAIT_S}, innodb_lock_wait_timeout = {LOCK_WAIT_S}; USE {}",
            ident(&self.claimed.db_name)
        );
        Ok(db::run_script(self.conn()?, &select).map_err(Error::from)?)
    }

    /// Resets the session for the next file. That releases the lock for a moment, in which nothing of this attempt runs.
    fn renew(&mut self) -> Result<(), Stop> {
        self.session.renew().map_err(|_| Stop::Lost)?;
        let db_name = &self.claimed.db_name;
        if !resource_server::lock(self.conn()?, db_name, 0)?.held {
            return Err(Stop::Lost);
        }
        self.make_ready()
    }

    /// Runs what is left of a file, and records that it is complete.
    fn run_file(
        &mut self,
        file: &Migration,
        values: &Values<'_>,
        begun: Option<&Position>,
        from: u32,
        is_last: bool,
    ) -> Result<(), Stop> {
        let statements = file.statements(values);
        let position = |done: usize, is_done: bool| Position::new(file.number, &statements[..done], is_done);
        let done_before = self.resume(file, &statements, begun)?;
        // Settings that later statements rely on.
        for statement in statements[..done_before].iter().filter(|statement| statement.kind == Kind::Session) {
            db::run_script(self.conn()?, &statement.text).map_err(Error::from)?;
        }
        let mut is_repeated = begun.is_some_and(|position| !position.is_done);
        let mut at = done_before;
        let mut recorded = done_before;
        while at < statements.len() {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(Stop::Stopping);
            }
            let statement = &statements[at];
            match statement.kind {
                Kind::Session => {
                    self.run_one(file, at, statement).map_err(|error| self.meaning(file, at, error, None))?;
                    at += 1;
                }
                Kind::Rows => {
                    let end = at + statements[at..].iter().take_while(|next| next.kind == Kind::Rows).count();
                    self.run_rows(file, &statements, at..end, &position, (from, is_last))?;
                    (at, recorded) = (end, end);
                    if end == statements.len() {
                        return Ok(());
                    }
                }
                Kind::Definition => {
                    self.record(&position(at + 1, false))?;
                    let result = self.run_one(file, at, statement);
                    if let Err(error) = result {
                        let is_done = is_repeated && error.code().is_some_and(|code| statement.is_done_by(code));
                        if !is_done {
                            return Err(self.meaning(file, at, error, Some(position(recorded, true))));
                        }
                        log::info!(
                            "rollout {}: statement {} of {} was done before it was interrupted database={}",
                            self.plan.rollout,
                            at + 1,
                            file.path,
                            self.claimed.db_name
                        );
                    }
                    at += 1;
                    recorded = at;
                }
            }
            is_repeated = false;
        }
        self.conn()?.query_drop("START TRANSACTION")?;
        self.complete(&position(statements.len(), true), from, is_last)
    }

    /// How many statements of the file are done.
    fn resume(&self, file: &Migration, statements: &[Statement], begun: Option<&Position>) -> Result<usize, Stop> {
        let Some(position) = begun else { return Ok(0) };
        let reached = position.statement as usize;
        if reached > statements.len() || position.is_behind_others(&statements[..reached]) {
            return Err(self.failed(
                &file.path,
                reached,
                format!(
                    "the file has changed since this database got its statements up to {reached}; undo that change, or \
                     complete the migration by hand"
                ),
                None,
            ));
        }
        Ok(if position.is_done { reached } else { reached - 1 })
    }

    /// Runs consecutive statements that change rows in one transaction with their record.
    fn run_rows(
        &mut self,
        file: &Migration,
        statements: &[Statement],
        range: std::ops::Range<usize>,
        position: &dyn Fn(usize, bool) -> Position,
        (from, is_last): (u32, bool),
    ) -> Result<(), Stop> {
        self.conn()?.query_drop("START TRANSACTION")?;
        for at in range.clone() {
            if let Err(error) = self.run_one(file, at, &statements[at]) {
                let meaning = self.meaning(file, at, error, None);
                let _ = self.conn()?.query_drop("ROLLBACK");
                return Err(meaning);
            }
        }
        let reached = position(range.end, true);
        if range.end == statements.len() {
            return self.complete(&reached, from, is_last);
        }
        self.record(&reached)?;
        Ok(self.conn()?.query_drop("COMMIT")?)
    }

    /// Ends the transaction that completes a migration.
    fn complete(&mut self, position: &Position, from: u32, is_last: bool) -> Result<(), Stop> {
        self.record(position)?;
        let (claim, claimed) = (self.claim, self.claimed);
        let conn = self.conn()?;
        claim.complete(conn, claimed, from, position.number, is_last)?;
        Ok(conn.query_drop("COMMIT")?)
    }

    fn record(&mut self, position: &Position) -> Result<(), Stop> {
        let (claim, claimed) = (self.claim, self.claimed);
        if claim.record(self.conn()?, &claimed.db_name, position)? { Ok(()) } else { Err(Stop::Lost) }
    }

    fn run_one(&mut self, file: &Migration, at: usize, statement: &Statement) -> Result<(), Error> {
        log::debug!("rollout {}: {}, statement {}", self.plan.rollout, file.path, at + 1);
        let conn = self.session.conn().map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(db::run_script(conn, &statement.text)?)
    }

    /// What an error of the file's own statement means. `before`: how far the database is if this statement did nothing.
    fn meaning(&self, file: &Migration, at: usize, error: Error, before: Option<Position>) -> Stop {
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

    fn failed(&self, file: &str, statement: usize, error: String, back_to: Option<Position>) -> Stop {
        let message = match file {
            "" => error,
            file => format!("database `{}`, {file}, statement {statement}: {error}", self.claimed.db_name),
        };
        Stop::Failed { file: file.into(), statement, message, back_to }
    }

    /// Records why the attempt stopped.
    fn give_up(&mut self, stop: Stop) -> Ended {
        let (rollout, db_name) = (self.plan.rollout, &self.claimed.db_name);
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
        if self.session.renew().is_err() {
            return Ended::Lost;
        }
        let (claim, claimed) = (self.claim, self.claimed);
        let recorded = conn(self.session)
            .and_then(|conn| Ok(claim.give_up(conn, claimed, &verdict, &message, back_to.as_ref())?));
        if recorded.is_ok_and(|is_held| is_held) { Ended::Recorded } else { Ended::Lost }
    }
}
