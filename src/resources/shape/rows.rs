//! What all queries of the information schema share: the databases that are asked for, the rows that come back, and the shapes
//! that grow from them.

use std::collections::BTreeMap;

use mysql::{Conn, Row, Value, from_value_opt, prelude::Queryable};

use super::object::{Key, Shape};
use crate::db::{Error, literal};

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

/// A list of databases as literals.
pub(super) struct Of(String);

impl Of {
    /// These databases.
    pub(super) fn new(names: &[&str]) -> Of {
        Of(names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", "))
    }

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
            other => from_value_opt::<Option<String>>(other.clone()).ok().flatten(),
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

/// Adds a property to an object that is there.
pub(super) fn set(shapes: &mut Shapes, schema: &str, key: &Key, property: &'static str, value: String) {
    if let Some(found) = shapes.get_mut(schema).and_then(|shape| shape.objects.get_mut(key)) {
        found.push((property, value));
    }
}
