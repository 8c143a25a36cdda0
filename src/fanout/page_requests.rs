//! The broker's page_requests to the event log: which page who waits for. Subscribers at the same place share one
//! question, a subscriber has one at a time, and one that leaves takes its question along. Never waits for the log.

use crate::events::event::PageRequest;
use crossbeam_channel::{Sender, TrySendError};
use std::collections::{BTreeMap, BTreeSet};

pub struct PageRequests {
    reads: Sender<PageRequest>,
    /// Who waits for the page after which number.
    askers: BTreeMap<u64, BTreeSet<usize>>,
    /// Those of them for which the channel had no room yet.
    unsent: BTreeSet<u64>,
}

impl PageRequests {
    pub fn new(reads: Sender<PageRequest>) -> PageRequests {
        PageRequests { reads, askers: BTreeMap::new(), unsent: BTreeSet::new() }
    }

    pub fn ask(&mut self, after_seq: u64, subscriber: usize) {
        let askers = self.askers.entry(after_seq).or_insert_with(|| {
            self.unsent.insert(after_seq);
            BTreeSet::new()
        });
        askers.insert(subscriber);
        self.send();
    }

    /// The subscriber has gone. A question already sent will be answered, to nobody if need be.
    pub fn withdraw(&mut self, after_seq: u64, subscriber: usize) {
        let Some(askers) = self.askers.get_mut(&after_seq) else { return };
        askers.remove(&subscriber);
        if askers.is_empty() && self.unsent.remove(&after_seq) {
            self.askers.remove(&after_seq);
        }
    }

    /// The page after this number has come: who has waited for it.
    pub fn answered(&mut self, after_seq: u64) -> BTreeSet<usize> {
        let askers = self.askers.remove(&after_seq).unwrap_or_default();
        self.unsent.remove(&after_seq);
        self.send();
        askers
    }

    /// What finds no room goes after a later answer, which makes some.
    fn send(&mut self) {
        while let Some(&after_seq) = self.unsent.first() {
            if let Err(TrySendError::Full(_)) = self.reads.try_send(PageRequest { after_seq }) {
                return;
            }
            self.unsent.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn shared_bounded_and_withdrawn() {
        let (ask, reads) = bounded(1);
        let mut page_requests = PageRequests::new(ask);
        for (after_seq, subscriber) in [(5, 1), (5, 2), (7, 3), (8, 4), (8, 5)] {
            page_requests.ask(after_seq, subscriber);
        }
        assert_eq!(reads.try_recv(), Ok(PageRequest { after_seq: 5 }));
        assert!(reads.is_empty(), "no room, and no answer yet");

        page_requests.withdraw(7, 3);
        page_requests.withdraw(8, 4);
        page_requests.withdraw(5, 2);
        assert_eq!(page_requests.answered(5), BTreeSet::from([1]));
        assert_eq!(reads.try_recv(), Ok(PageRequest { after_seq: 8 }), "nobody waits for the page after 7");
        page_requests.withdraw(8, 5);
        assert_eq!(page_requests.answered(8), BTreeSet::new());
        assert!(reads.is_empty() && page_requests.askers.is_empty() && page_requests.unsent.is_empty());
    }
}
