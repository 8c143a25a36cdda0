//! Events on their way from the thread that numbered them to the sequencer, which delivers them without reading them back
//! from the database. What does not fit is only announced: the sequencer reads it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::event::Event;
use crate::base::wakeup::Wakeup;

/// Batches on their way.
const BATCHES: usize = 4;

/// Events that are committed, with what the log was like in the same transaction.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// Identifies the log; see [`LogHead`](super::updates::LogHead).
    pub log_id: u64,
    /// When the event before the first of these was written, in µs since 1970; None: the log has no such event (any more).
    pub after_at: Option<u64>,
    /// In the order of their numbers, without holes.
    pub events: Vec<Event<'static>>,
}

/// The end of the thread that numbers. Never blocks.
#[derive(Clone, Debug)]
pub struct HandOver {
    batches: Sender<Numbered>,
    sequencer: Wakeup,
    is_open: Arc<AtomicBool>,
}

/// A way to hand events over to the sequencer that `sequencer` wakes.
pub fn hand_over(sequencer: Wakeup) -> (HandOver, Receiver<Numbered>) {
    let (batches, receiver) = bounded(BATCHES);
    (HandOver { batches, sequencer, is_open: Arc::default() }, receiver)
}

impl HandOver {
    /// From now until [`close`](HandOver::close), no other daemon numbers events of watched tables: this one hands over or
    /// announces all of them, so that nothing else needs to.
    pub fn open(&self) {
        self.is_open.store(true, Ordering::Relaxed);
        // What another daemon numbered before.
        self.announce();
    }

    /// Another daemon may number events of watched tables from now on.
    pub fn close(&self) {
        if self.is_open.swap(false, Ordering::Relaxed) {
            self.announce();
        }
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Hands over events that were just committed.
    pub fn give(&self, numbered: Numbered) {
        if self.batches.try_send(numbered).is_err() {
            self.announce();
        }
    }

    /// There may be events that were not handed over.
    pub fn announce(&self) {
        self.sequencer.notify();
    }
}
