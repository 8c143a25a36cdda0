//! Numbers what was decoded, together with the position behind it, and hands it over to the sequencer. Owns what is pending
//! and how far the log was read; holds one session of reading, which the first error ends.

use std::time::{Duration, Instant};

use mysql::Conn;

use super::{
    pending::Pending,
    position::Position,
    transactions::{Item, NewEvent, Step},
    watch_store::{self as store, Place},
};
use crate::{
    base::clock::now,
    db::{Error, Link},
    events::{
        event::Event,
        numbered::{HandOver, Numbered},
    },
};

/// How often the lease is renewed, and the position stored, while nothing is to be numbered.
pub const SAVE_EVERY: Duration = Duration::from_secs(2);

/// One session's.
pub struct Numbering<'a> {
    /// Its connection.
    pub link: &'a mut Link,
    /// Who has the lease.
    pub owner: &'a str,
    /// To the sequencer.
    pub hand_over: &'a HandOver,
    /// Up to where the log was read: behind the last transaction that has ended.
    pub position: Position,
    /// The position in the database.
    stored: Position,
    pending: Pending,
    saved: Instant,
    not_before: Instant,
}

impl<'a> Numbering<'a> {
    /// Begins behind `position`.
    pub fn new(link: &'a mut Link, owner: &'a str, hand_over: &'a HandOver, position: Position) -> Numbering<'a> {
        let now = now();
        let stored = position.clone();
        Numbering { link, owner, hand_over, position, stored, pending: Pending::default(), saved: now, not_before: now }
    }

    /// How long more should be waited for before the next [`take`](Numbering::take).
    pub fn pause(&self) -> Duration {
        self.not_before.saturating_duration_since(now())
    }

    /// Numbers what these complete. What belongs to a large transaction is staged, and numbered at its end.
    ///
    /// # Errors
    /// The server's, or another daemon has the lease.
    pub fn take(&mut self, items: Vec<Item>) -> Result<(), Error> {
        for item in items {
            self.add(item)?;
            if self.pending.is_full() {
                self.flush()?;
            }
        }
        self.flush()
    }

    fn add(&mut self, item: Item) -> Result<(), Error> {
        match item {
            Item::Idle => {}
            Item::Piece(events) => self.pending.add(events),
            Item::RolledBack(step) => {
                self.pending.open.clear();
                if self.pending.staged > 0 {
                    self.link.run(store::clear_staged)?;
                    self.pending.staged = 0;
                }
                self.position.advance(&step);
            }
            Item::End(events, step) => {
                self.pending.add(events);
                if self.pending.staged == 0 {
                    self.pending.end();
                    self.position.advance(&step);
                } else {
                    self.end_staged(&step)?;
                }
            }
        }
        Ok(())
    }

    fn end_staged(&mut self, step: &Step) -> Result<(), Error> {
        self.stage()?;
        self.position.advance(step);
        let (owner, staged, position) = (self.owner, self.pending.staged, &self.position);
        let numbered = once(self.link, &self.stored, |conn| store::number_staged(conn, owner, staged, position));
        // They may be too many for memory, and after an error they may be numbered all the same.
        self.hand_over.announce();
        numbered?;
        self.stored.clone_from(&self.position);
        self.pending.staged = 0;
        self.link.run(store::clear_staged)
    }

    fn stage(&mut self) -> Result<(), Error> {
        let (owner, open, staged) = (self.owner, &self.pending.open, self.pending.staged);
        if !open.is_empty() {
            self.link.run(|conn| store::stage(conn, owner, open, staged))?;
        }
        self.pending.staged();
        Ok(())
    }

    /// Numbers what is ready; stages what is open and large; stores the position now and then where there is neither.
    fn flush(&mut self) -> Result<(), Error> {
        if !self.pending.ready.is_empty() {
            let (owner, ready, position) = (self.owner, &self.pending.ready, &self.position);
            let place = once(self.link, &self.stored, |conn| store::number(conn, owner, ready, position));
            // After an error, they may be numbered all the same.
            let place = place.inspect_err(|_| self.hand_over.announce())?;
            self.stored.clone_from(&self.position);
            let (ready, pause) = self.pending.numbered();
            self.hand_over.give(numbered(place, ready));
            self.saved = now();
            self.not_before = self.saved + pause;
        }
        if self.pending.is_full() {
            self.stage()?;
            self.saved = now();
        }
        if now() - self.saved >= SAVE_EVERY {
            let (owner, position) = (self.owner, &self.position);
            self.link.run(|conn| store::save(conn, owner, position))?;
            self.stored.clone_from(&self.position);
            self.saved = now();
        }
        Ok(())
    }
}

/// Runs a transaction that numbers events. It is repeated after a lost race only if `stored` is still the position in the
/// database: a cluster reports a lost race where a node was cut off during a COMMIT that the others carried out.
fn once<T>(
    link: &mut Link,
    stored: &Position,
    mut transaction: impl FnMut(&mut Conn) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut is_repeated = false;
    link.run(|conn| {
        if std::mem::replace(&mut is_repeated, true) && store::read(conn)?.as_ref() != Some(stored) {
            return Err(Error::Corrupt(store::DISPLACED));
        }
        transaction(conn)
    })
}

/// These events with their numbers, of which the last is the head.
fn numbered(place: Place, events: Vec<NewEvent>) -> Numbered {
    let first = place.head_seq + 1 - events.len() as u64;
    let numbers = (first..).zip(events);
    let events =
        numbers.map(|(seq, NewEvent { state, payload, at_us })| Event::new(seq, at_us, state, payload.into_bytes()));
    Numbered { log_id: place.log_id, after_at: place.before_at, events: events.collect() }
}
