//! What every other module may use: time, threads, wakeups, backoff, throttling and text. Never knows a database or a
//! protocol. What has no `cfg` here needs no dependency and is shared with the loadable function.

pub mod address;
pub mod backoff;
pub mod send_queue;
pub mod throttle;

#[cfg(feature = "client")]
pub mod failure;
#[cfg(all(unix, feature = "client"))]
pub mod readiness;
#[cfg(feature = "client")]
pub mod text;

#[cfg(feature = "daemon")]
pub mod clock;
#[cfg(feature = "daemon")]
pub mod poll_schedule;
#[cfg(feature = "daemon")]
pub mod threads;
#[cfg(feature = "daemon")]
pub mod wakeup;
