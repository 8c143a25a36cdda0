//! How fast jobs are claimed while none can run. Each attempt that is postponed costs a claim, an outcome and two events, and
//! each job has a pause of its own only: a queue of many jobs would go round at full speed for as long as the server is
//! read-only, say. Pure, but for the count that threads share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use super::outcome::{JobError, JobResult};
use crate::base::backoff::Backoff;

/// So many attempts in a row that were postponed show that no job can run now, or two for each worker if that is more.
const LEAST: u32 = 10;
/// The pauses between claims meanwhile.
const PAUSES: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10), 0.5);

/// How many attempts in a row were postponed. Workers count, the dispatcher reads; clones share one count.
#[derive(Clone, Debug, Default)]
pub struct Streak(Arc<AtomicU32>);

impl Streak {
    /// Notes how an attempt has ended; true if it ended a streak.
    pub fn record(&self, result: &JobResult) -> bool {
        match result {
            Err(JobError::Postponed(_)) => {
                self.0.fetch_add(1, Ordering::Relaxed);
                false
            }
            _ => self.0.swap(0, Ordering::Relaxed) > 0,
        }
    }
}

/// Limits claims to one job at a time, with growing pauses, while every attempt is postponed.
#[derive(Debug)]
pub struct Probing {
    streak: Streak,
    threshold: u32,
    pauses: Backoff,
    /// Not to claim before; None: claims are not limited.
    next: Option<Instant>,
}

impl Probing {
    /// For a pool of `workers` threads.
    pub fn new(workers: usize, streak: Streak) -> Probing {
        let threshold = LEAST.max(2 * workers as u32);
        Probing { streak, threshold, pauses: PAUSES, next: None }
    }

    /// Whether claims are limited at the moment.
    pub fn is_on(&self) -> bool {
        self.streak.0.load(Ordering::Relaxed) >= self.threshold
    }

    /// How many of `room` jobs may be claimed at `now`.
    pub fn limit(&self, room: usize, now: Instant) -> usize {
        match self.next {
            _ if !self.is_on() => room,
            Some(next) if next > now => 0,
            _ => room.min(1),
        }
    }

    /// A claim was made at `now`; `chance` is evenly distributed over 0.0 to 1.0.
    pub fn claimed(&mut self, now: Instant, chance: f64) {
        if self.is_on() {
            self.next = Some(now + self.pauses.next(chance));
        } else {
            self.next = None;
            self.pauses.reset();
        }
    }

    /// When the pause ends that `now` is in.
    pub fn pause_ends(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now && self.is_on())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_slow_down_while_every_attempt_waits_and_are_free_again_at_once() {
        let streak = Streak::default();
        let mut probing = Probing::new(2, streak.clone());
        let postponed = Err(JobError::Postponed("x".into()));
        let mut now = Instant::now();
        for _ in 1..LEAST {
            assert!(!streak.record(&postponed));
            probing.claimed(now, 1.0);
            assert_eq!(probing.limit(7, now), 7);
        }
        streak.record(&postponed);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert_eq!(probing.limit(7, now), 1);
            probing.claimed(now, 1.0);
            let end = probing.pause_ends(now).expect("a pause");
            assert_eq!(probing.limit(7, now), 0);
            pauses.push((end - now).as_millis());
            now = end;
        }
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 10_000]);
        assert!(streak.record(&Ok(None)) && !streak.record(&Ok(None)));
        assert_eq!((probing.limit(7, now), probing.pause_ends(now)), (7, None));
        // The next outage begins with the first pause.
        probing.claimed(now, 1.0);
        (0..LEAST).for_each(|_| assert!(!streak.record(&postponed)));
        assert_eq!(probing.limit(7, now), 1);
        probing.claimed(now, 1.0);
        assert_eq!(probing.pause_ends(now), Some(now + Duration::from_millis(500)));
    }

    #[test]
    fn a_failed_attempt_shows_that_jobs_can_run_and_many_workers_need_more_evidence() {
        let streak = Streak::default();
        let probing = Probing::new(20, streak.clone());
        for (count, is_on) in [(39, false), (40, true)] {
            streak.record(&Err(JobError::Failed("x".into())));
            (0..count).for_each(|_| assert!(!streak.record(&Err(JobError::Postponed("x".into())))));
            assert_eq!(probing.is_on(), is_on, "{count}");
        }
    }
}
