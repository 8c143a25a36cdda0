//! The registry of databases that are ours, `res_database`, and the lock that keeps two attempts of one job from
//! building at once. What has no row here was not made by resq and is never touched.

use mysql::{Conn, prelude::Queryable};

use crate::{
    db::{Error, codes::*, id_list, ident, literal, run_script},
    queue::{Job, JobError},
};

/// How long a killed holder of the lock may take to let go, in seconds.
const LOCK_WAIT_S: u32 = 10;

/// A row of `res_database`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    pub res_id: u64,
    /// The claim that entered the row.
    pub claim_id: u64,
    pub ready: bool,
}

/// What an attempt may do under the name it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Build,
    /// An earlier attempt of this job left half a database.
    DropAndBuild,
    Refuse(String),
    /// The name was not free at the claim and is now: another attempt may have it.
    TryAgain(String),
}

/// Decides by the registry's row for `db_name` and whether such a database exists. Pure.
pub fn verdict(db_name: &str, job: &Job, row: Option<Registered>, exists: bool) -> Verdict {
    match row {
        Some(row) if row.res_id != job.id => Verdict::Refuse(format!(
            "database `{db_name}` belongs to job {0}; drop that with `resqctl drop {0} --yes` or choose another res_name",
            row.res_id
        )),
        Some(row) if row.ready => Verdict::Refuse(format!(
            "database `{db_name}` of this job is ready already; `resqctl drop {} --yes` would drop it",
            job.id
        )),
        // Entered by this claim: the name was free then, so what is there now came from elsewhere.
        Some(row) if row.claim_id == job.claim_id && exists => not_ours(db_name),
        Some(_) if exists => Verdict::DropAndBuild,
        Some(_) => Verdict::Build,
        None if exists => not_ours(db_name),
        None => Verdict::TryAgain(format!("database `{db_name}` was somebody else's when the job was claimed")),
    }
}

fn not_ours(db_name: &str) -> Verdict {
    Verdict::Refuse(format!(
        "database `{db_name}` exists and was not made by resq: nothing was touched; choose another res_name"
    ))
}

