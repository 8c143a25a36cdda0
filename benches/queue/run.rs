//! One run of the queue from the start of its threads to the last written outcome.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, bounded};
use mysql::{Conn, Error};
use resq::{
    queue::{Ending, Handler, Job, JobError, Service, Session},
    threads::alarm,
};

use crate::bed::Bed;

/// Runs `handler` on the `jobs` rows that wait in `bed`; how long it took. Panics if one of them was not done.
pub fn run(bed: &Bed, jobs: u64, handler: impl Handler) -> Duration {
    let (done, all_done) = bounded(1);
    let counted = Counted { inner: handler, left: AtomicU64::new(jobs), done };
    let (alarm, panicked) = alarm();
    let start = Instant::now();
    let service = Service::start(&bed.db, &bed.facts, &bed.config.queue, Arc::new(counted), &alarm).expect("a start");
    all_done.recv_timeout(Duration::from_secs(600)).expect("every job is run");
    assert!(service.drain(Duration::from_secs(60)) && panicked.is_empty());
    let took = start.elapsed();
    let done: Option<u64> = mysql::prelude::Queryable::query_first(
        &mut bed.bare(),
        "SELECT COUNT(*) FROM res_queue WHERE status = 'done' AND attempts = 1",
    )
    .expect("a count");
    assert_eq!(done, Some(jobs), "every job is done in one attempt");
    took
}

/// A handler that tells when the last job was run.
struct Counted<H> {
    inner: H,
    left: AtomicU64,
    done: Sender<()>,
}

impl<H: Handler> Handler for Counted<H> {
    fn run(&self, job: &Job, session: &mut Session) -> Result<Option<String>, JobError> {
        let result = self.inner.run(job, session);
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let _ = self.done.try_send(());
        }
        result
    }

    fn abandon(&self, job: &Job, session: &mut Session) -> Result<(), JobError> {
        self.inner.abandon(job, session)
    }

    fn reserve(&self, conn: &mut Conn, jobs: &[Job]) -> Result<(), Error> {
        self.inner.reserve(conn, jobs)
    }

    fn settle(&self, conn: &mut Conn, endings: &[&Ending]) -> Result<(), Error> {
        self.inner.settle(conn, endings)
    }
}
