//! The limits of the fan-out, and what happens when each is reached.

/// Events examined for one subscriber before the others have their turn.
pub const SCAN_BUDGET: usize = 1_024;

/// Pages of the event log, of at most about 1 MiB each, that are kept for consumers.
pub const KEPT_PAGES: usize = 8;

/// How much the fan-out keeps in memory and requests from the event log.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the newest durable events, before any encoding, kept for subscribers that fell behind a little; older
    /// events are read from the log.
    pub recent_bytes: usize,
    /// How many of the newest durable events are kept.
    pub recent_events: usize,
    /// Page requests that wait for an answer. Further subscribers wait until one is answered.
    pub page_requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { recent_bytes: 8 << 20, recent_events: 8_192, page_requests: 64 }
    }
}
