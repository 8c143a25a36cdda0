//! `ALTER TABLE … ADD` in the files of `init`: what is there already is not added again, so that every file may run again
//! on its own result. MySQL has no ADD COLUMN IF NOT EXISTS, and in a stored procedure only a prepared statement could be
//! composed, which a server may have no room for.

use mysql::Conn;

use crate::{
    db::{Error, ReadRows, literal},
    resources::sql_text::{is, unquoted},
};

/// What is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `ADD COLUMN`
    Column,
    /// `ADD INDEX`
    Index,
}

/// The statement `ALTER TABLE table ADD kind name definition`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition<'a> {
    /// The table, in the current database.
    pub table: String,
    /// What is added.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The rest of the statement.
    pub definition: &'a [String],
}

impl Addition<'_> {
    /// None: the statement is another one.
    pub fn of(statement: &[String]) -> Option<Addition<'_>> {
        let [alter, of_table, table, add, kind, name, definition @ ..] = statement else { return None };
        if !(is(alter, "ALTER") && is(of_table, "TABLE") && is(add, "ADD")) {
            return None;
        }
        let kind = match kind {
            kind if is(kind, "COLUMN") => Kind::Column,
            kind if is(kind, "INDEX") => Kind::Index,
            _ => return None,
        };
        Some(Addition { table: unquoted(table), kind, name: unquoted(name), definition })
    }

    /// Whether the table has it.
    ///
    /// # Errors
    /// The server's.
    pub fn is_there(&self, conn: &mut Conn) -> Result<bool, Error> {
        let (view, column) = match self.kind {
            Kind::Column => ("COLUMNS", "COLUMN_NAME"),
            Kind::Index => ("STATISTICS", "INDEX_NAME"),
        };
        let found: Option<u8> = conn.read_first(format!(
            "SELECT 1 FROM information_schema.{view} \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND {column} = {} LIMIT 1",
            literal(&self.table),
            literal(&self.name)
        ))?;
        Ok(found.is_some())
    }
}
