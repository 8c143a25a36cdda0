//! What the sender tells the server's error log: the changes in its connections, a bounded number of lines.

use crate::abi::note;
use resq::base::throttle::Throttle;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);
const LINES_PER_INTERVAL: u32 = 20;
const MAX_SUBJECTS: usize = 64;

pub struct Log {
    /// The last word on each address or file; a repeated failure is told once.
    last: BTreeMap<String, String>,
    throttle: Throttle,
}

impl Default for Log {
    fn default() -> Log {
        Log { last: BTreeMap::new(), throttle: Throttle::new(LINES_PER_INTERVAL, INTERVAL) }
    }
}

impl Log {
    pub fn tell(&mut self, now: Instant, subject: &str, word: &str) {
        if self.is_news(subject, word)
            && let Some(suppressed) = self.throttle.admit(now)
        {
            if suppressed > 0 {
                note(&format!("log: suppressed {suppressed} lines, those above {LINES_PER_INTERVAL} a minute"));
            }
            note(&format!("{subject}: {word}"));
        }
    }

    fn is_news(&mut self, subject: &str, word: &str) -> bool {
        if self.last.len() >= MAX_SUBJECTS {
            self.last.clear();
        }
        self.last.insert(subject.to_owned(), word.to_owned()).is_none_or(|before| before != word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_are_news() {
        let mut log = Log::default();
        for (subject, word, news) in [
            ("a:1", "refused", true),
            ("a:1", "refused", false),
            ("b:1", "refused", true),
            ("a:1", "connected", true),
            ("a:1", "refused", true),
        ] {
            assert_eq!(log.is_news(subject, word), news, "{subject} {word}");
        }
    }
}
