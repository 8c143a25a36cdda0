//! Drops databases that resq made, and no others: a database that the registry does not name stays. Owns the protocol that
//! keeps daemons from working on what is being dropped: waiting jobs are cancelled first, running ones are refused,
//! and each database is dropped under the lock of its name, before its rows. Whatever can be known to refuse is checked before
//! anything is dropped. After any other failure and after a crash a mark in the registry lets the same call complete it.

use std::collections::HashSet;

use mysql::{Conn, prelude::Queryable};

use super::{
    drop_error::DropError,
    drop_set::{ORPHANED, delete_idle, referring_first},
    registry::{self, Owned},
    resource_server::{self, ForeignKey},
};
use crate::{
    db::{self, Db, Error, ErrorClass, Link, ReadRows, id_list},
    queue::{
        audit::{self, Actor},
        change::Change,
    },
};

pub use super::drop_set::Which;

/// How long to wait for the lock of a database's name, in seconds.
const LOCK_WAIT_S: u32 = 10;
/// Rows of the queue that one statement deletes.
const CHUNK: usize = 1000;
/// Databases that are marked together, and whose rows are deleted together.
const MARKED: usize = 100;

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

/// Drops databases, for an operator.
pub struct Dropper {
    pub(super) actor: Option<Actor>,
    /// The row of `res_audit` of the call that is under way.
    pub(super) audit: Option<u64>,
    /// To the control server, which holds the queue and the registry.
    pub(super) control: Link,
    pub(super) global_db: String,
    /// Connections to the resource server, which holds the databases.
    pub(super) resources: Db,
    resource: Option<db::Conn>,
}

impl Dropper {
    /// For the queue of `control` and databases on `resources`. Needs two connections in all.
    pub fn new(control: &Db, resources: &Db) -> Dropper {
        Dropper {
            actor: None,
            audit: None,
            control: Link::new(control),
            global_db: control.global_db().into(),
            resources: resources.clone(),
            resource: None,
        }
    }

    /// From now on each call leaves a row in `res_audit`, written in the transaction of its first change.
    pub fn acting(self, actor: Actor) -> Dropper {
        Dropper { actor: Some(actor), ..self }
    }

    /// Makes the first change of an action and enters it. `change` returns how many jobs it changed.
    pub(super) fn begin(
        &mut self,
        action: &str,
        target: &str,
        mut change: impl FnMut(&mut Conn) -> Result<u64, Error>,
    ) -> Result<u64, DropError> {
        let actor = &self.actor;
        let (changed, entered) = self.control.run(|conn| {
            conn.query_drop("START TRANSACTION")?;
            let changed = change(conn)?;
            let entered =
                actor.as_ref().map(|actor| audit::record(conn, actor, action, target, changed)).transpose()?;
            conn.query_drop("COMMIT")?;
            Ok((changed, entered))
        })?;
        self.audit = entered;
        Ok(changed)
    }

    /// Cancels waiting jobs, so that no daemon claims them.
    fn cancellation(&self, ids: &[u64]) -> String {
        Change::Cancel.update(ids, self.actor.as_ref().and_then(|actor| actor.reason.as_deref()))
    }

    /// The databases of idle jobs that a call would drop, by name. Changes nothing.
    ///
    /// # Errors
    /// [`DropError::Running`] if one of the jobs is in progress, or a failed statement.
    pub fn preview(&mut self, which: Which<'_>) -> Result<Vec<Owned>, DropError> {
        self.refuse_running(match which {
            Which::Of(ids) => Some(ids),
            Which::Seeded | Which::All => None,
        })?;
        self.list(&which.condition())
    }

