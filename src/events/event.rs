//! An event as all parts of the daemon share it: neutral, immutable, without any wire format. Caches what a transport
//! makes of it, so that each protocol encodes an event once however many subscribers get it; never encodes by itself.

use std::{
    borrow::Cow,
    sync::{Arc, OnceLock},
};

/// One announced change of state. Borrows its text while it passes through, owns it where it is kept.
#[derive(Debug)]
pub struct Event<'a> {
    /// Its number in the event log, from 1 and without holes; 0: ephemeral, in no log.
    pub seq: u64,
    /// When it was written, in microseconds since 1970, by the clock of the server that wrote it.
    pub unix_time_us: u64,
    /// Its state; what subscriptions match.
    pub state: Cow<'a, str>,
    /// Its payload, by convention JSON; not interpreted.
    pub payload: Cow<'a, [u8]>,
    encodings: [OnceLock<Arc<[u8]>>; CacheSlot::COUNT],
}

/// A durable event, which all that keep or deliver it share.
pub type SharedEvent = Arc<Event<'static>>;

/// A place for one protocol's encoding of an event. Which protocol uses which is the transport's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheSlot {
    /// The first place.
    First,
    /// The second place.
    Second,
}

impl CacheSlot {
    const COUNT: usize = 2;
}

impl<'a> Event<'a> {
    /// Any values: whether a frame can carry them is checked where events enter, by the event log's store and by the
    /// protocol's decoder.
    pub fn new(
        seq: u64,
        unix_time_us: u64,
        state: impl Into<Cow<'a, str>>,
        payload: impl Into<Cow<'a, [u8]>>,
    ) -> Event<'a> {
        Event { seq, unix_time_us, state: state.into(), payload: payload.into(), encodings: Default::default() }
    }

    /// The bytes that `encode` makes of this event, made at the first call with this `slot` and shared by all others.
    pub fn encoded(&self, slot: CacheSlot, encode: impl FnOnce(&Event<'a>) -> Arc<[u8]>) -> &Arc<[u8]> {
        self.encodings[slot as usize].get_or_init(|| encode(self))
    }

    /// Bytes of state and payload together: its size before any encoding.
    pub fn bytes(&self) -> usize {
        self.state.len() + self.payload.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_encoded_once() {
        let event = Event::new(7, 0, "A", &b"payload"[..]);
        let first = event.encoded(CacheSlot::First, |event| event.payload.to_vec().into()).clone();
        let again = event.encoded(CacheSlot::First, |_| panic!("encoded twice"));
        assert!(Arc::ptr_eq(&first, again));
        let second = event.encoded(CacheSlot::Second, |event| event.state.as_bytes().into());
        assert_eq!((&first[..], &second[..], event.bytes()), (&b"payload"[..], &b"A"[..], 8));
    }
}
