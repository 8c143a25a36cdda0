//! A worker: receives one job at a time, runs its handler, and hands the result to the completer. Owns its database
//! connection; knows neither the queue's tables nor what a job is for.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, never, select_biased};

use super::{
    handler::Handler,
    job::Job,
    outcome::{FinishedAttempt, JobError, JobResult, MAX_INTERRUPTIONS},
    probing::Streak,
    session::Session,
    side_task::SideTask,
};
use crate::base::{clock::now, metrics::Metrics, wakeup::Wakeup};

pub struct Worker {
    pub handler: Arc<dyn Handler>,
    pub session: Session,
    pub finished: Sender<FinishedAttempt>,
    /// Notified for each job received: there may be room for another claim.
    pub slots: Wakeup,
    pub streak: Streak,
    pub metrics: Arc<Metrics>,
}

impl Worker {
    /// Runs jobs until the dispatcher has ended and none is left; while there are none, `side_tasks`.
    pub fn run(mut self, jobs: &Receiver<Job>, mut side_tasks: Receiver<SideTask>) {
        loop {
            // Tries for a moment, as a wait for one channel does: a selection enters and leaves both each time.
            let job = match jobs.recv_timeout(Duration::ZERO) {
                Err(RecvTimeoutError::Timeout) => select_biased! {
                    recv(jobs) -> job => job.ok(),
                    recv(side_tasks) -> task => {
                        match task {
                            Ok(task) => self.run_side_task(task),
                            Err(_) => side_tasks = never(),
                        }
                        continue;
                    }
                },
                received => received.ok(),
            };
            if !job.is_some_and(|job| self.run_job(job)) {
                return;
            }
        }
    }

    fn run_side_task(&mut self, task: SideTask) {
        self.metrics.workers_busy.increment();
        let session = &mut self.session;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(session))) {
            log::error!("worker: a task beside the jobs panicked; going on without it: {}", message(&*panic));
        }
        self.metrics.workers_busy.decrement();
        self.session.reset();
    }

    /// Runs one job; false if the completer has ended.
    pub fn run_job(&mut self, job: Job) -> bool {
        self.slots.notify();
        let started = now();
        self.metrics.workers_busy.increment();
        let load = self.session.load().clone();
        let result = {
            let _running = load.begin();
            attempt(&*self.handler, &job, &mut self.session)
        };
        self.metrics.workers_busy.decrement();
        self.metrics.job_run.with(&job.res_type).observe(now() - started);
        if self.streak.record(&result) {
            // There may be room for more than the one job that claims probed the server with.
            self.slots.notify();
        }
        self.session.reset();
        self.finished.send(FinishedAttempt { job, result }).is_ok()
    }
}

/// One attempt. A job that keeps losing its worker is abandoned; a panic is a failed attempt.
fn attempt(handler: &dyn Handler, job: &Job, session: &mut Session) -> JobResult {
    if !session.is_lease_valid() {
        return Err(JobError::Postponed("the daemon's lease expired before the attempt started".into()));
    }
    let run = AssertUnwindSafe(|| {
        if job.interruptions < MAX_INTERRUPTIONS {
            return handler.run(job, session);
        }
        handler.abandon(job, session)?;
        Err(JobError::Permanent(format!("abandoned: {} attempts lost their worker", job.interruptions)))
    });
    catch_unwind(run)
        .unwrap_or_else(|panic| Err(JobError::Failed(format!("the handler panicked: {}", message(&*panic)))))
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}
