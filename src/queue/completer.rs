//! The completer: records how attempts ended, many in one transaction. Owns the outcomes from the moment a worker hands
//! them over, and keeps them while the server is away. Its thread only collects them.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{
    outcome::{self, FinishedAttempt, JobError, Next, Outcome},
    postponed::Postponed,
    progress::Progress,
    store::{Change, QueueStore},
};
use crate::{
    base::clock::{now, sleep},
    base::heartbeat,
    base::metrics::Metrics,
    base::wakeup::Wakeup,
    db::{
        BACKOFF, Error, ErrorClass, ThrottledWarning,
        codes::*,
        quarantine::{Quarantine, isolate},
        quarantine_report::Reporter,
    },
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
    postponed: Postponed,
    progress: Progress,
    metrics: Arc<Metrics>,
    /// Outcomes that the server refused. Their jobs stay in progress under the lease meanwhile.
    refused: Quarantine<Change, Outcome>,
    reporter: Reporter,
}

impl Completer {
    /// `max_attempts` applies to jobs that have no limit of their own.
    pub fn new(
        store: Box<dyn QueueStore>,
        to_sequencer: Wakeup,
        retried: Wakeup,
        max_attempts: u32,
        metrics: Arc<Metrics>,
    ) -> Completer {
        Completer {
            store,
            to_sequencer,
            retried,
            max_attempts,
            postponed: Postponed::default(),
            progress: Progress::new(),
            metrics,
            refused: Quarantine::new(),
            reporter: Reporter::new("job"),
        }
    }

