//! Where the sequencer's polls of the outbox begin, so that they do not search through deleted entries. Pure.

use std::time::Instant;

use super::settings::FLOOR_LAG;

/// The outbox id at which polls start that are not full: below every event of an open transaction, so that an event
/// which commits late is not overtaken by one that it caused.
#[derive(Default)]
pub struct Floor {
    /// The greatest outbox id that such a poll leaves out.
    pub id: u64,
    /// What the last two full polls would have made the floor: a transaction may have drawn its id by then and not written
    /// its row yet. Of the two times that passed since, the server may have stood still in one.
    pending: [u64; 2],
    greatest_numbered: u64,
    raised_at: Option<Instant>,
}

impl Floor {
    /// Notes the greatest outbox id that was numbered.
    pub fn numbered(&mut self, id: Option<u64>) {
        self.greatest_numbered = self.greatest_numbered.max(id.unwrap_or(0));
    }

    /// After a full poll at `at`. `oldest`: the least id in the outbox, of an open transaction or not. Within the lag of
    /// the last time nothing changes: full polls may follow each other at once, as behind an error.
    pub fn raise(&mut self, oldest: Option<u64>, at: Instant) {
        if self.raised_at.is_some_and(|last| at < last + FLOOR_LAG) {
            return;
        }
        self.raised_at = Some(at);
        let now = oldest.map_or(self.greatest_numbered, |id| id - 1);
        let [first, second] = self.pending;
        self.id = first.min(second).min(now);
        self.pending = [second, now];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floor_is_behind_three_full_polls_and_their_lag() {
        let (mut floor, start) = (Floor::default(), Instant::now());
        floor.numbered(Some(9));
        let mut id = |oldest, lags: f64| {
            floor.raise(oldest, start + FLOOR_LAG.mul_f64(lags));
            floor.id
        };
        assert_eq!(id(None, 0.0), 0, "a transaction may have drawn 9 and not written it");
        assert_eq!(id(None, 0.1), 0, "or be about to write it still");
        assert_eq!(id(None, 1.0), 0, "or have been stopped with the server");
        assert_eq!(id(None, 2.0), 9);
        assert_eq!(id(Some(5), 3.0), 4, "one had been open");
        assert_eq!(id(None, 3.5), 4);
        assert_eq!(id(None, 4.0), 4);
        assert_eq!(id(None, 5.0), 4);
        assert_eq!(id(None, 6.0), 9);
    }
}
