//! The registry of the databases that are ours, `res_database`, and what an attempt may do by it. A database without a
//! row here was not made by resq and is never touched. Every statement runs on the control server, the one that holds
//! the queue.

use mysql::{Conn, prelude::Queryable};

use crate::{
    db::{Error, ReadRows, id_list, ident, limited, literal},
    queue::Job,
};

/// A row of `res_database`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The job that the database is made for.
    pub res_id: u64,
    /// The claim that entered the row.
    pub claim_id: u64,
    /// The database is complete.
    pub ready: bool,
    /// The job still has its row in the queue.
    pub has_job: bool,
    /// `resqctl drop` or `resqctl clear` has begun to drop the database.
    pub dropping: bool,
}

/// What an attempt may do under the name it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The name is free.
    Build,
    /// The name is free, but its row says otherwise: the database was dropped by hand. Another job's row is
    /// stale because that job is gone as well.
    TakeOver(Registered),
    /// An earlier attempt of this job left a partly built database.
    DropAndBuild,
    /// No attempt of this job can have the name, for this reason.
    Refuse(String),
    /// The name was not free at the claim and is now: another attempt may have it.
    TryAgain(String),
}

/// Decides by the registry's row for `db_name` and by whether such a database exists. Pure.
pub fn verdict(db_name: &str, job: &Job, row: Option<Registered>, exists: bool) -> Verdict {
    match row {
        Some(row) if row.dropping && (row.ready || row.res_id != job.id) => Verdict::TryAgain(format!(
            "database `{db_name}` of job {0} is being dropped; if no such command runs, complete it with \
             `resqctl drop {0} --yes`",
            row.res_id
        )),
        Some(row) if row.res_id != job.id && !exists && !row.has_job => Verdict::TakeOver(row),
        Some(row) if row.res_id != job.id && !exists && row.ready => Verdict::Refuse(format!(
            "database `{db_name}` belongs to job {0} and is gone, without resq having dropped it; free its name with \
             `resqctl drop {0} --yes`, or choose another res_name",
            row.res_id
        )),
        Some(row) if row.res_id != job.id => Verdict::Refuse(format!(
            "database `{db_name}` belongs to job {0}; drop that with `resqctl drop {0} --yes` or choose another res_name",
            row.res_id
        )),
        Some(row) if row.ready && !exists => Verdict::TakeOver(row),
        Some(row) if row.ready => Verdict::Refuse(format!(
            "database `{db_name}` of this job is ready already; `resqctl drop {} --yes` drops it",
            job.id
        )),
        // Entered by this claim: the name was free then, so what is there now was made by something else.
        Some(row) if row.claim_id == job.claim_id && exists => foreign(db_name),
        Some(_) if exists => Verdict::DropAndBuild,
        Some(_) => Verdict::Build,
        None if exists => foreign(db_name),
        None => Verdict::TryAgain(format!("database `{db_name}` was not free when the job was claimed, and is now")),
    }
}

fn foreign(db_name: &str) -> Verdict {
    Verdict::Refuse(format!(
        "database `{db_name}` exists and was not made by resq, so it was left alone; choose another res_name"
    ))
}

/// A database that a claimed job is going to make.
pub struct Reservation<'a> {
    /// Its name, unquoted.
    pub db_name: String,
    /// The job.
    pub job: &'a Job,
    /// What the templates of the job's type make.
    pub built: Built<'a>,
}

/// What templates make of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built<'a> {
    /// Identifies the templates: [`Templates::version`](super::Templates::version).
    pub template_version: &'a str,
    /// The number of the newest migration whose changes they contain.
    pub version: u32,
}

