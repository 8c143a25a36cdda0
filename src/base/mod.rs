//! Building blocks for every other module: time, threads, wakeups, backoff, throttling, text, TLS, health and metrics. Knows
//! no database and no protocol. The modules without a `cfg` need no dependency and are shared with the loadable functions.

pub mod address;
pub mod backoff;
pub mod send_queue;
pub mod throttle;

#[cfg(feature = "tls")]
pub mod tls;

#[cfg(feature = "client")]
pub mod exact;
#[cfg(feature = "client")]
pub mod failure;
#[cfg(all(unix, feature = "client"))]
pub mod readiness;
#[cfg(feature = "client")]
pub mod text;

#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
pub mod health;
#[cfg(feature = "daemon")]
pub mod heartbeat;
#[cfg(feature = "daemon")]
pub mod history;
#[cfg(feature = "daemon")]
pub mod metrics;
#[cfg(feature = "daemon")]
pub mod poll_schedule;
#[cfg(feature = "daemon")]
pub mod threads;
#[cfg(feature = "daemon")]
pub mod wakeup;
