//! The queue at work for a measurement: a service that is there and idle, then rows, a wakeup, and the time until the
//! last outcome is written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use mysql::{Conn, prelude::Queryable};
use resq::{
    base::threads::alarm,
    base::wakeup::{Wakeup, wakeup},
    config,
    db::Error,
    queue::{Handler, Job, JobError, Outcome, Service, Session, Wakeups},
};

use crate::{WORKERS, bed::Bed};

/// A service on `bed`'s queue that looks at it only when it is rung.
pub struct Run<'a> {
    bed: &'a Bed,
    service: Service,
    news: Wakeup,
    left: Arc<AtomicU64>,
    done: Receiver<()>,
    panicked: Receiver<String>,
}

impl<'a> Run<'a> {
    pub fn start(bed: &'a Bed, handler: impl Handler) -> Run<'a> {
        let (ended, done) = bounded(1);
        let left = Arc::new(AtomicU64::new(0));
        let counted = Counted { inner: handler, left: left.clone(), ended };
        let (alarm, panicked) = alarm();
        let queue = config::Queue {
            workers: WORKERS,
            poll: Duration::from_secs(3_600),
            lease: Duration::from_secs(7_200),
            ..bed.config.queue.clone()
        };
        let (rope, news) = wakeup();
        let wakeups = Wakeups { news, ..Wakeups::default() };
        let service = Service::start(&bed.db, &bed.facts, &queue, Arc::new(counted), wakeups, &alarm).expect("a lease");
        Run { bed, service, news: rope, left, done, panicked }
    }

    /// Inserts 10^`digits` rows; how long it takes from the wakeup until all of them are done.
    pub fn round(&self, digits: u32) -> Duration {
        self.left.store(10u64.pow(digits), Ordering::Relaxed);
        self.bed.fill(digits, "", "");
        let start = Instant::now();
        self.news.notify();
        self.done.recv_timeout(Duration::from_secs(600)).expect("every job is run");
        // The last outcome's transaction is about to be committed: a locking read waits for that.
        let sql = "SELECT res_id FROM res_queue WHERE status = 'in_progress' FOR UPDATE";
        self.bed.bare().query_drop(sql).expect("a look");
        start.elapsed()
    }

    /// Panics if a job was not done at the first attempt.
    pub fn stop(self) {
        assert!(self.service.drain(Duration::from_secs(60)) && self.panicked.is_empty());
        let sql = "SELECT COUNT(*) FROM res_queue WHERE status <> 'done' OR attempts <> 1";
        assert_eq!(self.bed.bare().query_first(sql).expect("a count"), Some(0));
    }
}

/// A handler that tells when the outcome of the last job is being written.
struct Counted<H> {
    inner: H,
    left: Arc<AtomicU64>,
    ended: Sender<()>,
}

impl<H: Handler> Handler for Counted<H> {
    fn run(&self, job: &Job, session: &mut Session) -> Result<Option<String>, JobError> {
        self.inner.run(job, session)
    }

    fn abandon(&self, job: &Job, session: &mut Session) -> Result<(), JobError> {
        self.inner.abandon(job, session)
    }

    fn reserve(&self, conn: &mut Conn, jobs: &[Job]) -> Result<(), Error> {
        self.inner.reserve(conn, jobs)
    }

    fn record_outcomes(&self, conn: &mut Conn, outcomes: &[&Outcome]) -> Result<(), Error> {
        self.inner.record_outcomes(conn, outcomes)?;
        let now = outcomes.len() as u64;
        if self.left.fetch_sub(now, Ordering::Relaxed) == now {
            let _ = self.ended.try_send(());
        }
        Ok(())
    }
}
