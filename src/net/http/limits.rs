//! Every limit of HTTP that is not a setting, and what happens when it is reached.

use std::time::Duration;

/// The longest head of a request, in bytes; a longer one gets 431.
pub const MAX_HEAD: usize = 8 << 10;

/// The most header fields of a request; more get 431.
pub const MAX_FIELDS: usize = 64;

/// The longest body of a request, in bytes; a longer one gets 413.
pub const MAX_BODY: usize = 64 << 10;

/// Limits that tests change.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Further connections get 503 and are closed. Counted apart from the broker's clients, so that neither keeps the other
    /// out.
    pub max_connections: usize,
    /// A request's head must be complete this long after its first byte, or after the connection began: else 408.
    pub head_timeout: Duration,
    /// A request's body must be complete this long after its head: else 408.
    pub body_timeout: Duration,
    /// What is asked of the database must be answered within this time: else 503, and the connection ends.
    pub answer_timeout: Duration,
    /// A connection without a request is closed after this time.
    pub idle_timeout: Duration,
    /// A stream that has nothing else to send gets a comment after this time.
    pub comment_interval: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_connections: 2_048,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            comment_interval: Duration::from_secs(15),
        }
    }
}
