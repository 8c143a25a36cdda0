//! What the event log and the broker tell each other: the log publishes numbered events, pages and pruning; the broker
//! asks for pages. Both ways are bounded. The sequencer may wait for the broker; the broker never waits for the
//! sequencer.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::event::Event;

/// Where the event log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Identifies the log: another one means that it was replaced, and that its numbers start afresh.
    pub log_id: u64,
    /// The smallest number still kept; `head_seq + 1` if there is none.
    pub first_seq: u64,
    /// The greatest number ever given; 0 before the first event.
    pub head_seq: u64,
}

/// A change of the event log, or a page of it.
#[derive(Debug)]
pub enum LogUpdate {
    /// Events just numbered, in order, the first one right after the last one published.
    Live(Vec<Event<'static>>),
    /// The answer to the [`PageRequest`] with this `after_seq`.
    Page {
        /// The number behind which the page begins.
        after_seq: u64,
        /// The first events after it, in order and without a hole. Empty: nothing follows `after_seq`.
        events: Vec<Event<'static>>,
        /// The smallest number that the log still keeps.
        first_seq: u64,
    },
    /// Events below `first_seq` are deleted.
    Pruned {
        /// The smallest number that the log still keeps.
        first_seq: u64,
    },
}

/// Asks for the events after this number, as many as make a page. The answer is a [`LogUpdate::Page`] with the same
/// `after_seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The number behind which the page begins.
    pub after_seq: u64,
}

/// The event log's end of the channel to the broker. Blocks while the channel is full; does nothing once the broker
/// has ended.
#[derive(Clone)]
pub struct LogPublisher {
    updates: Sender<LogUpdate>,
    wake_receiver: Arc<dyn Fn() + Send + Sync>,
}

impl LogPublisher {
    /// `wake_receiver` is called after each update sent, since the receiver may be waiting for something other than
    /// this channel.
    pub fn new(updates: Sender<LogUpdate>, wake_receiver: impl Fn() + Send + Sync + 'static) -> LogPublisher {
        LogPublisher { updates, wake_receiver: Arc::new(wake_receiver) }
    }

    /// Publishes events just numbered: in the order of their numbers, the first one right after the last one published.
    pub fn live(&self, events: Vec<Event<'static>>) {
        if !events.is_empty() {
            self.send(LogUpdate::Live(events));
        }
    }

    /// Answers a [`PageRequest`]; see [`LogUpdate::Page`].
    pub fn page(&self, after_seq: u64, events: Vec<Event<'static>>, first_seq: u64) {
        self.send(LogUpdate::Page { after_seq, events, first_seq });
    }

    /// Announces that events below `first_seq` are deleted.
    pub fn pruned(&self, first_seq: u64) {
        self.send(LogUpdate::Pruned { first_seq });
    }

    fn send(&self, update: LogUpdate) {
        if self.updates.send(update).is_ok() {
            (self.wake_receiver)();
        }
    }
}
