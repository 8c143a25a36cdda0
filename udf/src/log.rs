//! What the sender tells the server's error log: the changes in its connections, a bounded number of lines.

use crate::abi::note;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
const LINES_IN_WINDOW: u32 = 20;
const MAX_SUBJECTS: usize = 64;

#[derive(Default)]
pub struct Log {
    /// The last word on each address or file; a repeated failure is told once.
    last: BTreeMap<String, String>,
    window: Option<Instant>,
    lines: u32,
}

impl Log {
    pub fn tell(&mut self, now: Instant, subject: &str, word: &str) {
        if self.is_news(subject, word) && self.has_room(now) {
            note(&format!("{subject}: {word}"));
        }
    }

    fn is_news(&mut self, subject: &str, word: &str) -> bool {
        if self.last.len() >= MAX_SUBJECTS {
            self.last.clear();
        }
        self.last.insert(subject.to_owned(), word.to_owned()).is_none_or(|before| before != word)
    }

    fn has_room(&mut self, now: Instant) -> bool {
        if self.window.is_none_or(|start| now > start + WINDOW) {
            (self.window, self.lines) = (Some(now), 0);
        }
        self.lines += 1;
        self.lines <= LINES_IN_WINDOW
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

    #[test]
    fn a_flapping_daemon_does_not_fill_the_log() {
        let (mut log, start) = (Log::default(), Instant::now());
        let told = |log: &mut Log, at| (0..100).filter(|_| log.has_room(at)).count() as u32;
        assert_eq!(told(&mut log, start), LINES_IN_WINDOW);
        assert_eq!(told(&mut log, start + WINDOW / 2), 0);
        assert_eq!(told(&mut log, start + WINDOW * 2), LINES_IN_WINDOW);
    }
}
