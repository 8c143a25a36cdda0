//! The daemon's monotonic clock: every role reads the time here, so that a simulation can replace it. Never provides the
//! date, which comes from the database server.

#[cfg(not(test))]
use std::time::Instant;

#[cfg(not(test))]
pub use std::thread::sleep;
#[cfg(test)]
pub use virtual_clock::{now, sleep};

/// The current time.
#[cfg(not(test))]
pub fn now() -> Instant {
    Instant::now()
}

/// The clock of this thread: the real one, or the one that a simulation on this thread has set.
#[cfg(test)]
pub mod virtual_clock {
    use std::{
        cell::Cell,
        time::{Duration, Instant},
    };

    /// How to read the time and how to sleep.
    #[derive(Clone, Copy)]
    pub struct Clock {
        pub now: fn() -> Instant,
        pub sleep: fn(Duration),
    }

    /// The system's clock.
    pub const REAL: Clock = Clock { now: Instant::now, sleep: std::thread::sleep };

    thread_local! {
        static CLOCK: Cell<Clock> = const { Cell::new(REAL) };
    }

    /// Replaces the clock of this thread.
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
