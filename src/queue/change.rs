//! What operators do to the status of jobs. Pure: the SQL of a change, for those of the jobs that it applies to.

use super::job::Status;
use crate::db::{id_list, literal};

/// Characters of a reason that become part of a job's error.
const LONGEST_REASON: usize = 1000;

/// A change of jobs by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A job in `error` becomes `new`, with no attempts counted.
    Retry,
    /// A job that is `new` becomes `error`.
    Cancel,
}

impl Change {
    /// `retry` or `cancel`.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Retry => "retry",
            Change::Cancel => "cancel",
        }
    }

    /// The change with this name.
    pub fn parse(text: &str) -> Option<Change> {
        [Change::Retry, Change::Cancel].into_iter().find(|change| change.as_str() == text)
    }

    /// The status of the jobs that it applies to; others are left alone.
    pub fn from(self) -> Status {
        match self {
            Change::Retry => Status::Error,
            Change::Cancel => Status::New,
        }
    }

    /// The UPDATE of those of these jobs that it applies to. A cancelled job's error names the reason.
    pub fn update(self, ids: &[u64], reason: Option<&str>) -> String {
        let set = match self {
            Change::Retry => {
                "status = 'new', attempts = 0, interruptions = 0, run_at = NULL, last_error = NULL".to_string()
            }
            Change::Cancel => {
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                let text: String = format!("cancelled{reason}").chars().take(LONGEST_REASON).collect();
                format!("status = 'error', run_at = NULL, last_error = {}", literal(&text))
            }
        };
        let ids = if ids.is_empty() { "NULL".into() } else { id_list(ids) };
        format!(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET {set} WHERE res_id IN ({ids}) AND status = '{}'",
            self.from().as_str()
        )
    }
}
