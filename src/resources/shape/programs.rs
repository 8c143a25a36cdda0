//! Reads what a database keeps as SQL text: views, triggers, routines and events.

use std::collections::BTreeMap;

use mysql::Conn;

use super::{
    normal,
    object::{Key, Kind, Properties},
    rows::{Fields, Of, Server, Shapes, each, set},
    text,
};
use crate::db::Error;

/// In place of a text that the account may not read: it must not pass for an equal one.
const UNREADABLE: &str = "not readable by this account";

pub(super) fn read(conn: &mut Conn, server: Server, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let has_views = shapes.values().any(|shape| shape.objects.keys().any(|key| key.kind == Kind::View));
    if has_views {
        views(conn, server, of, shapes)?;
    }
    triggers(conn, of, shapes)?;
    if routines(conn, of, shapes)? {
        parameters(conn, of, shapes)?;
    }
    events(conn, of, shapes)
}

fn body(found: Option<String>) -> String {
    match found {
        Some(text) if !text.is_empty() => text::canonical(&text),
        _ => UNREADABLE.into(),
    }
}

fn insert(shapes: &mut Shapes, schema: &str, key: Key, properties: Properties) {
    if let Some(shape) = shapes.get_mut(schema) {
        shape.objects.insert(key, properties);
    }
}

fn views(conn: &mut Conn, server: Server, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let algorithm = if server == Server::MySql { "''" } else { "ALGORITHM" };
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, SECURITY_TYPE, DEFINER, {algorithm} \
         FROM information_schema.VIEWS WHERE {}",
        of.is("TABLE_SCHEMA")
    );
    each(conn, &sql, |row| {
        let (schema, key) = (row.text(0), Key::own(Kind::View, &row.text(1)));
        let properties = [
            ("text", body(row.opt(2))),
            ("check option", row.text(3)),
            ("security", row.text(4)),
            ("definer", row.text(5)),
            ("algorithm", row.text(6)),
        ];
        for (property, value) in properties {
            set(shapes, &schema, &key, property, value);
        }
    })
}

fn triggers(conn: &mut Conn, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let sql = format!(
        "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER, \
         ACTION_STATEMENT, SQL_MODE, DEFINER FROM information_schema.TRIGGERS WHERE {}",
        of.is("TRIGGER_SCHEMA")
    );
    each(conn, &sql, |row| {
        let properties = vec![
            ("table", row.text(2)),
            ("time", format!("{} {}", row.text(3), row.text(4))),
            ("order", row.text(5)),
            ("text", body(row.opt(6))),
            ("sql_mode", normal::sql_mode(&row.text(7))),
            ("definer", row.text(8)),
        ];
        insert(shapes, &row.text(0), Key::own(Kind::Trigger, &row.text(1)), properties);
    })
}

fn kind(routine_type: &str) -> Kind {
    match routine_type {
        "FUNCTION" => Kind::Function,
        "PROCEDURE" => Kind::Procedure,
        _ => Kind::Package,
    }
}

/// A package and its body have one name.
fn routine(row: &Fields, name: usize, routine_type: usize) -> Key {
    let (name, routine_type) = (row.text(name), row.text(routine_type));
    let suffix = if routine_type == "PACKAGE BODY" { " (body)" } else { "" };
    Key::own(kind(&routine_type), &format!("{name}{suffix}"))
}

/// Returns whether there are any.
fn routines(conn: &mut Conn, of: &Of, shapes: &mut Shapes) -> Result<bool, Error> {
    let sql = format!(
        "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION, IS_DETERMINISTIC, SQL_DATA_ACCESS, \
         SECURITY_TYPE, SQL_MODE, ROUTINE_COMMENT, DEFINER FROM information_schema.ROUTINES WHERE {}",
        of.is("ROUTINE_SCHEMA")
    );
    let mut found = false;
    each(conn, &sql, |row| {
        found = true;
        let properties = vec![
            ("text", body(row.opt(3))),
            ("deterministic", row.text(4).to_ascii_lowercase()),
            ("data access", row.text(5)),
            ("security", row.text(6)),
            ("sql_mode", normal::sql_mode(&row.text(7))),
            ("comment", row.text(8)),
            ("definer", row.text(9)),
        ];
        insert(shapes, &row.text(0), routine(&row, 1, 2), properties);
    })?;
    Ok(found)
}

fn parameters(conn: &mut Conn, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let sql = format!(
        "SELECT SPECIFIC_SCHEMA, SPECIFIC_NAME, ROUTINE_TYPE, ORDINAL_POSITION, PARAMETER_MODE, PARAMETER_NAME, \
         DTD_IDENTIFIER, COLLATION_NAME FROM information_schema.PARAMETERS WHERE {}",
        of.is("SPECIFIC_SCHEMA")
    );
    let mut found: BTreeMap<(String, Key), Vec<(u64, String)>> = BTreeMap::new();
    each(conn, &sql, |row| {
        let collation = normal::collation(&row.text(7));
        let words = [row.text(4), row.text(5), normal::column_type(&row.text(6)), collation];
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        found.entry((row.text(0), routine(&row, 1, 2))).or_default().push((row.number(3), words.join(" ")));
    })?;
    for ((schema, key), mut list) in found {
        list.sort_unstable();
        // A function's result has the position 0.
        let (result, list): (Vec<_>, Vec<_>) = list.into_iter().partition(|(position, _)| *position == 0);
        let text = |list: Vec<(u64, String)>| list.into_iter().map(|(_, words)| words).collect::<Vec<_>>().join(", ");
        set(shapes, &schema, &key, "returns", text(result));
        set(shapes, &schema, &key, "parameters", text(list));
    }
    Ok(())
}

fn events(conn: &mut Conn, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let sql = format!(
        "SELECT EVENT_SCHEMA, EVENT_NAME, EVENT_DEFINITION, EVENT_TYPE, INTERVAL_VALUE, INTERVAL_FIELD, STATUS, \
         ON_COMPLETION, SQL_MODE, EVENT_COMMENT, DEFINER FROM information_schema.EVENTS WHERE {}",
        of.is("EVENT_SCHEMA")
    );
    each(conn, &sql, |row| {
        // Not when it starts: that is, unless a template says otherwise, when it was created.
        let schedule = match row.text(3).as_str() {
            "RECURRING" => format!("every {} {}", row.text(4), row.text(5)),
            _ => "once".into(),
        };
        let properties = vec![
            ("text", body(row.opt(2))),
            ("schedule", schedule),
            ("status", row.text(6)),
            ("on completion", row.text(7)),
            ("sql_mode", normal::sql_mode(&row.text(8))),
            ("comment", row.text(9)),
            ("definer", row.text(10)),
        ];
        insert(shapes, &row.text(0), Key::own(Kind::Event, &row.text(1)), properties);
    })
}
