//! What every part of the program shares and no part owns: time, threads, wakeups, backoff and text. Nothing here knows
//! a database, a socket or a protocol.

pub mod backoff;
pub mod throttle;

#[cfg(feature = "client")]
pub mod failure;
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
