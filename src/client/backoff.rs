//! How long to wait before the next try: longer each time, up to a limit, and never in step with other clients that
//! lost the same broker at the same moment.

use std::time::Duration;

pub const SHORTEST: Duration = Duration::from_millis(100);
pub const LONGEST: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure; `random` in 0.0..1.0. At least half of the full pause, so that a first
    /// retry is not a hot loop.
    pub fn pause(&mut self, random: f64) -> Duration {
        let full = SHORTEST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        full.mul_f64(0.5 + random / 2.0)
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_again_after_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..10).map(|_| backoff.pause(0.0).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 6400, 7500, 7500]);
        assert!((0..1000).all(|_| backoff.pause(0.999) <= LONGEST));
        backoff.reset();
        assert_eq!(backoff.pause(0.999).as_millis(), 99);
    }
}