    /// Drops the databases and rows of these jobs.
    ///
    /// # Errors
    /// One of the jobs is in progress, or a statement failed. Then the call can be repeated.
    pub fn drop_jobs(&mut self, ids: &[u64], progress: impl FnMut(Progress<'_>)) -> Result<Dropped, DropError> {
        self.refuse_running(Some(ids))?;
        let of_these = Which::Of(ids).condition();
        let owned = self.list(&of_these)?;
        let keys = self.foreign_keys_between(&owned)?;
        self.check_rows(ids)?;
        // Waiting ones first, so that no daemon claims them meanwhile.
        let cancellation = self.cancellation(ids);
        self.begin("drop", &audit::target_of(ids), |conn| {
            conn.query_drop(&cancellation)?;
            Ok(0)
        })?;
        self.refuse_running(Some(ids))?;
        // Only now, since a job may have ended in between.
        let owned = referring_first(&self.list(&of_these)?, &keys);
        let rows = self.drop_all(&owned, true, HashSet::new(), progress)? + self.delete_rows(ids, &[], None)?;
        Ok(Dropped { databases: owned.len(), rows })
    }

    /// Drops the databases of seeded resources, or with `all` of every resource, and their rows. Seeded rows go also if
    /// they have no database.
    ///
    /// # Errors
    /// A job is in progress, or a statement failed. Then the call can be repeated.
    pub fn clear(&mut self, all: bool, progress: impl FnMut(Progress<'_>)) -> Result<Dropped, DropError> {
        let which = if all { Which::All } else { Which::Seeded }.condition();
        self.refuse_running(None)?;
        // The partly built databases of waiting rows are found by these rows, so they are listed before the rows go; and all
        // are listed again once nothing runs, since a job may have ended in between.
        let mut owned = self.list(&which)?;
        let keys = self.foreign_keys_between(&owned)?;
        let mut ids: Vec<u64> =
            self.control.run(|conn| conn.read_rows("SELECT res_id FROM res_queue WHERE seeded AND res_id + 0 > 0"))?;
        ids.extend(owned.iter().map(|owned| owned.res_id));
        self.check_rows(&ids)?;
        let target = if all { "all resources" } else { "seeded resources" };
        let mut marked = HashSet::new();
        self.begin("clear", target, |conn| {
            marked.extend(registry::mark_dropping(conn, &owned)?);
            Ok(0)
        })?;
        self.delete_in_chunks("DELETE FROM res_queue WHERE seeded AND status = 'new'")?;
        if let Err(error) = self.refuse_running(None) {
            self.unmark(&owned, &marked)?;
            return Err(error);
        }
        for late in self.list(&which)? {
            if !owned.contains(&late) {
                owned.push(late);
            }
        }
        let mut rows = self.drop_all(&referring_first(&owned, &keys), true, marked, progress)?;
        rows += self.delete_in_chunks("DELETE FROM res_queue WHERE seeded AND status IN ('new', 'done', 'error')")?;
        self.audit = None; // what follows are no jobs
        self.delete_in_chunks(&format!("DELETE FROM res_error WHERE {ORPHANED}"))?;
        Ok(Dropped { databases: owned.len(), rows })
    }

    /// Ends waiting jobs in error, and drops the databases that a lost daemon has partly built for them, since no attempt
    /// follows that would. Returns how many jobs were waiting.
    ///
    /// # Errors
    /// A statement failed. Then the call can be repeated.
    pub fn cancel(&mut self, ids: &[u64]) -> Result<u64, DropError> {
        let cancellation = self.cancellation(ids);
        let cancelled = self.begin(Change::Cancel.as_str(), &audit::target_of(ids), |conn| {
            conn.query_drop(&cancellation)?;
            Ok(conn.affected_rows())
        })?;
        self.drop_partly_built(&Which::Of(ids).condition(), "")?;
        Ok(cancelled)
    }

    /// Drops what a lost daemon has partly built for any job that was cancelled.
    ///
    /// # Errors
    /// A statement failed. Then the call can be repeated.
    pub fn drop_partly_built_of_cancelled(&mut self) -> Result<(), DropError> {
        self.drop_partly_built("TRUE", "AND q.last_error LIKE 'cancelled%'")
    }

    fn drop_partly_built(&mut self, databases: &str, jobs: &str) -> Result<(), DropError> {
        let partly_built = self.list(&format!(
            "{databases} AND d.state = 'making' \
             AND EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = d.res_id AND q.status = 'error' {jobs})",
        ))?;
        self.drop_all(&partly_built, false, HashSet::new(), |_| {})?;
        Ok(())
    }

    pub(super) fn list(&mut self, condition: &str) -> Result<Vec<Owned>, DropError> {
        let sql = format!("SELECT db_name, res_id FROM res_database d WHERE {condition} ORDER BY db_name");
        Ok(self.control.run(|conn| conn.read_map(&sql, |(db_name, res_id)| Owned { db_name, res_id }))?)
    }

    /// Refuses to go on while one of these jobs, or any at all, is in progress.
    pub(super) fn refuse_running(&mut self, ids: Option<&[u64]>) -> Result<(), DropError> {
        let of = ids.map_or_else(String::new, |ids| format!("AND res_id IN ({})", id_list(ids)));
        let sql = format!("SELECT COUNT(*) FROM res_queue WHERE status = 'in_progress' {of}");
        match self.control.run(|conn| conn.read_first::<u64>(&sql))? {
            None | Some(0) => Ok(()),
            Some(n) => Err(DropError::Running(n)),
        }
    }

    /// The foreign keys between these databases. Fails if one from elsewhere would make DROP DATABASE fail.
    pub(super) fn foreign_keys_between(&mut self, owned: &[Owned]) -> Result<Vec<ForeignKey>, DropError> {
        let mut keys = Vec::new();
        let mut conn = self.resources.any()?;
        for chunk in owned.chunks(CHUNK) {
            let names: Vec<&str> = chunk.iter().map(|one| one.db_name.as_str()).collect();
            keys.extend(resource_server::foreign_keys_into(&mut conn, &names)?);
        }
        let names: HashSet<&str> = owned.iter().map(|one| one.db_name.as_str()).collect();
        let (within, from_others): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| names.contains(key.from_db.as_str()));
        if from_others.is_empty() { Ok(within) } else { Err(DropError::Referenced(from_others)) }
    }

    /// Checks that the rows of these jobs can be deleted, by deleting them and rolling back: that finds even foreign keys
    /// and triggers that this account may not see.
    pub(super) fn check_rows(&mut self, ids: &[u64]) -> Result<(), DropError> {
        for ids in ids.chunks(CHUNK) {
            let delete = delete_idle(ids);
            let deleted = self.control.run(|conn| {
                conn.query_drop("START TRANSACTION")?;
                conn.query_drop(&delete)?;
                Ok(conn.query_drop("ROLLBACK")?)
            });
            deleted.map_err(|error| match error.class() {
                ErrorClass::Permanent => DropError::Rows(error),
                ErrorClass::Retry | ErrorClass::ConnectionLost => DropError::Queue(error),
            })?;
        }
        Ok(())
    }

    /// Removes the marks that this call has set, `marked`, from these databases. One that an earlier call has left half
    /// dropped keeps its mark.
    fn unmark(&mut self, owned: &[Owned], marked: &HashSet<String>) -> Result<(), DropError> {
        let owned: Vec<Owned> = owned.iter().filter(|one| marked.contains(&one.db_name)).cloned().collect();
        Ok(self.control.run(|conn| registry::unmark_dropping(conn, &owned))?)
    }

    /// Drops these databases in their order, and with `and_rows` deletes the rows of their jobs; returns how many.
    /// `marked`: those that this call has marked already.
    fn drop_all(
        &mut self,
        owned: &[Owned],
        and_rows: bool,
        mut marked: HashSet<String>,
        mut progress: impl FnMut(Progress<'_>),
    ) -> Result<u64, DropError> {
        progress(Progress::Found(owned));
        let mut rows = 0;
        for chunk in owned.chunks(MARKED) {
            self.control.run(|conn| {
                conn.query_drop("START TRANSACTION")?;
                marked.extend(registry::mark_dropping(conn, chunk)?);
                Ok(conn.query_drop("COMMIT")?)
            })?;
            let mut dropped = 0;
            let mut failed = None;
            for one in chunk {
                if let Err(error) = self.drop_one(one) {
                    failed = Some(error);
                    break;
                }
                dropped += 1;
                progress(Progress::Dropped);
            }
            // Also after a failure: of what is gone, nothing stays.
            let (gone, left) = chunk.split_at(dropped);
            let ids: Vec<u64> = gone.iter().map(|one| one.res_id).collect();
            rows += self.delete_rows(if and_rows { &ids } else { &[] }, gone, None)?;
            if let Some(error) = failed {
                let untouched = if matches!(error, DropError::Busy(..)) { left } else { &left[1..] };
                self.unmark(untouched, &marked)?;
                return Err(error);
            }
        }
        Ok(rows)
    }

    /// Drops one database under its lock.
    fn drop_one(&mut self, owned: &Owned) -> Result<(), DropError> {
        let failed = |error| DropError::Database(owned.db_name.clone(), error);
        let mut resource = match self.resource.take() {
            Some(conn) => conn,
            None => self.resources.any().map_err(failed)?,
        };
        let dropped = self.drop_locked(owned, &mut resource);
        let unlocked = resource_server::unlock(&mut resource, &owned.db_name);
        dropped?;
        unlocked.map_err(failed)?;
        self.resource = Some(resource);
        Ok(())
    }

    fn drop_locked(&mut self, owned: &Owned, resource: &mut Conn) -> Result<(), DropError> {
        let Owned { db_name, res_id } = owned;
        let failed = |error| DropError::Database(db_name.clone(), error);
        let locked = resource_server::lock(resource, db_name, LOCK_WAIT_S).map_err(failed)?;
        let entry =
            self.control.run(|conn| registry::entry(conn, &self.global_db, db_name, *res_id)).map_err(failed)?;
        if !locked.held || entry.held_by.is_some() {
            return Err(DropError::Busy(db_name.clone(), *res_id));
        }
        // Not if another job has the name by now.
        let is_ours = entry.row.is_some_and(|row| row.res_id == *res_id);
        if is_ours && !resource_server::drop_if_exists(resource, db_name).map_err(failed)? {
            return Err(DropError::StillThere(db_name.clone()));
        }
        Ok(())
    }

    /// Deletes the rows of these jobs unless they are in progress, the history of their errors, and the registry's rows
    /// of databases that are gone; in one transaction. `action`: what it is, with its target, unless it is entered already.
    pub(super) fn delete_rows(
        &mut self,
        ids: &[u64],
        gone: &[Owned],
        action: Option<(&str, &str)>,
    ) -> Result<u64, DropError> {
        Ok(self.control.run(|conn| {
            let mut deleted = 0;
            conn.query_drop("START TRANSACTION")?;
            let entered = match self.actor.as_ref().zip(action) {
                Some((actor, (action, target))) => Some(audit::record(conn, actor, action, target, 0)?),
                None => self.audit,
            };
            registry::announce(conn, gone)?;
            if !ids.is_empty() {
                conn.query_drop(delete_idle(ids))?;
                deleted = conn.affected_rows();
                conn.query_drop(format!("DELETE FROM res_error WHERE res_id IN ({}) AND {ORPHANED}", id_list(ids)))?;
            }
            registry::forget_marked(conn, gone)?;
            count_deleted(conn, entered, deleted)?;
            conn.query_drop("COMMIT")?;
            Ok(deleted)
        })?)
    }

    /// Repeats a DELETE with a limit, so that none holds many locks, until nothing is left; returns how many rows went.
    fn delete_in_chunks(&mut self, delete: &str) -> Result<u64, DropError> {
        let (sql, entered) = (format!("{delete} LIMIT {CHUNK}"), self.audit);
        let mut total = 0;
        loop {
            let deleted = self.control.run(|conn| {
                conn.query_drop("START TRANSACTION")?;
                conn.query_drop(&sql)?;
                let deleted = conn.affected_rows();
                count_deleted(conn, entered, deleted)?;
                conn.query_drop("COMMIT")?;
                Ok(deleted)
            })?;
            total += deleted;
            if deleted < CHUNK as u64 {
                return Ok(total);
            }
        }
    }
}

/// Adds deleted jobs to the row of the audit, if there is one.
fn count_deleted(conn: &mut Conn, entered: Option<u64>, deleted: u64) -> Result<(), Error> {
    match entered {
        Some(id) if deleted > 0 => audit::add(conn, id, deleted),
        _ => Ok(()),
    }
}
