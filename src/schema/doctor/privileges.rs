//! The checks of what the account may do, by trying: grants, roles and server switches interact in ways that no reading
//! of SHOW GRANTS gets right. The fix names all that is missing in one GRANT. Statements go to a database created for the
//! purpose and dropped again, or to objects that do not exist: a server reports a missing privilege first.

use mysql::{Conn, prelude::Queryable};

use super::verdict::{Verdict, failed, good, warning};
use crate::{
    db::{Error, ReadRows, codes::*, ident, run_script},
    schema::install::{TRUST, triggers_probe},
};

/// Everything that `scripts/grants.sql` grants on the resources' databases.
const OF_RESOURCES: &str = "CREATE, DROP, SELECT, INSERT, UPDATE, DELETE, ALTER, INDEX, REFERENCES, CREATE VIEW, \
                            SHOW VIEW, CREATE ROUTINE, ALTER ROUTINE, EXECUTE, TRIGGER, EVENT, LOCK TABLES, \
                            CREATE TEMPORARY TABLES";

/// The account, quoted as GRANT expects it.
pub fn account(conn: &mut Conn) -> String {
    let account = "SELECT CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@', QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)))";
    conn.read_first(account).ok().flatten().unwrap_or_default()
}

/// What the account lacks.
#[derive(Default)]
struct Missing {
    /// Each once, in the order in which they were found.
    privileges: Vec<String>,
    /// The server does not trust the account to create triggers.
    is_untrusted: bool,
    /// The server's first error.
    first_error: Option<String>,
}

