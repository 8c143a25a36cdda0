//! Reads the shapes of many databases at once: one query of the information schema for each kind of object, whatever the
//! number of databases and tables. Owns the queries for the database, its tables and their columns.

use std::collections::{BTreeMap, BTreeSet};

use mysql::{Conn, Row, Value, from_value, prelude::Queryable};

use super::{
    constraints, normal,
    object::{Key, Kind, Properties, Shape},
    programs, text,
};
use crate::db::{Error, ReadRows, literal};

/// The shapes that are being read, by the name of the database.
pub(super) type Shapes = BTreeMap<String, Shape>;

/// Which objects and columns the information schema has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    MySql,
    /// `ignored`: from 10.6, an index can be ignored.
    MariaDb {
        ignored: bool,
    },
}

/// Reads shapes on one server.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    server: Server,
}

impl Reader {
    /// A reader for the server at the other end of `conn`.
    ///
    /// # Errors
    /// The server's.
    pub fn new(conn: &mut Conn) -> Result<Reader, Error> {
        let version: String = conn.read_first("SELECT VERSION()")?.unwrap_or_default();
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let server = match version.contains("MariaDB") {
            true => Server::MariaDb { ignored: release >= (10, 6) },
            false => Server::MySql,
        };
        Ok(Reader { server })
    }

    /// The shapes of these databases, by name; a database that does not exist has none. All of them are in memory at
    /// once: for many, ask in pieces, by [`Pace`].
    ///
    /// # Errors
    /// The server's.
    pub fn read(&self, conn: &mut Conn, names: &[&str]) -> Result<BTreeMap<String, Shape>, Error> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted: BTreeSet<&str> = names.iter().copied().collect();
        let of = Of(names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", "));
        let mut shapes = Shapes::new();
        let sql = format!(
            "SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE {}",
            of.is("SCHEMA_NAME")
        );
        each(conn, &sql, |row| {
            let (name, collation) = (row.text(0), normal::collation(&row.text(1)));
            // MariaDB compares names without their case.
            if wanted.contains(name.as_str()) {
                let mut shape = Shape::default();
                shape.objects.insert(Key::own(Kind::Database, ""), vec![("collation", collation)]);
                shapes.insert(name, shape);
            }
        })?;
        if !shapes.is_empty() {
            let partitioned = tables(conn, &of, &mut shapes)?;
            if partitioned {
                partitions(conn, &of, &mut shapes)?;
            }
            columns(conn, self.server, &of, &mut shapes)?;
            constraints::read(conn, self.server, &of, &mut shapes)?;
            programs::read(conn, self.server, &of, &mut shapes)?;
        }
        Ok(shapes)
    }
}

/// A list of databases as literals.
pub(super) struct Of(String);

impl Of {
    /// The condition that `column` is one of them.
    pub(super) fn is(&self, column: &str) -> String {
        format!("{column} IN ({})", self.0)
    }
}

/// The columns of a row, as text.
pub(super) struct Fields(Vec<Value>);

impl Fields {
    /// None: NULL.
    pub(super) fn opt(&self, at: usize) -> Option<String> {
        match self.0.get(at)? {
            Value::NULL => None,
            Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            other => from_value::<Option<String>>(other.clone()),
        }
    }

    /// Empty: NULL.
    pub(super) fn text(&self, at: usize) -> String {
        self.opt(at).unwrap_or_default()
    }

    /// A whole number; 0: NULL.
    pub(super) fn number(&self, at: usize) -> u64 {
        self.opt(at).and_then(|text| text.parse().ok()).unwrap_or(0)
    }
}

/// Runs `sql` and hands over its rows one by one.
pub(super) fn each(conn: &mut Conn, sql: &str, mut take: impl FnMut(Fields)) -> Result<(), Error> {
    for row in conn.query_iter(sql)? {
        let row: Row = row?;
        take(Fields(row.unwrap()));
    }
    Ok(())
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

/// Adds a property to an object that is there.
pub(super) fn set(shapes: &mut Shapes, schema: &str, key: &Key, property: &'static str, value: String) {
    if let Some(found) = shapes.get_mut(schema).and_then(|shape| shape.objects.get_mut(key)) {
        found.push((property, value));
    }
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

/// How many databases to ask for at once, so that large ones do not fill the memory and small ones do not cost a query
/// each. Pure.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    databases: usize,
}

/// The objects that one piece should have.
const OBJECTS: usize = 50_000;
/// The most databases in one piece.
const MOST: usize = 500;

impl Default for Pace {
    fn default() -> Pace {
        Pace { databases: 20 }
    }
}

impl Pace {
    /// The number of databases in the next piece, at least 1.
    pub fn next(self) -> usize {
        self.databases
    }

    /// Learns from a piece of `databases` with so many `objects` in all.
    pub fn read(&mut self, databases: usize, objects: usize) {
        let fitting = OBJECTS * databases / objects.max(1);
        self.databases = fitting.clamp(1, MOST).min(self.databases * 5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_with_small_databases_and_shrink_with_large_ones() {
        let mut pace = Pace::default();
        for (databases, objects, next) in
            [(20, 400, 100), (100, 2_000, 500), (500, 10_000, 500), (500, 500_000, 50), (50, 5_000_000, 1), (1, 9, 5)]
        {
            pace.read(databases, objects);
            assert_eq!(pace.next(), next, "{databases} {objects}");
        }
        pace.read(0, 0);
        assert!(pace.next() >= 1);
    }
}
