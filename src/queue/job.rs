//! The rules of a job's life: what follows an attempt, how long to wait before the next, how many to claim. Pure:
//! values and chance in, values out; no socket, clock or SQL.

use std::time::Duration;

use crate::base::backoff::Backoff;

/// How often a job may lose its worker (a killed daemon, a lost server) before it counts as failed. Such an attempt
/// did not end by itself and so does not use up `max_attempts`; but a job that kills whoever touches it must end.
pub const MAX_INTERRUPTIONS: u32 = 20;

/// The pause before a failed job runs again, from 1 s to 5 minutes: half of it is left to chance, so that jobs that
/// failed together do not come back together.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(300), 0.5);

/// The column `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    New,
    InProgress,
    Done,
    Error,
}

impl Status {
    pub const ALL: [Status; 4] = [Status::New, Status::InProgress, Status::Done, Status::Error];

    /// As the table spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::New => "new",
            Status::InProgress => "in_progress",
            Status::Done => "done",
            Status::Error => "error",
        }
    }

    pub fn parse(text: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// A claimed row, as a handler gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: u64,
    pub name: String,
    /// The column `res_type`.
    pub res_type: String,
    pub url: Option<String>,
    /// This attempt's number, from 1.
    pub attempt: u32,
    /// The row's own limit; None: the setting's.
    pub max_attempts: Option<u32>,
    /// How often a worker of this job was lost before.
    pub interruptions: u32,
    /// Random and new for every claim: who holds another number has lost the job.
    pub claim_id: u64,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// `db_name` is the database made for it, if one was.
    Done { db_name: Option<String> },
    /// `permanent`: another attempt would fail the same way.
    Failed { error: String, permanent: bool },
    /// It never came to an end of its own; the reason is not the job.
    Interrupted { why: String },
}

/// An attempt's end on its way to the table.
#[derive(Clone, Debug)]
pub struct FinishedAttempt {
    pub job: Job,
    pub result: JobResult,
}

/// What becomes of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Done,
    Retry { after: Duration },
    Error,
}

/// What follows `outcome`; `max_attempts` is the setting, `chance` is evenly spread over 0.0 to 1.0.
pub fn next(outcome: &FinishedAttempt, max_attempts: u32, chance: f64) -> Next {
    let job = &outcome.job;
    match &outcome.result {
        JobResult::Done { .. } => Next::Done,
        JobResult::Failed { permanent: true, .. } => Next::Error,
        JobResult::Failed { .. } if job.attempt >= job.max_attempts.unwrap_or(max_attempts) => Next::Error,
        JobResult::Failed { .. } => Next::Retry { after: RETRY.pause(job.attempt, chance) },
        // Always: a job that was lost too often is given up by the next worker, which undoes what is left of it.
        JobResult::Interrupted { .. } => {
            Next::Retry { after: RETRY.pause(job.interruptions.saturating_add(1), chance) }
        }
    }
}

/// How many jobs may wait claimed and unstarted: two for each worker while those are slower than a claim, so that a
/// claim's commit is shared by a few jobs; more where they are faster. Starts small, so that a drain has little to
/// give back.
#[derive(Clone, Debug)]
pub struct Prefetch {
    least: usize,
    size: usize,
    /// Claims in a row that found nothing left of the one before.
    starved: u32,
}

impl Prefetch {
    pub const LARGEST: usize = 512;
    /// The first claims of all find nothing left because idle workers took it, not because these are fast.
    const PROOF: u32 = 3;

    pub fn new(workers: usize) -> Prefetch {
        let least = workers * 2;
        Prefetch { least, size: least, starved: 0 }
    }

    /// How many to claim when `waiting` are claimed and unstarted: none until half of them have been taken.
    pub fn room(&self, waiting: usize) -> usize {
        if waiting * 2 > self.size { 0 } else { self.size - waiting }
    }

    /// A full claim came in and found `waiting` jobs left of the one before.
    pub fn claimed(&mut self, waiting: usize) {
        self.starved = if waiting == 0 { self.starved + 1 } else { 0 };
        if self.starved >= Prefetch::PROOF {
            self.size = (self.size * 2).min(Prefetch::LARGEST.max(self.least));
        } else if waiting * 4 > self.size {
            self.size = (self.size - self.size / 4).max(self.least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outcome(attempt: u32, max: Option<u32>, interruptions: u32, result: JobResult) -> FinishedAttempt {
        let job = Job {
            id: 1,
            name: "a".into(),
            res_type: "default".into(),
            url: None,
            attempt,
            max_attempts: max,
            interruptions,
            claim_id: 7,
        };
        FinishedAttempt { job, result }
    }

    fn failed(permanent: bool) -> JobResult {
        JobResult::Failed { error: "x".into(), permanent }
    }

    #[test]
    fn what_follows_an_attempt() {
        let lost = || JobResult::Interrupted { why: "x".into() };
        let secs = |s| Next::Retry { after: Duration::from_secs(s) };
        let table = [
            (1, None, 0, JobResult::Done { db_name: None }, Next::Done),
            (1, None, 0, failed(false), secs(1)),
            (3, None, 0, failed(false), secs(4)),
            (5, None, 0, failed(false), Next::Error),
            (9, None, 0, failed(false), Next::Error),
            (1, Some(1), 0, failed(false), Next::Error),
            (5, Some(6), 0, failed(false), secs(16)),
            (1, None, 0, failed(true), Next::Error),
            (9, None, 0, lost(), secs(1)),
            (1, None, MAX_INTERRUPTIONS, lost(), secs(300)),
        ];
        for (attempt, max, interruptions, ended, expected) in table {
            let o = outcome(attempt, max, interruptions, ended);
            assert_eq!(next(&o, 5, 1.0), expected, "{o:?}");
        }
    }

    #[test]
    fn the_buffer_grows_only_while_the_workers_wait_for_claims() {
        let mut buffer = Prefetch::new(5);
        assert_eq!((buffer.room(0), buffer.room(6), buffer.room(5)), (10, 0, 5));
        buffer.claimed(0);
        buffer.claimed(0);
        assert_eq!(buffer.room(0), 10, "idle workers are no proof");
        buffer.claimed(0);
        buffer.claimed(0);
        assert_eq!(buffer.room(0), 40);
        buffer.claimed(12);
        assert_eq!(buffer.room(0), 30);
    }

    proptest! {
        #[test]
        fn the_buffer_stays_between_the_workers_and_its_limit(workers in 1usize..1024, left in proptest::collection::vec(0usize..600, 0..40)) {
            let mut buffer = Prefetch::new(workers);
            for waiting in left {
                buffer.claimed(waiting);
                prop_assert!(buffer.room(0) >= workers * 2);
                prop_assert!(buffer.room(0) <= Prefetch::LARGEST.max(workers * 2));
                prop_assert!(buffer.room(waiting) + waiting <= buffer.size.max(waiting));
            }
        }
    }
}
