//! Creates or upgrades the global database from the `init_*` templates, and checks whether that was done. Every step may
//! run again on its own result. Never touches a resource's database.

use std::time::Duration;

use mysql::{Conn, prelude::Queryable};

use crate::{
    base::failure::{Exit, Failure},
    db::{self, Db, Error, ErrorClass, ScriptError, ServerInfo, codes::*},
    events::store,
    resources::{
        Templates,
        template::{Template, Values},
    },
};

/// The version of the tables, written to `res_meta` after the last step. A daemon serves no other.
pub const SCHEMA_VERSION: &str = "2";

/// How long to wait for another `init` on this server, in seconds.
const LOCK_WAIT_S: u32 = 300;
/// How long one try of a step waits for open transactions, in seconds. It is short: DDL waits for the writers before it,
/// and every other session waits for the DDL.
const DDL_WAIT_S: u32 = 2;
/// How often a step is tried that meets open transactions.
const TRIES: u32 = 60;

/// The file of the procedure on which applications hold EXECUTE.
const PUBLISH: &str = "init_tables/045_publish.sql";

/// Runs every step. Calls on several machines wait for each other, as long as they use the same node of a cluster.
///
/// # Errors
///
/// The server cannot be used, another call runs for too long, or a step failed; it may be repeated.
pub fn init(db: &Db, server: &ServerInfo, templates: &Templates) -> Result<(), Failure> {
    check_server(server)?;
    let mut conn = db.any()?;
    let lock = format!("CONCAT('resq.init.', LEFT(SHA2({}, 224), 50))", db::literal(db.global_db()));
    let locked: Option<u8> = conn.query_first(format!("SELECT GET_LOCK({lock}, {LOCK_WAIT_S})"))?.flatten();
    if locked != Some(1) {
        return Err(Failure::new(
            Exit::TimedOut,
            format!("another init has been running for {LOCK_WAIT_S} s; try again when it has ended"),
        ));
    }
    conn.query_drop(format!("SET SESSION lock_wait_timeout = {DDL_WAIT_S}"))?;
    let values = Values { global_db: db.global_db(), ..Values::default() };
    for template in &templates.init_db {
        run(&mut conn, template, &values)?;
    }
    conn.select_db(db.global_db())?;
    check_triggers(&mut conn, db.global_db())?;
    // Asked before the steps below alter the table. An installation that lacks the columns is not known to be restored.
    let is_restored = !server.is_cluster && store::is_restored(&mut conn).unwrap_or(false);
    for template in &templates.init_tables {
        if template.name != PUBLISH || !publish_stays(&mut conn, &template.render(&values))? {
            run(&mut conn, template, &values)?;
        }
    }
    if is_restored {
        let log_id = store::head(&mut conn)?.log_id;
        store::renew_log_id(&mut conn, log_id, None)?;
    }
    store::record_made(&mut conn)?;
    // Last, so that it vouches for all steps, including those of a `sql.dir`.
    conn.exec_drop("REPLACE INTO res_meta (name, value) VALUES ('schema_version', ?)", (SCHEMA_VERSION,))?;
    conn.query_drop(format!("DO RELEASE_LOCK({lock})"))?;
    Ok(())
}

/// Runs before any trigger is touched: MySQL lets an account drop a trigger that it may not create again.
fn check_triggers(conn: &mut Conn, global_db: &str) -> Result<(), Failure> {
    match conn.query_drop(triggers_probe(global_db)).map_err(Error::from) {
        Err(error) if error.code() == Some(ER_BINLOG_CREATE_ROUTINE_NEED_SUPER) => {
            Err(Failure::new(Exit::Failed, format!("{error}; no trigger was touched; {TRUST}")))
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

/// Whether `publish` exists with the body that `script` has, and works: dropping it would revoke EXECUTE on it from every
/// application. The body cannot be read if another account created it; then its refusal is the only evidence.
fn publish_stays(conn: &mut Conn, script: &str) -> Result<bool, Error> {
    let body: Option<Option<String>> = conn.query_first(
        "SELECT ROUTINE_DEFINITION FROM information_schema.ROUTINES \
         WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME = 'publish'",
    )?;
    let same = body.is_some_and(|body| body.is_none_or(|body| script.contains(&body)));
    // Refused by its own code: its definer exists.
    let refuses = |error: Error| {
        error.code() == Some(ER_SIGNAL_EXCEPTION) && error.to_string().contains("resq.publish: a state is")
    };
    Ok(same && conn.query_drop("CALL publish(NULL, NULL)").map_err(Error::from).is_err_and(refuses))
}

fn run(conn: &mut Conn, template: &Template, values: &Values) -> Result<(), Failure> {
    let script = template.render(values);
    let mut tries = 0;
    loop {
        let Err(ScriptError { statement, error }) = db::run_script(conn, &script) else { return Ok(()) };
        tries += 1;
        if error.class() != ErrorClass::Retry || tries == TRIES {
            let failure = match error.code() {
                // MySQL's SYSTEM_USER: an account without it cannot change what runs as an administrator.
                Some(ER_SPECIFIC_ACCESS_DENIED_ERROR) => {
                    Failure::new(Exit::Failed, format!("{error}; run init as the account that ran it before"))
                }
                _ => Failure::from(error),
            };
            return Err(Failure::new(failure.exit, format!("{}, statement {statement}: {failure}", template.name)));
        }
        log::info!("init: {} waits for open transactions ({error}); trying again", template.name);
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
/// It has not, or the server cannot be reached.
pub fn check_done(db: &Db) -> Result<(), Failure> {
    let found = db.global().and_then(|mut conn| {
        Ok(conn.query_first::<String, _>("SELECT value FROM res_meta WHERE name = 'schema_version'")?)
    });
    let why = match found {
        Ok(Some(version)) if version == SCHEMA_VERSION => return Ok(()),
        Ok(version) => format!(
            "its tables have version {}, this program needs version {SCHEMA_VERSION}",
            version.unwrap_or_else(|| "none".into())
        ),
        Err(error) if matches!(error.code(), Some(ER_BAD_DB_ERROR | ER_NO_SUCH_TABLE)) => error.to_string(),
        Err(error) => return Err(error.into()),
    };
    Err(Failure::new(
        Exit::Failed,
        format!("database `{}` is not set up: {why}; run `resqctl init` with the same settings first", db.global_db()),
    ))
}
