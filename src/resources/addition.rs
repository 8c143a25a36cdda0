//! Statements that add one thing and fail where it is: what they add, and whether it is there. The files of `init` add nothing
//! twice by it: MySQL has no ADD COLUMN IF NOT EXISTS, and in a stored procedure only a prepared statement could be composed,
//! which a server may have no room for. In migrations several of them are recorded together.

use mysql::Conn;

use super::sql_text::{is, unquoted};
use crate::db::{Error, ReadRows, literal};

/// What is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table.
    Table,
    /// A column of a table that is there.
    Column,
    /// An index of such a table.
    Index,
}

impl Kind {
    /// The view of the information schema that lists such things, and the column with their names.
    pub fn view(self) -> (&'static str, &'static str) {
        match self {
            Kind::Table => ("TABLES", "TABLE_NAME"),
            Kind::Column => ("COLUMNS", "COLUMN_NAME"),
            Kind::Index => ("STATISTICS", "INDEX_NAME"),
        }
    }
}

/// A statement that adds something by name to the current database, changes nothing else that is there, and fails as a whole
/// if it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition<'a> {
    /// The table.
    pub table: String,
    /// What is added.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The rest of the statement.
    pub definition: &'a [String],
}

/// Words behind ADD that begin neither a column nor an index with a name.
const OTHERS: &[&str] =
    &["PRIMARY", "FOREIGN", "CONSTRAINT", "CHECK", "PARTITION", "PERIOD", "SYSTEM", "VECTOR", "IF", "USING", "TYPE"];
/// Words before INDEX.
const KINDS_OF_INDEX: &[&str] = &["UNIQUE", "FULLTEXT", "SPATIAL"];

