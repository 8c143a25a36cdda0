//! Which scripts are plain: whatever the database, they leave the session as it was but for the id of a row inserted last, and
//! run no program that is stored somewhere. What runs behind a plain script needs no fresh session. Decided by a list of what
//! is known to be so; in doubt a script is not plain. Pure.

use super::sql_text::{is, pieces, position, unquoted};

/// What a plain script has in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plain {
    /// How many statements.
    pub statements: usize,
    /// It inserts rows, which runs the triggers of their tables.
    pub inserts: bool,
    /// It makes triggers.
    pub makes_triggers: bool,
}

/// What may be created, changed or dropped.
const OBJECTS: &[&str] =
    &["TABLE", "INDEX", "UNIQUE", "FULLTEXT", "SPATIAL", "VIEW", "TRIGGER", "PROCEDURE", "FUNCTION"];
/// Words that values of an INSERT may consist of.
const VALUES: &[&str] = &["NULL", "TRUE", "FALSE", "DEFAULT", "NOW", "CURRENT_TIMESTAMP", "X", "_utf8mb4"];

/// What is in `script`; None: it is not plain.
pub fn plain(script: &str) -> Option<Plain> {
    let mut plain = Plain::default();
    for (_, tokens) in pieces(script) {
        let word = |n: usize| tokens.get(n).map_or("", String::as_str);
        let is_object = OBJECTS.iter().any(|object| is(word(1), object));
        let begins = |first: &str| is(word(0), first);
        let is_plain = match () {
            _ if tokens.iter().any(|token| token == "@" || token == "@@" || token.starts_with("/*")) => false,
            // What reads rows may call functions.
            _ if begins("CREATE") && is(word(1), "TABLE") => {
                ["SELECT", "VALUES"].iter().all(|word| position(&tokens, word).is_none())
            }
            _ if begins("CREATE") || begins("DROP") => is_object,
            _ if begins("ALTER") => is(word(1), "TABLE"),
            _ if begins("INSERT") => inserts_literals(&tokens),
            _ => false,
        };
        if !is_plain {
            return None;
        }
        plain.statements += 1;
        plain.inserts |= begins("INSERT");
        plain.makes_triggers |= begins("CREATE") && is(word(1), "TRIGGER");
    }
    Some(plain)
}

/// `INSERT INTO t (a, b) VALUES (…), (…)`, with values that call nothing of a database's own.
fn inserts_literals(tokens: &[String]) -> bool {
    let Some(values) = position(tokens, "VALUES") else { return false };
    let is_value = |token: &String| {
        let first = token.bytes().next().unwrap_or_default();
        matches!(first, b'(' | b')' | b',' | b'.' | b'-' | b'\'' | b'"' | b'0'..=b'9')
            || VALUES.iter().any(|word| is(token, word))
    };
    // Another database's table may have triggers.
    let is_its_own = !tokens[..values].iter().any(|token| token == "." || is(token, "SELECT"));
    is_its_own && tokens[values + 1..].iter().all(is_value)
}

/// Whether `script` is a single statement that creates the database `db_name` and fails where there is one of that name.
pub fn creates_only(script: &str, db_name: &str) -> bool {
    let pieces = pieces(script);
    let [(_, tokens)] = pieces.as_slice() else { return false };
    matches!(tokens.as_slice(), [create, what, name, rest @ ..]
        if is(create, "CREATE") && (is(what, "DATABASE") || is(what, "SCHEMA")) && unquoted(name) == db_name
            && !rest.iter().any(|token| token.starts_with("/*") || token.starts_with('@')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_plain_if_nothing_of_them_stays_in_the_session() {
        for (script, expected) in [
            ("CREATE TABLE t (a INT DEFAULT (1 + 1)); CREATE UNIQUE INDEX i ON t (a)", Some((2, false, false))),
            ("ALTER TABLE t ADD c INT, DROP b; DROP TABLE u, v", Some((2, false, false))),
            ("INSERT INTO t (a, b) VALUES (1, 'x; y'), (-1.5, NULL), (7, NOW(6))", Some((1, true, false))),
            ("INSERT INTO t VALUES (_utf8mb4 X'6162', '')", Some((1, true, false))),
            (
                "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.a = 1; END; CREATE VIEW v AS SELECT 1",
                Some((2, false, true)),
            ),
            ("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @a = 1", None),
            ("CREATE DEFINER = `a`@`b` VIEW v AS SELECT 1", None),
            ("CREATE TEMPORARY TABLE t (a INT)", None),
            ("CREATE TABLE t AS SELECT f()", None),
            ("CREATE TABLE t AS VALUES ROW(f())", None),
            ("CREATE DATABASE d", None),
            ("DROP DATABASE d", None),
            ("CREATE TABLE t (a INT) /*!50100 PARTITION BY HASH (a) */", None),
            ("INSERT INTO t VALUES (f())", None),
            ("INSERT INTO t VALUES (other.f(1))", None),
            ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = f()", None),
            ("INSERT INTO t SELECT 1", None),
            ("INSERT INTO other.t VALUES (1)", None),
            ("INSERT INTO t SET a = 1", None),
            ("INSERT INTO t VALUES (@a)", None),
            ("INSERT INTO t VALUES (@@version)", None),
            ("SET NAMES utf8mb4", None),
            ("USE other", None),
            ("LOCK TABLES t WRITE", None),
            ("CALL p()", None),
            ("DO GET_LOCK('a', 1)", None),
            ("START TRANSACTION", None),
            ("UPDATE t SET a = 1", None),
            ("GRANT SELECT ON t TO u", None),
        ] {
            let found = plain(script).map(|plain| (plain.statements, plain.inserts, plain.makes_triggers));
            assert_eq!(found, expected, "{script}");
        }
    }

    #[test]
    fn only_a_creation_that_fails_where_there_is_one_creates_only() {
        for (script, expected) in [
            ("-- why\nCREATE DATABASE `d` CHARACTER SET utf8mb4;", true),
            ("create schema d", true),
            ("CREATE DATABASE IF NOT EXISTS d", false),
            ("CREATE OR REPLACE DATABASE d", false),
            ("CREATE DATABASE e", false),
            ("CREATE DATABASE d; USE d", false),
            ("CREATE DATABASE d /*!80016 DEFAULT ENCRYPTION='N' */", false),
        ] {
            assert_eq!(creates_only(script, "d"), expected, "{script}");
        }
    }
}
