//! Every limit of the broker that is not a setting, and what happens when it is reached.

use super::http;
use crate::fanout;
use std::time::Duration;

/// Limits that tests and simulations change.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A peer that has not sent a complete HELLO within this time gets ERROR 10.
    pub hello_timeout: Duration,
    /// How often every peer is sent a PING. A peer that sends nothing for as long after a PING gets ERROR 10.
    pub ping_interval: Duration,
    /// A peer whose socket accepts no byte for this long, although some are queued, gets ERROR 7.
    pub stuck_timeout: Duration,
    /// How long a peer being disconnected has to read its ERROR; also the longest time that the broker takes to stop.
    pub farewell: Duration,
    /// Further peers get ERROR 9.
    pub max_connections: usize,
    /// Bytes queued for one peer. Above this, durable events stay in the event log, ephemeral events are dropped and
    /// counted, and the peer's own frames are not read.
    pub queue_bytes: usize,
    /// Updates from the event log waiting for the broker. When full, the sequencer waits.
    pub log_updates: usize,
    /// Limits of HTTP.
    pub http: http::Limits,
    /// Limits of the fan-out.
    pub fanout: fanout::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            hello_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(30),
            stuck_timeout: Duration::from_secs(60),
            farewell: Duration::from_secs(2),
            max_connections: 16_384,
            queue_bytes: 1 << 20,
            log_updates: 64,
            http: http::Limits::default(),
            fanout: fanout::Limits::default(),
        }
    }
}

/// Bytes read from one peer before the others have their turn; also the size of the one buffer for reading.
pub const READ_BUDGET: usize = 64 << 10;

/// Bytes written to one peer before the others have their turn.
pub const WRITE_BUDGET: usize = 256 << 10;
