//! Creates or upgrades the global database from the `init_*` templates, and checks whether that was done. Every step may
//! run again on its own result. Never touches a resource's database.

use std::{collections::BTreeMap, time::Duration};

use mysql::{Conn, prelude::Queryable};

use crate::{
    base::failure::{Exit, Failure},
    db::{self, Db, Error, ErrorClass, ReadRows, ScriptError, ServerInfo, codes::*},
    events::store,
    resources::{Templates, addition::Addition, sql_text, template::Values},
    schema::{
        cluster_lock::ClusterLock,
        inspection::{Inspection, Ran},
        problem::{Mend, Problem, Severity},
        version::{SCHEMA_VERSION, TableVersion},
    },
};

/// How long to wait for another `init` on this server, in seconds.
const LOCK_WAIT_S: u32 = 300;
/// How long one try of a step waits for open transactions, in seconds. It is short: DDL waits for the writers before it,
/// and every other session waits for the DDL.
const DDL_WAIT_S: u32 = 2;
/// How often a step is tried that meets open transactions.
const TRIES: u32 = 60;

/// The file of the procedure on which applications hold EXECUTE.
const PUBLISH: &str = "init_tables/045_publish.sql";

/// What `init` found and did.
#[derive(Debug, Default)]
pub struct Report {
    /// What differed from what `init` creates and is right now. Empty if nothing was set up before.
    pub mended: Vec<Problem>,
    /// What still differs: not resq's to change.
    pub left: Vec<Problem>,
}

/// Runs every step, and mends what other tools changed. Calls on several machines, or on several nodes of a cluster, wait
/// for each other: DDL on two nodes at once expels members from a MySQL group. Refuses, before it changes anything, tables of
/// a newer version.
///
/// # Errors
///
/// The server cannot be used, the tables are a newer program's, another call runs for too long, or a step failed; it may be
/// repeated.
pub fn init(db: &Db, server: &ServerInfo, templates: &Templates) -> Result<Report, Failure> {
    check_server(server)?;
    Ok(init_once(db, templates, &Inspection::new(templates), server.is_cluster)?)
}

/// Why a call ends early.
enum Stop {
    /// A statement of this step failed.
    Step(String, Error),
    /// Nothing that another try would change.
    Final(Failure),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Step("init".into(), error)
    }
}

impl From<mysql::Error> for Stop {
    fn from(error: mysql::Error) -> Stop {
        Error::from(error).into()
    }
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Failure {
        let (step, error) = match stop {
            Stop::Final(failure) => return failure,
            Stop::Step(step, error) => (step, error),
        };
        let failure = match error.code() {
            // MySQL's SYSTEM_USER: an account without it cannot change what runs as an administrator.
            Some(ER_SPECIFIC_ACCESS_DENIED_ERROR) => {
                Failure::new(Exit::Failed, format!("{error}; run init as the account that ran it before"))
            }
            _ => Failure::from(error),
        };
        Failure::new(failure.exit, format!("{step}: {failure}"))
    }
}

fn init_once(db: &Db, templates: &Templates, inspection: &Inspection, is_cluster: bool) -> Result<Report, Stop> {
    let mut conn = db.any()?;
    let lock = lock_name(db.global_db());
    let locked: Option<u8> = conn.read_first(format!("SELECT GET_LOCK({lock}, {LOCK_WAIT_S})"))?.flatten();
    if locked != Some(1) {
        return Err(still_running());
    }
    let done = init_locked(&mut conn, db, templates, inspection, is_cluster);
    // What ended early may still hold a lock on a table; a broken connection holds none.
    let unlock = format!("UNLOCK TABLES; DO RELEASE_LOCK({lock})");
    let _ = db::run_script(&mut conn, &unlock);
    done
}

/// The name of the server lock under which `init` runs, as an expression.
fn lock_name(global_db: &str) -> String {
    format!("CONCAT('resq.init.', LEFT(SHA2({}, 224), 50))", db::literal(global_db))
}

/// Whether an `init` runs on this server or cluster. Until it ends, what it replaces is missing for a moment, and may be of
/// another version than `res_meta` says. The current database is the global one.
///
/// # Errors
///
/// The server's.
pub fn is_running(conn: &mut Conn, global_db: &str) -> Result<bool, Error> {
    let select = format!("SELECT IS_USED_LOCK({}) IS NOT NULL", lock_name(global_db));
    if conn.read_first::<bool>(select)? == Some(true) {
        return Ok(true);
    }
    match ClusterLock::is_held(conn) {
        // The inspection reports what is wrong with the table.
        Err(error) if error.class() == ErrorClass::Permanent => Ok(false),
        held => held,
    }
}

fn still_running() -> Stop {
    let message = format!("another init has been running for {LOCK_WAIT_S} s; try again when it has ended");
    Stop::Final(Failure::new(Exit::TimedOut, message))
}

