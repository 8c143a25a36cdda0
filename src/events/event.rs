//! An event as all parts of the daemon know it: neutral, without any wire format.

use std::borrow::Cow;

/// One announced change of state. Borrows its text while it passes through, owns it where it is kept.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Its number in the event log, from 1 and without holes; 0: ephemeral, in no log.
    pub seq: u64,
    /// When it was written, in microseconds since 1970, by the clock of the server that wrote it.
    pub unix_time_us: u64,
    /// Its state; what subscriptions match.
    pub state: Cow<'a, str>,
    /// Its payload, by convention JSON; not interpreted.
    pub payload: Cow<'a, [u8]>,
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
        Event { seq, unix_time_us, state: state.into(), payload: payload.into() }
    }

    /// Bytes of state and payload together: its size before any encoding.
    pub fn bytes(&self) -> usize {
        self.state.len() + self.payload.len()
    }
}
