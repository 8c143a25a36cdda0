//! Every limit of the broker that is not a setting, in one place, each with what happens there.

use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Limits {
    /// A peer that has not sent its whole HELLO by then gets ERROR 10.
    pub hello_timeout: Duration,
    /// Every peer is PINGed this often; who sends no byte for as long after it gets ERROR 10.
    pub ping_interval: Duration,
    /// A peer whose socket takes not one byte for so long while some are queued gets ERROR 7.
    pub stuck_timeout: Duration,
    /// How long a peer that is being sent away may take to read why, and the broker to say so when it stops.
    pub farewell: Duration,
    /// Peers beyond get ERROR 9.
    pub max_connections: usize,
    /// Bytes queued for one peer. Beyond, durable events wait in the log, ephemeral ones are dropped and counted, and
    /// the peer's own frames are no longer read.
    pub queue_bytes: usize,
    /// The newest durable events, kept for subscribers that fell behind a little; older ones are read from the log.
    pub recent_bytes: usize,
    pub recent_events: usize,
    /// PageRequests to the log that wait for an answer; further subscribers wait for a free place.
    pub reads: usize,
    /// LogUpdate from the log that wait to be taken; then the journal waits (it may, the broker never does).
    pub news: usize,
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
            recent_bytes: 8 << 20,
            recent_events: 8_192,
            reads: 64,
            news: 64,
        }
    }
}

/// Bytes read from one peer before the others have their turn; also the size of the one buffer for reading.
pub const READ_BUDGET: usize = 64 << 10;

/// Bytes written to one peer before the others have their turn.
pub const WRITE_BUDGET: usize = 256 << 10;

/// Events looked through for one subscriber before the others have their turn.
pub const SCAN_BUDGET: usize = 1_024;