fn init_locked(
    conn: &mut Conn,
    db: &Db,
    templates: &Templates,
    inspection: &Inspection,
    is_cluster: bool,
) -> Result<Report, Stop> {
    refuse_newer(db.global().and_then(|mut conn| TableVersion::read(&mut conn)))?;
    conn.query_drop(format!("SET SESSION lock_wait_timeout = {DDL_WAIT_S}"))?;
    let global_db = db.global_db();
    let values = Values { global_db, ..Values::default() };
    for template in &templates.init_db {
        run(conn, &template.name, &template.render(&values))?;
    }
    conn.select_db(global_db)?;
    let _lock = match is_cluster {
        true => Some(ClusterLock::acquire(db, Duration::from_secs(LOCK_WAIT_S.into()))?.ok_or_else(still_running)?),
        false => None,
    };
    // Again: an `init` on another node may have ended since.
    let version = TableVersion::read(conn);
    let was_set_up = matches!(version, Ok(TableVersion::Older(_) | TableVersion::Current));
    refuse_newer(version)?;
    check_triggers(conn, global_db)?;
    let before = inspection.objects(conn)?;
    if let Some(problem) = before.iter().find(|p| p.severity == Severity::Fatal && !p.is_mended_by_init()) {
        let message = format!("{problem}; nothing was changed; {}", problem.remedy());
        return Err(Stop::Final(Failure::new(Exit::Failed, message)));
    }
    // Read before the steps below alter the table. An installation that lacks the columns is not known to be restored.
    let is_restored = !is_cluster && store::is_restored(conn).unwrap_or(false);
    mend(conn, &before, Pass::BeforeFiles)?;
    for template in &templates.init_tables {
        if template.name != PUBLISH || !matches!(inspection.procedure(conn, "publish")?, Ran::As(_)) {
            run_file(conn, &template.name, &template.render(&values))?;
        }
    }
    let mut left = inspection.objects(conn)?;
    if left.iter().any(|problem| problem.mend.is_some()) {
        mend(conn, &left, Pass::AfterFiles)?;
        left = inspection.objects(conn)?;
    }
    if is_restored {
        let log_id = store::head(conn)?.log_id;
        store::renew_log_id(conn, log_id, None)?;
    }
    store::record_made(conn)?;
    // Last, so that it vouches for all steps, including those of a `sql.dir`.
    conn.query_drop(format!("REPLACE INTO res_meta (name, value) VALUES ('schema_version', '{SCHEMA_VERSION}')"))?;
    let mended = before.into_iter().filter(|problem| was_set_up && !left.contains(problem)).collect();
    Ok(Report { mended, left })
}

/// `found`: the version of the tables, if there are any.
fn refuse_newer(found: Result<TableVersion, Error>) -> Result<(), Stop> {
    match found {
        Ok(version) if version.is_beyond_this_program() => {
            let why = version.refusal().unwrap_or_default();
            Err(Stop::Final(Failure::new(Exit::Failed, format!("init changed nothing: {why}"))))
        }
        // Not set up yet, or not as it was; the steps that follow show which.
        Err(error) if error.class() != ErrorClass::Permanent => Err(error.into()),
        _ => Ok(()),
    }
}

/// When something is mended.
#[derive(Clone, Copy, PartialEq)]
enum Pass {
    /// Tables that lack columns are left to the files, which add each without copying the table.
    BeforeFiles,
    /// What the files left.
    AfterFiles,
}

/// Does what the files cannot: they add what is missing, and create again what has no rows.
fn mend(conn: &mut Conn, problems: &[Problem], pass: Pass) -> Result<(), Stop> {
    let mut clauses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for problem in problems {
        match &problem.mend {
            Some(Mend::Alter { table, clause }) => clauses.entry(table).or_default().push(clause),
            // Outside LOCK TABLES, which would have to name a table that is none of resq's (1100). The queue has no
            // trigger of this name, so none is missed.
            Some(Mend::DropTrigger(name)) => {
                run(conn, "misplaced triggers", &format!("DROP TRIGGER IF EXISTS {}", db::ident(name)))?;
            }
            None => {}
        }
    }
    for (table, clauses) in clauses {
        if pass == Pass::AfterFiles || !clauses.iter().any(|clause| clause.starts_with("ADD COLUMN")) {
            run(conn, &format!("table {table}"), &format!("ALTER TABLE {} {}", db::ident(table), clauses.join(", ")))?;
        }
    }
    Ok(())
}

/// Runs before any trigger is touched: MySQL lets an account drop a trigger that it may not create again.
fn check_triggers(conn: &mut Conn, global_db: &str) -> Result<(), Stop> {
    match conn.query_drop(triggers_probe(global_db)).map_err(Error::from) {
        Err(error) if error.code() == Some(ER_BINLOG_CREATE_ROUTINE_NEED_SUPER) => {
            Err(Stop::Final(Failure::new(Exit::Failed, format!("{error}; no trigger was touched; {TRUST}"))))
        }
        _ => Ok(()), // an account without the TRIGGER privilege cannot drop one either
    }
}

