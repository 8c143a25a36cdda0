//! Where the fan-out pushes a subscriber's messages. The transport implements it; the fan-out never learns what it is.

use super::outgoing::Outgoing;
use crate::wire::Gap;

/// What is sent to a subscriber, in the order in which it is pushed.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// The subscription is in effect, and complete up to the number `seq`.
    Subscribed {
        /// The number after which durable events follow.
        seq: u64,
    },
    /// The subscription is a consumer's, with this position.
    Consuming {
        /// The number after which durable events follow.
        seq: u64,
    },
    /// An event that the subscription matches; `seq` 0: ephemeral.
    Event(&'a Outgoing<'a>),
    /// Events that the subscriber did not receive.
    Gap(Gap),
}

/// The queue of one subscriber's messages.
pub trait Sink {
    /// Whether this event may be queued as well. An empty queue accepts an event of any size.
    fn has_room(&self, event: &Outgoing<'_>) -> bool;

    /// Sends queued messages at once, as far as the subscriber accepts them without blocking.
    fn flush(&mut self);

    /// Queues a message. Events are pushed only if there is room; other messages are small and always pushed.
    fn push(&mut self, message: Message<'_>);

    /// Requests a call of [`Fanout::drained`](super::Fanout::drained) once everything queued is written, even if nothing
    /// is pushed before.
    fn request_turn(&mut self);

    /// Makes room for this event if that is possible without blocking, so that only a subscriber that does not read counts
    /// as slow. False: there is none.
    #[inline(always)]
    fn make_room(&mut self, event: &Outgoing<'_>) -> bool {
        self.has_room(event) || {
            self.flush();
            self.has_room(event)
        }
    }
}

/// The sinks of all subscribers.
pub trait Sinks {
    /// The sink of this subscriber; None if it has left.
    fn sink(&mut self, subscriber: usize) -> Option<impl Sink>;
}
