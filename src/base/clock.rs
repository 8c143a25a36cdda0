//! The steady clock as the daemon's roles see it, and their backoff. One place, so that a simulation can put a clock of
//! its own there; nothing here knows the date, which is the server's.

#[cfg(not(test))]
use std::time::Instant;

#[cfg(not(test))]
pub use std::thread::sleep;
#[cfg(test)]
pub use virtual_clock::{now, sleep};

/// What the time is.
#[cfg(not(test))]
pub fn now() -> Instant {
    Instant::now()
}

/// The thread's real clock, or the one that a simulation on this thread has put in its place.
#[cfg(test)]
pub mod virtual_clock {
    use std::{
        cell::Cell,
        time::{Duration, Instant},
    };

    /// What the time is, and how to let it pass.
    #[derive(Clone, Copy)]
    pub struct Clock {
        pub now: fn() -> Instant,
        pub sleep: fn(Duration),
    }

    /// The thread's own.
    pub const REAL: Clock = Clock { now: Instant::now, sleep: std::thread::sleep };

    thread_local! {
        static CLOCK: Cell<Clock> = const { Cell::new(REAL) };
    }

    /// From now on this thread goes by `clock`.
    pub fn set(clock: Clock) {
        CLOCK.set(clock);
    }

    pub fn now() -> Instant {
        (CLOCK.get().now)()
    }

    pub fn sleep(pause: Duration) {
        (CLOCK.get().sleep)(pause);
    }
}
