//! Checks every prerequisite the way the daemon would meet it: by doing it. A privilege is tried on a database made
//! for the purpose and dropped again, since grants, roles and server switches interact in ways no reading of
//! SHOW GRANTS gets right.

mod events;

use std::time::{SystemTime, UNIX_EPOCH};

use mysql::{Conn, Error, prelude::Queryable};

use crate::{
    config::Config,
    db::{ANSWER, Db, Server, code, ident, told},
    journal,
    provision::{Templates, init},
};

/// The result of one check.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: &'static str,
    pub verdict: Verdict,
}

/// What was found, and where it is not as it should be, how to mend it.
#[derive(Clone, Debug)]
pub enum Verdict {
    Good(String),
    /// resq works without; something is slower or can't be checked.
    Unsure {
        what: String,
        mend: String,
    },
    /// resqd can't serve like this.
    Bad {
        what: String,
        mend: String,
    },
}

fn good(what: impl Into<String>) -> Verdict {
    Verdict::Good(what.into())
}

fn unsure(what: impl Into<String>, mend: impl Into<String>) -> Verdict {
    Verdict::Unsure { what: what.into(), mend: mend.into() }
}

fn bad(what: impl Into<String>, mend: impl Into<String>) -> Verdict {
    Verdict::Bad { what: what.into(), mend: mend.into() }
}

/// The loadable functions as this server has them.
#[derive(Clone, Debug)]
pub struct Functions {
    /// What `resq_stats()` returned; None: there is no such function.
    stats: Option<String>,
}

impl Functions {
    pub fn ask(conn: &mut Conn) -> Result<Functions, Error> {
        match conn.query_first::<Option<String>, _>("SELECT resq_stats()") {
            Ok(stats) => Ok(Functions { stats: stats.flatten() }),
            Err(error) if matches!(code(&error), 1305 | 1122 | 1046) => Ok(Functions { stats: None }),
            Err(error) => Err(error),
        }
    }

    pub fn present(&self) -> bool {
        self.stats.is_some()
    }

    pub fn describe(&self) -> String {
        match &self.stats {
            Some(stats) => format!("loaded: {stats}"),
            None => "not loaded: changes are found by polling (queue.poll_ms)".into(),
        }
    }

    fn verdict(&self) -> Verdict {
        match &self.stats {
            None => unsure(
                self.describe(),
                "udf/install.sh installs them; on a managed server that is not possible, and not needed",
            ),
            Some(stats) if !stats.contains("\"connected\":0,") => good(self.describe()),
            Some(_) => unsure(
                self.describe(),
                "start resqd, and check the address and token in resq_udf.conf beside the library",
            ),
        }
    }
}

/// The triggers on the queue, by name; `conn` is in the global database.
pub fn triggers(conn: &mut Conn) -> Result<Vec<String>, Error> {
    conn.query("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 'res_queue' ORDER BY 1")
}

/// All checks, in the order in which they build on each other; ends where the next would make no sense.
pub fn examine(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name, verdict| checks.push(Check { name, verdict });
    let db = match Db::open_within(&config.database, 2, Some(ANSWER)) {
        Ok(db) => db,
        Err(failure) => {
            add("login", bad(failure.message, "then run this again"));
            return checks;
        }
    };
    let mut conn = match db.any() {
        Ok(conn) => conn,
        Err(error) => {
            add("login", bad(told(&error), "then run this again"));
            return checks;
        }
    };
    // As a GRANT takes it.
    let account = "SELECT CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@', QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)))";
    let user: String = conn.query_first(account).ok().flatten().unwrap_or_default();
    add("login", good(user.clone()));
    match Server::ask(&mut conn) {
        Err(error) => add("server", bad(told(&error), "is this a MySQL or MariaDB server?")),
        Ok(server) => {
            add("server", version(&server));
            add(
                "binary log",
                match init::check_server(&server) {
                    Err(failure) => bad(failure.message, "then run this again"),
                    Ok(()) => good(if server.binary_log { "on, and not by statement" } else { "off" }),
                },
            );
        }
    }
    add("connections", connections(&mut conn, config.queue.workers));
    add(
        "privileges",
        privileges(&mut conn, &format!("{}doctor_{:08x}", config.queue.db_prefix, fastrand::u32(..)), &user),
    );
    add(
        "templates",
        match Templates::load(config.sql_dir.as_deref()) {
            Ok(templates) => good(format!("{} types beside `default`", templates.types.len())),
            Err(error) => bad(error, "mend the file; resqd reads all of them when it starts"),
        },
    );
    add("clock", clock(&mut conn));
    if let Err(failure) = init::check_done(&db) {
        add("tables", bad(failure.message, "then run this again"));
        return checks;
    }
    add("tables", good(format!("database `{}`, version {}", db.global_db(), init::SCHEMA_VERSION)));
    if let Ok(mut conn) = db.global() {
        add("access", access(&mut conn, &user, db.global_db()));
        add(
            "functions",
            Functions::ask(&mut conn).map_or_else(|e| unsure(e.to_string(), "grant EXECUTE"), |f| f.verdict()),
        );
        add("triggers", events::triggers(&mut conn));
        add("publish", events::publish(&mut conn, &user, db.global_db()));
        add("daemons", daemons(&mut conn));
    }
    add("broker", events::broker(config));
    checks
}

fn version(server: &Server) -> Verdict {
    if server.skip_locked {
        good(server.version.clone())
    } else {
        unsure(
            format!("{} has no SKIP LOCKED", server.version),
            "resq claims by token here, which is slower with many daemons; MySQL 8.0 or MariaDB 10.6 has it",
        )
    }
}

