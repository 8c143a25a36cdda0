//! The statements of a migration: which kinds there are, how each is recorded, and when an interrupted one that is run
//! again may find its own work. Pure.

use std::ops::Range;

use crate::{
    db::codes::*,
    resources::{
        addition::Addition,
        sql_text::{is, position},
    },
};

/// How a statement is run and recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Changes rows: in one transaction with its record, so it is done or not.
    Rows,
    /// Changes the session alone: not recorded, and run again before a later statement is.
    Session,
    /// Anything else, most of which commits by itself: recorded before it is run, and as done with what follows. Several
    /// that only add may share a record.
    Definition,
}

/// A statement for one database.
#[derive(Clone, Debug)]
pub struct Statement {
    /// What is sent.
    pub text: String,
    /// How it is recorded.
    pub kind: Kind,
    /// The text as tokens.
    pub tokens: Vec<String>,
}

/// How statements that change rows begin.
const ROWS: &[&str] = &["INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "SELECT", "DO", "VALUES", "TABLE"];
/// How statements begin that change the session alone.
const SESSION: &[&str] = &["SET", "USE"];
/// How statements begin that would take the transaction, or the locks, out of resq's hands.
const TRANSACTION: &[&str] = &["BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "XA", "LOCK", "UNLOCK"];

impl Statement {
    /// Of this text and its tokens.
    pub fn new(text: &str, tokens: Vec<String>) -> Statement {
        let first = first(&tokens);
        let begins = |words: &[&str]| words.iter().any(|word| is(first, word));
        // SET GLOBAL and the like outlive the session.
        let is_session = begins(SESSION) && !tokens.get(1).is_some_and(|second| outlives_session(second));
        let kind = match is_session {
            true => Kind::Session,
            false if begins(ROWS) => Kind::Rows,
            false => Kind::Definition,
        };
        Statement { text: text.into(), kind, tokens }
    }

    /// Whether this error of a statement that is run again, after an attempt that was interrupted in it, means that it was
    /// done: what it makes is there, or what it removes is gone.
    pub fn is_done_by(&self, code: u16) -> bool {
        let has = |word: &str| position(&self.tokens, word).is_some();
        match code {
            ER_NO_SUCH_TABLE => has("RENAME"),
            ER_BAD_FIELD_ERROR => has("CHANGE") || has("RENAME"),
            ER_KEY_DOES_NOT_EXIST => has("RENAME"),
            ER_CANT_CREATE_TABLE => has("FOREIGN"),
            code => ALREADY_DONE.contains(&code),
        }
    }
}

/// So many statements are recorded, and sent, together at most: an attempt stops behind them.
pub const LARGEST: usize = 8;
/// The same for their texts, in bytes; a larger statement is by itself.
pub const MAX_BYTES: usize = 64 << 10;

/// The definitions around the one `at` that may be recorded together: each only adds, so that all of them can be run again,
/// and those that were done fail. The same for every attempt, as far as the texts up to its end are.
pub fn together(statements: &[Statement], at: usize) -> Range<usize> {
    let mut range = 0..0;
    while range.end <= at {
        let (rest, mut bytes) = (&statements[range.end..], 0);
        let additions = rest.iter().take(LARGEST).take_while(|next| {
            bytes += next.text.len();
            bytes <= MAX_BYTES && Addition::of(&next.tokens).is_some()
        });
        let additions = additions.count();
        range = range.end..range.end + additions.max(1);
    }
    range
}

fn outlives_session(word: &str) -> bool {
    ["GLOBAL", "PERSIST", "PERSIST_ONLY", "PASSWORD", "ROLE", "DEFAULT", "STATEMENT"]
        .iter()
        .any(|other| is(word, other))
}

/// The first word, past the beginning of an executable comment.
fn first(tokens: &[String]) -> &str {
    tokens.iter().find(|token| !token.starts_with("/*")).map_or("", String::as_str)
}

/// How a statement begins that must not be in a migration; None: it may.
pub fn transaction_word(tokens: &[String]) -> Option<String> {
    let first = first(tokens);
    if TRANSACTION.iter().any(|word| is(first, word)) {
        return Some(first.to_uppercase());
    }
    let sets = is(first, "SET") && ["autocommit", "TRANSACTION"].iter().any(|word| position(tokens, word).is_some());
    sets.then(|| if position(tokens, "TRANSACTION").is_some() { "SET TRANSACTION" } else { "SET autocommit" }.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::sql_text::pieces;

    fn of(text: &str) -> Statement {
        let (text, tokens) = pieces(text).remove(0);
        Statement::new(text, tokens)
    }

    #[test]
    fn each_statement_has_its_kind() {
        for (text, kind) in [
            ("INSERT INTO t VALUES (1)", Kind::Rows),
            ("/* why */ update t set a = 1", Kind::Rows),
            ("WITH c AS (SELECT 1) DELETE FROM t", Kind::Rows),
            ("SET @a = 1", Kind::Session),
            ("SET SESSION sql_mode = ''", Kind::Session),
            ("SET GLOBAL max_connections = 1", Kind::Definition),
            ("ALTER TABLE t ADD a INT", Kind::Definition),
            ("/*!50100 ALTER TABLE t ADD a INT */", Kind::Definition),
            ("/*!40101 SET NAMES utf8mb4 */", Kind::Session),
            ("CALL p()", Kind::Definition),
            ("TRUNCATE t", Kind::Definition),
        ] {
            assert_eq!(of(text).kind, kind, "{text}");
        }
    }

    #[test]
    fn consecutive_additions_are_recorded_together_wherever_an_attempt_begins() {
        let file = "CREATE TABLE t (a INT); ALTER TABLE t ADD b INT; CREATE INDEX i ON t (b); DROP TABLE u; SET @a = 1; \
                    ALTER TABLE t ADD c INT; ALTER TABLE t ADD d INT, DROP c; ALTER TABLE t ADD e INT";
        let all: Vec<Statement> = pieces(file).into_iter().map(|(text, tokens)| Statement::new(text, tokens)).collect();
        let ranges: Vec<Range<usize>> = (0..all.len()).map(|at| together(&all, at)).collect();
        assert_eq!(ranges, [0..3, 0..3, 0..3, 3..4, 4..5, 5..6, 6..7, 7..8]);
        // What follows makes no difference.
        assert_eq!(together(&all[..2], 1), 0..2);
        let many: Vec<Statement> = (0..20).map(|n| of(&format!("ALTER TABLE t ADD c{n} INT"))).collect();
        let ranges = [0, 7, 8, 15, 16, 19].map(|at| together(&many, at));
        assert_eq!(ranges, [0..8, 0..8, 8..16, 8..16, 16..20, 16..20]);
        let large = format!("ALTER TABLE t ADD c INT COMMENT '{}'", "x".repeat(MAX_BYTES / 2));
        let large = [of(&large), of("CREATE TABLE u (a INT)"), of(&large)];
        assert_eq!([0, 1, 2].map(|at| together(&large, at)), [0..2, 0..2, 2..3]);
    }

    #[test]
    fn transactions_of_a_migrations_own_are_noticed() {
        for (text, word) in [
            ("COMMIT", Some("COMMIT")),
            ("start transaction", Some("START")),
            ("BEGIN NOT ATOMIC SELECT 1; END", Some("BEGIN")),
            ("LOCK TABLES t WRITE", Some("LOCK")),
            ("SET SESSION autocommit = 0", Some("SET autocommit")),
            ("SET @@autocommit = 0", Some("SET autocommit")),
            ("SET TRANSACTION READ ONLY", Some("SET TRANSACTION")),
            ("CREATE PROCEDURE p() BEGIN START TRANSACTION; COMMIT; END", None),
            ("SET @a = 1", None),
        ] {
            assert_eq!(transaction_word(&of(text).tokens).as_deref(), word, "{text}");
        }
    }

    #[test]
    fn repeated_statement_may_find_its_own_work_and_nothing_else() {
        for (text, code, is_done) in [
            ("CREATE TABLE t (a INT)", 1050, true),
            ("ALTER TABLE t ADD a INT", 1060, true),
            ("CREATE INDEX i ON t (a)", 1061, true),
            ("ALTER TABLE t DROP a", 1091, true),
            ("DROP TABLE t", 1051, true),
            ("CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @a = 1", 1359, true),
            ("DROP PROCEDURE p", 1305, true),
            ("ALTER TABLE t ADD PRIMARY KEY (a)", 1068, true),
            ("ALTER TABLE t RENAME COLUMN a TO b", 1054, true),
            ("ALTER TABLE t ADD INDEX i (b)", 1054, false),
            ("RENAME TABLE t TO u", 1146, true),
            ("ALTER TABLE t ADD a INT", 1146, false),
            ("ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (a)", 1005, true),
            ("CREATE TABLE t (a INT)", 1005, false),
            ("ALTER TABLE t ADD UNIQUE (a)", 1062, false),
            ("ALTER TABEL t", 1064, false),
        ] {
            assert_eq!(of(text).is_done_by(code), is_done, "{text}: {code}");
        }
    }
}
