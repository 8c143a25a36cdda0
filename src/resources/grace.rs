//! Drops with grace: the registry says when a database is to be dropped; until then the mark can be removed. When the time
//! is over, a daemon drops it by the protocol of [`super::drop`], one database at a time, so that one that cannot be dropped
//! holds up no other.

use std::time::Duration;

use mysql::{Conn, prelude::Queryable};

use super::{
    drop::{Dropper, Which},
    drop_error::DropError,
    registry::{self, Owned, these},
    resource_server,
};
use crate::{
    base::backoff::Backoff,
    db::{Error, ErrorClass, ReadRows, id_list, literal},
    queue::audit,
};

/// The longest grace, in seconds: ten years.
pub const LONGEST_S: u64 = 315_360_000;

/// Databases that one turn of the purge tries.
const TURN: usize = 100;
/// How long the drop waits for transactions that use the database, in seconds. It is short: what comes after the waiting
/// DROP waits for it.
const DROP_WAIT_S: u32 = 5;
/// The pauses between tries at a database that cannot be dropped.
const RETRY: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(600), 0.2);

/// A drop that is due.
struct Due {
    owned: Owned,
    /// An earlier try had begun: what is left may be a part.
    had_begun: bool,
    /// How long ago it was due, in seconds.
    since_s: u32,
}

impl Dropper {
    /// Marks the databases of these jobs to be dropped after `after_s` seconds; a mark that is there is replaced. Whatever
    /// refuses a drop at once refuses this as well. Returns the databases.
    ///
    /// # Errors
    /// One of the jobs is in progress or has no complete database, something refers to its row or tables, or a statement
    /// failed. Nothing was marked.
    pub fn drop_later(&mut self, ids: &[u64], after_s: u64) -> Result<Vec<Owned>, DropError> {
        self.refuse_running(Some(ids))?;
        let complete = format!("{} AND d.state = 'ready' AND d.dropping_at IS NULL", Which::Of(ids).condition());
        let owned = self.list(&complete)?;
        let without: Vec<u64> = ids.iter().copied().filter(|id| !owned.iter().any(|one| one.res_id == *id)).collect();
        if !without.is_empty() {
            return Err(DropError::Incomplete(without));
        }
        self.foreign_keys_between(&owned)?;
        self.check_rows(ids)?;
        let target = format!("{} after {after_s} s", audit::target_of(ids));
        let mark = format!(
            "UPDATE res_database SET drop_at = NOW(6) + INTERVAL {after_s} SECOND, drop_error = NULL, drop_retry_at = NULL \
             WHERE {} AND state = 'ready' AND dropping_at IS NULL",
            these(&owned)
        );
        self.begin("drop-later", &target, |conn| {
            conn.query_drop(&mark)?;
            Ok(conn.affected_rows())
        })?;
        Ok(owned)
    }

