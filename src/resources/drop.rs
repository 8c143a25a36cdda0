//! Drops databases that resq made, and only those: a database that the registry does not name stays. Owns the protocol that
//! keeps daemons from working on what is being dropped: waiting jobs are cancelled first, running ones are refused,
//! and each database is dropped under the lock of its name, before its rows. After a crash, the same call completes it.

use std::fmt;

use mysql::{Conn, prelude::Queryable};

use super::{registry, resource_server};
use crate::{
    base::failure::{Exit, Failure},
    db::{self, Db, Error, Link, id_list},
    queue::Queue,
};

/// How long to wait for the lock of a database's name, in seconds.
const LOCK_WAIT_S: u32 = 10;
/// Rows of the queue that one statement deletes.
const CHUNK: usize = 1000;

/// A database of the registry and the job that it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its name, unquoted.
    pub db_name: String,
    /// The job.
    pub res_id: u64,
}

/// A set of databases of the registry.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Of resources that `resqctl seed` made.
    Seeded,
    /// Every one.
    All,
    /// Of these jobs.
    Of(&'a [u64]),
    /// Of those of these jobs that ended in error and left half a database.
    HalfMade(&'a [u64]),
}

/// What was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Databases.
    pub databases: usize,
    /// Rows of the queue.
    pub rows: u64,
}

/// What happens during a call, for the user to see.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// These are about to be dropped.
    Found(&'a [Owned]),
    /// One of them was dropped.
    Dropped,
}

/// Why something was not dropped.
#[derive(Debug)]
pub enum DropError {
    /// So many of the jobs are in progress. Nothing was dropped.
    Running(u64),
    /// One database could not be dropped; those before it were.
    Database(String, Obstacle),
    /// A statement on the queue or the registry failed.
    Queue(Error),
}

/// Why one database could not be dropped.
#[derive(Debug)]
pub enum Obstacle {
    /// Its job is in progress.
    Busy(u64),
    /// A statement failed.
    Failed(Error),
}

impl From<Error> for DropError {
    fn from(error: Error) -> DropError {
        DropError::Queue(error)
    }
}

impl From<Error> for Obstacle {
    fn from(error: Error) -> Obstacle {
        Obstacle::Failed(error)
    }
}

