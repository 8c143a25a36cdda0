//! How an attempt ended and what follows: done, another attempt, or failed for good. Pure rules: values and chance in,
//! values out; no clock, no SQL.

use std::time::Duration;

use super::job::Job;
use crate::{
    base::backoff::Backoff,
    db::{Error, ErrorClass},
};

/// How many times a job may lose its worker (a daemon that dies, a statement that is killed) before it is abandoned. Such
/// an attempt does not use up `max_attempts`, but a job that kills every worker must end some time.
pub const MAX_INTERRUPTIONS: u32 = 20;

/// The pause before a failed job is attempted again, from 1 s to 5 minutes. Half of it is left to chance, so that jobs
/// that failed together are not attempted together again.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300), 0.5);
/// The pause before a job that waits for the server is tried again. Shorter, since the server may be ready at any time.
const POSTPONE: Backoff = Backoff::new(Duration::from_secs(1), LONGEST_POSTPONEMENT, 0.5);
/// The longest of these pauses.
pub const LONGEST_POSTPONEMENT: Duration = Duration::from_secs(60);

/// What the column `last_error` of a job that waits for the server begins with.
pub const WAITING: &str = "waiting for the server: ";

/// Why an attempt failed, by what follows. Each carries the message that is recorded with the attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum JobError {
    /// Another attempt may succeed. This one counts; the next follows after a growing pause.
    Failed(String),
    /// Every attempt would fail the same way: the job ends in `error` now.
    Permanent(String),
    /// The attempt lost its worker, and the job may be the reason: its statement was killed, or took the connection with
    /// it. It does not count as an attempt, but a job is interrupted at most [`MAX_INTERRUPTIONS`] times.
    Interrupted(String),
    /// The server cannot run the job now: it is read-only, full or out of connections, a lock is held, the lease is lost.
    /// The job waits, however long that takes; this attempt costs nothing.
    Postponed(String),
}

impl JobError {
    /// What went wrong.
    pub fn message(&self) -> &str {
        match self {
            JobError::Failed(message)
            | JobError::Permanent(message)
            | JobError::Interrupted(message)
            | JobError::Postponed(message) => message,
        }
    }

    pub(super) fn message_mut(&mut self) -> &mut String {
        match self {
            JobError::Failed(message)
            | JobError::Permanent(message)
            | JobError::Interrupted(message)
            | JobError::Postponed(message) => message,
        }
    }

    /// What the server's refusal of one of resq's own statements means, which the job cannot have caused: that the job
    /// waits, unless the error is permanent.
    pub fn of_queue(error: &Error) -> JobError {
        match error.class() {
            ErrorClass::Permanent => JobError::Failed(error.to_string()),
            ErrorClass::Retry | ErrorClass::ConnectionLost => JobError::Postponed(error.to_string()),
        }
    }

    /// What `error` of one of the job's own statements means, with this message.
    pub fn of_statement(error: &Error, message: String) -> JobError {
        match error.class() {
            ErrorClass::Permanent => JobError::Failed(message),
            _ if error.may_be_own_deed() => JobError::Interrupted(message),
            ErrorClass::Retry | ErrorClass::ConnectionLost => JobError::Postponed(message),
        }
    }

    /// The same error with `more` appended to its message.
    pub fn and_also(mut self, more: &str) -> JobError {
        let message = self.message_mut();
        message.push_str("; ");
        message.push_str(more);
        self
    }
}

/// As [`JobError::of_statement`].
impl From<Error> for JobError {
    fn from(error: Error) -> JobError {
        JobError::of_statement(&error, error.to_string())
    }
}

/// For handlers, which use the driver's connection themselves.
impl From<mysql::Error> for JobError {
    fn from(error: mysql::Error) -> JobError {
        Error::from(error).into()
    }
}

/// How an attempt ended. `Ok` carries the job's result, of up to 64 characters, if it has one: it is stored in the
/// job's row and published with its event, and means nothing to the queue.
pub type JobResult = Result<Option<String>, JobError>;

/// An attempt that has ended and is not recorded yet.
#[derive(Clone, Debug)]
pub struct FinishedAttempt {
    /// The job, as it was claimed.
    pub job: Job,
    /// How the attempt ended.
    pub result: JobResult,
}

/// What becomes of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Status `done`.
    Done,
    /// Status `new`, not before this much time has passed.
    Retry {
        /// The pause, from the moment the outcome is recorded.
        after: Duration,
    },
    /// Status `error`.
    Error,
}

/// What follows `attempt`. `max_attempts` is the setting; `postponed` is how often the job was postponed just before;
/// `chance` is evenly distributed over 0.0 to 1.0.
pub fn next(attempt: &FinishedAttempt, max_attempts: u32, postponed: u32, chance: f64) -> Next {
    let job = &attempt.job;
    match &attempt.result {
        Ok(_) => Next::Done,
        Err(JobError::Permanent(_)) => Next::Error,
        Err(JobError::Failed(_)) if job.attempt >= job.max_attempts.unwrap_or(max_attempts) => Next::Error,
        Err(JobError::Failed(_)) => Next::Retry { after: RETRY.pause(job.attempt, chance) },
        // Always: the worker that claims it after the last permitted interruption abandons it and cleans up.
        Err(JobError::Interrupted(_)) => {
            Next::Retry { after: RETRY.pause(job.interruptions.saturating_add(1), chance) }
        }
        Err(JobError::Postponed(_)) => Next::Retry { after: POSTPONE.pause(postponed.saturating_add(1), chance) },
    }
}

