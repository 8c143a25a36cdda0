//! How long to wait before trying again what keeps failing. Pure: the caller does the waiting and supplies the random
//! number.

use std::time::Duration;

/// Pauses that double from the first to the longest. Part of each is random, so that peers which failed at the same
/// moment do not all return at the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    jitter: f64,
    failures: u32,
}

impl Backoff {
    /// `jitter` is the random part of each pause: 0.0 for none of it, 1.0 for all of it.
    pub const fn new(first: Duration, longest: Duration, jitter: f64) -> Backoff {
        Backoff { first, longest, jitter, failures: 0 }
    }

    /// The pause after the `failures`th failure in a row (from 1). `chance` is evenly distributed over 0.0 to 1.0.
    pub fn pause(&self, failures: u32, chance: f64) -> Duration {
        let whole = self.first.saturating_mul(1 << failures.saturating_sub(1).min(31)).min(self.longest);
        whole.mul_f64(1.0 - self.jitter * (1.0 - chance.clamp(0.0, 1.0)))
    }

    /// Counts one more failure and returns the pause after it; `chance` as for [`Backoff::pause`].
    pub fn next(&mut self, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.pause(self.failures, chance)
    }

    /// Starts over with the first pause, after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(15);

    #[test]
    fn pauses_double_up_to_the_longest_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(FIRST, LONGEST, 0.5);
        let pauses: Vec<u128> = (0..10).map(|_| backoff.next(0.0).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 6400, 7500, 7500]);
        backoff.reset();
        assert_eq!(backoff.next(1.0), FIRST);
    }

    #[test]
    fn jitter_is_the_random_part_of_a_pause() {
        for (jitter, chance, ms) in [(0.0, 0.3, 100), (0.5, 0.5, 75), (1.0, 0.0, 0), (1.0, 0.25, 25)] {
            let pause = Backoff::new(FIRST, LONGEST, jitter).pause(1, chance);
            assert_eq!(pause.as_millis(), ms, "jitter {jitter}, chance {chance}");
        }
    }

    proptest! {
        #[test]
        fn a_pause_stays_within_its_bounds_and_never_shrinks(failures in 0u32.., chance in 0.0f64..=1.0) {
            let backoff = Backoff::new(FIRST, LONGEST, 0.5);
            let pause = backoff.pause(failures, chance);
            prop_assert!(pause >= FIRST / 2 && pause <= LONGEST);
            prop_assert!(backoff.pause(failures.saturating_add(1), chance) >= pause);
        }
    }
}