    /// Runs until every worker has ended and all their outcomes are recorded, but for those that the server refuses.
    pub fn run(mut self, finished: &Receiver<FinishedAttempt>) {
        let mut next = now();
        while let Some(first) = self.first(finished) {
            heartbeat::working();
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
        self.finish();
    }

    /// Tries once more what the server has refused, and gives it up: with the lease, another daemon may run those jobs.
    pub fn finish(mut self) {
        let rows = self.refused.take_all();
        self.write(rows.into_iter().map(|row| row.item).collect());
        for row in self.refused.take_all() {
            log::error!(
                "job {}: the server refused its outcome until the stop; discarded it, the job will run again error={}",
                row.id,
                row.message
            );
        }
        self.progress.finish();
    }

    /// The next attempt, however long it takes; None: there will be no more. Does what is due meanwhile.
    fn first(&mut self, finished: &Receiver<FinishedAttempt>) -> Option<FinishedAttempt> {
        loop {
            heartbeat::working();
            self.retry_refused();
            heartbeat::waiting();
            let next = match self.progress.report_at().into_iter().chain(self.refused.retry_at()).min() {
                Some(at) => finished.recv_deadline(at),
                None => finished.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(attempt) => return Some(attempt),
                Err(RecvTimeoutError::Timeout) => {
                    if self.progress.report_at().is_some_and(|at| at <= now()) {
                        self.progress.report_due();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Decides what follows each attempt and records it, however long that takes.
    pub fn record(&mut self, attempts: Vec<FinishedAttempt>) {
        let outcomes = attempts.into_iter().map(|attempt| self.decide(attempt)).collect();
        self.write(outcomes);
    }

    /// Tries refused outcomes again whose pause is over.
    pub fn retry_refused(&mut self) {
        let due = self.refused.take_due(Change::Outcome, BATCH, now());
        if due.is_empty() {
            return;
        }
        let outcomes: Vec<Outcome> = due.iter().map(|row| row.item.clone()).collect();
        let refused = self.try_to_write(&outcomes, true);
        self.refused.tried(due, refused, now());
        self.report();
    }

    fn write(&mut self, mut outcomes: Vec<Outcome>) {
        outcomes.sort_unstable_by_key(|outcome| (outcome.attempt.job.claim_id, outcome.attempt.job.id));
        let refused = self.try_to_write(&outcomes, false);
        for (at, error) in refused {
            let outcome = outcomes[at].clone();
            let id = outcome.attempt.job.id;
            if !self.refused.set_aside(id, Change::Outcome, outcome, &error, now()) {
                log::error!(
                    "job {id}: the server refused its outcome, and too many others wait; discarded it, the job stays in \
                     progress until this daemon stops error={error}"
                );
            }
        }
        self.report();
    }

    fn report(&mut self) {
        let store = &mut self.store;
        self.reporter.report(&mut self.refused, |added, removed| store.report_set_aside(added, removed));
    }

    /// Tries until each outcome is recorded or refused by itself; returns the places of the refused ones. Repeating a
    /// call whose answer was lost is safe: what it recorded is no longer held under its claim and is left alone.
    fn try_to_write(&mut self, outcomes: &[Outcome], are_known: bool) -> Vec<(usize, Error)> {
        let mut backoff = BACKOFF;
        let mut warning = ThrottledWarning::default();
        let mut recorded = 0;
        let mut is_unsure = false;
        let store = &mut *self.store;
        let refused = loop {
            let error = match isolate(outcomes, are_known, &mut |some| {
                recorded += finish(store, some)?;
                Ok(())
            }) {
                Ok(refused) => break refused,
                Err(error) => error,
            };
            is_unsure |= error.class() == ErrorClass::ConnectionLost;
            warning.warn("queue: cannot record outcomes", &error);
            sleep(backoff.next(fastrand::f64()));
        };
        if refused.len() == outcomes.len() {
            return refused;
        }
        self.to_sequencer.notify();
        // After a lost connection, they may be recorded already.
        if recorded + refused.len() < outcomes.len() && !is_unsure {
            log::warn!(
                "queue: the lease of some jobs expired before their outcomes were recorded; discarded the outcomes, \
                 other attempts own the jobs outcomes={}",
                outcomes.len() - refused.len() - recorded
            );
        }
        let mut places = refused.iter().map(|(at, _)| *at).peekable();
        let written = outcomes.iter().enumerate().filter(|(at, _)| places.next_if_eq(at).is_none());
        let written: Vec<&Outcome> = written.map(|(_, outcome)| outcome).collect();
        if written.iter().any(|outcome| matches!(outcome.next, Next::Retry { .. })) {
            self.retried.notify();
        }
        self.count(&written);
        self.progress.record(&written);
        refused
    }

    fn count(&self, written: &[&Outcome]) {
        for outcome in written {
            match outcome.next {
                Next::Done => self.metrics.jobs_done.increment(),
                Next::Error => self.metrics.jobs_failed.increment(),
                Next::Retry { .. } => {}
            }
            match outcome.attempt.result {
                Err(JobError::Failed(_) | JobError::Permanent(_)) => self.metrics.attempts_failed.increment(),
                Err(JobError::Postponed(_)) => self.metrics.jobs_postponed.increment(),
                _ => {}
            }
        }
    }

    fn decide(&mut self, mut attempt: FinishedAttempt) -> Outcome {
        if let Err(error) = &mut attempt.result
            && let Some((end, _)) = error.message().char_indices().nth(LONGEST_MESSAGE)
        {
            error.message_mut().truncate(end);
        }
        let postponed = self.postponed.record(&attempt.job, &attempt.result);
        let next = outcome::next(&attempt, self.max_attempts, postponed, fastrand::f64());
        Outcome::new(attempt, next)
    }
}

/// Records outcomes. One whose own text the server cannot store is replaced by an outcome that says so.
fn finish(store: &mut dyn QueueStore, outcomes: &[Outcome]) -> Result<usize, Error> {
    let error = match store.finish(outcomes) {
        Ok(recorded) => return Ok(recorded),
        Err(error) => error,
    };
    let [one] = outcomes else { return Err(error) };
    if error.class() != ErrorClass::Permanent || !is_about_a_value(&error) {
        return Err(error);
    }
    // An outcome that is refused too is no better: the error is that of the real one.
    match store.finish(&[one.substitute(&error)]) {
        Err(second) if second.class() == ErrorClass::Permanent => Err(error),
        Err(second) => Err(second),
        Ok(recorded) => {
            log::error!(
                "job {}: the server refused to record its outcome; the job ends in error error={error}",
                one.attempt.job.id
            );
            Ok(recorded)
        }
    }
}

/// Whether the server cannot store a value, as it is or at all, so that a plainer one may do.
fn is_about_a_value(error: &Error) -> bool {
    const VALUES: [u16; 7] = [
        ER_TRUNCATED_WRONG_VALUE_FOR_FIELD,
        ER_DATA_TOO_LONG,
        ER_WARN_DATA_OUT_OF_RANGE,
        ER_NET_PACKET_TOO_LARGE,
        ER_CANT_AGGREGATE_2COLLATIONS,
        ER_CANNOT_CONVERT_STRING,
        ER_IMPOSSIBLE_STRING_CONVERSION,
    ];
    matches!(error, Error::TooLarge) || error.code().is_some_and(|code| VALUES.contains(&code))
}
