//! How busy the workers of a daemon are with jobs, so that what is no job can let them go first.

use std::{
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use crossbeam_channel::Receiver;

use super::job::Job;

/// The jobs of a daemon's workers.
pub struct Load {
    waiting: Receiver<Job>,
    running: AtomicUsize,
    /// How many threads wait, counted before they look at `running`, so that no end goes unnoticed; the lock is theirs alone.
    waits: AtomicUsize,
    lock: Mutex<()>,
    none: Condvar,
}

/// A job that is running, until it is dropped.
pub struct Running<'a>(&'a Load);

impl Load {
    /// Of workers that receive their jobs from this channel.
    pub fn new(jobs: &Receiver<Job>) -> Load {
        let (running, waits) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Load { waiting: jobs.clone(), running, waits, lock: Mutex::new(()), none: Condvar::new() }
    }

    /// A worker has received a job.
    pub fn begin(&self) -> Running<'_> {
        self.running.fetch_add(1, SeqCst);
        Running(self)
    }

    /// Whether a job waits for a worker.
    pub fn is_job_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a worker runs a job.
    pub fn is_job_running(&self) -> bool {
        self.running.load(SeqCst) > 0
    }

    /// Waits until no worker runs a job, at most for `limit`.
    pub fn wait_for_none(&self, limit: Duration) {
        self.waits.fetch_add(1, SeqCst);
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.none.wait_timeout_while(lock, limit, |()| self.is_job_running());
        self.waits.fetch_sub(1, SeqCst);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.0.running.fetch_sub(1, SeqCst) == 1 && self.0.waits.load(SeqCst) > 0 {
            // A thread that has seen the job holds the lock until it waits.
            drop(self.0.lock.lock());
            self.0.none.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Instant};

    use super::*;

    #[test]
    fn other_work_waits_while_jobs_run_and_not_for_ever() {
        let load = Load::new(&crossbeam_channel::never());
        load.wait_for_none(Duration::from_secs(60));
        let first = load.begin();
        load.wait_for_none(Duration::ZERO);
        assert!(load.is_job_running());
        let start = Instant::now();
        thread::scope(|scope| {
            let second = load.begin();
            scope.spawn(|| load.wait_for_none(Duration::from_secs(60)));
            drop(first);
            drop(second);
        });
        assert!(start.elapsed() < Duration::from_secs(30) && !load.is_job_running());
    }
}
