//! Reads tables, their partitions and columns, and which views there are.

use std::collections::BTreeMap;

use mysql::Conn;

use super::{
    normal,
    object::{Key, Kind, Properties},
    rows::{Of, Server, Shapes, each, set},
    text,
};
use crate::db::Error;

pub(super) fn read(conn: &mut Conn, server: Server, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    if tables(conn, of, shapes)? {
        partitions(conn, of, shapes)?;
    }
    columns(conn, server, of, shapes)
}

/// Returns whether any of the tables has partitions.
fn tables(conn: &mut Conn, of: &Of, shapes: &mut Shapes) -> Result<bool, Error> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT \
         FROM information_schema.TABLES WHERE {}",
        of.is("TABLE_SCHEMA")
    );
    let mut partitioned = false;
    each(conn, &sql, |row| {
        let Some(shape) = shapes.get_mut(&row.text(0)) else { return };
        let (name, table_type, comment) = (row.text(1), row.text(2), row.text(6));
        if table_type.ends_with("VIEW") {
            // In place of a comment the server says that it cannot open the view.
            let state = if matches!(comment.as_str(), "VIEW" | "") { "compiles" } else { "no longer compiles" };
            shape.objects.insert(Key::own(Kind::View, &name), vec![("state", state.into())]);
            return;
        }
        let options = row.text(5);
        partitioned |= options.contains("partitioned");
        shape.columns.insert(name.clone(), Vec::new());
        shape.objects.insert(
            Key::table(&name),
            vec![
                ("type", table_type.to_ascii_lowercase()),
                ("engine", row.text(3)),
                ("collation", normal::collation(&row.text(4))),
                ("options", normal::table_options(&options)),
                ("comment", comment),
            ],
        );
    })?;
    Ok(partitioned)
}

/// By what a table is divided. Not into which ranges or lists: those come and go with the rows.
fn partitions(conn: &mut Conn, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, PARTITION_METHOD, PARTITION_EXPRESSION, SUBPARTITION_METHOD, \
         SUBPARTITION_EXPRESSION, COUNT(DISTINCT PARTITION_NAME), COUNT(*) FROM information_schema.PARTITIONS \
         WHERE {} AND PARTITION_NAME IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6",
        of.is("TABLE_SCHEMA")
    );
    each(conn, &sql, |row| {
        let by = |method: usize, count: u64| {
            let (method, expression) = (row.opt(method)?, text::canonical(&row.text(method + 1)));
            let is_fixed = method.contains("HASH") || method.contains("KEY");
            Some(format!("{method} ({expression}){}", if is_fixed { format!(" {count}") } else { String::new() }))
        };
        let partitions = row.number(6).max(1);
        let all: Vec<String> = [by(2, partitions), by(4, row.number(7) / partitions)].into_iter().flatten().collect();
        set(shapes, &row.text(0), &Key::table(&row.text(1)), "partitions", all.join(", "));
    })
}

fn columns(conn: &mut Conn, server: Server, of: &Of, shapes: &mut Shapes) -> Result<(), Error> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, \
         COLLATION_NAME, EXTRA, GENERATION_EXPRESSION, COLUMN_COMMENT FROM information_schema.COLUMNS WHERE {}",
        of.is("TABLE_SCHEMA")
    );
    let mut order: BTreeMap<(String, String), Vec<(u64, String)>> = BTreeMap::new();
    each(conn, &sql, |row| {
        let (schema, table, name) = (row.text(0), row.text(1), row.text(3));
        let Some(shape) = shapes.get_mut(&schema) else { return };
        // The columns of a view follow from its text.
        if !shape.columns.contains_key(&table) {
            return;
        }
        let extra = row.text(8);
        let default = match server {
            Server::MySql => normal::default_of_mysql(row.opt(6).as_deref(), extra.contains("DEFAULT_GENERATED")),
            Server::MariaDb { .. } => normal::default_of_mariadb(row.opt(6).as_deref()),
        };
        let generated = row.text(9);
        let generated = match server {
            Server::MySql => text::canonical_escaped(&generated),
            Server::MariaDb { .. } => text::canonical(&generated),
        };
        let mut properties: Properties = vec![
            ("type", normal::column_type(&row.text(4))),
            ("nullable", if row.text(5) == "YES" { "yes" } else { "no" }.into()),
            ("default", default),
            ("comment", row.text(10)),
        ];
        for (property, value) in [
            ("collation", normal::collation(&row.text(7))),
            ("extra", normal::extra(&extra)),
            ("expression", generated),
        ] {
            properties.push((property, value));
        }
        shape.objects.insert(Key::part(&table, Kind::Column, &name), properties);
        order.entry((schema, table)).or_default().push((row.number(2), name));
    })?;
    for ((schema, table), mut names) in order {
        names.sort_unstable();
        if let Some(shape) = shapes.get_mut(&schema) {
            shape.columns.insert(table, names.into_iter().map(|(_, name)| name).collect());
        }
    }
    Ok(())
}