/// A finished attempt and what follows from it: what a transaction records.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The attempt.
    pub attempt: FinishedAttempt,
    /// What becomes of its row.
    pub next: Next,
    /// It stands in for an outcome that the server refused to store.
    pub is_substitute: bool,
}

impl Outcome {
    /// The outcome of `attempt`.
    pub fn new(attempt: FinishedAttempt, next: Next) -> Outcome {
        Outcome { attempt, next, is_substitute: false }
    }

    /// A permanent failure of the same job, with a message that every character set can hold: the server refused to
    /// store this outcome with `error`.
    pub fn substitute(&self, error: &Error) -> Outcome {
        let message = format!("the outcome could not be recorded: server error {}", error.code().unwrap_or_default());
        let attempt = FinishedAttempt { job: self.attempt.job.clone(), result: Err(JobError::Permanent(message)) };
        Outcome { attempt, next: Next::Error, is_substitute: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32, max_attempts: Option<u32>, interruptions: u32, result: JobResult) -> FinishedAttempt {
        let job = Job {
            id: 1,
            name: "a".into(),
            res_type: "default".into(),
            url: None,
            attempt: number,
            max_attempts,
            interruptions,
            claim_id: 7,
        };
        FinishedAttempt { job, result }
    }

    #[test]
    fn next_step_follows_from_result_and_attempts_so_far() {
        let failed = || Err(JobError::Failed("x".into()));
        let permanent = || Err(JobError::Permanent("x".into()));
        let interrupted = || Err(JobError::Interrupted("x".into()));
        let postponed = || Err(JobError::Postponed("x".into()));
        let retry = |s| Next::Retry { after: Duration::from_secs(s) };
        let table = [
            (1, None, 0, 0, Ok(None), Next::Done),
            (1, None, 0, 0, failed(), retry(1)),
            (3, None, 0, 0, failed(), retry(4)),
            (5, None, 0, 0, failed(), Next::Error),
            (9, None, 0, 0, failed(), Next::Error),
            (1, Some(1), 0, 0, failed(), Next::Error),
            (5, Some(6), 0, 0, failed(), retry(16)),
            (1, None, 0, 0, permanent(), Next::Error),
            (9, None, 0, 0, interrupted(), retry(1)),
            (1, None, MAX_INTERRUPTIONS, 0, interrupted(), retry(300)),
            (1, None, 0, 0, postponed(), retry(1)),
            (9, Some(1), MAX_INTERRUPTIONS, 3, postponed(), retry(8)),
            (1, None, 0, u32::MAX, postponed(), retry(60)),
        ];
        for (number, max_attempts, interruptions, postponed, result, expected) in table {
            let attempt = attempt(number, max_attempts, interruptions, result);
            assert_eq!(next(&attempt, 5, postponed, 1.0), expected, "{attempt:?}");
        }
    }

    #[test]
    fn what_an_error_costs_depends_on_who_may_have_caused_it() {
        let server = |code, message: &str| Error::Server { code, state: "HY000".into(), message: message.into() };
        let lost = || Error::from(mysql::Error::IoError(std::io::ErrorKind::UnexpectedEof.into()));
        // The error; what it costs as an answer to the job's own statement, and to one of resq's.
        let table = [
            (server(1064, "syntax"), "attempt", "attempt"),
            (server(1644, "No space left on device"), "attempt", "attempt"),
            (server(1317, "killed"), "life", "nothing"),
            (server(1927, "killed"), "life", "nothing"),
            (server(1969, "time"), "life", "nothing"),
            (server(3024, "time"), "life", "nothing"),
            (lost(), "life", "nothing"),
            (server(1205, "lock wait"), "nothing", "nothing"),
            (server(1213, "deadlock"), "nothing", "nothing"),
            (server(1290, "running with the --read-only option"), "nothing", "nothing"),
            (server(1836, "read only"), "nothing", "nothing"),
            (server(1030, "No space left on device"), "nothing", "nothing"),
            (server(1114, "full"), "nothing", "nothing"),
            (server(1040, "connections"), "nothing", "nothing"),
            (server(1461, "prepared"), "nothing", "nothing"),
            (server(1053, "shutdown"), "nothing", "nothing"),
            (Error::Unavailable("x".into()), "nothing", "nothing"),
            (Error::NotReady("x".into()), "nothing", "nothing"),
        ];
        let cost = |error: JobError| match error {
            JobError::Failed(_) | JobError::Permanent(_) => "attempt",
            JobError::Interrupted(_) => "life",
            JobError::Postponed(_) => "nothing",
        };
        for (error, own, ours) in table {
            assert_eq!(cost(JobError::of_statement(&error, String::new())), own, "{error}");
            assert_eq!(cost(JobError::of_queue(&error)), ours, "{error}");
        }
    }
}
