//! The completer: records how attempts ended, many in one transaction. Owns the outcomes from the moment a worker hands
//! them over, and keeps them while the server is away. Its thread only collects them.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{
    outcome::{self, FinishedAttempt, Next, Outcome},
    progress::Progress,
    store::QueueStore,
};
use crate::{
    base::clock::{now, sleep},
    base::wakeup::Wakeup,
    db::{BACKOFF, ErrorClass, ThrottledWarning},
};

/// The most outcomes in one transaction.
const BATCH: usize = 500;
/// How long a transaction waits for more outcomes after the first.
const LINGER: Duration = Duration::from_millis(3);
/// The least time between two transactions that are not full: each commit is flushed to the disk, and the workers' own
/// statements wait for that.
const PACE: Duration = Duration::from_millis(25);
/// An error message is cut to this many characters; TEXT holds 65,535 bytes.
const LONGEST_MESSAGE: usize = 8_000;

pub struct Completer {
    store: Box<dyn QueueStore>,
    /// Notified after each commit: there are events to number.
    to_sequencer: Wakeup,
    /// Notified after those that leave a job to be retried.
    retried: Wakeup,
    max_attempts: u32,
    progress: Progress,
}

impl Completer {
    /// `max_attempts` applies to jobs that have no limit of their own.
    pub fn new(store: Box<dyn QueueStore>, to_sequencer: Wakeup, retried: Wakeup, max_attempts: u32) -> Completer {
        Completer { store, to_sequencer, retried, max_attempts, progress: Progress::new() }
    }

    /// Runs until every worker has ended and all their outcomes are recorded.
    pub fn run(mut self, finished: &Receiver<FinishedAttempt>) {
        let mut next = now();
        while let Some(first) = self.first(finished) {
            let deadline = next.max(now() + LINGER);
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(attempt) = finished.recv_deadline(deadline)
            {
                batch.push(attempt);
            }
            self.record(batch);
            next = now() + PACE;
        }
        self.progress.finish();
    }

    /// The next attempt, however long it takes; None: there will be no more. Reports progress meanwhile.
    fn first(&mut self, finished: &Receiver<FinishedAttempt>) -> Option<FinishedAttempt> {
        loop {
            let next = match self.progress.report_at() {
                Some(at) => finished.recv_deadline(at),
                None => finished.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(attempt) => return Some(attempt),
                Err(RecvTimeoutError::Timeout) => self.progress.report_due(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Decides what follows each attempt and records it, however long that takes.
    pub fn record(&mut self, attempts: Vec<FinishedAttempt>) {
        let mut outcomes: Vec<Outcome> = attempts.into_iter().map(|attempt| self.decide(attempt)).collect();
        outcomes.sort_unstable_by_key(|outcome| (outcome.attempt.job.claim_id, outcome.attempt.job.id));
        let recorded = self.write(&outcomes);
        self.to_sequencer.notify();
        if recorded < outcomes.len() {
            log::warn!(
                "queue: the lease of some jobs expired before their outcomes were recorded; discarded the outcomes, \
                 other attempts own the jobs outcomes={}",
                outcomes.len() - recorded
            );
        }
        if outcomes.iter().any(|outcome| matches!(outcome.next, Next::Retry { .. })) {
            self.retried.notify();
        }
        self.progress.record(&outcomes);
    }

    fn decide(&self, mut attempt: FinishedAttempt) -> Outcome {
        if let Err(error) = &mut attempt.result
            && let Some((end, _)) = error.message().char_indices().nth(LONGEST_MESSAGE)
        {
            error.message_mut().truncate(end);
        }
        let next = outcome::next(&attempt, self.max_attempts, fastrand::f64());
        Outcome::new(attempt, next)
    }

    /// Tries until it succeeds; returns how many outcomes were recorded. Repeating a call whose answer was lost is safe:
    /// what it recorded is no longer held under its claim and is left alone. Outcomes that the server refuses for good
    /// are found by writing them one by one, so that they do not hold up the others.
    fn write(&mut self, outcomes: &[Outcome]) -> usize {
        let mut backoff = BACKOFF;
        let mut warning = ThrottledWarning::default();
        loop {
            let error = match self.store.finish(outcomes) {
                Ok(recorded) => return recorded,
                Err(error) => error,
            };
            // No outcome is to blame for a table that the server can't find.
            let class = if error.is_missing_table() { ErrorClass::Retry } else { error.class() };
            match (class, outcomes) {
                (ErrorClass::Permanent, [_, _, ..]) => return outcomes.chunks(1).map(|one| self.write(one)).sum(),
                (ErrorClass::Permanent, [one]) if !one.is_substitute => {
                    log::error!(
                        "job {}: the server refused to record its outcome; the job ends in error error={error}",
                        one.attempt.job.id
                    );
                    return self.write(&[one.substitute(&error)]);
                }
                _ => warning.warn("outcomes can't be written", &error),
            }
            sleep(backoff.next(fastrand::f64()));
        }
    }
}