impl Missing {
    /// Runs `statement`, which needs `privilege`. Any error but a denial shows that the account has it.
    fn check(&mut self, conn: &mut Conn, privilege: &'static str, statement: &str) {
        let Err(error) = conn.query_drop(statement).map_err(Error::from) else { return };
        // LOCK TABLES needs SELECT as well, and the server does not report which of the two is missing.
        let is_ambiguous = privilege == "LOCK TABLES" && self.privileges.iter().any(|name| name == "SELECT");
        if error.code() == Some(ER_BINLOG_CREATE_ROUTINE_NEED_SUPER) {
            self.is_untrusted = true;
        } else if error.is_denied() && !is_ambiguous {
            self.add(privilege, &error);
        } else {
            return;
        }
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    /// Takes the privileges from the server's text where it lists them, since a statement may need more than one:
    /// `SELECT, INSERT command denied to user`.
    fn add(&mut self, privilege: &'static str, error: &Error) {
        let text = error.to_string();
        let names =
            text.split_once("): ").and_then(|(_, text)| text.split_once(" command denied")).map(|(names, _)| names);
        for name in names.unwrap_or(privilege).split(", ").map(str::to_uppercase) {
            if !self.privileges.contains(&name) {
                self.privileges.push(name);
            }
        }
    }

    /// The server's error, and the GRANT and the server option that fix it. None: nothing is missing.
    fn report(self, on: &str, user: &str) -> Option<(String, String)> {
        let error = self.first_error?;
        let mut fix = Vec::new();
        if !self.privileges.is_empty() {
            fix.push(format!("GRANT {} ON {on} TO {user}", self.privileges.join(", ")));
        }
        if self.is_untrusted {
            fix.push(TRUST.into());
        }
        Some((error, fix.join("; ")))
    }
}

/// A database's name, or the beginning of one, quoted as GRANT expects it: there a bare `_` matches any character.
fn pattern(name: &str, rest: &str) -> String {
    format!("`{}{rest}`.*", name.replace('_', "\\_"))
}

/// Does what building a resource database does.
pub fn resources(conn: &mut Conn, prefix: &str, user: &str) -> Verdict {
    let probe = format!("{prefix}doctor_{:08x}", fastrand::u32(..));
    let (on, name) = (pattern(prefix, "%"), ident(&probe));
    let make = format!("CREATE DATABASE {name}; CREATE TABLE {name}.t (a INT PRIMARY KEY)");
    if let Err(script) = run_script(conn, &make) {
        let partial_revokes = "SHOW GLOBAL VARIABLES WHERE Variable_name = 'partial_revokes' AND Value = 'ON'";
        let fix = match conn.read_first::<(String, String)>(partial_revokes) {
            Ok(Some(_)) => {
                "SET PERSIST partial_revokes = OFF: while it is on, MySQL takes `%` in a GRANT literally".into()
            }
            _ => format!("GRANT {OF_RESOURCES} ON {on} TO {user}"),
        };
        return failed(script.error.to_string(), fix);
    }
    let mut missing = Missing::default();
    for (privilege, statement) in [
        ("SELECT", "SELECT a FROM .t"),
        ("INSERT", "INSERT INTO .t (a) VALUES (1)"),
        ("UPDATE", "UPDATE .t SET a = 2"),
        ("DELETE", "DELETE FROM .t"),
        ("ALTER", "ALTER TABLE .t COMMENT = 'x'"),
        ("INDEX", "CREATE INDEX i ON .t (a)"),
        ("REFERENCES", "CREATE TABLE .u (a INT, FOREIGN KEY (a) REFERENCES .t (a))"),
        ("CREATE VIEW", "CREATE VIEW .v AS SELECT 1 AS a"),
        ("SHOW VIEW", "SHOW CREATE VIEW .v"),
        ("CREATE ROUTINE", "CREATE PROCEDURE .p() DO 1"),
        ("ALTER ROUTINE", "DROP PROCEDURE .none"),
        ("EXECUTE", "CALL .none()"),
        ("EVENT", "CREATE EVENT .e ON SCHEDULE EVERY 1 DAY DISABLE DO DO 1"),
        ("LOCK TABLES", "LOCK TABLES .t WRITE"),
        ("LOCK TABLES", "UNLOCK TABLES"),
        ("CREATE TEMPORARY TABLES", "CREATE TEMPORARY TABLE .w (a INT)"),
    ] {
        missing.check(conn, privilege, &statement.replace(" .", &format!(" {name}.")));
    }
    missing.check(conn, "TRIGGER", &triggers_probe(&probe));
    if let Err(error) = conn.query_drop(format!("DROP DATABASE {name}")).map_err(Error::from) {
        return failed(
            error.to_string(),
            format!("GRANT DROP ON {on} TO {user}; and drop the database {probe} yourself"),
        );
    }
    match missing.report(&on, user) {
        None => good(format!("{user} can create and drop databases and what templates put into them")),
        Some((error, fix)) => warning(error, format!("templates that need it will fail: {fix}")),
    }
}

/// Tries what `resqctl init` does on objects that do not exist. `is_done`: it has run already.
pub fn init(conn: &mut Conn, global_db: &str, user: &str, is_done: bool) -> Verdict {
    let name = ident(global_db);
    let mut missing = Missing::default();
    for (privilege, statement) in [
        ("SELECT", "SELECT 1 FROM .res_none"),
        // The first of the two tables is the one to be created.
        ("CREATE", "CREATE TABLE .res_none LIKE .res_nothing"),
        ("ALTER", "ALTER TABLE .res_none ADD COLUMN a INT"),
        ("INDEX", "CREATE INDEX i ON .res_none (a)"),
        ("INSERT", "INSERT INTO .res_none VALUES (1)"),
        ("UPDATE", "UPDATE .res_none SET a = 1"),
        ("DELETE", "DELETE FROM .res_none"),
        ("ALTER ROUTINE", "DROP PROCEDURE .res_none"),
        ("CREATE ROUTINE", "CREATE PROCEDURE .res_doctor() DO 1"),
        ("ALTER ROUTINE", "DROP PROCEDURE .res_doctor"),
        ("EXECUTE", "CALL .res_none()"),
        ("LOCK TABLES", "LOCK TABLES .res_none WRITE"),
        ("CREATE TEMPORARY TABLES", "CREATE TEMPORARY TABLE .res_doctor (a INT)"),
        ("CREATE TEMPORARY TABLES", "DROP TEMPORARY TABLE IF EXISTS .res_doctor"),
    ] {
        missing.check(conn, privilege, &statement.replace(" .", &format!(" {name}.")));
    }
    missing.check(conn, "TRIGGER", &triggers_probe(global_db));
    match missing.report(&pattern(global_db, ""), user) {
        None => good(format!("{user} can set up and upgrade {name}")),
        Some((error, fix)) if is_done => warning(error, format!("the next `resqctl init` will need it: {fix}")),
        Some((error, fix)) => failed(error, fix),
    }
}

/// What the daemon reads and writes: each table, a column of it, and what it needs beside SELECT.
const WRITTEN: &[(&str, &str, &[&str])] = &[
    ("res_queue", "status", &["INSERT", "UPDATE", "DELETE"]),
    ("res_meta", "value", &["INSERT", "UPDATE", "DELETE"]),
    ("res_daemon", "lease_until", &["INSERT", "UPDATE", "DELETE"]),
    ("res_database", "state", &["INSERT", "UPDATE", "DELETE"]),
    ("res_error", "message", &["INSERT", "DELETE"]),
    ("res_log", "first_seq", &["UPDATE"]),
    ("res_event", "state", &["INSERT", "DELETE"]),
    ("res_outbox", "state", &["INSERT", "DELETE"]),
    ("res_quarantine", "message", &["INSERT", "UPDATE", "DELETE"]),
    ("res_event_quarantine", "message", &["INSERT", "UPDATE", "DELETE"]),
    ("res_audit", "count", &["INSERT", "UPDATE"]),
    ("res_batch", "worker", &["INSERT", "UPDATE"]),
    ("res_template", "text", &["INSERT", "UPDATE"]),
    ("res_migration", "text", &["INSERT"]),
    ("res_ledger", "statement", &["INSERT", "UPDATE", "DELETE"]),
    ("res_rollout", "state", &["INSERT", "UPDATE", "DELETE"]),
    ("res_rollout_file", "text", &["INSERT", "UPDATE"]),
    ("res_rollout_database", "state", &["INSERT", "UPDATE"]),
    ("res_watch", "pos", &["UPDATE"]),
    ("res_watch_row", "state", &["INSERT", "DELETE"]),
    ("res_consumer", "position", &["INSERT", "UPDATE", "DELETE"]),
    ("res_scratch", "db_name", &["INSERT", "DELETE"]),
];

/// Runs statements that change nothing, each of which needs a privilege that the daemon uses.
pub fn access(conn: &mut Conn, global_db: &str, user: &str) -> Verdict {
    let mut missing = Missing::default();
    let tables: Vec<&str> = WRITTEN.iter().map(|(table, ..)| *table).collect();
    missing.check(conn, "SELECT", &format!("SELECT 1 FROM {} LIMIT 0", tables.join(", ")));
    for (table, column, privileges) in WRITTEN {
        for privilege in *privileges {
            let statement = match *privilege {
                "INSERT" => format!("INSERT INTO {table} ({column}) SELECT {column} FROM {table} WHERE 1 = 0"),
                "UPDATE" => format!("UPDATE {table} SET {column} = {column} WHERE 1 = 0"),
                _ => format!("DELETE FROM {table} WHERE 1 = 0"),
            };
            missing.check(conn, privilege, &statement);
        }
    }
    missing.check(conn, "EXECUTE", "CALL res_number(18446744073709551615, 1, @res_none)");
    match missing.report(&pattern(global_db, ""), user) {
        None => good(format!("{user} can read and write what the daemon reads and writes")),
        Some((error, fix)) => failed(error, fix),
    }
}

/// Whether the account may see which nodes of a MySQL group are online; other clusters need no privilege for that.
pub fn nodes(conn: &mut Conn, user: &str) -> Verdict {
    const MEMBERS: &str = "performance_schema.replication_group_members";
    match conn.query_drop(format!("SELECT 1 FROM {MEMBERS}")).map_err(Error::from) {
        Err(error) if error.is_denied() => warning(
            format!("cannot see whether a node has left its group: {error}"),
            format!("GRANT SELECT ON {MEMBERS} TO {user}"),
        ),
        _ => good("nodes that are not ready are skipped"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_table_that_init_makes_is_checked() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/init_tables");
        let texts = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let made: BTreeSet<String> = texts
            .flat_map(|text| {
                let names = text.split("CREATE TABLE IF NOT EXISTS ").skip(1);
                names.map(|rest| rest.split([' ', '(']).next().unwrap().to_string()).collect::<Vec<_>>()
            })
            .collect();
        let checked: BTreeSet<String> = WRITTEN.iter().map(|(table, ..)| table.to_string()).collect();
        assert_eq!(checked, made);
    }
}
