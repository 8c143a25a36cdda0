//! A worker: takes one job at a time, runs it, hands its end to the completer. Owns its database connection; knows
//! neither the table nor what a job is for.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender};

use super::{
    handler::{Handler, JobError, Session},
    job::{FinishedAttempt, Job, JobResult, MAX_INTERRUPTIONS},
};
use crate::base::wakeup::Wakeup;

pub struct Worker {
    pub handler: Arc<dyn Handler>,
    pub session: Session,
    pub outcomes: Sender<FinishedAttempt>,
    /// Rung for each job taken.
    pub slots: Wakeup,
}

impl Worker {
    /// Runs jobs until there will be no more.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            if !self.take(job) {
                return;
            }
        }
    }

    /// Runs one job; false if nobody takes outcomes any more.
    pub fn take(&mut self, job: Job) -> bool {
        self.slots.notify();
        let result = attempt(&*self.handler, &job, &mut self.session);
        self.session.reset();
        self.outcomes.send(FinishedAttempt { job, result }).is_ok()
    }
}

/// One attempt: a job that keeps losing its worker is given up, a panic is a failed job.
fn attempt(handler: &dyn Handler, job: &Job, session: &mut Session) -> JobResult {
    if !session.still_ours() {
        return JobResult::Interrupted { why: "this daemon's lease ran out before the job was started".into() };
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        if job.interruptions < MAX_INTERRUPTIONS {
            return handler.run(job, session);
        }
        handler.abandon(job, session)?;
        Err(JobError::Permanent(format!(
            "given up: its worker was lost {} times while it was running",
            job.interruptions
        )))
    }));
    match result {
        Ok(Ok(db_name)) => JobResult::Done { db_name },
        Ok(Err(JobError::Failed(error))) => JobResult::Failed { error, permanent: false },
        Ok(Err(JobError::Permanent(error))) => JobResult::Failed { error, permanent: true },
        Ok(Err(JobError::Interrupted(why))) => JobResult::Interrupted { why },
        Err(panic) => {
            JobResult::Failed { error: format!("the handler panicked: {}", message(&panic)), permanent: false }
        }
    }
}

fn message(panic: &Box<dyn std::any::Any + Send>) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
