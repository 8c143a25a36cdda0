//! What `init` creates in the global database, read from the statements that create it: there is no second list. Pure;
//! knows the forms of statement that the built-in files use.

use std::collections::BTreeMap;

use super::column::Column;
use crate::resources::{
    Templates,
    addition::{Addition, Kind},
    sql_text::{is, list, position, statements, unquoted},
    template::{Template, Values},
};

/// The table whose first columns may be older than resq.
const OLD_TABLE: &str = "res_queue";

/// The objects by their names.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Tables.
    pub tables: BTreeMap<String, Table>,
    /// Procedures: their tokens from the parameters on.
    pub procedures: BTreeMap<String, Vec<String>>,
    /// Triggers.
    pub triggers: BTreeMap<String, Trigger>,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// By name.
    pub columns: BTreeMap<String, Column>,
    /// The columns of each index, by its name; the primary key is `PRIMARY`.
    pub indexes: BTreeMap<String, Vec<String>>,
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The table it is on.
    pub table: String,
    /// `AFTER INSERT`.
    pub when: String,
    /// The tokens of its body.
    pub body: Vec<String>,
}

impl Expected {
    /// What the built-in files create. A file of a `sql.dir` may replace a procedure or trigger of theirs; its other
    /// objects are not inspected.
    pub fn of(templates: &Templates, built_in: &Templates) -> Expected {
        let (mut expected, all) = (Expected::read(&built_in.init_tables), Expected::read(&templates.init_tables));
        for (name, tokens) in &mut expected.procedures {
            if let Some(other) = all.procedures.get(name) {
                tokens.clone_from(other);
            }
        }
        for (name, trigger) in &mut expected.triggers {
            if let Some(other) = all.triggers.get(name) {
                trigger.clone_from(other);
            }
        }
        expected
    }

    fn read(templates: &[Template]) -> Expected {
        let mut expected = Expected::default();
        // The names of databases appear in none of these objects.
        for script in templates.iter().map(|template| template.render(&Values::default())) {
            statements(&script).iter().for_each(|statement| expected.add(statement));
        }
        expected
    }

    fn add(&mut self, statement: &[String]) {
        let word = |at: usize| statement.get(at).map_or("", String::as_str);
        // Between CREATE or DROP and the kind may be DEFINER, OR REPLACE, …
        let kind = statement.iter().position(|t| ["TABLE", "PROCEDURE", "TRIGGER"].iter().any(|kind| is(t, kind)));
        match (word(0).to_uppercase().as_str(), kind) {
            ("CREATE", Some(at)) => {
                let name_at = if is(word(at + 1), "IF") { at + 4 } else { at + 1 };
                let (name, rest) = (unquoted(word(name_at)), statement.get(name_at + 1..).unwrap_or_default());
                match word(at).to_uppercase().as_str() {
                    "TABLE" if is(word(1), "TABLE") => self.table(&name, rest),
                    "PROCEDURE" => drop(self.procedures.insert(name, rest.to_vec())),
                    "TRIGGER" => self.triggers.extend(trigger(rest).map(|trigger| (name, trigger))),
                    _ => {}
                }
            }
            ("DROP", Some(at)) => {
                let name = unquoted(word(if is(word(at + 1), "IF") { at + 3 } else { at + 1 }));
                match word(at).to_uppercase().as_str() {
                    "PROCEDURE" => drop(self.procedures.remove(&name)),
                    "TRIGGER" => drop(self.triggers.remove(&name)),
                    _ => {}
                }
            }
            ("ALTER", Some(_)) => self.added(statement),
            _ => {}
        }
    }

    /// `rest` follows the name in CREATE TABLE.
    fn table(&mut self, name: &str, rest: &[String]) {
        let table = self.tables.entry(name.to_string()).or_default();
        for part in list(rest) {
            let Some(first) = part.first() else { continue };
            let columns = |at: usize| list(&part[at..]).iter().filter_map(|c| c.first().map(|c| unquoted(c))).collect();
            if is(first, "KEY") && part.len() > 2 {
                table.indexes.insert(unquoted(&part[1]), columns(2));
            } else if is(first, "PRIMARY") && part.len() > 2 {
                table.indexes.insert("PRIMARY".into(), columns(2));
            } else {
                let column = unquoted(first);
                if position(part, "PRIMARY").is_some() {
                    table.indexes.insert("PRIMARY".into(), vec![column.clone()]);
                }
                table.columns.insert(column, Column::parse(&part[1..], name == OLD_TABLE));
            }
        }
    }

    fn added(&mut self, statement: &[String]) {
        let Some(Addition { table, kind, name, definition }) = Addition::of(statement) else { return };
        let table = self.tables.entry(table).or_default();
        match kind {
            Kind::Table => {}
            Kind::Column => drop(table.columns.insert(name, Column::parse(definition, false))),
            Kind::Index => {
                let columns = list(definition).into_iter().filter_map(|column| Some(unquoted(column.first()?)));
                table.indexes.insert(name, columns.collect());
            }
        }
    }
}

/// `rest` follows the name in CREATE TRIGGER.
fn trigger(rest: &[String]) -> Option<Trigger> {
    let (on, row) = (position(rest, "ON")?, position(rest, "ROW")?);
    let when = rest[..on].join(" ").to_uppercase();
    Some(Trigger { table: unquoted(rest.get(on + 1)?), when, body: rest[row + 1..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_statements_are_understood() {
        let templates = Templates::load(None).unwrap();
        let expected = Expected::of(&templates, &templates);
        let names = |keys: Vec<&String>| keys.into_iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(
            names(expected.tables.keys().collect()),
            "res_audit res_batch res_consumer res_daemon res_database res_error res_event res_event_quarantine res_ledger \
             res_log res_meta res_migration res_outbox res_quarantine res_queue res_rollout res_rollout_database \
             res_rollout_file res_scratch res_template res_watch res_watch_row"
        );
        assert_eq!(names(expected.procedures.keys().collect()), "publish res_number");
        assert_eq!(names(expected.triggers.keys().collect()), "res_queue_inserted res_queue_updated");
        let queue = &expected.tables["res_queue"];
        assert!(queue.columns.len() >= 18, "{:?}", queue.columns.keys());
        assert_eq!(queue.columns["status"].definition, "ENUM('new', 'in_progress', 'done', 'error') DEFAULT 'new'");
        assert_eq!(queue.columns["res_id"].definition, "BIGINT UNSIGNED NOT NULL AUTO_INCREMENT");
        assert_eq!(queue.indexes["PRIMARY"], ["res_id"]);
        assert_eq!(queue.indexes["res_queue_claim"], ["status", "run_at", "priority", "res_id"]);
        assert!(queue.columns["res_type"].definition.ends_with("NOT NULL DEFAULT 'default'"));
        assert!(expected.tables["res_outbox"].columns["bytes"].is_generated);
        let trigger = &expected.triggers["res_queue_updated"];
        assert_eq!((trigger.table.as_str(), trigger.when.as_str()), ("res_queue", "AFTER UPDATE"));
        assert_eq!((trigger.body.first().unwrap(), trigger.body.last().unwrap()), (&"BEGIN".into(), &"END".into()));
    }
}