impl<'a> Addition<'a> {
    /// None: the statement is another one.
    pub fn of(statement: &'a [String]) -> Option<Addition<'a>> {
        match statement {
            [create, table, name, definition @ ..] if is(create, "CREATE") && is(table, "TABLE") => {
                let is_here = definition.first().is_some_and(|next| next != ".");
                let name = self::name(name).filter(|_| is_here)?;
                Some(Addition { table: name.clone(), kind: Kind::Table, name, definition })
            }
            [create, rest @ ..] if is(create, "CREATE") => {
                let [name, on, table, definition @ ..] = behind_index(rest)? else { return None };
                let is_here = is(on, "ON") && definition.first().is_some_and(|next| next == "(");
                let (table, name) = (self::name(table).filter(|_| is_here)?, self::name(name)?);
                Some(Addition { table, kind: Kind::Index, name, definition })
            }
            [alter, of_table, table, clauses @ ..] if is(alter, "ALTER") && is(of_table, "TABLE") => {
                let [add, first @ ..] = clauses else { return None };
                let only_adds = is(add, "ADD")
                    && others(first).all(|word| ["ADD", "ALGORITHM", "LOCK"].iter().any(|w| is(word, w)));
                let table = self::name(table).filter(|_| only_adds)?;
                let (kind, [name, definition @ ..]) = (match behind_index(first) {
                    Some(rest) => (Kind::Index, rest),
                    None if is(first.first()?, "COLUMN") => (Kind::Column, &first[1..]),
                    None => (Kind::Column, first),
                }) else {
                    return None;
                };
                Some(Addition { table, kind, name: self::name(name)?, definition })
            }
            _ => None,
        }
    }

    /// Whether the current database has it.
    ///
    /// # Errors
    /// The server's.
    pub fn is_there(&self, conn: &mut Conn) -> Result<bool, Error> {
        let (view, column) = self.kind.view();
        let found: Option<u8> = conn.read_first(format!(
            "SELECT 1 FROM information_schema.{view} \
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {} AND {column} = {} LIMIT 1",
            literal(&self.table),
            literal(&self.name)
        ))?;
        Ok(found.is_some())
    }
}

/// What follows `[UNIQUE] INDEX`.
fn behind_index(tokens: &[String]) -> Option<&[String]> {
    let one_of = |words: &[&str], token: &String| words.iter().any(|word| is(token, word));
    match tokens {
        [kind, index, rest @ ..] if one_of(KINDS_OF_INDEX, kind) && one_of(&["INDEX", "KEY"], index) => Some(rest),
        [index, rest @ ..] if one_of(&["INDEX", "KEY"], index) || one_of(KINDS_OF_INDEX, index) => Some(rest),
        _ => None,
    }
}

/// A name; None: something else that may follow there.
fn name(token: &str) -> Option<String> {
    let is_name = token.starts_with(|first: char| first == '`' || first == '_' || first.is_alphanumeric());
    (is_name && !OTHERS.iter().any(|word| is(token, word))).then(|| unquoted(token))
}

/// How each clause begins but the first.
fn others(clauses: &[String]) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    clauses.windows(2).filter_map(move |pair| {
        match pair[0].as_str() {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
        (depth == 0 && pair[0] == ",").then_some(pair[1].as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::sql_text::tokens;

    #[test]
    fn what_adds_and_nothing_else_is_known_by_what_it_adds() {
        for (statement, expected) in [
            ("CREATE TABLE t (a INT)", Some((Kind::Table, "t", "t"))),
            ("create table `t``u` LIKE v", Some((Kind::Table, "t`u", "t`u"))),
            ("ALTER TABLE t ADD COLUMN a INT", Some((Kind::Column, "t", "a"))),
            ("ALTER TABLE t ADD a DECIMAL(9, 2) AFTER b", Some((Kind::Column, "t", "a"))),
            ("ALTER TABLE `t` ADD `key` INT, ADD b INT, ALGORITHM = INSTANT", Some((Kind::Column, "t", "key"))),
            (
                "ALTER TABLE t ADD a ENUM('x, DROP', 'y') CHECK (a IN ('x', 'y')), ADD INDEX (a)",
                Some((Kind::Column, "t", "a")),
            ),
            ("ALTER TABLE t ADD INDEX i (a)", Some((Kind::Index, "t", "i"))),
            ("ALTER TABLE t ADD UNIQUE KEY i (a)", Some((Kind::Index, "t", "i"))),
            ("ALTER TABLE t ADD FULLTEXT i (a)", Some((Kind::Index, "t", "i"))),
            ("CREATE UNIQUE INDEX i ON t (a)", Some((Kind::Index, "t", "i"))),
            ("CREATE INDEX i ON t (a, b)", Some((Kind::Index, "t", "i"))),
            // Nothing tells afterwards that it was done.
            ("CREATE TABLE IF NOT EXISTS t (a INT)", None),
            ("CREATE OR REPLACE TABLE t (a INT)", None),
            ("CREATE TEMPORARY TABLE t (a INT)", None),
            ("ALTER TABLE t ADD COLUMN IF NOT EXISTS a INT", None),
            ("ALTER TABLE t ADD INDEX (a)", None),
            ("ALTER TABLE t ADD UNIQUE (a)", None),
            ("ALTER TABLE t ADD INDEX USING BTREE (a)", None),
            ("ALTER TABLE t ADD (a INT)", None),
            // What would be done again after a later statement has undone it.
            ("ALTER TABLE t ADD a INT, DROP b", None),
            ("ALTER TABLE t ADD a INT, MODIFY b INT", None),
            ("ALTER TABLE t MODIFY a INT", None),
            ("ALTER TABLE t ADD PRIMARY KEY (a)", None),
            ("ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (a)", None),
            ("DROP TABLE t", None),
            ("RENAME TABLE t TO u", None),
            ("CREATE VIEW v AS SELECT 1", None),
            // Another database's.
            ("CREATE TABLE other.t (a INT)", None),
            ("ALTER TABLE other.t ADD a INT", None),
            ("CREATE INDEX i ON other.t (a)", None),
            ("", None),
        ] {
            let tokens = tokens(statement);
            let found = Addition::of(&tokens);
            let found = found.as_ref().map(|found| (found.kind, found.table.as_str(), found.name.as_str()));
            assert_eq!(found, expected, "{statement}");
        }
    }
}
