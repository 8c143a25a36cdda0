//! Pages requested from the event log, with the subscribers waiting for each. Subscribers at the same number share a
//! request, a subscriber has one request at a time, and a leaving subscriber withdraws its own. Never waits for the log.

use crate::events::updates::PageRequest;
use crossbeam_channel::{Sender, TrySendError};
use std::collections::{BTreeMap, BTreeSet};

/// The requests that are not answered yet.
pub struct PageRequests {
    channel: Sender<PageRequest>,
    /// The subscribers that wait for the page after each number.
    waiting: BTreeMap<u64, BTreeSet<usize>>,
    /// The numbers for which the channel had no room yet.
    unsent: BTreeSet<u64>,
}

impl PageRequests {
    /// Sends the requests into `channel`.
    pub fn new(channel: Sender<PageRequest>) -> PageRequests {
        PageRequests { channel, waiting: BTreeMap::new(), unsent: BTreeSet::new() }
    }

    /// Requests the page after this number for the subscriber, which waits for no other page.
    pub fn request(&mut self, after_seq: u64, subscriber: usize) {
        let waiting = self.waiting.entry(after_seq).or_insert_with(|| {
            self.unsent.insert(after_seq);
            BTreeSet::new()
        });
        waiting.insert(subscriber);
        self.send();
    }

    /// The subscriber has left. A request already sent is answered nevertheless.
    pub fn withdraw(&mut self, after_seq: u64, subscriber: usize) {
        let Some(waiting) = self.waiting.get_mut(&after_seq) else { return };
        waiting.remove(&subscriber);
        if waiting.is_empty() && self.unsent.remove(&after_seq) {
            self.waiting.remove(&after_seq);
        }
    }

    /// The page after this number has arrived: returns the subscribers that waited for it.
    pub fn answered(&mut self, after_seq: u64) -> BTreeSet<usize> {
        let waiting = self.waiting.remove(&after_seq).unwrap_or_default();
        self.unsent.remove(&after_seq);
        self.send();
        waiting
    }

    /// Requests that do not fit are sent after a later answer, which makes room.
    fn send(&mut self) {
        while let Some(&after_seq) = self.unsent.first() {
            if let Err(TrySendError::Full(_)) = self.channel.try_send(PageRequest { after_seq }) {
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
    fn requests_are_shared_bounded_and_withdrawn() {
        let (sender, channel) = bounded(1);
        let mut page_requests = PageRequests::new(sender);
        for (after_seq, subscriber) in [(5, 1), (5, 2), (7, 3), (8, 4), (8, 5)] {
            page_requests.request(after_seq, subscriber);
        }
        assert_eq!(channel.try_recv(), Ok(PageRequest { after_seq: 5 }));
        assert!(channel.is_empty(), "no room yet, and no answer");

        page_requests.withdraw(7, 3);
        page_requests.withdraw(8, 4);
        page_requests.withdraw(5, 2);
        assert_eq!(page_requests.answered(5), BTreeSet::from([1]));
        assert_eq!(channel.try_recv(), Ok(PageRequest { after_seq: 8 }), "the page after 7 was withdrawn");
        page_requests.withdraw(8, 5);
        assert_eq!(page_requests.answered(8), BTreeSet::new());
        assert!(channel.is_empty() && page_requests.waiting.is_empty() && page_requests.unsent.is_empty());
    }
}