fn connections(conn: &mut Conn, workers: usize) -> Verdict {
    let needed = workers as u64 + u64::from(crate::queue::FIXED_CONNECTIONS + journal::CONNECTIONS);
    match conn.query_first::<u64, _>("SELECT @@max_connections") {
        Ok(Some(max)) if max >= needed + 10 => good(format!("a daemon takes {needed} of the server's {max}")),
        Ok(Some(max)) => bad(
            format!("a daemon takes {needed} of the server's {max}"),
            "raise max_connections or lower queue.workers",
        ),
        other => unsure(format!("{other:?}"), "max_connections could not be read"),
    }
}

/// Does what building a resource does, on a database that is gone again afterwards.
fn privileges(conn: &mut Conn, probe: &str, user: &str) -> Verdict {
    let probe_sql = ident(probe);
    let steps = [
        ("CREATE", format!("CREATE DATABASE {probe_sql}")),
        ("CREATE", format!("CREATE TABLE {probe_sql}.t (a INT PRIMARY KEY)")),
        ("INDEX", format!("CREATE INDEX i ON {probe_sql}.t (a)")),
        ("ALTER", format!("ALTER TABLE {probe_sql}.t ADD COLUMN b INT")),
        ("INSERT", format!("INSERT INTO {probe_sql}.t (a) VALUES (1)")),
        ("CREATE ROUTINE", format!("CREATE PROCEDURE {probe_sql}.p() DO 1")),
        ("TRIGGER", format!("CREATE TRIGGER {probe_sql}.r BEFORE INSERT ON {probe_sql}.t FOR EACH ROW SET NEW.b = 1")),
    ];
    let mut verdict = good(format!("{user} can create databases, tables, procedures and triggers"));
    for (privilege, statement) in steps {
        if let Err(error) = conn.query_drop(&statement) {
            verdict = match (code(&error), privilege) {
                (1419, _) => unsure(
                    told(&error),
                    "`resqctl init` and templates with triggers need it: SET PERSIST log_bin_trust_function_creators = 1, or run init as an administrator",
                ),
                (_, "CREATE") => bad(
                    told(&error),
                    format!(
                        "GRANT ALL ON `{}%`.* TO {user}",
                        probe.split("doctor").next().unwrap_or_default().replace('_', "\\_")
                    ),
                ),
                _ => unsure(
                    told(&error),
                    format!(
                        "templates that need it will fail: GRANT {privilege} ON the resources' databases TO {user}"
                    ),
                ),
            };
            break;
        }
    }
    match conn.query_drop(format!("DROP DATABASE IF EXISTS {probe_sql}")) {
        Err(error) if matches!(verdict, Verdict::Good(_)) => {
            bad(told(&error), format!("GRANT DROP ON the resources' databases TO {user}; and drop {probe} by hand"))
        }
        _ => verdict,
    }
}

/// Statements that change nothing, each of which needs a privilege that the daemon uses.
fn access(conn: &mut Conn, user: &str, global_db: &str) -> Verdict {
    let statements = [
        ("SELECT, UPDATE", "res_queue", "UPDATE res_queue SET status = status WHERE 1 = 0"),
        ("INSERT, DELETE", "res_daemon", "DELETE FROM res_daemon WHERE 1 = 0"),
        (
            "INSERT",
            "res_error",
            "INSERT INTO res_error (res_id, attempt, message) SELECT 0, 0, '' FROM res_error WHERE 1 = 0",
        ),
        ("INSERT, UPDATE, DELETE", "res_database", "DELETE FROM res_database WHERE 1 = 0"),
        ("SELECT", "res_meta", "SELECT 1 FROM res_meta WHERE 1 = 0"),
        ("SELECT, UPDATE", "res_log", "UPDATE res_log SET first_seq = first_seq WHERE 1 = 0"),
        ("SELECT, DELETE", "res_event", "DELETE FROM res_event WHERE 1 = 0"),
        ("SELECT", "res_outbox", "SELECT 1 FROM res_outbox WHERE 1 = 0"),
        ("EXECUTE", "PROCEDURE res_number", "CALL res_number(18446744073709551615, 1, @res_none)"),
    ];
    for (privilege, what, statement) in statements {
        if let Err(error) = conn.query_drop(statement) {
            let what = match what.strip_prefix("PROCEDURE ") {
                Some(procedure) => format!("PROCEDURE `{global_db}`.{procedure}"),
                None => format!("`{global_db}`.{what}"),
            };
            return bad(told(&error), format!("GRANT {privilege} ON {what} TO {user}"));
        }
    }
    good(format!("{user} can read and write what the daemon reads and writes"))
}

fn clock(conn: &mut Conn) -> Verdict {
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    match conn.query_first::<f64, _>("SELECT UNIX_TIMESTAMP(NOW(6)) + 0e0") {
        Ok(Some(theirs)) if (theirs - ours).abs() < 5.0 => good(format!("{:+.3} s from the server's", ours - theirs)),
        Ok(Some(theirs)) => unsure(
            format!("{:+.1} s from the server's", ours - theirs),
            "resq goes by the server's clock alone, but logs will not match: set up NTP on both",
        ),
        other => unsure(format!("{other:?}"), "the server's clock could not be read"),
    }
}

fn daemons(conn: &mut Conn) -> Verdict {
    match conn.query::<String, _>("SELECT owner FROM res_daemon WHERE lease_until >= NOW(6) ORDER BY owner") {
        Ok(owners) if owners.is_empty() => unsure("no resqd serves this queue", "start one"),
        Ok(owners) => good(owners.join(", ")),
        Err(error) => bad(told(&error), "see `access`"),
    }
}
