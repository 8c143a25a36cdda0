//! The server's messages as RSQ/1 frames. An event is encoded once, into its cache, however many subscribers receive it.
//! Never sends anything.

use super::refusal::Refusal;
use crate::{
    events::event::Event,
    fanout::{Bytes, CacheSlot, Message, Outgoing},
    wire::ServerMessage,
};
use std::cell::RefCell;

/// The slot of an event's cache that holds its RSQ/1 frame.
const SLOT: CacheSlot = CacheSlot::First;

thread_local! {
    /// Where a frame is assembled before it is copied to its one allocation. Keeps the room of the largest frame so far.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A message of the fan-out as a frame.
#[inline]
pub fn message(message: Message<'_>) -> Bytes {
    match message {
        Message::Event(event) => self::event(event).clone(),
        Message::Subscribed { seq } => frame(&ServerMessage::Subscribed { seq }),
        Message::Consuming { seq } => frame(&ServerMessage::Consuming { seq }),
        Message::Gap(gap) => frame(&ServerMessage::Gap(gap)),
    }
}

/// The event's EVENT frame.
#[inline]
pub fn event<'e>(event: &'e Outgoing<'_>) -> &'e Bytes {
    event.encoded(SLOT, |Event { seq, unix_time_us, state, payload }| {
        frame(&ServerMessage::Event { seq: *seq, unix_time_us: *unix_time_us, state, payload })
    })
}

/// The ERROR frame of a refusal.
pub fn refusal(refusal: &Refusal) -> Bytes {
    frame(&ServerMessage::Error { code: refusal.code as u16, message: &refusal.message })
}

/// Any frame.
pub fn frame(message: &ServerMessage<'_>) -> Bytes {
    SCRATCH.with_borrow_mut(|bytes| {
        bytes.clear();
        message.encode(bytes);
        bytes[..].into()
    })
}
