//! What the log says about recorded outcomes: one line per second while there are any, and each failure up to a limit.
//! Counts; decides nothing.

use std::time::{Duration, Instant};

use super::outcome::{JobError, Next, Outcome};
use crate::base::{clock::now, text::printable, throttle::Throttle};

/// The interval of the summary.
const SUMMARY: Duration = Duration::from_secs(1);
/// Failures logged one by one per minute. The rest are counted.
const FAILURES_PER_MINUTE: u32 = 10;
/// The same for jobs that wait for the server: where it runs out of something, every job does.
const POSTPONED_PER_MINUTE: u32 = 2;

pub struct Progress {
    /// When the first outcome of the next summary was recorded; None: there is nothing to report.
    since: Option<Instant>,
    failures: Throttle,
    postponements: Throttle,
    done: u64,
    retried: u64,
    postponed: u64,
    failed: u64,
    done_since_start: u64,
}

impl Progress {
    pub fn new() -> Progress {
        let per_minute = |limit| Throttle::new(limit, Duration::from_secs(60));
        Progress {
            since: None,
            failures: per_minute(FAILURES_PER_MINUTE),
            postponements: per_minute(POSTPONED_PER_MINUTE),
            done: 0,
            retried: 0,
            postponed: 0,
            failed: 0,
            done_since_start: 0,
        }
    }

    /// When [`Progress::report_due`] has something to report.
    pub fn report_at(&self) -> Option<Instant> {
        let summary = self.since.map(|since| since + SUMMARY);
        summary.into_iter().chain(self.failures.report_at()).chain(self.postponements.report_at()).min()
    }

    /// Counts recorded outcomes, and logs those that are failures.
    pub fn record(&mut self, outcomes: &[&Outcome]) {
        self.since.get_or_insert_with(now);
        for outcome in outcomes {
            let error = outcome.attempt.result.as_ref().err();
            match (outcome.next, error) {
                (Next::Done, _) => self.done += 1,
                (Next::Error, _) => self.failed += 1,
                (Next::Retry { .. }, Some(JobError::Postponed(_))) => self.postponed += 1,
                (Next::Retry { .. }, _) => self.retried += 1,
            }
            match error {
                None => {}
                Some(error @ JobError::Postponed(_)) => {
                    if let Some(suppressed) = self.postponements.admit(now()) {
                        report_postponed(suppressed);
                        log_attempt(outcome, error);
                    }
                }
                Some(error) => {
                    if let Some(suppressed) = self.failures.admit(now()) {
                        report_suppressed(suppressed);
                        log_attempt(outcome, error);
                    }
                }
            }
        }
        if self.report_at().is_some_and(|at| at <= now()) {
            self.report_due();
        }
    }

    /// Logs the summary, and how many failures were not logged if their minute is over.
    pub fn report_due(&mut self) {
        if self.failures.report_at().is_some_and(|at| at <= now()) {
            report_suppressed(self.failures.take_suppressed());
        }
        if self.postponements.report_at().is_some_and(|at| at <= now()) {
            report_postponed(self.postponements.take_suppressed());
        }
        if self.since.take().is_none() {
            return;
        }
        self.done_since_start += self.done;
        log::info!(
            "queue: {} done, {} to be retried, {} wait for the server, {} failed; done since start: {}",
            self.done,
            self.retried,
            self.postponed,
            self.failed,
            self.done_since_start
        );
        (self.done, self.retried, self.postponed, self.failed) = (0, 0, 0, 0);
    }

    /// Logs everything that is left.
    pub fn finish(mut self) {
        self.report_due();
        report_suppressed(self.failures.take_suppressed());
        report_postponed(self.postponements.take_suppressed());
    }
}

fn log_attempt(outcome: &Outcome, error: &JobError) {
    let job = &outcome.attempt.job;
    let what = match error {
        JobError::Interrupted(_) => "was interrupted",
        JobError::Postponed(_) => "waits for the server",
        JobError::Failed(_) | JobError::Permanent(_) => "failed",
    };
    let next = match outcome.next {
        Next::Retry { after } => format!("retrying in {:.1} s", after.as_secs_f64()),
        _ => "the job ends in error".into(),
    };
    log::warn!(
        "job {}: attempt {} {what}; {next} name=`{}` error={}",
        job.id,
        job.attempt,
        printable(&job.name),
        printable(error.message())
    );
}

fn report_suppressed(failures: u64) {
    if failures > 0 {
        log::warn!("queue: {failures} more attempts failed within a minute; see `resqctl list --status error`");
    }
}

fn report_postponed(attempts: u64) {
    if attempts > 0 {
        log::warn!("queue: {attempts} more attempts within a minute wait for the server; see `resqctl status`");
    }
}
