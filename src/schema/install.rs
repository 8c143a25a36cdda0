//! Sets up the global database, or brings it up to date, from the `init_*` templates; and says whether that was done.
//! Every step may run again on what it made before.

use std::time::Duration;

use mysql::{Conn, prelude::Queryable};

use crate::{
    base::failure::{Exit, Failure},
    db::{self, Db, Error, ErrorClass, ScriptError, ServerInfo, codes::*},
    resources::{
        Templates,
        template::{Template, Values},
    },
};

/// What `res_meta` holds after the last step; a daemon serves no other.
pub const SCHEMA_VERSION: &str = "1";

/// Another `init` on this server is waited for so long, in seconds.
const LOCK_WAIT_S: u32 = 300;
/// A step that waits for open transactions is tried again so often: DDL waits behind a writer, and everybody else
/// behind the DDL, so each try is short.
const TRIES: u32 = 60;

/// The file whose procedure applications may hold EXECUTE on.
const PUBLISH: &str = "init_tables/045_publish.sql";

/// Runs every step. Several at once, from several machines, wait for each other, on one node of a cluster.
pub fn init(db: &Db, server: &ServerInfo, templates: &Templates) -> Result<(), Failure> {
    check_server(server)?;
    let mut conn = db.any()?;
    let lock = format!("CONCAT('resq.init.', LEFT(SHA2({}, 224), 50))", db::literal(db.global_db()));
    let locked: Option<u8> = conn.query_first(format!("SELECT GET_LOCK({lock}, {LOCK_WAIT_S})"))?.flatten();
    if locked != Some(1) {
        return Err(Failure::new(
            Exit::TimedOut,
            format!("another init has been running for {LOCK_WAIT_S} s; try again when it is done"),
        ));
    }
    conn.query_drop("SET SESSION lock_wait_timeout = 2")?;
    let values = Values { global_db: db.global_db(), ..Values::default() };
    for template in &templates.init_db {
        run(&mut conn, template, &values)?;
    }
    conn.select_db(db.global_db())?;
    check_triggers(&mut conn, db.global_db())?;
    for template in &templates.init_tables {
        if template.name != PUBLISH || !publish_stays(&mut conn, &template.render(&values))? {
            run(&mut conn, template, &values)?;
        }
    }
    // Last, so that it stands for all steps, those of a `sql.dir` among them.
    conn.exec_drop("REPLACE INTO res_meta (name, value) VALUES ('schema_version', ?)", (SCHEMA_VERSION,))?;
    conn.query_drop(format!("DO RELEASE_LOCK({lock})"))?;
    Ok(())
}

/// Before any is touched: MySQL lets a trigger be dropped by who may not create it again.
fn check_triggers(conn: &mut Conn, global_db: &str) -> Result<(), Failure> {
    match conn.query_drop(triggers_probe(global_db)).map_err(Error::from) {
        Err(error) if error.code() == Some(ER_BINLOG_CREATE_ROUTINE_NEED_SUPER) => {
            Err(Failure::new(Exit::Failed, format!("{error}; no trigger was touched; {TRUST}")))
        }
        _ => Ok(()), // without the privilege for triggers they can't be dropped either
    }
}

/// What to do about ER_BINLOG_CREATE_ROUTINE_NEED_SUPER.
pub const TRUST: &str = "either SET PERSIST log_bin_trust_function_creators = 1 (on MariaDB SET GLOBAL, and in its \
                         settings file), or run `resqctl init` as an administrator and use no templates with triggers \
                         or functions";

/// Asks for a trigger on a table that is not there: changes nothing, and fails by what is missing first, the
/// server's trust, the privilege, the table.
pub fn triggers_probe(database: &str) -> String {
    let none = format!("{}.res_none", db::ident(database));
    format!("CREATE TRIGGER {none} BEFORE INSERT ON {none} FOR EACH ROW SET NEW.a = 1")
}

/// Whether `publish` is there with the body that `script` has, and works. To drop it would take EXECUTE on it from
/// every application. Where another account made it, its body is not ours to read, and its refusal has to do.
fn publish_stays(conn: &mut Conn, script: &str) -> Result<bool, Error> {
    let body: Option<Option<String>> = conn.query_first(
        "SELECT ROUTINE_DEFINITION FROM information_schema.ROUTINES \
         WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME = 'publish'",
    )?;
    let same = body.is_some_and(|body| body.is_none_or(|body| script.contains(&body)));
    // Its own refusal: its definer is there.
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
                // MySQL's SYSTEM_USER: no lesser account changes what runs as an administrator.
                Some(ER_SPECIFIC_ACCESS_DENIED_ERROR) => {
                    Failure::new(Exit::Failed, format!("{error}; run init as the account that set this up"))
                }
                _ => Failure::from(error),
            };
            return Err(Failure::new(failure.exit, format!("{}, statement {statement}: {failure}", template.name)));
        }
        log::info!("{} waits for open transactions: {error}", template.name);
        conn.query_drop("UNLOCK TABLES")?;
        std::thread::sleep(Duration::from_millis(fastrand::u64(20..200)));
    }
}

/// What no setting of ours can fix.
pub fn check_server(server: &ServerInfo) -> Result<(), Failure> {
    if server.statement_log {
        let message = "this server writes its binary log with binlog_format=STATEMENT, under which READ COMMITTED \
                       transactions can't write (error 1665); set binlog_format=ROW (or MIXED) and restart";
        return Err(Failure::new(Exit::Failed, message));
    }
    Ok(())
}

/// Whether `resqctl init` of this version has run, on a connection in no particular database.
pub fn check_done(db: &Db) -> Result<(), Failure> {
    let found = db.global().and_then(|mut conn| {
        Ok(conn.query_first::<String, _>("SELECT value FROM res_meta WHERE name = 'schema_version'")?)
    });
    let why = match found {
        Ok(Some(version)) if version == SCHEMA_VERSION => return Ok(()),
        Ok(version) => format!(
            "its tables are of version {}, this program needs {SCHEMA_VERSION}",
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
