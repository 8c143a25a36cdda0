//! A limit on how often something is logged, so that neither a fault which lasts for hours nor a peer which provokes
//! warnings fills a disk. Counts what it suppresses. Pure: the caller supplies the time and writes the lines.

use std::time::{Duration, Instant};

/// Admits at most `limit` lines in an interval. An interval begins with the first line after the previous one ended.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    limit: u32,
    interval: Duration,
    began: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl Throttle {
    /// At most `limit` lines per `interval`.
    pub const fn new(limit: u32, interval: Duration) -> Throttle {
        Throttle { limit, interval, began: None, lines: 0, suppressed: 0 }
    }

    /// `None`: suppress this line. `Some(n)`: log it, and report that `n` lines were suppressed since the last report.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= self.interval) {
            (self.began, self.lines) = (Some(now), 0);
        }
        if self.lines == self.limit {
            self.suppressed += 1;
            return None;
        }
        self.lines += 1;
        Some(self.take_suppressed())
    }

    /// How many lines were suppressed since the last report. They count as reported from now on.
    pub fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    /// When the interval ends in which lines were suppressed: the time to report them even if no further line comes.
    pub fn report_at(&self) -> Option<Instant> {
        self.began.filter(|_| self.suppressed > 0).map(|began| began + self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_flood_is_limited_and_the_rest_is_counted() {
        let (mut throttle, start) = (Throttle::new(5, SECOND), Instant::now());
        assert_eq!(throttle.report_at(), None);
        let admitted = (0..12).filter(|_| throttle.admit(start).is_some()).count();
        assert_eq!(admitted, 5);
        assert_eq!(throttle.report_at(), Some(start + SECOND));
        assert_eq!(throttle.admit(start + SECOND / 2), None);
        assert_eq!(throttle.admit(start + SECOND), Some(8));
        assert_eq!(throttle.admit(start + SECOND), Some(0));
        assert_eq!((throttle.report_at(), throttle.take_suppressed()), (None, 0));
    }

    #[test]
    fn suppressed_lines_can_be_reported_without_a_further_one() {
        let (mut throttle, start) = (Throttle::new(1, SECOND), Instant::now());
        let admitted = [0, 1, 2].map(|_| throttle.admit(start));
        assert_eq!(admitted, [Some(0), None, None]);
        assert_eq!((throttle.take_suppressed(), throttle.report_at()), (2, None));
    }
}
