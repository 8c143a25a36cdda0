//! When to poll the database after a wakeup. Pure: times in, times out.

use std::time::{Duration, Instant};

/// When to look after a wakeup: it rings inside a transaction and so *before* the commit that makes its news visible.
/// Looks follow with growing backoff, the first about when a commit that was due at once can be seen; but never more
/// than 200 a second on account of bells after which nothing is found. Pure.
#[derive(Clone, Debug, Default)]
pub struct PollSchedule {
    last_poll: Option<Instant>,
    next: Option<Instant>,
    pause: Duration,
    /// Bells since something was found.
    fruitless: u8,
}

impl PollSchedule {
    const QUICK: Duration = Duration::from_micros(300);
    const SLOW: Duration = Duration::from_millis(5);
    const LAST: Duration = Duration::from_millis(640);
    /// More bells in fruitless than one job or transaction rings.
    const MAX_FRUITLESS: u8 = 8;

    pub fn notified(&mut self, now: Instant) {
        self.fruitless = self.fruitless.saturating_add(1);
        let (earliest, pause) = match self.fruitless <= PollSchedule::MAX_FRUITLESS {
            true => (now + PollSchedule::QUICK, PollSchedule::QUICK),
            false => (self.last_poll.map_or(now, |last| now.max(last + PollSchedule::SLOW)), PollSchedule::SLOW),
        };
        self.next = Some(self.next.map_or(earliest, |next| next.min(earliest)));
        self.pause = pause;
    }

    /// A look was not in fruitless: who rings has something to tell.
    pub fn found_work(&mut self) {
        self.fruitless = 0;
    }

    /// One more look is wanted, not before `at`.
    pub fn poll_again_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// When the next look is due, if one is.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// Somebody has looked, because of the wakeup or not.
    pub fn polled(&mut self, now: Instant) {
        self.last_poll = Some(now);
        if self.is_due(now) {
            let goes_on = !self.pause.is_zero() && self.pause <= PollSchedule::LAST;
            self.next = goes_on.then(|| now + self.pause);
            if goes_on {
                self.pause *= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_follow_a_bell_with_growing_pauses_and_end() {
        let start = Instant::now();
        let mut schedule = PollSchedule::default();
        assert_eq!(schedule.next(), None);
        schedule.notified(start);
        let mut looks = Vec::new();
        while let Some(next) = schedule.next() {
            looks.push((next - start).as_micros());
            schedule.polled(next);
        }
        assert_eq!(looks[..4], [300, 600, 1_200, 2_400]);
        assert_eq!((looks.len(), looks.last()), (13, Some(&1_228_800)));
    }

    /// One more look was asked for every 250 ms: after 16 s the next pause was no number any more.
    #[test]
    fn a_transaction_open_for_a_minute_does_not_end_the_daemon() {
        let (start, pause) = (Instant::now(), Duration::from_millis(250));
        let mut schedule = PollSchedule::default();
        schedule.notified(start);
        for number in 1..=240 {
            schedule.poll_again_at(start + pause * number);
            schedule.polled(start + pause * number);
        }
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn only_finds_make_looks_quick() {
        let start = Instant::now();
        let looks_in_a_second = |finds: bool| {
            let (mut schedule, mut looks) = (PollSchedule::default(), 0);
            for us in (0..1_000_000).step_by(100) {
                let now = start + Duration::from_micros(us);
                schedule.notified(now);
                if schedule.is_due(now) {
                    schedule.polled(now);
                    looks += 1;
                    if finds {
                        schedule.found_work();
                    }
                }
            }
            looks
        };
        assert!((190..=220).contains(&looks_in_a_second(false)), "{}", looks_in_a_second(false));
        assert!((2_000..=3_500).contains(&looks_in_a_second(true)), "{}", looks_in_a_second(true));
    }
}
