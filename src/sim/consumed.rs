//! The part of the oracle that watches the consumer: a position is never beyond what its holders have done, never goes back,
//! and is written by its holder alone.

use std::collections::BTreeMap;

use super::{rows::Change, tables::ConsumerRow};
use crate::events::consumers::Taken;

#[derive(Debug, Default)]
pub struct Consumed {
    /// What each holder has acknowledged, gaps of pruned events included.
    acknowledged: BTreeMap<u64, u64>,
    /// The greatest of these: without a hole, since each holder begins at or below it.
    up_to: u64,
}

impl Consumed {
    pub fn taken(&self, Taken { holder, position }: Taken, first_seq: u64) {
        let done = self.up_to.max(first_seq.saturating_sub(1));
        assert!(position <= done, "{holder} begins after {position}, and only {done} are done: events are skipped");
    }

    pub fn acknowledged(&mut self, holder: u64, seq: u64) {
        let before = self.acknowledged.insert(holder, seq);
        assert!(before <= Some(seq), "{holder} takes an acknowledgement back");
        self.up_to = self.up_to.max(seq);
    }

    pub fn changed(&mut self, Change { old, new, .. }: &Change<ConsumerRow>) {
        let Some(ConsumerRow { holder, position }) = new else { panic!("the consumer was deleted") };
        let (old_holder, old_position) = old.as_ref().map_or((0, 0), |row| (row.holder, row.position));
        if old_holder != *holder {
            assert_eq!(old_position, *position, "{holder} moved the consumer when it took it");
            assert!(!self.acknowledged.contains_key(holder), "{holder} took the consumer twice");
            return;
        }
        assert!(old_position <= *position, "{holder} moved the consumer back from {old_position} to {position}");
        let done = self.acknowledged.get(holder).copied().unwrap_or_default();
        assert!(*position <= done, "{position} was stored, and {holder} has acknowledged {done}");
    }

    pub fn up_to(&self) -> u64 {
        self.up_to
    }
}
