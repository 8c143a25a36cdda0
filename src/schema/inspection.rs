//! Compares resq's objects in the global database with what `init` creates, by content: other tools copy, swap, restore
//! and alter tables, and a name alone proves nothing. Reads only; a few set-based queries limited to this database.

use std::collections::{BTreeMap, BTreeSet};

use mysql::{Conn, prelude::Queryable};

use super::{
    column::{Column, Found},
    expected::{Expected, Table, Trigger},
    problem::{Mend, Part, Problem, Severity},
    version::TableVersion,
};
use crate::{
    db::{Error, ErrorClass, ReadRows, codes::*, ident, literal},
    resources::{
        Templates,
        sql_text::{position, tokens},
    },
};

/// What is compared with.
#[derive(Clone, Debug)]
pub struct Inspection(Expected);

impl Inspection {
    /// For the objects that `init` creates with these templates.
    pub fn new(templates: &Templates) -> Inspection {
        let built_in = Templates::load(None).unwrap_or_default();
        Inspection(Expected::of(templates, &built_in))
    }

    /// Everything that differs in the current database, worst first; empty if all is as `init` leaves it. What the
    /// account may not see counts as right.
    ///
    /// # Errors
    ///
    /// The server's.
    pub fn run(&self, conn: &mut Conn) -> Result<Vec<Problem>, Error> {
        let mut problems = self.objects(conn)?;
        let version = match TableVersion::read(conn) {
            Ok(version) => version,
            // What is wrong with the table that holds it has been found.
            Err(error) if error.class() == ErrorClass::Permanent => return Ok(problems),
            Err(error) => return Err(error),
        };
        if version.is_beyond_this_program() {
            // Other differences may be the newer program's improvements, which it inspects itself.
            problems.retain(|problem| problem.severity == Severity::Fatal);
            let remedy = "run the `resqctl init` of the programs that upgraded the tables";
            problems = problems.into_iter().map(|problem| problem.with_remedy(remedy.into())).collect();
        }
        problems.extend(version.problem());
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
        Ok(problems)
    }

    /// The same, whatever version the tables have.
    pub(super) fn objects(&self, conn: &mut Conn) -> Result<Vec<Problem>, Error> {
        let mut problems = Vec::new();
        let tables = self.tables(conn, &mut problems)?;
        if tables.contains("res_log") && tables.contains("res_outbox") {
            self.log_row(conn, &mut problems)?;
            let definers = self.procedures(conn, &mut problems)?;
            self.triggers(conn, &definers, &mut problems)?;
        }
        problems.sort_by_key(|problem| std::cmp::Reverse(problem.severity));
        Ok(problems)
    }

    /// Returns the names of the tables that are there.
    fn tables(&self, conn: &mut Conn, problems: &mut Vec<Problem>) -> Result<BTreeSet<String>, Error> {
        let names: Vec<String> = self.0.tables.keys().map(|name| format!("'{name}'")).collect();
        let ours = format!("TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ({})", names.join(", "));
        let kinds: Vec<(String, String, Option<String>)> = conn
            .read_rows(format!("SELECT TABLE_NAME, TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE {ours}"))?;
        let columns = columns(conn, &ours)?;
        let mut indexes: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        let rows: Vec<(String, String, Option<String>, Option<u64>)> = conn.read_rows(format!(
            "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE {ours} \
             ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
        ))?;
        for (table, index, column, part) in rows {
            let part = part.map(|length| format!("({length})")).unwrap_or_default();
            indexes.entry((table, index)).or_default().push(column.unwrap_or_default() + &part);
        }
        let mut there = BTreeSet::new();
        for (name, expected) in &self.0.tables {
            let problem = |severity, what: String| Problem::new(Part::Table, severity, format!("table {name}: {what}"));
            let Some((_, kind, engine)) = kinds.iter().find(|(other, ..)| other == name) else {
                problems.push(problem(Severity::Fatal, "does not exist".into()));
                continue;
            };
            if kind == "VIEW" || kind == "SEQUENCE" {
                let kind = kind.to_lowercase();
                let remedy =
                    format!("rename or drop the {kind}, bring the table back or run `resqctl init` for a new one");
                problems.push(problem(Severity::Fatal, format!("is a {kind}")).with_remedy(remedy));
                continue;
            }
            let Some(found) = columns.get(name) else {
                // As MariaDB shows a table for which it has no file descriptor.
                return Err(Error::Corrupt("the server cannot open one of resq's tables"));
            };
            there.insert(name.clone());
            if engine.as_deref().is_some_and(|engine| !engine.eq_ignore_ascii_case("InnoDB")) {
                let what = format!("has the engine {}", engine.as_deref().unwrap_or_default());
                problems.push(problem(Severity::Major, what).with_clause(name, "ENGINE = InnoDB".into()));
            }
            check_columns(name, expected, found, problems);
            for (index, columns) in &expected.indexes {
                let found = indexes.get(&(name.clone(), index.clone())).map(Vec::as_slice);
                problems.extend(index_fault(conn, name, index, columns, found)?);
            }
        }
        Ok(there)
    }

