//! Actions on all jobs that match a filter, as the database keeps them: an action is a row of `res_batch` with the filter
//! and the greatest id at its start, and goes through the jobs in the order of their ids. Each step is one transaction that
//! changes some jobs, records how far the action has come, and counts them in the audit. So a crash at any moment leaves
//! nothing half done, and no job is changed twice.

use mysql::{Conn, prelude::Queryable};
use serde_json::json;

use crate::{
    db::{Capped, Db, Error, ErrorClass, Link, ReadRows, limited, literal, ring},
    events::store,
    queue::{
        audit::{self, Actor},
        change::Change,
        filter::{Filter, job_of_database},
        search,
    },
};

/// The state of the event by which daemons learn of a batch.
pub const STARTED: &str = "BatchStarted";
/// The state of the event that announces its end.
const FINISHED: &str = "BatchFinished";

/// Jobs that one step changes at most.
pub const STEP: usize = 500;
/// Rows of the table that one step reads at most.
const WINDOW: u64 = 20_000;
/// Up to this number a dry run counts.
pub const COUNTED: u64 = 1_000_000;
/// A process that has not made a step for so long has left the batch to others, in seconds.
pub const ABANDONED_S: u32 = 5;
/// Characters of an error that are kept.
const LONGEST_ERROR: usize = 1000;

/// One process's access to the batches.
pub struct Batches {
    link: Link,
    /// Tells the processes apart that could work on a batch.
    worker: u64,
}

/// A batch that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open {
    /// The id of its row, and of the one in `res_audit`.
    pub id: u64,
    /// Another process works on it.
    pub is_taken: bool,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What the batch does.
    pub change: Change,
    /// Jobs up to this id are done.
    pub done_to_id: u64,
    /// It ends at this id.
    pub up_to_id: u64,
    /// There are no more jobs to change.
    pub is_exhausted: bool,
}

/// What an action on one filter did, or has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Jobs that were changed.
    pub count: u64,
    /// Jobs that the server refused to change.
    pub refused: u64,
    /// Why it refused the last of them.
    pub last_error: Option<String>,
    /// The batch has ended.
    pub has_ended: bool,
}

impl Batches {
    /// Connects when first used.
    pub fn new(db: &Db) -> Batches {
        Batches { link: Link::new(db), worker: fastrand::u64(1..) }
    }

    /// How many jobs an action would change now. Changes nothing and leaves no trace.
    ///
    /// # Errors
    /// Those of the database, which stops a read after 5 seconds.
    pub fn count(&mut self, change: Change, filter: &Filter) -> Result<Capped, Error> {
        let matches = matching(change, filter);
        self.link.run(|conn| {
            let of_database = match &filter.database {
                Some(database) => match job_of_database(conn, database)? {
                    Some(id) => format!("AND res_id = {id}"),
                    None => return Ok(Capped::default()),
                },
                None => String::new(),
            };
            search::count(conn, &format!("WHERE {matches} {of_database}"), COUNTED)
        })
    }

    /// Records an action on all jobs that match; the status in the filter is that of [`Change::from`] or absent. With
    /// `is_own` this process works on it, otherwise any daemon. Returns the id of its row, and of the one in the audit.
    ///
    /// # Errors
    /// Those of the database. After a lost connection it is unknown whether the action was recorded.
    pub fn start(&mut self, change: Change, filter: &Filter, actor: &Actor, is_own: bool) -> Result<u64, Error> {
        let text = |text: &Option<String>| text.as_deref().map_or_else(|| "NULL".into(), literal);
        let worker = if is_own { format!("{}, NOW(6)", self.worker) } else { "NULL, NULL".into() };
        let target = Filter { status: Some(change.from()), ..filter.clone() }.to_string();
        let id = self.link.run(|conn| {
            conn.query_drop("START TRANSACTION")?;
            let (from, up_to): (u64, u64) = match &filter.database {
                Some(database) => job_of_database(conn, database)?.map_or((0, 0), |id| (id.saturating_sub(1), id)),
                None => {
                    let last = "SELECT COALESCE(MAX(res_id), 0) FROM res_queue WHERE res_id > 0";
                    (0, conn.read_first(last)?.unwrap_or_default())
                }
            };
            let id = audit::record(conn, actor, change.as_str(), &target, 0)?;
            conn.query_drop(format!(
                "INSERT INTO res_batch (id, res_type, name_prefix, done_to_id, up_to_id, worker, worked_at) \
                 VALUES ({id}, {}, {}, {from}, {up_to}, {worker})",
                text(&filter.res_type),
                text(&filter.name_prefix),
            ))?;
            announce(conn, STARTED, id, change, 0)?;
            conn.query_drop("COMMIT")?;
            Ok(id)
        })?;
        self.ring();
        Ok(id)
    }