/// Enters a row for each database whose name is free on the server and in the registry; part of the claim's transaction,
/// in the global database, one round trip for all. A row that an earlier claim of the same job left is renewed if
/// there is no such database: the name is free, whatever became of that claim.
pub fn reserve(conn: &mut Conn, reservations: &[Reservation<'_>]) -> Result<(), Error> {
    if reservations.is_empty() {
        return Ok(());
    }
    // One exact look-up each: an IN list makes MariaDB open every database's folder.
    let rows: Vec<String> = reservations
        .iter()
        .map(|Reservation { db_name, job, built }| {
            let name = literal(db_name);
            format!(
                "SELECT {name} AS n, {} AS i, {} AS t, {} AS v, {} AS c, {version} AS now, {version} AS built \
                 FROM (SELECT 1) one \
                 WHERE NOT EXISTS (SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {name})",
                job.id,
                literal(&job.res_type),
                literal(built.template_version),
                job.claim_id,
                version = built.version,
            )
        })
        .collect();
    Ok(conn.query_drop(format!(
        "INSERT INTO res_database (db_name, res_id, res_type, template_version, claim_id, version, built_version) \
         SELECT * FROM ({}) free \
         ON DUPLICATE KEY UPDATE claim_id = IF(res_id = VALUES(res_id) AND state = 'making', VALUES(claim_id), claim_id)",
        rows.join(" UNION ALL ")
    ))?)
}

/// Removes the rows that a claim entered for jobs which are released unstarted, all of them or these: something else may
/// take the name before they are claimed again. Part of the release's transaction.
pub fn release(conn: &mut Conn, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error> {
    let of = ids.map_or_else(String::new, |ids| format!("AND res_id IN ({})", id_list(ids)));
    Ok(conn.query_drop(format!("DELETE FROM res_database WHERE claim_id = {claim_id} AND state = 'making' {of}"))?)
}

/// Marks these databases as ready; part of the outcomes' transaction.
pub fn ready(conn: &mut Conn, db_names: &[&str]) -> Result<(), Error> {
    if db_names.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = db_names.iter().map(|name| literal(name)).collect();
    Ok(conn.query_drop(format!(
        "UPDATE res_database FORCE INDEX (PRIMARY) SET state = 'ready', dropping_at = NULL WHERE db_name IN ({})",
        names.join(", ")
    ))?)
}

/// What the control server knows about a name and the job that wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name's row.
    pub row: Option<Registered>,
    /// Which templates that row names, and their version.
    pub built: Option<(String, u32)>,
    /// The claim under which the job is in progress.
    pub held_by: Option<u64>,
}

/// Reads the entry of `db_name` and of job `res_id`.
pub fn entry(conn: &mut Conn, global_db: &str, db_name: &str, res_id: u64) -> Result<Entry, Error> {
    let (global_db, name) = (ident(global_db), literal(db_name));
    type Columns = (Option<u64>, Option<u64>, Option<bool>, bool, bool, Option<u64>, Option<String>, Option<u32>);
    let row: Option<Columns> = conn.read_first(format!(
        "SELECT d.res_id, d.claim_id, d.state = 'ready', d.dropping_at IS NOT NULL, \
         EXISTS (SELECT 1 FROM {global_db}.res_queue q WHERE q.res_id = d.res_id), \
         (SELECT q.claim_id FROM {global_db}.res_queue q WHERE q.res_id = {res_id} AND q.status = 'in_progress'), \
         d.template_version, d.version FROM (SELECT 1) one LEFT JOIN {global_db}.res_database d ON d.db_name = {name}"
    ))?;
    let (row_id, claim_id, ready, dropping, has_job, held_by, template_version, version) =
        row.ok_or(Error::Corrupt("no row of a query that always has one"))?;
    let row = row_id.zip(claim_id).zip(ready);
    Ok(Entry {
        row: row.map(|((res_id, claim_id), ready)| Registered { res_id, claim_id, ready, has_job, dropping }),
        built: template_version.zip(version),
        held_by,
    })
}

/// A condition: the job is in progress under its claim, which entered the name's row for what is to be built.
pub fn is_reserved(global_db: &str, reservation: &Reservation<'_>) -> String {
    let Reservation { db_name, job, built } = reservation;
    let (global_db, Job { id, claim_id, .. }) = (ident(global_db), job);
    format!(
        "EXISTS (SELECT 1 FROM {global_db}.res_queue q JOIN {global_db}.res_database d ON d.db_name = {} \
         WHERE q.res_id = {id} AND q.status = 'in_progress' AND q.claim_id = {claim_id} AND d.res_id = {id} \
         AND d.claim_id = {claim_id} AND d.state = 'making' AND d.dropping_at IS NULL AND d.template_version = {} \
         AND d.version = {})",
        literal(db_name),
        literal(built.template_version),
        built.version
    )
}

/// Makes a stale row this claim's, so that the job may build under its name. False: the row has changed meanwhile.
pub fn take_over(
    conn: &mut Conn,
    global_db: &str,
    reservation: &Reservation<'_>,
    stale: Registered,
) -> Result<bool, Error> {
    let Reservation { db_name, job, built } = reservation;
    let (global_db, name) = (ident(global_db), literal(db_name));
    conn.query_drop(format!(
        "UPDATE {global_db}.res_database SET res_id = {}, res_type = {}, claim_id = {}, state = 'making', {} \
         WHERE db_name = {name} AND res_id = {} AND claim_id = {} AND dropping_at IS NULL",
        job.id,
        literal(&job.res_type),
        job.claim_id,
        made_by(built),
        stale.res_id,
        stale.claim_id
    ))?;
    let is_taken = conn.affected_rows() == 1;
    // What was recorded of the database that is gone.
    conn.query_drop(format!("DELETE FROM {global_db}.res_ledger WHERE db_name = {name}"))?;
    Ok(is_taken)
}

/// Records by which templates a database is about to be built: its row was entered when there were others.
pub fn record_built(conn: &mut Conn, global_db: &str, reservation: &Reservation<'_>) -> Result<(), Error> {
    let Reservation { db_name, job, built } = reservation;
    Ok(conn.query_drop(format!(
        "UPDATE {}.res_database SET {} WHERE db_name = {} AND res_id = {} AND state = 'making'",
        ident(global_db),
        made_by(built),
        literal(db_name),
        job.id
    ))?)
}

fn made_by(built: &Built<'_>) -> String {
    let Built { template_version, version } = built;
    format!("template_version = {}, version = {version}, built_version = {version}", literal(template_version))
}

/// A database of the registry and the job that it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Its name, unquoted.
    pub db_name: String,
    /// The job.
    pub res_id: u64,
}