    /// The row without which nothing is numbered.
    fn log_row(&self, conn: &mut Conn, problems: &mut Vec<Problem>) -> Result<(), Error> {
        if conn.read_first::<u64>("SELECT log_id FROM res_log WHERE id = 1")?.is_none() {
            let what = "table res_log: has lost its row".to_string();
            problems.push(Problem::new(Part::Table, Severity::Fatal, what));
        }
        Ok(())
    }

    /// Returns the definers that exist, as far as running the procedures shows.
    fn procedures(&self, conn: &mut Conn, problems: &mut Vec<Problem>) -> Result<BTreeSet<String>, Error> {
        let mut proven = BTreeSet::new();
        for name in self.0.procedures.keys() {
            match self.procedure(conn, name)? {
                Ran::As(definer) => drop(proven.insert(definer)),
                Ran::Unknown => {}
                Ran::Wrong(problem) => problems.push(problem),
            }
        }
        Ok(proven)
    }

    /// How the procedure fares.
    ///
    /// # Errors
    ///
    /// The server's.
    pub(super) fn procedure(&self, conn: &mut Conn, name: &str) -> Result<Ran, Error> {
        let wrong = |severity, what: String| {
            Ok(Ran::Wrong(Problem::new(Part::Procedure, severity, format!("procedure {name}: {what}"))))
        };
        let definer: Option<String> = conn.read_first(format!(
            "SELECT DEFINER FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME = {}",
            literal(name)
        ))?;
        // A call that changes nothing shows what no description does: that it exists for this account, that its definer
        // exists, and that the definer may do what it does.
        let called = match name {
            "publish" => conn.query_drop("CALL publish(NULL, NULL)"),
            _ => conn.query_drop(format!("CALL {}(18446744073709551615, 1, @res_none)", ident(name))),
        };
        let is_denied = match called.map_err(Error::from) {
            Ok(()) if name == "publish" => return wrong(Severity::Major, "accepts an event without a state".into()),
            Ok(()) => false,
            Err(error) => match error.code() {
                Some(ER_SP_DOES_NOT_EXIST) => return wrong(Severity::Fatal, "does not exist".into()),
                Some(ER_NO_SUCH_USER) => {
                    let definer = definer.unwrap_or_default();
                    return wrong(Severity::Fatal, format!("its definer does not exist: {definer}"));
                }
                Some(ER_SIGNAL_EXCEPTION) if name == "publish" => false,
                // The check of privileges reports what is missing.
                Some(ER_PROCACCESS_DENIED_ERROR | ER_DBACCESS_DENIED_ERROR) => true,
                _ if error.class() != ErrorClass::Permanent => return Err(error),
                _ => return wrong(Severity::Major, format!("fails: {error}")),
            },
        };
        let shown = conn.read_first::<mysql::Row>(format!("SHOW CREATE PROCEDURE {}", ident(name)));
        // Name, sql_mode, text, …; the text is NULL if the account may not read it.
        let column =
            |row: &mut mysql::Row, at: usize| row.take_opt::<Option<String>, _>(at).and_then(Result::ok).flatten();
        if let Ok(Some(mut row)) = shown
            && let (Some(mode), Some(text)) = (column(&mut row, 1), column(&mut row, 2))
        {
            let tokens = tokens(&text);
            let after_name = position(&tokens, "PROCEDURE").map_or(0, |at| at + 2).min(tokens.len());
            if self.0.procedures.get(name).is_some_and(|expected| tokens[after_name..] != expected[..]) {
                return wrong(Severity::Major, DIFFERS.into());
            }
            if !is_mode(&mode) {
                return wrong(Severity::Major, format!("was created with sql_mode={mode}"));
            }
        }
        Ok(definer.filter(|_| !is_denied).map_or(Ran::Unknown, Ran::As))
    }

