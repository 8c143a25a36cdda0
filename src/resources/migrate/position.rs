//! How far a database has come in one migration, and by which statements. Pure.

use sha2::{Digest, Sha256};

use super::statement::Statement;

/// How far a database has come in one migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The migration.
    pub number: u32,
    /// The statement, from 1; 0: none yet.
    pub statement: u32,
    /// It is done. Otherwise it may have been interrupted.
    pub is_done: bool,
    /// Identifies the statements up to this one.
    pub digest: String,
}

impl Position {
    /// Behind these statements of migration `number`.
    pub fn new(number: u32, statements: &[Statement], is_done: bool) -> Position {
        Position { number, statement: statements.len() as u32, is_done, digest: digest(statements) }
    }

    /// The statements up to here were others.
    pub fn is_behind_others(&self, statements: &[Statement]) -> bool {
        digest(statements) != self.digest
    }
}

/// Identifies these statements: 40 hexadecimal digits.
fn digest(statements: &[Statement]) -> String {
    let mut hash = Sha256::new();
    for statement in statements {
        hash.update(format!("{}\0", statement.text));
    }
    hash.finalize()[..20].iter().map(|byte| format!("{byte:02x}")).collect()
}