/// Enters a row for each of `jobs`' databases whose name is free on the server and in the registry; part of the
/// claim's transaction, in the global database. One round trip for all. A row that an earlier claim of the same job
/// left is entered afresh where there is no such database: the name is free, whatever became of that claim.
pub fn reserve(conn: &mut Conn, named: &[(String, &Job)], version: &str) -> Result<(), Error> {
    if named.is_empty() {
        return Ok(());
    }
    // One exact look-up each: an IN list makes MariaDB open every database's folder.
    let rows: Vec<String> = named
        .iter()
        .map(|(db_name, job)| {
            let name = literal(db_name);
            format!(
                "SELECT {name} AS n, {} AS i, {} AS t, {} AS v, {} AS c FROM (SELECT 1) one WHERE NOT EXISTS (SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {name})",
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

/// Forgets what a claim entered whose jobs are given back unstarted, all of them or these: somebody else may have the
/// name before they are claimed again. Part of that transaction.
pub fn release(conn: &mut Conn, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error> {
    let of = ids.map_or_else(String::new, |ids| format!("AND res_id IN ({})", id_list(ids)));
    Ok(conn.query_drop(format!("DELETE FROM res_database WHERE claim_id = {claim_id} AND state = 'making' {of}"))?)
}

/// Marks these databases as ready; part of the outcome's transaction.
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

/// Forgets a name that this claim of `job` entered and that is not its database after all.
pub fn forget(conn: &mut Conn, global_db: &str, db_name: &str, job: &Job) -> Result<(), Error> {
    Ok(conn.query_drop(format!("{} AND claim_id = {}", forgetting(global_db, db_name, job), job.claim_id))?)
}

/// Drops what `job` half made under `db_name` and forgets it, in that order and one round trip: where the first
/// fails the registry still knows. Also where it only seems not to: see [`gone`].
pub fn drop_half_made(conn: &mut Conn, global_db: &str, db_name: &str, job: &Job) -> Result<(), Error> {
    let forget = forgetting(global_db, db_name, job);
    let script = format!("DROP DATABASE IF EXISTS {}; {forget} AND {}", ident(db_name), gone(db_name));
    Ok(run_script(conn, &script)?)
}

/// A condition. MariaDB without a free file descriptor can't read a database's folder, and DROP DATABASE IF EXISTS
/// then finds that there is none.
pub fn gone(db_name: &str) -> String {
    format!("NOT EXISTS (SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {})", literal(db_name))
}

fn forgetting(global_db: &str, db_name: &str, job: &Job) -> String {
    let (global_db, name) = (ident(global_db), literal(db_name));
    format!("DELETE FROM {global_db}.res_database WHERE db_name = {name} AND res_id = {} AND state = 'making'", job.id)
}

/// Takes the lock for `db_name` and reads what there is under that name, in one round trip. While the job is ours,
/// whoever holds the lock is a stale attempt and is killed; once it is not, we are.
pub fn lock_and_look(
    conn: &mut Conn,
    global_db: &str,
    db_name: &str,
    job: &Job,
) -> Result<(Option<Registered>, bool), JobError> {
    let look = look(global_db, db_name, job.id);
    let (mut locked, mut found) = query_both(conn, db_name, 0, &look).map_err(not_seen)?;
    if locked != Some(1) {
        check_claim(&found, job)?;
        match conn.query_drop(format!("KILL IS_USED_LOCK({})", lock_name(db_name))).map_err(Error::from) {
            // Gone by itself in between (1094 by number, else the NULL of nobody).
            Err(error) if !matches!(error.code(), Some(ER_NO_SUCH_THREAD | ER_KILL_DENIED_ERROR)) => {
                log::debug!("the holder of `{db_name}` was not killed: {error}")
            }
            _ => log::warn!("ended a stale attempt that still held `{db_name}`"),
        }
        (locked, found) = query_both(conn, db_name, LOCK_WAIT_S, &look).map_err(not_seen)?;
    }
    if locked != Some(1) {
        return Err(JobError::Interrupted(format!("another attempt still holds `{db_name}`")));
    }
    check_claim(&found, job)?;
    Ok((found.registered(), found.exists))
}

/// A job is not to blame where the registry itself is not found.
fn not_seen(error: Error) -> JobError {
    if error.is_missing_table() { JobError::Interrupted(error.to_string()) } else { error.into() }
}

/// Takes the lock for the database of a job that is not in progress, to drop it. Err: somebody is at work on it.
pub fn lock_idle(conn: &mut Conn, global_db: &str, db_name: &str, res_id: u64) -> Result<Option<Registered>, JobError> {
    let (locked, found) = query_both(conn, db_name, LOCK_WAIT_S, &look(global_db, db_name, res_id))?;
    if locked != Some(1) || found.held_by.is_some() {
        return Err(JobError::Failed(format!("job {res_id} is in progress")));
    }
    Ok(found.registered())
}

fn check_claim(found: &Found, job: &Job) -> Result<(), JobError> {
    if found.held_by == Some(job.claim_id) {
        return Ok(());
    }
    Err(JobError::Interrupted("another attempt has the job".into()))
}

/// Lets go of the lock before the session ends.
pub fn unlock(conn: &mut Conn, db_name: &str) -> Result<(), Error> {
    Ok(conn.query_drop(format!("DO RELEASE_LOCK({})", lock_name(db_name)))?)
}

/// 64 characters are the limit, and MySQL ignores their case where MariaDB does not: hence the hash. Not SHA1(), which
/// MySQL 9.6 has moved into a component that few load.
fn lock_name(db_name: &str) -> String {
    format!("CONCAT('resq.', SHA2({}, 224))", literal(db_name))
}

/// What a look finds.
struct Found {
    res_id: Option<u64>,
    claim_id: Option<u64>,
    ready: Option<bool>,
    exists: bool,
    /// The claim under which the job is in progress.
    held_by: Option<u64>,
}

impl Found {
    fn registered(&self) -> Option<Registered> {
        let row = self.res_id.zip(self.claim_id).zip(self.ready);
        row.map(|((res_id, claim_id), ready)| Registered { res_id, claim_id, ready })
    }
}

fn look(global_db: &str, db_name: &str, res_id: u64) -> String {
    let (global_db, name) = (ident(global_db), literal(db_name));
    format!(
        "SELECT d.res_id, d.claim_id, d.state = 'ready', \
         (SELECT q.claim_id FROM {global_db}.res_queue q WHERE q.res_id = {res_id} AND q.status = 'in_progress') \
         FROM (SELECT 1) one LEFT JOIN {global_db}.res_database d ON d.db_name = {name}; SHOW CREATE DATABASE {}",
        ident(db_name)
    )
}

/// Lock and look in one round trip: the server starts a statement only when the one before it is done. The last one
/// is the cheapest way to ask for a single database: one in the information schema takes MySQL five times as long.
fn query_both(conn: &mut Conn, db_name: &str, wait_s: u32, look: &str) -> Result<(Option<u8>, Found), Error> {
    let mut results = conn.query_iter(format!("SELECT GET_LOCK({}, {wait_s}); {look}", lock_name(db_name)))?;
    let mut locked = None;
    if let Some(mut set) = results.iter() {
        locked = set.next().transpose()?.and_then(|mut row| row.take::<Option<u8>, _>(0)).flatten();
    }
    let mut found = None;
    if let Some(mut set) = results.iter() {
        found = set.next().transpose()?;
    }
    let found = found.ok_or(Error::Corrupt("the look into the registry had no answer"))?;
    let (res_id, claim_id, ready, held_by) = mysql::from_row_opt(found)?;
    let shown = match results.iter() {
        Some(mut set) => set.next().transpose().map_err(Error::from),
        None => Err(Error::Corrupt("SHOW CREATE DATABASE had no answer")),
    };
    let exists = match shown {
        Ok(row) => row.is_some(),
        // Not there, or not there for this account: then creating it fails too, and that is reported.
        Err(error) if matches!(error.code(), Some(ER_BAD_DB_ERROR | ER_DBACCESS_DENIED_ERROR)) => false,
        Err(error) => return Err(error),
    };
    Ok((locked, Found { res_id, claim_id, ready, exists, held_by }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_done_under_a_name() {
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
