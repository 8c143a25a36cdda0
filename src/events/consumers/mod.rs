//! Positions in the event log that the server keeps for consumers: what the broker and the thread that keeps them tell each
//! other. The broker asks without ever waiting, and holds what each connection has acknowledged; the thread writes it to the
//! table `res_consumer`. Also finds where in the log a time lies.
//!
//! A consumer has one holder at a time, a random number in its row. Who takes it over draws a new one, and only the holder's
//! positions are written; so two daemons never write to one consumer, however late each notices the other.

pub mod admin;
mod keeper;
mod store;
mod thread;

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::wire::Start;

pub(crate) use keeper::{ConsumerStore, Keeper};
pub(crate) use store::SqlConsumers;
pub use thread::{CONNECTIONS, ConsumersThread};

/// Requests that wait for the thread. Further ones wait at the broker.
const REQUESTS: usize = 64;
/// Answers that wait for the broker. Beyond that the thread waits.
const ANSWERS: usize = 256;

/// What the broker asks for. A ticket is returned with the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerRequest {
    /// Find the number after which the events from this time on follow.
    Locate {
        /// To be returned.
        ticket: u64,
        /// Microseconds since 1970.
        unix_time_us: u64,
    },
    /// Take a consumer over, or create it.
    Take {
        /// To be returned.
        ticket: u64,
        /// Which consumer, for whom.
        claim: Claim,
    },
    /// Store positions.
    Store(Vec<Progress>),
}

/// A connection that wants a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The consumer's name.
    pub name: Box<str>,
    /// Where it begins if it is new.
    pub start: Start,
    /// The head of the log, for one that begins now.
    pub head_seq: u64,
    /// The connection, for people.
    pub client: String,
    /// What it consumes, for people.
    pub states: String,
}

/// How far the holder of a consumer has got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The consumer's name.
    pub name: Box<str>,
    /// Who has got there.
    pub holder: u64,
    /// Everything up to this number is done.
    pub position: u64,
    /// The holder has left.
    pub is_last: bool,
}

/// A consumer just taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The new holder.
    pub holder: u64,
    /// Its position.
    pub position: u64,
}

/// Why a holder has lost its consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Another daemon's connection has taken it over.
    TakenOver,
    /// An operator has moved or removed it.
    Moved,
}

/// What the thread answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerAnswer {
    /// To [`ConsumerRequest::Locate`].
    Located {
        /// The request's.
        ticket: u64,
        /// The events from the time on follow this number.
        after_seq: u64,
    },
    /// To [`ConsumerRequest::Take`].
    Taken {
        /// The request's.
        ticket: u64,
        /// The new holder, and where it begins.
        taken: Taken,
    },
    /// To either: it cannot be done now.
    Failed {
        /// The request's.
        ticket: u64,
        /// There are too many consumers; otherwise the database did not do it.
        is_full: bool,
    },
    /// To none: this holder is one no more.
    Lost {
        /// The consumer's name.
        name: Box<str>,
        /// Who has lost it.
        holder: u64,
        /// Why.
        loss: Loss,
    },
}

/// The end of the thread: requests, and where answers go. It ends with the broker.
#[derive(Clone)]
pub struct ConsumersEnd {
    /// In the order in which they are to be carried out.
    pub requests: Receiver<ConsumerRequest>,
    answers: Sender<ConsumerAnswer>,
    wake_broker: Arc<dyn Fn() + Send + Sync>,
}

/// Both ends: the broker's sender and answers, and the thread's. `wake_broker` is called after each answer sent.
pub fn handoff(
    wake_broker: impl Fn() + Send + Sync + 'static,
) -> (Sender<ConsumerRequest>, Receiver<ConsumerAnswer>, ConsumersEnd) {
    let (sender, requests) = bounded(REQUESTS);
    let (answers, arriving) = bounded(ANSWERS);
    (sender, arriving, ConsumersEnd { requests, answers, wake_broker: Arc::new(wake_broker) })
}

impl ConsumersEnd {
    /// Sends an answer; does nothing once the broker has ended.
    pub fn answer(&self, answer: ConsumerAnswer) {
        if self.answers.send(answer).is_ok() {
            (self.wake_broker)();
        }
    }
}