    /// The oldest batch that has not ended.
    ///
    /// # Errors
    /// Those of the database.
    pub fn open(&mut self) -> Result<Option<Open>, Error> {
        let free = self.is_free();
        let sql = format!(
            "SELECT id, NOT ({free}) FROM res_batch b FORCE INDEX (res_batch_open) WHERE ended_at IS NULL \
             ORDER BY id LIMIT 1"
        );
        self.link.run(|conn| Ok(conn.read_first(&sql)?.map(|(id, is_taken)| Open { id, is_taken })))
    }

    /// A condition on a batch `b`: this process may work on it.
    fn is_free(&self) -> String {
        format!("COALESCE(b.worker = {} OR b.worked_at < NOW(6) - INTERVAL {ABANDONED_S} SECOND, TRUE)", self.worker)
    }

    /// Changes the next jobs of a batch, at most `limit`, in one transaction. A single job that the server refuses to change
    /// is counted as refused. None: the batch has ended, or another process works on it.
    ///
    /// # Errors
    /// Those of the database, also if one of several jobs is refused; then nothing was changed. After a lost connection
    /// that is unknown.
    pub fn step(&mut self, id: u64, limit: usize) -> Result<Option<Progress>, Error> {
        let (free, worker) = (self.is_free(), self.worker);
        self.link.run(|conn| {
            conn.query_drop("START TRANSACTION")?;
            let Some(batch) = lock(conn, id, &free)? else {
                conn.query_drop("ROLLBACK")?;
                return Ok(None);
            };
            let next = batch.next(conn, limit)?;
            let (mut changed, mut refused) = (0, String::new());
            if !next.ids.is_empty() {
                match conn.query_drop(batch.change.update(&next.ids, batch.reason.as_deref())).map_err(Error::from) {
                    Ok(()) => changed = conn.affected_rows(),
                    Err(error) if next.ids.len() == 1 && is_about_a_job(&error) => {
                        refused = format!(", refused = refused + 1, last_error = {}", kept(&error.to_string()));
                    }
                    Err(error) => return Err(error),
                }
            }
            conn.query_drop(format!(
                "UPDATE res_batch SET done_to_id = {}, worker = {worker}, worked_at = NOW(6) {refused} WHERE id = {id}",
                next.done_to_id
            ))?;
            if changed > 0 {
                audit::add(conn, id, changed)?;
            }
            conn.query_drop("COMMIT")?;
            let Stored { change, up_to_id, .. } = batch;
            Ok(Some(Progress { change, up_to_id, done_to_id: next.done_to_id, is_exhausted: next.is_last }))
        })
    }

    /// Ends a batch and announces that. `error`: what could not be done at its end. Ending it again changes nothing.
    ///
    /// # Errors
    /// Those of the database.
    pub fn end(&mut self, id: u64, change: Change, error: Option<&str>) -> Result<(), Error> {
        let error = error.map_or_else(String::new, |error| format!(", last_error = {}", kept(error)));
        self.link.run(|conn| {
            conn.query_drop("START TRANSACTION")?;
            conn.query_drop(format!(
                "UPDATE res_batch SET ended_at = NOW(6) {error} WHERE id = {id} AND ended_at IS NULL"
            ))?;
            if conn.affected_rows() == 1 {
                let count = conn.read_first(format!("SELECT count FROM res_audit WHERE id = {id}"))?;
                announce(conn, FINISHED, id, change, count.unwrap_or_default())?;
            }
            Ok(conn.query_drop("COMMIT")?)
        })?;
        self.ring();
        Ok(())
    }

