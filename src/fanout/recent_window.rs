//! The newest durable events, for subscribers that fell behind only a little: bounded by count and bytes, oldest out
//! first. Knows no subscriber.

use super::{limits::Limits, outgoing::Outgoing};
use std::collections::VecDeque;

/// Consecutive events up to the head of the log.
pub struct RecentWindow {
    events: VecDeque<Outgoing<'static>>,
    bytes: usize,
    max_bytes: usize,
    max_events: usize,
}

impl RecentWindow {
    /// An empty window.
    pub fn new(limits: &Limits) -> RecentWindow {
        RecentWindow {
            events: VecDeque::new(),
            bytes: 0,
            max_bytes: limits.recent_bytes,
            max_events: limits.recent_events,
        }
    }

    /// Adds the next event, and drops the oldest ones beyond the limits.
    pub fn push(&mut self, event: Outgoing<'static>) {
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.bytes > self.max_bytes || self.events.len() > self.max_events {
            let Some(oldest) = self.events.pop_front() else { return };
            self.bytes -= oldest.bytes();
        }
    }

    /// All events after this number; None if some of them are no longer here.
    pub fn after(&self, seq: u64) -> Option<impl Iterator<Item = &Outgoing<'static>>> {
        let first = self.events.front()?.seq;
        let start = self.events.partition_point(|event| event.seq <= seq);
        (first <= seq.saturating_add(1)).then(|| self.events.range(start..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::Event;

    fn kept_after(recent: &RecentWindow, seq: u64) -> Option<Vec<u64>> {
        recent.after(seq).map(|events| events.map(|event| event.seq).collect())
    }

    #[test]
    fn keeps_the_newest_events_and_reports_missing_ones() {
        let limits = Limits { recent_events: 3, ..Limits::default() };
        let mut recent = RecentWindow::new(&limits);
        assert_eq!(kept_after(&recent, 0), None);
        for seq in 5..10 {
            recent.push(Outgoing::new(Event::new(seq, 0, "A", Vec::new())));
        }
        assert_eq!(kept_after(&recent, 5), None);
        assert_eq!(kept_after(&recent, 6), Some(vec![7, 8, 9]));
        assert_eq!(kept_after(&recent, 8), Some(vec![9]));
        assert_eq!(kept_after(&recent, 9), Some(vec![]));
    }

    #[test]
    fn is_bounded_in_bytes() {
        let mut recent = RecentWindow::new(&Limits { recent_bytes: 50, ..Limits::default() });
        for seq in 1..10 {
            recent.push(Outgoing::new(Event::new(seq, 0, "A", vec![0; 20])));
        }
        assert_eq!(kept_after(&recent, 7), Some(vec![8, 9]));
        recent.push(Outgoing::new(Event::new(10, 0, "A", vec![0; 200])));
        assert_eq!(kept_after(&recent, 9), None);
        assert_eq!(recent.bytes, 0);
    }
}