    fn triggers(&self, conn: &mut Conn, proven: &BTreeSet<String>, problems: &mut Vec<Problem>) -> Result<(), Error> {
        let rows: Vec<FoundTrigger> = conn.read_rows(
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, CONCAT(ACTION_TIMING, ' ', EVENT_MANIPULATION), \
             ACTION_STATEMENT, SQL_MODE, COALESCE(DEFINER, ''), CHARACTER_SET_CLIENT \
             FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()",
        )?;
        for (name, expected) in &self.0.triggers {
            let Some(found) = rows.iter().find(|found| found.0 == *name) else {
                if !exists_unseen(conn, name)? {
                    let table = &expected.table;
                    let what = format!("trigger {name}: does not exist; changes in {table} cause no events");
                    problems.push(Problem::new(Part::Trigger, Severity::Major, what));
                }
                continue;
            };
            if let Some(what) = trigger_fault(conn, found, expected, proven)? {
                let mut problem = Problem::new(Part::Trigger, Severity::Major, format!("trigger {name}: {what}"));
                problem.mend = (found.1 != expected.table).then(|| Mend::DropTrigger(name.clone()));
                problems.push(problem);
            }
        }
        // A tool that keeps triggers while it copies a table may leave ours a second time under another name.
        for (name, table, when, body, ..) in &rows {
            let body = body.as_deref().map(tokens).unwrap_or_default();
            let is_copy = |own: &Trigger| own.table == *table && own.when == *when && own.body == body;
            if !self.0.triggers.contains_key(name) && self.0.triggers.values().any(is_copy) {
                let what = format!("trigger {name}: a copy of resq's; each change is an event twice");
                let remedy = format!("DROP TRIGGER {}", ident(name));
                problems.push(Problem::new(Part::Trigger, Severity::Major, what).with_remedy(remedy));
            }
        }
        Ok(())
    }
}

/// What a call of a procedure showed.
#[derive(Debug)]
pub(super) enum Ran {
    /// It works, as this definer.
    As(String),
    /// This account may not call it.
    Unknown,
    /// It is not the procedure that `init` creates.
    Wrong(Problem),
}

const DIFFERS: &str = "differs from the one that `init` creates";

/// Name, table, `AFTER INSERT`, body, sql_mode, definer, character set of the client. MariaDB shows neither body nor definer
/// to an account without the privilege TRIGGER.
type FoundTrigger = (String, String, String, Option<String>, String, String, String);

/// By table.
fn columns(conn: &mut Conn, ours: &str) -> Result<BTreeMap<String, Vec<Found>>, Error> {
    type Row = (String, String, String, String, Option<String>, String, Option<String>, Option<String>);
    let rows: Vec<Row> = conn.read_rows(format!(
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, CHARACTER_SET_NAME, \
         COLLATION_NAME FROM information_schema.COLUMNS WHERE {ours}"
    ))?;
    let mut columns: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for (table, name, column_type, nullable, default, extra, character_set, collation) in rows {
        columns.entry(table).or_default().push(Found {
            name,
            column_type,
            is_nullable: nullable == "YES",
            // MariaDB writes DEFAULT NULL as the text NULL.
            has_default: default.is_some_and(|default| default != "NULL"),
            extra,
            character_set: character_set.unwrap_or_default(),
            collation: collation.unwrap_or_default(),
        });
    }
    Ok(columns)
}

fn check_columns(table: &str, expected: &Table, found: &[Found], problems: &mut Vec<Problem>) {
    for (name, column) in &expected.columns {
        let problem =
            |severity, what: &str| Problem::new(Part::Table, severity, format!("table {table}: column {name} {what}"));
        match found.iter().find(|found| found.name.eq_ignore_ascii_case(name)) {
            None => {
                // The files of `init` add only what is newer than their CREATE TABLE.
                let clause = format!("ADD COLUMN {} {}", ident(name), column.definition);
                problems.push(problem(Severity::Fatal, "does not exist").with_clause(table, clause));
            }
            Some(found) => {
                if let Some(what) = column.fault(found) {
                    problems.push(problem(Severity::Minor, &what).with_clause(table, modify(name, column)));
                }
            }
        }
    }
    for found in found.iter().filter(|found| found.is_obligatory()) {
        let name = &found.name;
        if !expected.columns.keys().any(|own| own.eq_ignore_ascii_case(name)) {
            let what = format!("table {table}: column {name} is not resq's and has no default; INSERTs fail");
            let remedy =
                format!("give it a default, or let it accept NULL: ALTER TABLE {table} MODIFY {} …", ident(name));
            problems.push(Problem::new(Part::Table, Severity::Major, what).with_remedy(remedy));
        }
    }
}

