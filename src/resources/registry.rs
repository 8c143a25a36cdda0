//! The registry of the databases that are ours, `res_database`, and what an attempt may do by it. A database without a
//! row here was not made by resq and is never touched. Every statement runs on the control server, the one that holds
//! the queue.

use mysql::{Conn, prelude::Queryable};

use crate::{
    db::{Error, id_list, ident, literal},
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
}

/// What an attempt may do under the name it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The name is free.
    Build,
    /// An earlier attempt of this job left half a database.
    DropAndBuild,
    /// No attempt of this job can have the name, for this reason.
    Refuse(String),
    /// The name was not free at the claim and is now: another attempt may have it.
    TryAgain(String),
}

/// Decides by the registry's row for `db_name` and by whether such a database exists. Pure.
pub fn verdict(db_name: &str, job: &Job, row: Option<Registered>, exists: bool) -> Verdict {
    match row {
        Some(row) if row.res_id != job.id => Verdict::Refuse(format!(
            "database `{db_name}` belongs to job {0}; drop that with `resqctl drop {0} --yes` or choose another res_name",
            row.res_id
        )),
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
    /// The version of the templates of the job's type.
    pub version: &'a str,
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
        .map(|Reservation { db_name, job, version }| {
            let name = literal(db_name);
            format!(
                "SELECT {name} AS n, {} AS i, {} AS t, {} AS v, {} AS c FROM (SELECT 1) one \
                 WHERE NOT EXISTS (SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {name})",
                job.id,
                literal(&job.res_type),
                literal(version),
                job.claim_id,
            )
        })
        .collect();
    Ok(conn.query_drop(format!(
        "INSERT INTO res_database (db_name, res_id, res_type, template_version, claim_id) SELECT * FROM ({}) free \
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
        "UPDATE res_database FORCE INDEX (PRIMARY) SET state = 'ready' WHERE db_name IN ({})",
        names.join(", ")
    ))?)
}

/// What the control server knows about a name and the job that wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name's row.
    pub row: Option<Registered>,
    /// The claim under which the job is in progress.
    pub held_by: Option<u64>,
}

/// Reads the entry of `db_name` and of job `res_id`.
pub fn entry(conn: &mut Conn, global_db: &str, db_name: &str, res_id: u64) -> Result<Entry, Error> {
    let (global_db, name) = (ident(global_db), literal(db_name));
    type Row = (Option<u64>, Option<u64>, Option<bool>, Option<u64>);
    let row: Option<Row> = conn.query_first(format!(
        "SELECT d.res_id, d.claim_id, d.state = 'ready', \
         (SELECT q.claim_id FROM {global_db}.res_queue q WHERE q.res_id = {res_id} AND q.status = 'in_progress') \
         FROM (SELECT 1) one LEFT JOIN {global_db}.res_database d ON d.db_name = {name}"
    ))?;
    let (row_id, claim_id, ready, held_by) = row.ok_or(Error::Corrupt("no row of a query that always has one"))?;
    let row = row_id.zip(claim_id).zip(ready);
    Ok(Entry { row: row.map(|((res_id, claim_id), ready)| Registered { res_id, claim_id, ready }), held_by })
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
    fn only_a_free_name_or_an_own_half_made_database_is_built() {
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
        let row = |res_id, claim_id, ready| Some(Registered { res_id, claim_id, ready });
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
    }
}
