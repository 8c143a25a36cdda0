//! The sender's lines in the database server's error log: changes of its connections and its settings, a limited number
//! per minute.

use crate::abi::log_line;
use resq::base::throttle::Throttle;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);
const LINES_PER_INTERVAL: u32 = 20;
const MAX_SUBJECTS: usize = 64;

pub struct Log {
    /// The last state of each subject (an address, the settings); it is logged when it changes.
    last: BTreeMap<String, String>,
    throttle: Throttle,
}

impl Default for Log {
    fn default() -> Log {
        Log { last: BTreeMap::new(), throttle: Throttle::new(LINES_PER_INTERVAL, INTERVAL) }
    }
}

impl Log {
    /// Logs the state of `subject`, unless it is the same as before or too many lines were logged.
    pub fn report(&mut self, now: Instant, subject: &str, state: &str) {
        if self.has_changed(subject, state)
            && let Some(suppressed) = self.throttle.admit(now)
        {
            if suppressed > 0 {
                log_line(&format!("log: more than {LINES_PER_INTERVAL} lines in a minute; suppressed {suppressed}"));
            }
            log_line(&format!("{subject}: {state}"));
        }
    }

    fn has_changed(&mut self, subject: &str, state: &str) -> bool {
        if self.last.len() >= MAX_SUBJECTS {
            self.last.clear();
        }
        self.last.insert(subject.to_owned(), state.to_owned()).is_none_or(|before| before != state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_logged() {
        let mut log = Log::default();
        for (subject, state, changed) in [
            ("a:1", "refused", true),
            ("a:1", "refused", false),
            ("b:1", "refused", true),
            ("a:1", "connected", true),
            ("a:1", "refused", true),
        ] {
            assert_eq!(log.has_changed(subject, state), changed, "{subject} {state}");
        }
    }
}