/// What to do about ER_BINLOG_CREATE_ROUTINE_NEED_SUPER.
pub const TRUST: &str = "either SET PERSIST log_bin_trust_function_creators = 1 (on MariaDB SET GLOBAL, and in its \
                         settings file), or run `resqctl init` as an administrator and use no templates with triggers \
                         or functions";

/// A CREATE TRIGGER on a table that does not exist. It changes nothing and fails for the first of these that is missing:
/// the server's trust in the account, the privilege, the table.
pub fn triggers_probe(database: &str) -> String {
    let none = format!("{}.res_none", db::ident(database));
    format!("CREATE TRIGGER {none} BEFORE INSERT ON {none} FOR EACH ROW SET NEW.a = 1")
}

/// Runs a file as a whole, or statement by statement if it adds something that may be there.
fn run_file(conn: &mut Conn, name: &str, script: &str) -> Result<(), Stop> {
    let pieces = sql_text::pieces(script);
    if !pieces.iter().any(|(_, tokens)| Addition::of(tokens).is_some()) {
        return run(conn, name, script);
    }
    for (number, (statement, tokens)) in pieces.iter().enumerate() {
        let is_there = Addition::of(tokens).map(|addition| addition.is_there(conn)).transpose()?;
        if is_there != Some(true) {
            run_from(conn, name, number, statement)?;
        }
    }
    Ok(())
}

fn run(conn: &mut Conn, step: &str, script: &str) -> Result<(), Stop> {
    run_from(conn, step, 0, script)
}

/// `before`: how many statements of the step were run before these.
fn run_from(conn: &mut Conn, step: &str, before: usize, script: &str) -> Result<(), Stop> {
    let mut tries = 0;
    loop {
        let Err(ScriptError { statement, error }) = db::run_script(conn, script) else { return Ok(()) };
        tries += 1;
        if error.class() != ErrorClass::Retry || tries == TRIES {
            return Err(Stop::Step(format!("{step}, statement {}", before + statement), error));
        }
        log::info!("init: {step} waits for open transactions ({error}); trying again");
        conn.query_drop("UNLOCK TABLES")?;
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..200)));
    }
}

/// Checks what no setting of resq's can fix.
///
/// # Errors
///
/// The server's own settings keep resq from working.
pub fn check_server(server: &ServerInfo) -> Result<(), Failure> {
    if server.statement_log {
        let message = "the server's binary log has binlog_format=STATEMENT, with which READ COMMITTED transactions \
                       cannot write (error 1665); set binlog_format=ROW (or MIXED) and restart the server";
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(())
}

/// Checks that `resqctl init` of this version has run.
///
/// # Errors
///
/// It has not; or the server cannot be reached, or is a node of a cluster that lags too far behind to tell.
pub fn check_done(db: &Db) -> Result<(), Failure> {
    check(db, |version| *version == TableVersion::Current)
}

/// Checks that `resqctl init` of this or a newer version has run: such tables can be read.
///
/// # Errors
///
/// As for [`check_done`].
pub fn check_readable(db: &Db) -> Result<(), Failure> {
    check(db, |version| *version == TableVersion::Current || version.is_beyond_this_program())
}

fn check(db: &Db, is_accepted: fn(&TableVersion) -> bool) -> Result<(), Failure> {
    if refusal(db, is_accepted)?.is_none() {
        return Ok(());
    }
    // A node that lags behind may not have applied yet what `init` did on another.
    db.catch_up()?;
    match refusal(db, is_accepted)? {
        None => Ok(()),
        Some(why) => Err(Failure::new(Exit::Failed, why)),
    }
}

/// Why the database cannot be used, and what to do; None: it can.
fn refusal(db: &Db, is_accepted: fn(&TableVersion) -> bool) -> Result<Option<String>, Error> {
    let name = db.global_db();
    match db.global().and_then(|mut conn| TableVersion::read(&mut conn)) {
        Ok(version) if is_accepted(&version) => Ok(None),
        Ok(version) => Ok(version.refusal().map(|why| format!("database `{name}`: {why}"))),
        Err(error) if matches!(error.code(), Some(ER_BAD_DB_ERROR | ER_NO_SUCH_TABLE)) => Ok(Some(format!(
            "database `{name}` is not set up: {error}; run `resqctl init` with the same settings first"
        ))),
        Err(error) if error.is_denied() => Ok(Some(format!(
            "cannot read database `{name}`: {error}; run `resqctl init` with the same settings first, or grant this account \
             access to `{name}`"
        ))),
        Err(error) => Err(error),
    }
}
