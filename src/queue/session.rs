//! What a handler gets beside its job: a database connection that is clean at the start of each job, and whether the
//! job is still its own. Never runs a statement of its own but to check and reset the connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mysql::Conn;

use super::{load::Load, outcome::JobError, validity::Validity};
use crate::{
    base::clock::now,
    db::{self, Db},
};

/// A connection that was idle for longer is pinged before it is used: servers close idle connections.
const PING_AFTER: Duration = Duration::from_secs(30);
/// A session that jobs leave as it was is reset all the same after so many of them and after so long: changes of the
/// server's global variables arrive.
const MOST_KEPT: u32 = 100;
const LONGEST_KEPT: Duration = Duration::from_secs(60);

/// A worker's database connection, opened when a handler first asks for it, and the validity of the daemon's lease.
pub struct Session {
    db: Db,
    lease: Validity,
    conn: Option<db::Conn>,
    /// A handler has used the connection since its last reset.
    used: bool,
    idle_since: Instant,
    /// The job leaves the session as it was, but for the current database.
    keeps: bool,
    /// How many jobs in a row did.
    kept: u32,
    reset_at: Instant,
    load: Arc<Load>,
}

impl Session {
    pub(crate) fn new(db: &Db, lease: &Validity, load: &Arc<Load>) -> Session {
        let (db, lease, load) = (db.clone(), lease.clone(), load.clone());
        let (idle_since, reset_at) = (now(), now());
        Session { db, lease, conn: None, used: false, idle_since, keeps: false, kept: 0, reset_at, load }
    }

    /// How busy this daemon's workers are with jobs: what is no job lets them go first.
    pub fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// The connection. At the start of each job it has a fresh session, with no current database.
    ///
    /// # Errors
    /// [`JobError::Postponed`] if no connection can be made: the job is not to blame.
    pub fn conn(&mut self) -> Result<&mut Conn, JobError> {
        self.open()?;
        if self.kept > 0 {
            self.renew()?;
        }
        self.open()
    }

    /// The connection as the last job left it: fresh, but for a current database. A round trip or more less than
    /// [`Session::conn`], if that job called [`Session::keep`].
    ///
    /// # Errors
    /// As [`Session::conn`].
    pub fn conn_as_left(&mut self) -> Result<&mut Conn, JobError> {
        if self.kept > MOST_KEPT || now() - self.reset_at > LONGEST_KEPT { self.conn() } else { self.open() }
    }

    /// Promises that this job leaves the session as it was, with another current database at most: it is not reset behind it.
    pub fn keep(&mut self) {
        self.keeps = true;
    }

    fn open(&mut self) -> Result<&mut Conn, JobError> {
        let may_be_closed = !self.used && now() - self.idle_since > PING_AFTER;
        let db = &self.db;
        let kept = self.conn.take().filter(|conn| self.used || db.is_current(conn));
        let kept = kept.and_then(|mut conn| (!may_be_closed || conn.ping().is_ok()).then_some(conn));
        let conn = match kept {
            Some(conn) => conn,
            None => {
                let mut conn = self.db.any()?;
                db::session::reset(&mut conn).map_err(|error| JobError::Postponed(error.to_string()))?;
                (self.kept, self.reset_at) = (0, now());
                conn
            }
        };
        self.used = true;
        Ok(self.conn.insert(conn))
    }

    /// Whether the daemon's lease is valid. Once it is not, another daemon may have claimed the job: check it between
    /// steps and stop with [`JobError::Postponed`].
    pub fn is_lease_valid(&self) -> bool {
        self.lease.is_valid()
    }

    /// Gives the job a fresh session on the same connection: locks, variables, settings, temporary tables and the current
    /// database are gone, and what was not committed is rolled back.
    ///
    /// # Errors
    /// [`JobError::Postponed`] if the server is lost.
    pub fn renew(&mut self) -> Result<(), JobError> {
        (self.keeps, self.kept, self.reset_at) = (false, 0, now());
        db::session::reset(self.open()?).map_err(|error| {
            self.conn = None;
            JobError::Postponed(error.to_string())
        })
    }

    /// Ends the job's session: its locks, variables and current database are gone, unless the job left it as it was. A
    /// connection that can't be reset is not used again.
    pub(super) fn reset(&mut self) {
        self.idle_since = now();
        if std::mem::take(&mut self.keeps) && self.used {
            (self.used, self.kept) = (false, self.kept + 1);
            return;
        }
        if std::mem::take(&mut self.used) {
            (self.kept, self.reset_at) = (0, now());
            self.conn = self.conn.take().and_then(|mut conn| db::session::reset(&mut conn).is_ok().then_some(conn));
        }
    }
}
