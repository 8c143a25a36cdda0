//! The seam between the broker and the event log: what the journal tells the broker (numbered events, pages, pruning)
//! and what the broker asks the journal for. Both ways are bounded; the journal may wait for the broker, the broker
//! never waits for the journal and never touches the database.

use crate::wire::{Error, MAX_PAYLOAD, ServerMessage, State};
use crossbeam_channel::Sender;
use mio::Waker;
use std::sync::Arc;

/// A durable event, written into its EVENT frame once, which all its subscribers share.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    pub seq: u64,
    pub state: Box<str>,
    pub frame: Arc<[u8]>,
}

impl Event {
    /// `unix_time_us`: when it was written. An error where no frame can carry it.
    pub fn new(seq: u64, unix_time_us: u64, state: &str, payload: &[u8]) -> Result<Event, Error> {
        State::new(state)?;
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD });
        }
        let mut frame = Vec::with_capacity(payload.len() + state.len() + 32);
        ServerMessage::Event { seq, unix_time_us, state, payload }.encode(&mut frame);
        Ok(Event { seq, state: state.into(), frame: frame.into() })
    }
}

/// Where the log begins and ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogHead {
    pub log_id: u64,
    /// The smallest number still kept; `head_seq + 1` if there is none.
    pub first_seq: u64,
    /// The greatest number ever given; 0 before the first event.
    pub head_seq: u64,
}

/// A question of the broker: the events after this number, as many as make a page. The answer is
/// [`LogPublisher::page`] with the same `after_seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    pub after_seq: u64,
}

#[derive(Debug)]
pub enum LogUpdate {
    Live(Vec<Arc<Event>>),
    Page { after_seq: u64, events: Vec<Arc<Event>>, first_seq: u64 },
    Pruned { first_seq: u64 },
}

/// The journal's end: tells the broker what is new in the log. Waits where the broker is behind; does nothing when
/// the broker has gone.
#[derive(Clone)]
pub struct LogPublisher {
    pub(crate) news: Sender<LogUpdate>,
    pub(crate) waker: Arc<Waker>,
}

impl LogPublisher {
    /// Events just numbered: in the order of their numbers, the first one right after the last one told.
    pub fn live(&self, events: Vec<Arc<Event>>) {
        if !events.is_empty() {
            self.tell(LogUpdate::Live(events));
        }
    }

    /// The answer to a [`Read`]: the first events after `after_seq`, in order and without a hole, and the smallest
    /// number that the log still keeps. No events: there is nothing after `after_seq`.
    pub fn page(&self, after_seq: u64, events: Vec<Arc<Event>>, first_seq: u64) {
        self.tell(LogUpdate::Page { after_seq, events, first_seq });
    }

    /// Events below `first_seq` are gone.
    pub fn pruned(&self, first_seq: u64) {
        self.tell(LogUpdate::Pruned { first_seq });
    }

    /// One that nobody but `news` hears.
    #[cfg(test)]
    pub(crate) fn overheard_by(news: Sender<LogUpdate>, waker: &Arc<Waker>) -> LogPublisher {
        LogPublisher { news, waker: waker.clone() }
    }

    fn tell(&self, news: LogUpdate) {
        if self.news.send(news).is_ok()
            && let Err(error) = self.waker.wake()
        {
            log::error!("cannot wake the broker: {error}");
        }
    }
}
