//! The report of `resqctl doctor`, parsed into checks and verdicts. Never runs it.

use crate::program::Finished;

/// The verdict of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Good,
    Warning,
    Failed,
}

/// The word for each verdict at the beginning of a line. No other test code contains these words.
const WORDS: [(&str, Verdict); 3] = [("ok", Verdict::Good), ("warning", Verdict::Warning), ("FAILED", Verdict::Failed)];

/// A report that was printed.
pub struct Doctor {
    pub finished: Finished,
    checks: Vec<(String, Verdict, String)>,
}

impl Doctor {
    /// Reads the lines `VERDICT  CHECK: TEXT` of a run that ended.
    pub fn of(finished: Finished) -> Doctor {
        let check = |line: &str| {
            let (word, rest) = line.split_once(' ')?;
            let (_, verdict) = WORDS.iter().find(|(known, _)| *known == word)?;
            let (name, text) = rest.trim_start().split_once(": ")?;
            Some((name.to_string(), *verdict, text.to_string()))
        };
        let checks = finished.stdout.lines().map(|line| check(line).unwrap_or_else(|| panic!("{line:?}: {finished}")));
        Doctor { checks: checks.collect(), finished }
    }

    /// The verdict of the check of this name.
    pub fn verdict(&self, name: &str) -> Verdict {
        self.find(name).1
    }

    /// The text after the verdict: names, values, statements to run.
    pub fn text(&self, name: &str) -> &str {
        &self.find(name).2
    }

    /// The names of the checks with this verdict.
    pub fn with(&self, verdict: Verdict) -> Vec<&str> {
        self.checks.iter().filter(|check| check.1 == verdict).map(|check| check.0.as_str()).collect()
    }

    fn find(&self, name: &str) -> &(String, Verdict, String) {
        self.checks.iter().find(|check| check.0 == name).unwrap_or_else(|| panic!("no check {name}: {}", self.finished))
    }
}
