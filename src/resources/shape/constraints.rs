//! Reads what keeps rows in order: indexes, CHECK constraints, foreign keys. An object whose name the server chose is known
//! by what it is on.

use std::collections::BTreeMap;

use mysql::Conn;

use super::{
    normal,
    object::{Key, Kind, Properties},
    rows::{Of, Server, Shapes, each},
    text,
};
use crate::db::Error;

pub(super) fn read(conn: &mut Conn, server: Server, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    indexes(conn, server, of, shapes)?;
    checks(conn, server, of, shapes)?;
    foreign_keys(conn, of, shapes)
}

/// Enters a part of a table. Parts whose names the server chose may be on the same columns: each is counted.
fn insert(shapes: &mut Shapes, schema: &str, mut key: Key, properties: Properties) {
    let Some(shape) = shapes.get_mut(schema) else { return };
    if !shape.columns.contains_key(&key.table) {
        return;
    }
    let (name, mut number) = (key.name.clone(), 1);
    while shape.objects.contains_key(&key) {
        number += 1;
        key.name = format!("{name} {number}");
    }
    shape.objects.insert(key, properties);
}

/// A schema, a table in it, and a name in that.
type Name = (String, String, String);

#[derive(Default)]
struct Index {
    columns: Vec<(u64, String)>,
    first: (u64, String),
    properties: Properties,
}

fn indexes(conn: &mut Conn, server: Server, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let (hidden, expression) = match server {
        Server::MySql => ("IF(IS_VISIBLE = 'NO', 'invisible', '')", "EXPRESSION"),
        Server::MariaDb { ignored: true } => ("IF(IGNORED = 'YES', 'ignored', '')", "NULL"),
        Server::MariaDb { ignored: false } => ("''", "NULL"),
    };
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, SUB_PART, COLLATION, NON_UNIQUE, \
         INDEX_TYPE, INDEX_COMMENT, {hidden}, {expression} FROM information_schema.STATISTICS WHERE {}",
        of.is("TABLE_SCHEMA")
    );
    let mut found: BTreeMap<Name, Index> = BTreeMap::new();
    each(conn, &sql, |row| {
        let index = found.entry((row.text(0), row.text(1), row.text(2))).or_default();
        let column = match row.opt(4) {
            Some(column) => text::name(&column),
            None => format!("({})", text::canonical_escaped(&row.text(11))),
        };
        let length = row.opt(5).map_or_else(String::new, |length| format!("({length})"));
        let descending = if row.text(6) == "D" { " desc" } else { "" };
        let position = row.number(3);
        if position == 1 {
            index.first = (position, row.text(4));
            index.properties = vec![
                ("unique", if row.text(7) == "0" { "yes" } else { "no" }.into()),
                ("type", row.text(8)),
                ("comment", row.text(9)),
                ("visibility", row.text(10)),
            ];
        }
        index.columns.push((position, format!("{column}{length}{descending}")));
    })?;
    for ((schema, table, name), mut index) in found {
        index.columns.sort_unstable();
        let columns: Vec<String> = index.columns.into_iter().map(|(_, column)| column).collect();
        let columns = format!("({})", columns.join(", "));
        let is_generated = normal::is_generated_index(&index.first.1, &name);
        let key = Key::part(&table, Kind::Index, if is_generated { &columns } else { &name });
        index.properties.push(("columns", columns));
        insert(shapes, &schema, key, index.properties);
    }
    Ok(())
}

fn checks(conn: &mut Conn, server: Server, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    // MySQL tells the table elsewhere. There a name is that of one constraint in the whole database.
    let mut tables: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
    let table = match server {
        Server::MariaDb { .. } => "TABLE_NAME",
        Server::MySql => {
            let sql = format!(
                "SELECT CONSTRAINT_SCHEMA, CONSTRAINT_NAME, TABLE_NAME, ENFORCED FROM information_schema.TABLE_CONSTRAINTS \
                 WHERE {} AND CONSTRAINT_TYPE = 'CHECK'",
                of.is("TABLE_SCHEMA")
            );
            each(conn, &sql, |row| {
                tables.insert((row.text(0), row.text(1)), (row.text(2), row.text(3).to_ascii_lowercase()));
            })?;
            "NULL"
        }
    };
    let sql = format!(
        "SELECT CONSTRAINT_SCHEMA, CONSTRAINT_NAME, CHECK_CLAUSE, {table} FROM information_schema.CHECK_CONSTRAINTS WHERE {}",
        of.is("CONSTRAINT_SCHEMA")
    );
    each(conn, &sql, |row| {
        let (schema, name) = (row.text(0), row.text(1));
        let (table, enforced) = match server {
            Server::MariaDb { .. } => (row.text(3), "yes".into()),
            Server::MySql => tables.remove(&(schema.clone(), name.clone())).unwrap_or_default(),
        };
        let clause = match server {
            Server::MySql => text::canonical_escaped(&row.text(2)),
            Server::MariaDb { .. } => text::canonical(&row.text(2)),
        };
        let name = if normal::is_generated_constraint(&table, &name) { format!("({clause})") } else { name };
        let properties = vec![("expression", clause), ("enforced", enforced)];
        insert(shapes, &schema, Key::part(&table, Kind::Check, &name), properties);
    })
}

fn foreign_keys(conn: &mut Conn, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let mut columns: BTreeMap<Name, Vec<(u64, String, String)>> = BTreeMap::new();
    let mut targets: BTreeMap<Name, String> = BTreeMap::new();
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, \
         REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
         WHERE {} AND REFERENCED_TABLE_NAME IS NOT NULL",
        of.is("TABLE_SCHEMA")
    );
    each(conn, &sql, |row| {
        let name = (row.text(0), row.text(1), row.text(2));
        let (target_db, target) = (row.text(5), text::name(&row.text(6)));
        let is_own = target_db == name.0;
        let target = if is_own { target } else { format!("{}.{target}", text::name(&target_db)) };
        columns.entry(name.clone()).or_default().push((row.number(3), row.text(4), row.text(7)));
        targets.insert(name, target);
    })?;
    if columns.is_empty() {
        return Ok(());
    }
    let mut rules: BTreeMap<Name, (String, String)> = BTreeMap::new();
    let sql = format!(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, DELETE_RULE, UPDATE_RULE \
         FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE {}",
        of.is("CONSTRAINT_SCHEMA")
    );
    // RESTRICT is another word for NO ACTION here.
    let rule = |rule: String| if rule == "NO ACTION" { "RESTRICT".into() } else { rule };
    each(conn, &sql, |row| {
        rules.insert((row.text(0), row.text(1), row.text(2)), (rule(row.text(3)), rule(row.text(4))));
    })?;
    for (name, mut pairs) in columns {
        pairs.sort_unstable();
        let list =
            |columns: Vec<&String>| columns.into_iter().map(|one| text::name(one)).collect::<Vec<_>>().join(", ");
        let from = list(pairs.iter().map(|(_, from, _)| from).collect());
        let to = list(pairs.iter().map(|(.., to)| to).collect());
        let (on_delete, on_update) = rules.remove(&name).unwrap_or_default();
        let target = targets.remove(&name).unwrap_or_default();
        let (schema, table, constraint) = name;
        let is_generated = normal::is_generated_constraint(&table, &constraint);
        let known_by = if is_generated { format!("({from}) to {target} ({to})") } else { constraint };
        let properties = vec![
            ("columns", format!("({from})")),
            ("references", format!("{target} ({to})")),
            ("on delete", on_delete),
            ("on update", on_update),
        ];
        insert(shapes, &schema, Key::part(&table, Kind::ForeignKey, &known_by), properties);
    }
    Ok(())
}
