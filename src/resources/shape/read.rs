//! Reads the shapes of many databases at once: one query of the information schema for each kind of object, whatever the
//! number of databases and tables.

use std::collections::{BTreeMap, BTreeSet};

use mysql::Conn;

use super::{
    constraints, normal,
    object::{Key, Kind, Shape},
    programs,
    rows::{Of, Server, Shapes, each},
    tables,
};
use crate::db::{Error, Version};

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
        let Version { is_mariadb, release } = Version::query(conn)?;
        Ok(Reader { server: if is_mariadb { Server::MariaDb { ignored: release >= (10, 6) } } else { Server::MySql } })
    }

    /// The shapes of these databases, by name; a database that does not exist has none. All of them are in memory at
    /// once: for many, ask in pieces, by [`Pace`](super::Pace).
    ///
    /// # Errors
    /// The server's.
    pub fn read(&self, conn: &mut Conn, names: &[&str]) -> Result<BTreeMap<String, Shape>, Error> {
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let wanted: BTreeSet<&str> = names.iter().copied().collect();
        let of = Of::new(names);
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
            tables::read(conn, self.server, &of, &mut shapes)?;
            constraints::read(conn, self.server, &of, &mut shapes)?;
            programs::read(conn, self.server, &of, &mut shapes)?;
        }
        Ok(shapes)
    }
}