fn modify(name: &str, column: &Column) -> String {
    let (name, definition) = (ident(name), &column.definition);
    match column.is_generated {
        // No server turns a column with values of its own into a generated one.
        true => format!("DROP COLUMN {name}, ADD COLUMN {name} {definition}"),
        false => format!("MODIFY COLUMN {name} {definition}"),
    }
}

fn index_fault(
    conn: &mut Conn,
    table: &str,
    index: &str,
    columns: &[String],
    found: Option<&[String]>,
) -> Result<Option<Problem>, Error> {
    let list = columns.iter().map(|column| ident(column)).collect::<Vec<_>>().join(", ");
    let is_primary = index == "PRIMARY";
    let problem = |what: &str, clause: String| {
        let what = format!("table {table}: index {index} {what}");
        Ok(Some(Problem::new(Part::Table, Severity::Minor, what).with_clause(table, clause)))
    };
    match found {
        None if is_primary => problem("does not exist", format!("ADD PRIMARY KEY ({list})")),
        None => problem("does not exist", format!("ADD INDEX {} ({list})", ident(index))),
        // A partitioned table has more columns in its primary key.
        Some(found) if is_primary && found.starts_with(columns) => Ok(None),
        Some(found) if found != columns => {
            let clause = match is_primary {
                true => format!("DROP PRIMARY KEY, ADD PRIMARY KEY ({list})"),
                false => format!("DROP INDEX {0}, ADD INDEX {0} ({list})", ident(index)),
            };
            problem(&format!("is on ({})", found.join(", ")), clause)
        }
        Some(_) => {
            let probe = format!("SELECT 1 FROM {} FORCE INDEX ({}) LIMIT 0", ident(table), ident(index));
            match conn.query_drop(probe).map_err(Error::from) {
                Err(error) if error.code() == Some(ER_KEY_DOES_NOT_EXIST) => problem(
                    "is hidden from statements",
                    format!("DROP INDEX {0}, ADD INDEX {0} ({list})", ident(index)),
                ),
                Err(error) if error.class() != ErrorClass::Permanent => Err(error),
                _ => Ok(None),
            }
        }
    }
}

/// Whether a trigger exists that the account may not see.
fn exists_unseen(conn: &mut Conn, name: &str) -> Result<bool, Error> {
    match conn.query_drop(format!("SHOW CREATE TRIGGER {}", ident(name))).map_err(Error::from) {
        Err(error) if error.code() == Some(ER_TRG_DOES_NOT_EXIST) => Ok(false),
        Err(error) if error.class() != ErrorClass::Permanent => Err(error),
        _ => Ok(true),
    }
}

fn trigger_fault(
    conn: &mut Conn,
    (_, table, when, body, mode, definer, character_set): &FoundTrigger,
    expected: &Trigger,
    proven: &BTreeSet<String>,
) -> Result<Option<String>, Error> {
    Ok(if *table != expected.table {
        Some(format!("is on the table {table}; changes in {} cause no events", expected.table))
    } else if *when != expected.when {
        Some(format!("runs {when}"))
    } else if body.as_deref().is_some_and(|body| tokens(body) != expected.body) {
        Some(DIFFERS.into())
    } else if !is_mode(mode) {
        Some(format!("was created with sql_mode={mode}"))
    } else if character_set != "utf8mb4" {
        Some(format!("was created with the character set {character_set}"))
    } else if !proven.contains(definer) && is_gone(conn, definer) {
        Some(format!("its definer does not exist: {definer}"))
    } else {
        None
    })
}

/// Whether an account is known not to exist. An account that may not read the accounts cannot know.
fn is_gone(conn: &mut Conn, account: &str) -> bool {
    let found: Result<Option<u8>, _> =
        conn.read_first(format!("SELECT 1 FROM mysql.user WHERE CONCAT(User, '@', Host) = {}", literal(account)));
    // A role of MariaDB's is a name alone.
    account.contains('@') && matches!(found, Ok(None))
}

/// Whether the sql_mode is the one in which `init` creates everything; others change what the same text means.
fn is_mode(mode: &str) -> bool {
    let modes: BTreeSet<&str> = mode.split(',').collect();
    modes == BTreeSet::from(["STRICT_TRANS_TABLES", "NO_ENGINE_SUBSTITUTION"])
}
