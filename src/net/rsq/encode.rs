//! The server's messages as RSQ/1 frames. An event is encoded once, into its cache, however many subscribers receive it.
//! Never sends anything.

use super::session::Refusal;
use crate::{
    events::event::{CacheSlot, Event},
    fanout::Message,
    wire::ServerMessage,
};
use std::sync::Arc;

/// The slot of an event's cache that holds its RSQ/1 frame.
const SLOT: CacheSlot = CacheSlot::First;

/// Bytes of an EVENT frame besides state and payload: length, type, sequence number, time, length of the state.
const EVENT_OVERHEAD: usize = 4 + 1 + 8 + 8 + 2;

/// A message of the fan-out as a frame.
pub fn message(message: Message<'_>) -> Arc<[u8]> {
    match message {
        Message::Event(event) => self::event(event).clone(),
        Message::Subscribed { seq } => frame(&ServerMessage::Subscribed { seq }),
        Message::Gap(gap) => frame(&ServerMessage::Gap(gap)),
    }
}

/// The event's EVENT frame.
pub fn event(event: &Event) -> &Arc<[u8]> {
    event.encoded(SLOT, |Event { seq, unix_time_us, state, payload, .. }| {
        let mut bytes = Vec::with_capacity(EVENT_OVERHEAD + state.len() + payload.len());
        let message = ServerMessage::Event { seq: *seq, unix_time_us: *unix_time_us, state, payload };
        message.encode(&mut bytes);
        bytes.into()
    })
}

/// The ERROR frame of a refusal.
pub fn refusal(refusal: &Refusal) -> Arc<[u8]> {
    frame(&ServerMessage::Error { code: refusal.code as u16, message: &refusal.message })
}

/// Any other frame.
pub fn frame(message: &ServerMessage<'_>) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(64);
    message.encode(&mut bytes);
    bytes.into()
}