    /// What a batch has done.
    ///
    /// # Errors
    /// Those of the database; [`Error::Corrupt`] if there is no such batch.
    pub fn result(&mut self, id: u64) -> Result<Outcome, Error> {
        let sql = format!(
            "SELECT a.count, b.refused, b.last_error, b.ended_at IS NOT NULL \
             FROM res_batch b JOIN res_audit a ON a.id = b.id WHERE b.id = {id}"
        );
        let row: Option<(u64, u64, Option<String>, bool)> = self.link.run(|conn| conn.read_first(&sql))?;
        let (count, refused, last_error, has_ended) = row.ok_or(Error::Corrupt("the row of a batch is gone"))?;
        Ok(Outcome { count, refused, last_error, has_ended })
    }

    fn ring(&mut self) {
        let _ = self.link.run(|conn| {
            ring(conn);
            Ok(())
        });
    }
}

/// A row of `res_batch` with what the audit has of it.
struct Stored {
    change: Change,
    filter: Filter,
    reason: Option<String>,
    done_to_id: u64,
    up_to_id: u64,
}

/// The jobs of a step.
struct Next {
    ids: Vec<u64>,
    /// Where the step after this one begins.
    done_to_id: u64,
    is_last: bool,
}

/// Locks a batch that has not ended and that is free.
fn lock(conn: &mut Conn, id: u64, is_free: &str) -> Result<Option<Stored>, Error> {
    type Columns = (String, Option<String>, Option<String>, Option<String>, u64, u64);
    let row: Option<Columns> = conn.read_first(format!(
        "SELECT a.action, a.reason, b.res_type, b.name_prefix, b.done_to_id, b.up_to_id \
         FROM res_batch b JOIN res_audit a ON a.id = b.id WHERE b.id = {id} AND b.ended_at IS NULL AND {is_free} FOR UPDATE"
    ))?;
    let Some((action, reason, res_type, name_prefix, done_to_id, up_to_id)) = row else { return Ok(None) };
    let change = Change::parse(&action).ok_or(Error::Corrupt("a batch of an unknown action"))?;
    let filter = Filter { res_type, name_prefix, ..Filter::default() };
    Ok(Some(Stored { change, filter, reason, done_to_id, up_to_id }))
}

impl Stored {
    /// The next jobs, without a lock on them: the change itself leaves out those that are no longer in the right status.
    fn next(&self, conn: &mut Conn, limit: usize) -> Result<Next, Error> {
        let Stored { done_to_id, up_to_id, .. } = self;
        let window: Option<(Option<u64>, u64)> = limited::read_first(
            conn,
            &format!(
                "SELECT MAX(res_id), COUNT(*) FROM (SELECT res_id FROM res_queue FORCE INDEX (PRIMARY) \
             WHERE res_id > {done_to_id} AND res_id <= {up_to_id} ORDER BY res_id LIMIT {WINDOW}) w"
            ),
        )?;
        let Some((Some(end), read)) = window else {
            return Ok(Next { ids: Vec::new(), done_to_id: *up_to_id, is_last: true });
        };
        let ids: Vec<u64> = limited::read(
            conn,
            &format!(
                "SELECT res_id FROM res_queue FORCE INDEX (PRIMARY) WHERE res_id > {done_to_id} AND res_id <= {end} AND {} \
             ORDER BY res_id LIMIT {limit}",
                matching(self.change, &self.filter)
            ),
        )?;
        Ok(match ids.last() {
            Some(last) if ids.len() == limit => Next { done_to_id: *last, ids, is_last: false },
            _ if read < WINDOW => Next { ids, done_to_id: *up_to_id, is_last: true },
            _ => Next { ids, done_to_id: end, is_last: false },
        })
    }
}

/// Whether an error may be about one job: a trigger, a constraint, a value.
pub fn is_about_a_job(error: &Error) -> bool {
    error.class() == ErrorClass::Permanent && !error.is_schema_fault() && !error.is_denied()
}

/// What is kept of an error, as a literal.
fn kept(error: &str) -> String {
    literal(&error.chars().take(LONGEST_ERROR).collect::<String>())
}

/// A condition on the jobs that a change applies to.
fn matching(change: Change, filter: &Filter) -> String {
    format!("status = '{}' AND {}", change.from().as_str(), filter.condition())
}

/// An event about a batch, in its transaction.
fn announce(conn: &mut Conn, state: &str, id: u64, change: Change, count: u64) -> Result<(), Error> {
    store::write(conn, state, &json!({"batch": id, "action": change.as_str(), "count": count}).to_string())
}
