//! What a worker does with a job: the seam between the queue, which knows no databases of resources, and whatever
//! is run for a job, provisioning or a program's own code.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mysql::{ChangeUserOpts, Conn};

use super::{job::Job, lease::Lease, sql_store::Outcome};
use crate::{
    base::clock::now,
    db::{self, Db, Error, ErrorClass, session},
};

/// Why an attempt failed, by what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobError {
    /// Another attempt may succeed: it counts, and the next comes after a growing pause.
    Failed(String),
    /// Every attempt will fail the same way: the job ends in `error` now.
    Permanent(String),
    /// The job is not to blame (the server was lost, the lease ran out): it comes back, uncounted.
    Interrupted(String),
}

impl JobError {
    /// The same with more to tell.
    pub fn and_also(self, more: &str) -> JobError {
        match self {
            JobError::Failed(text) => JobError::Failed(format!("{text}; {more}")),
            JobError::Permanent(text) => JobError::Permanent(format!("{text}; {more}")),
            JobError::Interrupted(text) => JobError::Interrupted(format!("{text}; {more}")),
        }
    }
}

impl From<Error> for JobError {
    fn from(error: Error) -> JobError {
        match error.class() {
            ErrorClass::Permanent => JobError::Failed(error.to_string()),
            ErrorClass::Retry | ErrorClass::ConnectionLost => JobError::Interrupted(error.to_string()),
        }
    }
}

/// For handlers, which use the driver's connection themselves.
impl From<mysql::Error> for JobError {
    fn from(error: mysql::Error) -> JobError {
        Error::from(error).into()
    }
}

/// What is run for each job. One value serves all workers at once.
///
/// A job may be run more than once (its daemon may die between the end of a run and the record of it), but its
/// outcome is recorded once, and no two attempts of one job are ever both recorded.
pub trait Handler: Send + Sync + 'static {
    /// Runs one attempt, on a worker's thread. Returns the name of the database made, if one was.
    /// A panic counts as [`JobError::Failed`].
    fn run(&self, job: &Job, session: &mut Session) -> Result<Option<String>, JobError>;

    /// Undoes what earlier attempts of `job` may have left, in place of [`Handler::run`]: the job has lost its worker
    /// too often and is given up.
    fn abandon(&self, _job: &Job, _session: &mut Session) -> Result<(), JobError> {
        Ok(())
    }

    /// What has to be committed together with the claim of `jobs`; `conn` is inside that transaction, in the global
    /// database.
    fn reserve(&self, _conn: &mut Conn, _jobs: &[Job]) -> Result<(), Error> {
        Ok(())
    }

    /// Takes [`Handler::reserve`] back for jobs of one claim that were not started, all of them or these; `conn` is
    /// inside the transaction that gives them back, in the global database.
    fn release(&self, _conn: &mut Conn, _claim_id: u64, _ids: Option<&[u64]>) -> Result<(), Error> {
        Ok(())
    }

    /// What has to be committed together with the outcomes; `conn` is inside that transaction, in the global database.
    fn record_outcomes(&self, _conn: &mut Conn, _endings: &[&Outcome]) -> Result<(), Error> {
        Ok(())
    }
}

/// A connection idle for longer is tried before it is used.
const ASLEEP: Duration = Duration::from_secs(30);

/// A worker's database connection, opened at a handler's first use of it, and its right to the job.
pub struct Session {
    db: Db,
    lease: Arc<Lease>,
    conn: Option<db::Conn>,
    /// Since its last reset.
    used: bool,
    idle_since: Instant,
}

impl Session {
    pub(crate) fn new(db: &Db, lease: Arc<Lease>) -> Session {
        Session { db: db.clone(), lease, conn: None, used: false, idle_since: now() }
    }

    /// The connection, in no database, with a fresh session at the start of each job.
    pub fn conn(&mut self) -> Result<&mut Conn, JobError> {
        // A server closes what is idle for long, and the job is not to blame for that.
        let asleep = !self.used && now() - self.idle_since > ASLEEP;
        let db = &self.db;
        let kept = self.conn.take().filter(|conn| self.used || db.is_current(conn));
        let kept = kept.and_then(|mut conn| (!asleep || conn.ping().is_ok()).then_some(conn));
        let conn = match kept {
            Some(conn) => conn,
            None => {
                let mut conn = self.db.any()?;
                fresh(&mut conn)?;
                conn
            }
        };
        self.used = true;
        Ok(self.conn.insert(conn))
    }

    /// False once this daemon's lease has run out: another may have the job by now. To be asked between steps.
    pub fn still_ours(&self) -> bool {
        self.lease.is_valid()
    }

    /// Leaves nothing of a job's session: locks, variables and the current database are gone. A connection that
    /// can't be reset is not used again.
    pub(super) fn reset(&mut self) {
        self.idle_since = now();
        if std::mem::take(&mut self.used)
            && let Some(mut conn) = self.conn.take()
            && fresh(&mut conn).is_ok()
        {
            self.conn = Some(conn);
        }
    }
}

/// COM_CHANGE_USER to oneself and not COM_RESET_CONNECTION: only the former also leaves the current database, so
/// that a stray unqualified CREATE TABLE can't end up in the resource before.
fn fresh(conn: &mut Conn) -> Result<(), Error> {
    conn.change_user(ChangeUserOpts::new().with_db_name(None))?;
    // In one round trip: this is between any two jobs.
    Ok(db::run_script(conn, &session().join("; "))?)
}
