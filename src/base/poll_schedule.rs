//! When to poll the database after a notification. Pure: times in, times out.

use std::time::{Duration, Instant};

/// The polls that follow a notification. A notification is sent inside a transaction, so it arrives *before* the commit
/// that makes the rows visible. Polls follow with growing pauses; the first is timed for a commit that follows at once.
/// While notifications lead to no work, there are at most 200 polls a second, however many arrive.
#[derive(Clone, Debug, Default)]
pub struct PollSchedule {
    last_poll: Option<Instant>,
    next: Option<Instant>,
    pause: Duration,
    /// Notifications since a poll found work.
    fruitless: u8,
}

impl PollSchedule {
    const QUICK: Duration = Duration::from_micros(300);
    const SLOW: Duration = Duration::from_millis(5);
    const LAST: Duration = Duration::from_millis(640);
    /// Fruitless notifications before polls slow down. A single job or transaction causes fewer.
    const MAX_FRUITLESS: u8 = 8;

    /// A notification arrived at `now`.
    pub fn notified(&mut self, now: Instant) {
        self.wake(now, PollSchedule::QUICK);
    }

    /// A notification arrived at `now` that was sent with the commit: the rows are visible, or will be in a moment.
    pub fn committed(&mut self, now: Instant) {
        self.wake(now, Duration::ZERO);
    }

    fn wake(&mut self, now: Instant, first: Duration) {
        self.fruitless = self.fruitless.saturating_add(1);
        let (earliest, pause) = match self.fruitless <= PollSchedule::MAX_FRUITLESS {
            true => (now + first, PollSchedule::QUICK),
            false => (self.last_poll.map_or(now, |last| now.max(last + PollSchedule::SLOW)), PollSchedule::SLOW),
        };
        self.next = Some(self.next.map_or(earliest, |next| next.min(earliest)));
        self.pause = pause;
    }

    /// The last poll found work, so notifications are followed quickly again.
    pub fn found_work(&mut self) {
        self.fruitless = 0;
    }

    /// Asks for one more poll, not before `at`.
    pub fn poll_again_at(&mut self, at: Instant) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// When the next poll is due; `None`: not before the next notification.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Whether a poll is due at `now`.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// A poll ended at `now`, whatever its reason was.
    pub fn polled(&mut self, now: Instant) {
        self.last_poll = Some(now);
        if self.is_due(now) {
            let continues = !self.pause.is_zero() && self.pause <= PollSchedule::LAST;
            self.next = continues.then(|| now + self.pause);
            if continues {
                self.pause *= 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_follow_a_wakeup_with_growing_pauses_and_end() {
        type Wake = fn(&mut PollSchedule, Instant);
        let start = Instant::now();
        // A server sends a commit to those who read its binary log before it lets go of the rows: the first poll may be early.
        for (wake, expected) in [
            (PollSchedule::notified as Wake, [300, 600, 1_200, 2_400]),
            (PollSchedule::committed as Wake, [0, 300, 900, 2_100]),
        ] {
            let mut schedule = PollSchedule::default();
            assert_eq!(schedule.next(), None);
            wake(&mut schedule, start);
            let mut polls = Vec::new();
            while let Some(next) = schedule.next() {
                polls.push((next - start).as_micros());
                schedule.polled(next);
            }
            assert_eq!(polls[..4], expected);
            assert_eq!((polls.len(), polls.last()), (13, Some(&(expected[0] + 1_228_500))));
        }
    }

    /// One more poll was requested every 250 ms, and after 16 s the doubled pause overflowed.
    #[test]
    fn pause_does_not_overflow_while_a_transaction_stays_open() {
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
    fn polls_slow_down_unless_they_find_work() {
        let start = Instant::now();
        let polls_in_a_second = |finds_work: bool| {
            let (mut schedule, mut polls) = (PollSchedule::default(), 0);
            for us in (0..1_000_000).step_by(100) {
                let now = start + Duration::from_micros(us);
                schedule.notified(now);
                if schedule.is_due(now) {
                    schedule.polled(now);
                    polls += 1;
                    if finds_work {
                        schedule.found_work();
                    }
                }
            }
            polls
        };
        assert!((190..=220).contains(&polls_in_a_second(false)), "{}", polls_in_a_second(false));
        assert!((2_000..=3_500).contains(&polls_in_a_second(true)), "{}", polls_in_a_second(true));
    }
}
