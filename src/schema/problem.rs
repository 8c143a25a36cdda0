//! A difference between what is there and what `init` creates: what it means, and what removes it. Pure.

use std::fmt;

/// What kind of object a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A table, one of its columns or one of its indexes.
    Table,
    /// A procedure.
    Procedure,
    /// A trigger.
    Trigger,
}

/// What a problem means to the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Some statements are refused, or some values not kept; or nothing yet.
    Minor,
    /// Jobs run, but events are missing or wrong.
    Major,
    /// resqd cannot serve.
    Fatal,
}

/// One difference between what is there and what `init` creates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The kind of object.
    pub part: Part,
    /// What it means.
    pub severity: Severity,
    /// `trigger res_queue_inserted: is on the table q_old`.
    pub what: String,
    /// What an operator does about it, where `init` cannot.
    remedy: Option<String>,
    /// What `init` does about it besides its files.
    pub mend: Option<Mend>,
}

/// What `init` has to do before its files can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mend {
    /// ALTER TABLE, with one clause.
    Alter {
        /// The table.
        table: String,
        /// The clause.
        clause: String,
    },
    /// Drop a trigger of resq's from a table where it does not belong.
    DropTrigger(String),
}

impl Problem {
    /// A problem that the files of `init` mend.
    pub(super) fn new(part: Part, severity: Severity, what: String) -> Problem {
        Problem { part, severity, what, remedy: None, mend: None }
    }

    /// The same, for an operator to mend.
    pub(super) fn with_remedy(self, remedy: String) -> Problem {
        Problem { remedy: Some(remedy), ..self }
    }

    /// The same, mended by a clause of ALTER TABLE.
    pub(super) fn with_clause(self, table: &str, clause: String) -> Problem {
        Problem { mend: Some(Mend::Alter { table: table.into(), clause }), ..self }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        self.remedy.as_deref().unwrap_or("run `resqctl init`, which restores it")
    }

    /// `init` restores it.
    pub fn is_mended_by_init(&self) -> bool {
        self.remedy.is_none()
    }
}

/// What keeps resq from working with this database, and what to do about it; None: nothing does. `problems`: worst first.
pub fn fatal(problems: &[Problem], global_db: &str) -> Option<String> {
    let fatal: Vec<&str> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Fatal)
        .map(|problem| problem.what.as_str())
        .collect();
    // Sorted: the first is one of them.
    (!fatal.is_empty()).then(|| format!("database `{global_db}`: {}; {}", fatal.join("; "), problems[0].remedy()))
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}
