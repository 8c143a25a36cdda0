//! One measurement of the queue: an idle service, then rows, a wakeup, and the time until the last outcome is recorded.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use mysql::{Conn, prelude::Queryable};
use resq::{
    base::threads::alarm,
    base::wakeup::{Wakeup, wakeup},
    config,
    db::Error,
    queue::{Handler, Job, Outcome, Parts, Servers, Service, Telemetry, TransactionHooks, Wakeups},
};

use resq_test_support::{TestDatabase, assert_done_by_one_attempt_each};

use crate::WORKERS;

/// A service on `database`'s queue that polls it only when it is woken.
pub struct Run<'a> {
    database: &'a TestDatabase,
    service: Service,
    wake_dispatcher: Wakeup,
    left: Arc<AtomicU64>,
    done: Receiver<()>,
    panicked: Receiver<String>,
}

impl<'a> Run<'a> {
    pub fn start(database: &'a TestDatabase, handler: Arc<dyn Handler>, hooks: Arc<dyn TransactionHooks>) -> Run<'a> {
        let (ended, done) = bounded(1);
        let left = Arc::new(AtomicU64::new(0));
        let still = left.clone();
        let recorded = move |outcomes| {
            if still.fetch_sub(outcomes, Ordering::Relaxed) == outcomes {
                let _ = ended.try_send(());
            }
        };
        let (alarm, panicked) = alarm();
        let queue = config::Queue {
            workers: WORKERS,
            poll: Duration::from_secs(3_600),
            lease: Duration::from_secs(7_200),
            ..database.config.queue.clone()
        };
        let (wake_dispatcher, to_dispatcher) = wakeup();
        let wakeups = Wakeups { to_dispatcher, ..Wakeups::default() };
        let parts = Parts {
            handler,
            hooks: Arc::new(Reporting { inner: hooks, recorded }),
            wakeups,
            telemetry: Telemetry::default(),
            side_tasks: crossbeam_channel::never(),
        };
        let service = Service::start_with(
            Servers { control: &database.db, sessions: &database.db },
            &database.info,
            &queue,
            parts,
            &alarm,
        )
        .expect("a lease");
        Run { database, service, wake_dispatcher, left, done, panicked }
    }

    /// Inserts 10^`digits` rows; how long it takes from the wakeup until all of them are done.
    pub fn round(&self, digits: u32) -> Duration {
        self.left.store(10u64.pow(digits), Ordering::Relaxed);
        self.database.fill(digits, "", "");
        let start = Instant::now();
        self.wake_dispatcher.notify();
        self.done.recv_timeout(Duration::from_secs(600)).expect("every job is run");
        // The last outcome's transaction is about to be committed: a locking read waits for that.
        let sql = "SELECT res_id FROM res_queue WHERE status = 'in_progress' FOR UPDATE";
        self.database.bare().query_drop(sql).expect("a locking read");
        start.elapsed()
    }

    /// Panics if a job was not done at the first attempt.
    pub fn stop(self) {
        assert!(self.service.drain(Duration::from_secs(60)) && self.panicked.is_empty());
        assert_done_by_one_attempt_each(&mut self.database.bare());
    }
}

/// Hooks that also report how many outcomes are being written.
pub struct Reporting<F> {
    pub inner: Arc<dyn TransactionHooks>,
    pub recorded: F,
}

impl<F: Fn(u64) + Send + Sync + 'static> TransactionHooks for Reporting<F> {
    fn reserve(&self, conn: &mut Conn, jobs: &[Job]) -> Result<(), Error> {
        self.inner.reserve(conn, jobs)
    }

    fn release(&self, conn: &mut Conn, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error> {
        self.inner.release(conn, claim_id, ids)
    }

    fn record_outcomes(&self, conn: &mut Conn, outcomes: &[&Outcome]) -> Result<(), Error> {
        self.inner.record_outcomes(conn, outcomes)?;
        (self.recorded)(outcomes.len() as u64);
        Ok(())
    }
}
