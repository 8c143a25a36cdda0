//! Statements of several purposes in one round trip, of which a failure is known by its purpose: the server runs them one after
//! the other and stops at the first that fails.

use mysql::Conn;

use super::{Error, codes::ER_DATA_OUT_OF_RANGE, run_script};

/// Statements that are sent together.
#[derive(Clone, Debug)]
pub struct Packet<P> {
    script: String,
    /// Each purpose with the number of its statements, in order.
    parts: Vec<(P, usize)>,
}

/// Where a packet stopped.
#[derive(Debug)]
pub struct Stopped<P> {
    /// What the statement that failed was for.
    pub purpose: P,
    /// Its number among the statements of that purpose that were added together, from 1.
    pub statement: usize,
    /// Why it failed.
    pub error: Error,
}

/// A statement that fails unless `condition` is true.
pub fn requirement(condition: &str) -> String {
    format!("SELECT {}", zero_if(condition))
}

/// An expression: 0 if `condition` is true, otherwise an error.
pub fn zero_if(condition: &str) -> String {
    // Beyond the largest number there is: an error on every server, whatever its sql_mode.
    format!("18446744073709551615 * IF({condition}, 0, 2)")
}

impl<P> Default for Packet<P> {
    fn default() -> Packet<P> {
        Packet { script: String::new(), parts: Vec::new() }
    }
}

impl<P: Copy> Packet<P> {
    /// Adds this many statements, which `;` divides; one at the end makes no difference.
    pub fn add(&mut self, purpose: P, statements: usize, script: &str) {
        if !self.script.is_empty() {
            self.script.push_str("; ");
        }
        let script = script.trim_end();
        self.script.push_str(script.strip_suffix(';').unwrap_or(script));
        self.parts.push((purpose, statements));
    }

    /// Adds a statement that fails unless `condition` is true: nothing behind it is run then.
    pub fn require(&mut self, purpose: P, condition: &str) {
        self.add(purpose, 1, &requirement(condition));
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The first statement that failed; those after it were not run.
    pub fn run(&self, conn: &mut Conn) -> Result<(), Stopped<P>> {
        run_script(conn, &self.script).map_err(|failed| {
            let (purpose, statement) = self.part(failed.statement);
            Stopped { purpose, statement, error: failed.error }
        })
    }

    /// The part that has the statement of this number, from 1, and which of its statements that is.
    fn part(&self, statement: usize) -> (P, usize) {
        let mut left = statement;
        for (purpose, statements) in &self.parts[..self.parts.len() - 1] {
            if left <= *statements {
                return (*purpose, left);
            }
            left -= statements;
        }
        (self.parts[self.parts.len() - 1].0, left)
    }
}

impl<P> Stopped<P> {
    /// The same with another purpose.
    pub fn map<Q>(self, purpose: impl FnOnce(P) -> Q) -> Stopped<Q> {
        let Stopped { purpose: of, statement, error } = self;
        Stopped { purpose: purpose(of), statement, error }
    }

    /// It stopped at a condition that is not true, if it stopped where there is one.
    pub fn is_unmet(&self) -> bool {
        self.error.code() == Some(ER_DATA_OUT_OF_RANGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statement_is_found_by_its_number() {
        let mut packet = Packet::default();
        packet.add('a', 1, "SELECT 1;\n");
        packet.add('b', 3, "SELECT 2; SELECT 3; SELECT 4");
        packet.require('c', "TRUE");
        assert!(packet.script.starts_with("SELECT 1; SELECT 2; SELECT 3; SELECT 4; SELECT 184"), "{}", packet.script);
        let found: Vec<(char, usize)> = (1..=6).map(|n| packet.part(n)).collect();
        assert_eq!(found, [('a', 1), ('b', 1), ('b', 2), ('b', 3), ('c', 1), ('c', 2)]);
    }
}
