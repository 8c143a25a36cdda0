//! Inspects resq's own objects while the daemon runs: once a minute, soon after a statement of resq's failed because one is
//! missing, and every few seconds until that is mended. Reports what changes, but waits for the end of an `init` that runs;
//! never mends and never stops the daemon.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, at, select};

use super::{
    inspection::Inspection,
    install,
    problem::{self, Problem},
};
use crate::{
    base::failure::{Exit, Failure},
    base::threads::{Alarm, Thread, cannot_start},
    db::{Db, Error, ErrorClass},
};

/// Connections that the watch needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// When to inspect.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// Between two inspections while all is in order: a minute, unless a test is in a hurry.
    pub every: Duration,
    /// Between two inspections while something is not, and the least time between two however many statements fail: 5 s.
    pub pause: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Intervals { every: Duration::from_secs(60), pause: Duration::from_secs(5) }
    }
}

/// After this time a problem that lasts is reported again.
const REMIND_AFTER: Duration = Duration::from_secs(3600);

/// What the last inspection found. Cheap to clone; any thread may read it.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<Mutex<Vec<Problem>>>);

impl Findings {
    /// The problems, worst first; empty: all of resq's objects are as they should be.
    pub fn problems(&self) -> Vec<Problem> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, problems: Vec<Problem>) -> Vec<Problem> {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), problems)
    }
}

/// The running watch. Dropping it ends the thread.
pub struct SchemaWatch {
    _thread: Thread,
    findings: Findings,
}

impl SchemaWatch {
    /// Inspects once, reports what it finds, and starts the thread.
    ///
    /// # Errors
    ///
    /// Something is missing without which resqd cannot serve, the server is lost, or the system cannot start another
    /// thread.
    pub fn start(db: &Db, inspection: Inspection, intervals: Intervals, alarm: &Alarm) -> Result<SchemaWatch, Failure> {
        let findings = Findings::default();
        let problems = match inspect(db, &inspection) {
            Ok(problems) => problems,
            Err(error) if error.class() == ErrorClass::Permanent => {
                log::warn!("schema: cannot inspect resq's own objects: {error}; trying again in a minute");
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(message) = problem::fatal(&problems, db.global_db()) {
            return Err(Failure::new(Exit::Failed, message));
        }
        problems.iter().for_each(report);
        findings.replace(problems);
        let (db, faults) = (db.clone(), db.schema_faults());
        let body = {
            let findings = findings.clone();
            move |stopped: Receiver<()>| run(&db, &inspection, intervals, &findings, &faults, &stopped)
        };
        let thread = Thread::spawn_stoppable("schema", alarm, body).map_err(cannot_start)?;
        Ok(SchemaWatch { _thread: thread, findings })
    }

    /// What the last inspection found.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }
}

fn inspect(db: &Db, inspection: &Inspection) -> Result<Vec<Problem>, Error> {
    inspection.run(&mut *db.global()?)
}

/// None: an `init` ran meanwhile, so that what was found may be half of its work.
fn inspect_unless_init_runs(db: &Db, inspection: &Inspection) -> Result<Option<Vec<Problem>>, Error> {
    let mut conn = db.global()?;
    if install::is_running(&mut conn, db.global_db())? {
        return Ok(None);
    }
    let problems = inspection.run(&mut conn)?;
    let is_over = problems.is_empty() || !install::is_running(&mut conn, db.global_db())?;
    Ok(is_over.then_some(problems))
}

fn report(problem: &Problem) {
    log::warn!("schema: {problem}; resqd goes on; {}", problem.remedy());
}

fn run(
    db: &Db,
    inspection: &Inspection,
    intervals: Intervals,
    findings: &Findings,
    faults: &Receiver<()>,
    stopped: &Receiver<()>,
) {
    let Intervals { every, pause } = intervals;
    let (mut last, mut last_reminder) = (Instant::now(), Instant::now());
    let mut due = last + if findings.problems().is_empty() { every } else { pause };
    loop {
        select! {
            recv(stopped) -> _ => return,
            recv(faults) -> _ => {
                due = due.min((last + pause).max(Instant::now()));
                continue;
            }
            recv(at(due)) -> _ => {}
        }
        last = Instant::now();
        due = last + every;
        let problems = match inspect_unless_init_runs(db, inspection) {
            Ok(Some(problems)) => problems,
            Ok(None) => {
                due = last + pause;
                continue;
            }
            // What is wrong with the server is reported by the roles that wait for it.
            Err(error) => {
                log::debug!("schema: cannot inspect: {error}");
                continue;
            }
        };
        let known = findings.replace(problems.clone());
        if !problems.is_empty() {
            due = last + pause;
        }
        let is_reminder = last.duration_since(last_reminder) >= REMIND_AFTER;
        if is_reminder {
            last_reminder = last;
        }
        problems.iter().filter(|problem| is_reminder || !known.contains(problem)).for_each(report);
        if problems.is_empty() && !known.is_empty() {
            log::warn!("schema: all of resq's own objects are in order again");
        }
    }
}