impl fmt::Display for DropError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DropError::Running(n) => {
                let jobs = if *n == 1 { "1 job is".into() } else { format!("{n} jobs are") };
                write!(
                    f,
                    "{jobs} in progress; nothing was dropped; use `resqctl pause`, and try again when they are done"
                )
            }
            DropError::Database(db_name, Obstacle::Busy(id)) => {
                write!(
                    f,
                    "cannot drop database `{db_name}`: job {id} is in progress; repeat the command when it is done"
                )
            }
            DropError::Database(db_name, Obstacle::Failed(error)) => {
                write!(f, "cannot drop database `{db_name}`: {error}; repeat the command to continue")
            }
            DropError::Queue(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DropError {}

impl From<DropError> for Failure {
    fn from(error: DropError) -> Failure {
        match error {
            DropError::Queue(error) => error.into(),
            other => Failure::new(Exit::Failed, other.to_string()),
        }
    }
}

/// Drops databases, for an operator.
pub struct Dropper {
    queue: Queue,
    /// To the control server, which holds the queue and the registry.
    control: Link,
    global_db: String,
    /// Connections to the resource server, which holds the databases.
    resources: Db,
    resource: Option<db::Conn>,
}

impl Dropper {
    /// For the queue of `control` and databases on `resources`. Needs three connections in all.
    pub fn new(control: &Db, resources: &Db) -> Dropper {
        Dropper {
            queue: Queue::on(control),
            control: Link::new(control),
            global_db: control.global_db().into(),
            resources: resources.clone(),
            resource: None,
        }
    }

    /// The databases of idle jobs that a call would drop, by name. Changes nothing.
    ///
    /// # Errors
    /// [`DropError::Running`] if one of the jobs is in progress, or a failed statement.
    pub fn preview(&mut self, which: Which<'_>) -> Result<Vec<Owned>, DropError> {
        self.refuse_running(match which {
            Which::Of(ids) | Which::HalfMade(ids) => Some(ids),
            Which::Seeded | Which::All => None,
        })?;
        self.list(which)
    }

    /// Drops the databases and rows of these jobs.
    ///
    /// # Errors
    /// One of the jobs is in progress, or a statement failed. Then the call can be repeated.
    pub fn drop_jobs(&mut self, ids: &[u64], progress: impl FnMut(Progress<'_>)) -> Result<Dropped, DropError> {
        self.refuse_running(Some(ids))?;
        // Waiting ones first, so that no daemon claims them meanwhile.
        self.queue.cancel(ids)?;
        self.refuse_running(Some(ids))?;
        // Only now, since a job may have ended in between.
        let owned = self.list(Which::Of(ids))?;
        self.drop_all(&owned, progress)?;
        let rows = self.delete_rows(ids)?;
        Ok(Dropped { databases: owned.len(), rows })
    }

    /// Drops the databases of seeded resources, or with `all` of every resource, and their rows. Seeded rows go also if
    /// they have no database.
    ///
    /// # Errors
    /// A job is in progress, or a statement failed. Then the call can be repeated.
    pub fn clear(&mut self, all: bool, progress: impl FnMut(Progress<'_>)) -> Result<Dropped, DropError> {
        let which = if all { Which::All } else { Which::Seeded };
        self.refuse_running(None)?;
        // The half-made databases of waiting rows are found by these rows, so they are listed before the rows go; and all
        // are listed again once nothing runs, since a job may have ended in between.
        let mut owned = self.list(which)?;
        self.delete_in_chunks("DELETE FROM res_queue WHERE seeded AND status = 'new'")?;
        self.refuse_running(None)?;
        for late in self.list(which)? {
            if !owned.contains(&late) {
                owned.push(late);
            }
        }
        self.drop_all(&owned, progress)?;
        let mut rows = 0;
        for owned in owned.chunks(CHUNK) {
            let ids: Vec<u64> = owned.iter().map(|owned| owned.res_id).collect();
            rows += self.delete_rows(&ids)?;
        }
        rows += self.delete_in_chunks("DELETE FROM res_queue WHERE seeded AND status IN ('new', 'done', 'error')")?;
        self.delete_in_chunks(&format!("DELETE FROM res_error WHERE {ORPHANED}"))?;
        Ok(Dropped { databases: owned.len(), rows })
    }

    /// Ends waiting jobs in error, and drops what a lost daemon had half made for them, since no attempt follows that
    /// would. Returns how many jobs were waiting.
    ///
    /// # Errors
    /// A statement failed. Then the call can be repeated.
    pub fn cancel(&mut self, ids: &[u64]) -> Result<u64, DropError> {
        let cancelled = self.queue.cancel(ids)?;
        let half_made = self.list(Which::HalfMade(ids))?;
        self.drop_all(&half_made, |_| {})?;
        Ok(cancelled)
    }

    fn list(&mut self, which: Which<'_>) -> Result<Vec<Owned>, DropError> {
        let condition = match which {
            Which::Seeded => "EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = d.res_id AND q.seeded)".to_string(),
            Which::All => "TRUE".to_string(),
            Which::Of([]) | Which::HalfMade([]) => "FALSE".to_string(),
            Which::Of(ids) => format!("d.res_id IN ({})", id_list(ids)),
            Which::HalfMade(ids) => format!(
                "d.res_id IN ({}) AND d.state = 'making' \
                 AND EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = d.res_id AND q.status = 'error')",
                id_list(ids)
            ),
        };
        let sql = format!("SELECT db_name, res_id FROM res_database d WHERE {condition} ORDER BY db_name");
        Ok(self.control.run(|conn| Ok(conn.query_map(&sql, |(db_name, res_id)| Owned { db_name, res_id })?))?)
    }

    /// Refuses to go on while one of these jobs, or any at all, is in progress.
    fn refuse_running(&mut self, ids: Option<&[u64]>) -> Result<(), DropError> {
        let of = ids.map_or_else(String::new, |ids| format!("AND res_id IN ({})", id_list(ids)));
        let sql = format!("SELECT COUNT(*) FROM res_queue WHERE status = 'in_progress' {of}");
        match self.control.run(|conn| Ok(conn.query_first::<u64, _>(&sql)?))? {
            None | Some(0) => Ok(()),
            Some(n) => Err(DropError::Running(n)),
        }
    }

    fn drop_all(&mut self, owned: &[Owned], mut progress: impl FnMut(Progress<'_>)) -> Result<(), DropError> {
        progress(Progress::Found(owned));
        for one in owned {
            self.drop_one(one).map_err(|obstacle| DropError::Database(one.db_name.clone(), obstacle))?;
            progress(Progress::Dropped);
        }
        Ok(())
    }

    /// Drops one database under its lock and removes its row.
    fn drop_one(&mut self, owned: &Owned) -> Result<(), Obstacle> {
        let mut resource = match self.resource.take() {
            Some(conn) => conn,
            None => self.resources.any()?,
        };
        let dropped = self.drop_locked(owned, &mut resource);
        let unlocked = resource_server::unlock(&mut resource, &owned.db_name);
        dropped?;
        unlocked?;
        self.resource = Some(resource);
        Ok(())
    }

    fn drop_locked(&mut self, owned: &Owned, resource: &mut Conn) -> Result<(), Obstacle> {
        let Owned { db_name, res_id } = owned;
        let locked = resource_server::lock(resource, db_name, LOCK_WAIT_S)?;
        let entry = self.control.run(|conn| registry::entry(conn, &self.global_db, db_name, *res_id))?;
        if !locked.held || entry.held_by.is_some() {
            return Err(Obstacle::Busy(*res_id));
        }
        // Not if another job has the name by now.
        let is_ours = entry.row.is_some_and(|row| row.res_id == *res_id);
        if is_ours && resource_server::drop_if_exists(resource, db_name)? {
            let forget = "DELETE FROM res_database WHERE db_name = ? AND res_id = ?";
            self.control.run(|conn| Ok(conn.exec_drop(forget, (db_name, res_id))?))?;
        }
        Ok(())
    }

    /// Deletes the rows of these jobs unless they are in progress, with the history of their errors.
    fn delete_rows(&mut self, ids: &[u64]) -> Result<u64, DropError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let ids = id_list(ids);
        let rows =
            format!("DELETE FROM res_queue WHERE res_id IN ({ids}) AND (status <> 'in_progress' OR status IS NULL)");
        let errors = format!("DELETE FROM res_error WHERE res_id IN ({ids}) AND {ORPHANED}");
        Ok(self.control.run(|conn| {
            conn.query_drop(&rows)?;
            let deleted = conn.affected_rows();
            conn.query_drop(&errors)?;
            Ok(deleted)
        })?)
    }

    /// Repeats a DELETE with a limit, so that none holds many locks, until nothing is left; returns how many rows went.
    fn delete_in_chunks(&mut self, delete: &str) -> Result<u64, DropError> {
        let sql = format!("{delete} LIMIT {CHUNK}");
        let mut total = 0;
        loop {
            let deleted = self.control.run(|conn| {
                conn.query_drop(&sql)?;
                Ok(conn.affected_rows())
            })?;
            total += deleted;
            if deleted < CHUNK as u64 {
                return Ok(total);
            }
        }
    }
}

/// A condition on `res_error`: the history of a job that is gone.
const ORPHANED: &str = "NOT EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = res_error.res_id)";
