//! Checks every prerequisite the way the daemon would meet it: by doing it. Leaves nothing behind.

mod events;
mod privileges;

use std::time::{SystemTime, UNIX_EPOCH};

use mysql::{Conn, prelude::Queryable};

use crate::{
    base::failure::Failure,
    config::Config,
    db::{ANSWER, Db, Error, ServerInfo, codes::*},
    resources::Templates,
    schema::install,
};

/// The result of one check.
#[derive(Clone, Debug)]
pub struct Check {
    pub name: &'static str,
    pub verdict: Verdict,
}

/// What was found, and where it is not as it should be, how to fix it.
#[derive(Clone, Debug)]
pub enum Verdict {
    Good(String),
    /// resq works without; something is slower or can't be checked.
    Unsure {
        what: String,
        fix: String,
    },
    /// resqd can't serve like this.
    Bad {
        what: String,
        fix: String,
    },
}

fn good(what: impl Into<String>) -> Verdict {
    Verdict::Good(what.into())
}

fn unsure(what: impl Into<String>, fix: impl Into<String>) -> Verdict {
    Verdict::Unsure { what: what.into(), fix: fix.into() }
}

fn bad(what: impl Into<String>, fix: impl Into<String>) -> Verdict {
    Verdict::Bad { what: what.into(), fix: fix.into() }
}

/// The loadable functions as this server has them.
#[derive(Clone, Debug)]
pub struct Functions {
    /// What `resq_stats()` returned; None: there is no such function.
    stats: Option<String>,
}

impl Functions {
    pub fn ask(conn: &mut Conn) -> Result<Functions, Error> {
        match conn.query_first::<Option<String>, _>("SELECT resq_stats()").map_err(Error::from) {
            Ok(stats) => Ok(Functions { stats: stats.flatten() }),
            Err(error) if matches!(error.code(), Some(ER_SP_DOES_NOT_EXIST | ER_CANT_FIND_UDF | ER_NO_DB_ERROR)) => {
                Ok(Functions { stats: None })
            }
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
    Ok(conn.query("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 'res_queue' ORDER BY 1")?)
}

/// All checks, in the order in which they build on each other; ends where the next would make no sense.
pub fn examine(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name, verdict| checks.push(Check { name, verdict });
    let db = match Db::open_within(&config.database, 2, Some(ANSWER)) {
        Ok(db) => db,
        Err(failed) => {
            add("login", bad(Failure::from(failed).message, "then run this again"));
            return checks;
        }
    };
    let mut conn = match db.any() {
        Ok(conn) => conn,
        Err(error) => {
            add("login", bad(error.to_string(), "then run this again"));
            return checks;
        }
    };
    let user = privileges::account(&mut conn);
    add("login", good(user.clone()));
    add("encryption", encryption(&mut conn, config));
    match ServerInfo::ask(&mut conn) {
        Err(error) => add("server", bad(error.to_string(), "is this a MySQL or MariaDB server?")),
        Ok(server) => {
            add("server", version(&server));
            add(
                "binary log",
                match install::check_server(&server) {
                    Err(failure) => bad(failure.message, "then run this again"),
                    Ok(()) => good(if server.binary_log { "on, and not by statement" } else { "off" }),
                },
            );
        }
    }
    add("connections", connections(&mut conn, config.queue.workers));
    add("privileges", privileges::resources(&mut conn, &config.queue.db_prefix, &user));
    add(
        "templates",
        match Templates::load(config.sql_dir.as_deref()) {
            Ok(templates) => good(format!("{} types beside `default`", templates.types.len())),
            Err(error) => bad(error, "fix the file; resqd reads all of them when it starts"),
        },
    );
    add("clock", clock(&mut conn));
    let done = install::check_done(&db);
    add("init", privileges::init(&mut conn, db.global_db(), &user, done.is_ok()));
    if let Err(failure) = done {
        add("tables", bad(failure.message, "then run this again"));
        return checks;
    }
    add("tables", good(format!("database `{}`, version {}", db.global_db(), install::SCHEMA_VERSION)));
    if let Ok(mut conn) = db.global() {
        add("access", privileges::access(&mut conn, db.global_db(), &user));
        if config.database.hosts.len() > 1 {
            add("nodes", privileges::nodes(&mut conn, &user));
        }
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

fn version(server: &ServerInfo) -> Verdict {
    if server.skip_locked {
        good(server.version.clone())
    } else {
        unsure(
            format!("{} has no SKIP LOCKED", server.version),
            "resq claims by token here, which is slower with many daemons; MySQL 8.0 or MariaDB 10.6 has it",
        )
    }
}

fn encryption(conn: &mut Conn, config: &Config) -> Verdict {
    match conn.query_first::<(String, String), _>("SHOW STATUS LIKE 'Ssl_version'") {
        Ok(Some((_, version))) if !version.is_empty() => good(version),
        _ if config.database.socket.is_some() => good("none, on a Unix socket"),
        _ => unsure(
            "none: what goes to the server and comes from it can be read on the way",
            "where that is another machine, set TLS up on it and database.tls to required or verify",
        ),
    }
}

fn connections(conn: &mut Conn, workers: usize) -> Verdict {
    let needed = workers as u64 + u64::from(crate::queue::FIXED_CONNECTIONS + crate::events::CONNECTIONS);
    match conn.query_first::<u64, _>("SELECT @@max_connections") {
        Ok(Some(max)) if max >= needed + 10 => good(format!("a daemon takes {needed} of the server's {max}")),
        Ok(Some(max)) => bad(
            format!("a daemon takes {needed} of the server's {max}"),
            "raise max_connections or lower queue.workers",
        ),
        other => unsure(format!("{other:?}"), "max_connections could not be read"),
    }
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
        Err(error) => bad(error.to_string(), "see `access`"),
    }
}