/// Records that these databases are about to be dropped; part of a transaction. Returns the names of those that were not
/// marked before: what is left of the others may be a part.
pub fn mark_dropping(conn: &mut Conn, owned: &[Owned]) -> Result<Vec<String>, Error> {
    if owned.is_empty() {
        return Ok(Vec::new());
    }
    let unmarked = format!("{} AND dropping_at IS NULL", these(owned));
    let names = conn.read_rows(format!("SELECT db_name FROM res_database WHERE {unmarked} FOR UPDATE"))?;
    conn.query_drop(format!("UPDATE res_database SET dropping_at = NOW(6) WHERE {unmarked}"))?;
    Ok(names)
}

/// Records that these databases, none of which was touched, are not dropped after all. One that is partly built and whose
/// job is gone keeps its mark: nothing else finds it.
pub fn unmark_dropping(conn: &mut Conn, owned: &[Owned]) -> Result<(), Error> {
    if owned.is_empty() {
        return Ok(());
    }
    Ok(conn.query_drop(format!(
        "UPDATE res_database SET dropping_at = NULL WHERE {} \
         AND (state = 'ready' OR EXISTS (SELECT 1 FROM res_queue q WHERE q.res_id = res_database.res_id))",
        these(owned)
    ))?)
}

/// Removes the rows of databases that were marked and are gone now.
pub fn forget_marked(conn: &mut Conn, owned: &[Owned]) -> Result<(), Error> {
    if owned.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = owned.iter().map(|one| literal(&one.db_name)).collect();
    conn.query_drop(format!("DELETE FROM res_database WHERE {} AND dropping_at IS NOT NULL", these(owned)))?;
    Ok(conn.query_drop(format!(
        "DELETE FROM res_ledger WHERE db_name IN ({}) \
         AND NOT EXISTS (SELECT 1 FROM res_database d WHERE d.db_name = res_ledger.db_name)",
        names.join(", ")
    ))?)
}

/// Writes an event `Dropped` for each of these complete databases that are gone; part of the transaction that forgets them.
pub fn announce(conn: &mut Conn, gone: &[Owned]) -> Result<(), Error> {
    if gone.is_empty() {
        return Ok(());
    }
    Ok(conn.query_drop(format!(
        "INSERT INTO res_outbox (state, payload) SELECT 'Dropped', JSON_OBJECT('res_id', d.res_id, \
         'res_name', CONVERT(q.res_name USING utf8mb4), 'res_type', d.res_type, 'db_name', d.db_name) \
         FROM (SELECT * FROM res_database WHERE dropping_at IS NOT NULL AND state = 'ready' AND {}) d \
         LEFT JOIN res_queue q ON q.res_id = d.res_id",
        these(gone)
    ))?)
}

