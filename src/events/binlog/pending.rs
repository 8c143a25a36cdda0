//! What was decoded and is not numbered yet, and when it is numbered: at once where commits are rare, in larger batches where
//! there are many. Pure.

use std::time::Duration;

use super::transactions::NewEvent;

/// Events numbered in one transaction, unless one transaction of the log has more; those of a larger one are staged.
const BATCH: usize = 2000;
/// The same for bytes of payload: as many as make a page of the log.
pub const BATCH_BYTES: usize = 1 << 20;
/// Transactions in a batch before the next one is put off.
const FEW: usize = 3;
/// For how long, for each transaction more. Up to 1,000 commits a second, batches stay small; from 2,000 on, the longest
/// pause is reached.
const PAUSE: Duration = Duration::from_micros(500);
/// Numbering is a durable commit, for which the applications' commits wait.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// What waits.
#[derive(Default)]
pub struct Pending {
    /// Of whole transactions.
    pub ready: Vec<NewEvent>,
    /// Of the transaction that is still being read.
    pub open: Vec<NewEvent>,
    /// Transactions with events in `ready`.
    transactions: usize,
    bytes: usize,
    /// Of the open transaction, already in the database.
    pub staged: u64,
}

impl Pending {
    /// Whether it is enough for a batch.
    pub fn is_full(&self) -> bool {
        self.ready.len() + self.open.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    /// More of the transaction that is being read.
    pub fn add(&mut self, mut events: Vec<NewEvent>) {
        self.bytes += bytes(&events);
        self.open.append(&mut events);
    }

    /// The transaction ends.
    pub fn end(&mut self) {
        self.transactions += usize::from(!self.open.is_empty());
        self.ready.append(&mut self.open);
    }

    /// Takes what was numbered, and how long the next batch is to wait for more.
    pub fn numbered(&mut self) -> (Vec<NewEvent>, Duration) {
        self.bytes = bytes(&self.open);
        (std::mem::take(&mut self.ready), pause(std::mem::take(&mut self.transactions)))
    }

    /// The open events are in the database.
    pub fn staged(&mut self) {
        self.staged += self.open.len() as u64;
        self.open.clear();
        self.bytes = bytes(&self.ready);
    }
}

fn bytes(events: &[NewEvent]) -> usize {
    events.iter().map(|event| event.payload.len()).sum()
}

fn pause(transactions: usize) -> Duration {
    let more = transactions.saturating_sub(FEW).min(1000) as u32;
    (PAUSE * more).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The transactions of a batch, once it has settled, at this rate of commits; one batch itself takes 3 ms.
    fn settled(commits_per_s: f64) -> usize {
        (0..1000).fold(1, |batch, _| (commits_per_s * (0.003 + pause(batch).as_secs_f64())) as usize)
    }

    #[test]
    fn batches_grow_only_where_commits_are_many() {
        for (commits_per_s, expected) in [(200.0, 0), (500.0, 1), (1000.0, 3), (2000.0, 46), (10_000.0, 230)] {
            assert_eq!(settled(commits_per_s), expected, "{commits_per_s}");
        }
        assert_eq!(pause(usize::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn batch_is_full_by_events_and_by_bytes() {
        let event = |bytes: usize| NewEvent { state: "a".into(), payload: "x".repeat(bytes), at_us: 0 };
        let mut pending = Pending::default();
        pending.add(vec![event(1); BATCH - 1]);
        pending.end();
        assert!(!pending.is_full());
        pending.add(vec![event(1)]);
        assert!(pending.is_full());
        assert_eq!(pending.numbered().0.len(), BATCH - 1);
        pending.add(vec![event(BATCH_BYTES)]);
        assert!(pending.is_full());
        pending.staged();
        assert!(!pending.is_full() && pending.open.is_empty() && pending.staged == 2);
    }
}
