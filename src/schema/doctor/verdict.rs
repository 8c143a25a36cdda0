//! What a check of the doctor concludes. Prints nothing.

/// What a check found, and how to fix what is not as it should be.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All is well.
    Good(String),
    /// resq works; something is slower, less safe or could not be checked.
    Warning {
        /// What was found.
        what: String,
        /// How to fix it.
        fix: String,
    },
    /// resqd cannot serve like this.
    Failed {
        /// What was found.
        what: String,
        /// How to fix it.
        fix: String,
    },
}

pub fn good(what: impl Into<String>) -> Verdict {
    Verdict::Good(what.into())
}

pub fn warning(what: impl Into<String>, fix: impl Into<String>) -> Verdict {
    Verdict::Warning { what: what.into(), fix: fix.into() }
}

pub fn failed(what: impl Into<String>, fix: impl Into<String>) -> Verdict {
    Verdict::Failed { what: what.into(), fix: fix.into() }
}

pub const AGAIN: &str = "then run `resqctl doctor` again";
