//! The last pages of the event log that a consumer has not got to the end of, because it is sent few events at a time: so
//! that it reads each page once. Bounded; the oldest goes first. Knows no subscriber.

use super::{limits::KEPT_PAGES, outgoing::Outgoing};
use std::collections::VecDeque;

/// Pages, each with consecutive events.
#[derive(Default)]
pub struct KeptPages(VecDeque<Vec<Outgoing<'static>>>);

impl KeptPages {
    /// Keeps a page, which is not empty.
    pub fn keep(&mut self, page: Vec<Outgoing<'static>>) {
        if self.0.len() == KEPT_PAGES {
            self.0.pop_front();
        }
        self.0.push_back(page);
    }

    /// Events after this number, the next one first; None if no page has that one.
    pub fn after(&self, seq: u64) -> Option<&[Outgoing<'static>]> {
        let has_next = |page: &&Vec<Outgoing<'static>>| {
            page.first().is_some_and(|first| first.seq <= seq + 1) && page.last().is_some_and(|last| last.seq > seq)
        };
        let page = self.0.iter().rev().find(has_next)?;
        Some(&page[page.partition_point(|event| event.seq <= seq)..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::Event;

    #[test]
    fn oldest_page_goes_first_and_a_page_continues_within_itself() {
        let page = |from: u64| -> Vec<Outgoing<'static>> {
            (from..from + 10).map(|seq| Outgoing::new(Event::new(seq, 0, "A", Vec::new()))).collect()
        };
        let mut pages = KeptPages::default();
        (0..=KEPT_PAGES as u64).for_each(|n| pages.keep(page(n * 10 + 1)));
        let first_after = |seq| pages.after(seq).map(|events| (events[0].seq, events.len()));
        assert_eq!(first_after(5), None, "that page made room");
        assert_eq!(first_after(10), Some((11, 10)));
        assert_eq!(first_after(19), Some((20, 1)));
        assert_eq!(first_after(KEPT_PAGES as u64 * 10 + 10), None, "nothing follows");
    }
}
