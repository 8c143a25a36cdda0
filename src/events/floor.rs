//! Where the sequencer's polls of the outbox begin, so that they do not search through deleted entries. Pure.

/// The outbox id at which polls start that are not full: below every event of an open transaction, so that an event
/// which commits late is not overtaken by one that it caused.
#[derive(Default)]
pub struct Floor {
    /// The greatest outbox id that such a poll leaves out.
    pub id: u64,
    /// The floor after the next full poll: a transaction may have drawn its id by now and not written its row yet.
    next: u64,
    greatest_numbered: u64,
}

impl Floor {
    /// Notes the greatest outbox id that was numbered.
    pub fn numbered(&mut self, id: Option<u64>) {
        self.greatest_numbered = self.greatest_numbered.max(id.unwrap_or(0));
    }

    /// After a full poll. `oldest`: the least id in the outbox, of an open transaction or not.
    pub fn raise(&mut self, oldest: Option<u64>) {
        let now = oldest.map_or(self.greatest_numbered, |id| id - 1);
        self.id = self.next.min(now);
        self.next = now;
    }
}
