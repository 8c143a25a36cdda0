//! The completer: writes how attempts ended, many in one transaction. Owns the outcomes from the moment a worker
//! hands them over; while the server is away it keeps them. Its thread only collects them.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{
    job::{self, FinishedAttempt, JobResult, Next},
    sql_store::Outcome,
    store::QueueStore,
};
use crate::{
    base::clock::{now, sleep},
    base::text::printable,
    base::throttle::Throttle,
    base::wakeup::Wakeup,
    db::{BACKOFF, ErrorClass, ThrottledWarning},
};

/// A transaction writes at most this many outcomes. It waits a moment for more of them, and one that is not full
/// follows the last by a longer one: each commit is flushed to the disk that the workers' own statements wait for.
const BATCH: usize = 500;
const LINGER: Duration = Duration::from_millis(3);
const PACE: Duration = Duration::from_millis(25);
/// An error's text is kept up to this many characters; TEXT holds 65,535 bytes.
const LONGEST_ERROR: usize = 8_000;
/// Failures logged one by one per minute; the rest are counted: where the server is short of something, every job fails.
const FAILURES_PER_MINUTE: u32 = 10;

pub struct Completer {
    store: Box<dyn QueueStore>,
    /// Rung after each commit.
    changed: Wakeup,
    /// Rung after those of them that leave a job to be tried again.
    retried: Wakeup,
    max_attempts: u32,
    progress: Progress,
}

impl Completer {
    pub fn new(store: Box<dyn QueueStore>, changed: Wakeup, retried: Wakeup, max_attempts: u32) -> Completer {
        Completer { store, changed, retried, max_attempts, progress: Progress::default() }
    }

    /// Runs until every worker has ended and all they handed over is written.
    pub fn run(mut self, outcomes: &Receiver<FinishedAttempt>) {
        let mut next = now();
        while let Some(first) = self.first(outcomes) {
            let deadline = next.max(now() + LINGER);
            let mut batch = vec![first];
            while batch.len() < BATCH
                && let Ok(outcome) = outcomes.recv_deadline(deadline)
            {
                batch.push(outcome);
            }
            self.record(batch);
            next = now() + PACE;
        }
        self.progress.sum_up();
        report_suppressed(self.progress.failures.take_suppressed());
    }

    /// The next outcome, however long it takes; None: there will be no more. The log is told meanwhile.
    fn first(&mut self, outcomes: &Receiver<FinishedAttempt>) -> Option<FinishedAttempt> {
        loop {
            let next = match self.progress.due() {
                Some(due) => outcomes.recv_deadline(due),
                None => outcomes.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match next {
                Ok(outcome) => return Some(outcome),
                Err(RecvTimeoutError::Timeout) => self.progress.sum_up(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Decides what follows each outcome and writes it, however long that takes.
    pub fn record(&mut self, outcomes: Vec<FinishedAttempt>) {
        let mut outcomes: Vec<Outcome> = outcomes.into_iter().map(|outcome| self.judge(outcome)).collect();
        outcomes.sort_unstable_by_key(|outcome| (outcome.attempt.job.claim_id, outcome.attempt.job.id));
        let written = self.write(&outcomes);
        self.changed.notify();
        if written < outcomes.len() {
            log::warn!("{} outcomes came too late: other attempts have their jobs", outcomes.len() - written);
        }
        if outcomes.iter().any(|outcome| matches!(outcome.next, Next::Retry { .. })) {
            self.retried.notify();
        }
        self.progress.tell(&outcomes);
    }

    fn judge(&self, mut attempt: FinishedAttempt) -> Outcome {
        if let JobResult::Failed { error: text, .. } | JobResult::Interrupted { why: text } = &mut attempt.result
            && let Some((end, _)) = text.char_indices().nth(LONGEST_ERROR)
        {
            text.truncate(end);
        }
        let next = job::next(&attempt, self.max_attempts, fastrand::f64());
        Outcome { attempt, next }
    }

    /// Writes until it is written. After a lost answer the same again is right: what was written is no longer held
    /// under its claim and left alone. Outcomes that the server refuses for good are found one by one, so that they
    /// hold up no others.
    fn write(&mut self, outcomes: &[Outcome]) -> usize {
        let mut backoff = BACKOFF;
        let mut warning = ThrottledWarning::default();
        loop {
            let error = match self.store.finish(outcomes) {
                Ok(written) => return written,
                Err(error) => error,
            };
            // A table that the server does not find is not what an outcome is to blame for.
            let class = if error.is_missing_table() { ErrorClass::Retry } else { error.class() };
            match (class, outcomes) {
                (ErrorClass::Permanent, [_, _, ..]) => return outcomes.chunks(1).map(|one| self.write(one)).sum(),
                (ErrorClass::Permanent, [one]) if !one.is_refused() => {
                    log::error!("the server refuses the outcome of job {}: {error}", one.attempt.job.id);
                    return self.write(&[one.refused(&error)]);
                }
                _ => warning.warn("outcomes can't be written", &error),
            }
            sleep(backoff.next(fastrand::f64()));
        }
    }
}

/// What the log says of the work: a line a second while there is any, and the failures.
struct Progress {
    /// When the first outcome of this line came in; None: nothing to tell.
    since: Option<Instant>,
    failures: Throttle,
    /// Done, to be tried again, in error.
    counts: [u64; 3],
    done_before: u64,
}

impl Default for Progress {
    fn default() -> Self {
        let failures = Throttle::new(FAILURES_PER_MINUTE, Duration::from_secs(60));
        Progress { since: None, failures, counts: [0; 3], done_before: 0 }
    }
}

impl Progress {
    fn due(&self) -> Option<Instant> {
        let line = self.since.map(|since| since + Duration::from_secs(1));
        line.into_iter().chain(self.failures.report_at()).min()
    }

    fn tell(&mut self, outcomes: &[Outcome]) {
        self.since.get_or_insert_with(now);
        for Outcome { attempt, next } in outcomes {
            let (kind, what) = match next {
                Next::Done => (0, "is done"),
                Next::Retry { .. } => (1, "will be tried again"),
                Next::Error => (2, "ended in error"),
            };
            self.counts[kind] += 1;
            if let JobResult::Failed { error: text, .. } | JobResult::Interrupted { why: text } = &attempt.result {
                if let Some(suppressed) = self.failures.admit(now()) {
                    report_suppressed(suppressed);
                    let (job, name, text) = (&attempt.job, printable(&attempt.job.name), printable(text));
                    log::warn!("job {} `{name}` {what}, attempt {}: {text}", job.id, job.attempt);
                }
            }
        }
        if self.due().is_some_and(|due| due <= now()) {
            self.sum_up();
        }
    }

    fn sum_up(&mut self) {
        if self.failures.report_at().is_some_and(|at| at <= now()) {
            report_suppressed(self.failures.take_suppressed());
        }
        if self.since.take().is_none() {
            return;
        }
        let [done, retry, error] = self.counts;
        self.done_before += done;
        log::info!(
            "progress: {done} done, {retry} to be tried again, {error} in error; {} done since the start",
            self.done_before
        );
        self.counts = [0; 3];
    }
}

fn report_suppressed(failures: u64) {
    if failures > 0 {
        log::warn!("and {failures} more failures within a minute; `resqctl list` shows them");
    }
}