    /// Removes the marks of these jobs' databases; returns how many had one.
    ///
    /// # Errors
    /// A statement failed, or [`DropError::TooLate`] if none has one that can be removed.
    pub fn restore(&mut self, ids: &[u64]) -> Result<u64, DropError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let unmark = format!(
            "UPDATE res_database SET drop_at = NULL, drop_error = NULL, drop_retry_at = NULL \
             WHERE res_id IN ({}) AND drop_at IS NOT NULL AND dropping_at IS NULL",
            id_list(ids)
        );
        let actor = self.actor.clone();
        let restored = self.control.run(|conn| {
            conn.query_drop("START TRANSACTION")?;
            conn.query_drop(&unmark)?;
            let restored = conn.affected_rows();
            if let Some(actor) = actor.as_ref().filter(|_| restored > 0) {
                audit::record(conn, actor, "restore", &audit::target_of(ids), restored)?;
            }
            conn.query_drop("COMMIT")?;
            Ok(restored)
        })?;
        if restored == 0 { Err(DropError::TooLate) } else { Ok(restored) }
    }

    /// Drops what is due; returns how long until something may be due again, at most `most`.
    ///
    /// # Errors
    /// The control server cannot be used. What concerns one database alone is recorded with it.
    pub fn purge(&mut self, most: Duration, is_stopped: impl Fn() -> bool) -> Result<Duration, DropError> {
        let sql = format!(
            "SELECT db_name, res_id, dropping_at IS NOT NULL, TIMESTAMPDIFF(SECOND, drop_at, NOW(6)) FROM res_database \
             FORCE INDEX (res_database_drop) WHERE drop_at <= NOW(6) \
             AND (drop_retry_at IS NULL OR drop_retry_at <= NOW(6)) ORDER BY drop_at LIMIT {TURN}"
        );
        let due = |(db_name, res_id, had_begun, since_s)| Due { owned: Owned { db_name, res_id }, had_begun, since_s };
        let all: Vec<Due> = self.control.run(|conn| conn.read_map(&sql, due))?;
        for due in &all {
            if is_stopped() {
                return Ok(Duration::ZERO);
            }
            match self.purge_one(due) {
                Ok(()) => {}
                Err(DropError::Queue(error)) if error.class() != ErrorClass::Permanent => return Err(error.into()),
                Err(error) => self.put_off(due, &error)?,
            }
        }
        if all.len() == TURN {
            return Ok(Duration::ZERO);
        }
        let next = "SELECT MIN(TIMESTAMPDIFF(MICROSECOND, NOW(6), GREATEST(drop_at, COALESCE(drop_retry_at, drop_at)))) \
                    FROM res_database FORCE INDEX (res_database_drop) WHERE drop_at IS NOT NULL";
        let next: Option<i64> = self.control.run(|conn| conn.read_first(next))?.flatten();
        Ok(next.map_or(most, |micros| Duration::from_micros(micros.max(0) as u64).min(most)))
    }

    fn purge_one(&mut self, due: &Due) -> Result<(), DropError> {
        let owned = &due.owned;
        let mut conn = self.resources.any()?;
        if !resource_server::lock(&mut conn, &owned.db_name, 0)?.held {
            return Err(DropError::Busy(owned.db_name.clone(), owned.res_id));
        }
        let purged = self.purge_locked(due, &mut conn);
        // A connection that fails here ends, and its lock with it.
        if resource_server::unlock(&mut conn, &owned.db_name).is_err() {
            conn.give_up();
        }
        purged
    }

    fn purge_locked(&mut self, due: &Due, conn: &mut Conn) -> Result<(), DropError> {
        let owned = std::slice::from_ref(&due.owned);
        let Owned { db_name, res_id } = &due.owned;
        // It may have been restored, or dropped by another daemon.
        let mark = format!(
            "UPDATE res_database SET dropping_at = COALESCE(dropping_at, NOW(6)) WHERE {} AND drop_at <= NOW(6)",
            these(owned)
        );
        let is_due = format!("SELECT 1 FROM res_database WHERE {} AND dropping_at IS NOT NULL", these(owned));
        let is_marked = self.control.run(|conn| {
            conn.query_drop(&mark)?;
            Ok(conn.read_first::<u8>(&is_due)?.is_some())
        })?;
        if !is_marked {
            return Ok(());
        }
        let dropped = self.drop_whole(due, conn);
        if let Err(error) = dropped {
            // Nothing is gone if the first try was refused before DROP DATABASE, or while that waited for the tables.
            let is_whole = !matches!(error, DropError::StillThere(_))
                && !matches!(&error, DropError::Database(_, error) if error.class() != ErrorClass::Retry);
            if is_whole && !due.had_begun {
                self.control.run(|conn| registry::unmark_dropping(conn, owned))?;
            }
            return Err(error);
        }
        let target = format!("database {db_name} of job {res_id}, due since {} s", due.since_s);
        self.delete_rows(&[*res_id], owned, Some(("purge", &target)))?;
        log::info!("purge: dropped a database whose time was over database={db_name} job={res_id}");
        Ok(())
    }

    fn drop_whole(&mut self, due: &Due, conn: &mut Conn) -> Result<(), DropError> {
        let Owned { db_name, res_id } = &due.owned;
        self.refuse_running(Some(&[*res_id]))?;
        self.foreign_keys_between(std::slice::from_ref(&due.owned))?;
        self.check_rows(&[*res_id])?;
        let failed = |error| DropError::Database(db_name.clone(), error);
        conn.query_drop(format!("SET SESSION lock_wait_timeout = {DROP_WAIT_S}")).map_err(Error::from)?;
        let gone = resource_server::drop_if_exists(conn, db_name).map_err(failed);
        let _ = conn.query_drop("SET SESSION lock_wait_timeout = 60");
        if gone? { Ok(()) } else { Err(DropError::StillThere(db_name.clone())) }
    }

    /// Records why a database was not dropped, and when it is tried again.
    fn put_off(&mut self, due: &Due, error: &DropError) -> Result<(), DropError> {
        let Owned { db_name, res_id } = &due.owned;
        // The longer it has been tried, the longer the pause.
        let tries = 1 + due.since_s.checked_ilog2().unwrap_or(0).saturating_sub(3);
        let pause = RETRY.pause(tries, fastrand::f64()).as_secs();
        let message: String = match error {
            DropError::Busy(..) => "it is being changed at this moment".into(),
            error => error.to_string().chars().take(1000).collect(),
        };
        log::warn!(
            "purge: cannot drop a database whose time is over: {message}; trying again retry_s={pause} job={res_id} \
             database={db_name}"
        );
        let put_off = format!(
            "UPDATE res_database SET drop_error = {}, drop_retry_at = NOW(6) + INTERVAL {pause} SECOND \
             WHERE {} AND drop_at IS NOT NULL",
            literal(&message),
            these(std::slice::from_ref(&due.owned))
        );
        Ok(self.control.run(|conn| Ok(conn.query_drop(&put_off)?))?)
    }
}
