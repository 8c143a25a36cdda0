//! Where the fan-out puts what a subscriber gets: the seam to the transport, which implements it.

use crate::{events::event::Event, wire::Gap};

/// What a subscriber gets, in the order in which it is pushed.
#[derive(Clone, Copy, Debug)]
pub enum Message<'a> {
    /// The subscription stands, and is complete up to the number `seq`.
    Subscribed {
        /// The number after which durable events follow.
        seq: u64,
    },
    /// An event that the subscription matches; `seq` 0: ephemeral.
    Event(&'a Event),
    /// What the subscriber did not get.
    Gap(Gap),
}

/// One subscriber's way out.
pub trait Sink {
    /// Whether this event fits into what may be queued. An empty queue takes an event of any size.
    fn has_room(&self, event: &Event) -> bool;

    /// Offers what is queued to the subscriber at once, as far as it takes any without blocking.
    fn flush(&mut self);

    /// Queues a message. Events are pushed only where there is room; the other messages are small and always pushed.
    fn push(&mut self, message: Message<'_>);

    /// Has [`Fanout::drained`](super::Fanout::drained) called once everything queued is written, even if nothing is
    /// pushed before.
    fn request_turn(&mut self);

    /// Makes room for this event if that is possible without blocking, so that only a subscriber that does not read is
    /// slow.
    fn make_room(&mut self, event: &Event) -> bool {
        if !self.has_room(event) {
            self.flush();
        }
        self.has_room(event)
    }
}

/// The sinks of all subscribers.
pub trait Sinks {
    /// The sink of this subscriber; None if it is gone.
    fn sink(&mut self, subscriber: usize) -> Option<impl Sink>;
}