/// The databases whose drop has begun and is not complete, at most 1,000.
pub fn dropping(conn: &mut Conn) -> Result<Vec<Owned>, Error> {
    let marked = "SELECT db_name, res_id FROM res_database WHERE dropping_at IS NOT NULL ORDER BY db_name LIMIT 1000";
    let rows: Vec<(String, u64)> = limited::read(conn, marked)?;
    Ok(rows.into_iter().map(|(db_name, res_id)| Owned { db_name, res_id }).collect())
}

/// A condition for the rows of these databases that still belong to these jobs.
pub(super) fn these(owned: &[Owned]) -> String {
    let names: Vec<String> = owned.iter().map(|one| literal(&one.db_name)).collect();
    let ids: Vec<u64> = owned.iter().map(|one| one.res_id).collect();
    format!("db_name IN ({}) AND res_id IN ({})", names.join(", "), id_list(&ids))
}

/// Removes the row of a name that this claim of `job` entered and that is not its database after all.
pub fn forget(conn: &mut Conn, global_db: &str, db_name: &str, job: &Job) -> Result<(), Error> {
    Ok(conn.query_drop(format!("{} AND claim_id = {}", unfinished(global_db, db_name, job), job.claim_id))?)
}

/// Removes the row of an unfinished database of `job` that was dropped, whichever claim entered it.
pub fn forget_dropped(conn: &mut Conn, global_db: &str, db_name: &str, job: &Job) -> Result<(), Error> {
    Ok(conn.query_drop(unfinished(global_db, db_name, job))?)
}

fn unfinished(global_db: &str, db_name: &str, job: &Job) -> String {
    let (global_db, name) = (ident(global_db), literal(db_name));
    format!("DELETE FROM {global_db}.res_database WHERE db_name = {name} AND res_id = {} AND state = 'making'", job.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_free_name_or_an_own_partly_built_database_is_built() {
        let job = Job {
            id: 5,
            name: "a".into(),
            res_type: "default".into(),
            url: None,
            attempt: 2,
            max_attempts: None,
            interruptions: 0,
            claim_id: 70,
        };
        let row =
            |res_id, claim_id, ready| Some(Registered { res_id, claim_id, ready, has_job: true, dropping: false });
        let without_job = |row: Option<Registered>| row.map(|row| Registered { has_job: false, ..row });
        let dropping = |row: Option<Registered>| row.map(|row| Registered { dropping: true, ..row });
        let refused = |row, exists, why: &str| match verdict("res_a", &job, row, exists) {
            Verdict::Refuse(text) => assert!(text.contains(why), "{text}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(verdict("res_a", &job, row(5, 70, false), false), Verdict::Build);
        assert_eq!(verdict("res_a", &job, row(5, 69, false), false), Verdict::Build);
        assert_eq!(verdict("res_a", &job, row(5, 69, false), true), Verdict::DropAndBuild);
        refused(row(5, 70, false), true, "not made by resq");
        refused(None, true, "not made by resq");
        assert!(matches!(verdict("res_a", &job, None, false), Verdict::TryAgain(_)));
        refused(row(4, 70, false), false, "belongs to job 4");
        refused(row(5, 69, true), true, "ready already");
        // Changed by hand: the database dropped, the job deleted, or both.
        refused(row(4, 69, true), false, "is gone");
        refused(without_job(row(4, 69, true)), true, "belongs to job 4");
        for (row, exists) in [(row(5, 69, true), false), (without_job(row(4, 69, true)), false)] {
            assert_eq!(verdict("res_a", &job, row, exists), Verdict::TakeOver(row.unwrap()));
        }
        let partly_built = without_job(row(4, 69, false));
        assert_eq!(verdict("res_a", &job, partly_built, false), Verdict::TakeOver(partly_built.unwrap()));
        for row in [row(5, 69, true), row(4, 69, true), without_job(row(4, 69, true))] {
            assert!(matches!(verdict("res_a", &job, dropping(row), false), Verdict::TryAgain(_)));
        }
    }
}
