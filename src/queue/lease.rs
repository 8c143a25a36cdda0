//! The daemon's lease: one row that says how long its jobs are its own, renewed by a thread and a connection of its
//! own so that nothing the dispatcher waits for can let it run out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::store::QueueStore;
use crate::{
    base::clock::now,
    base::failure::Failure,
    base::threads::{Alarm, Thread, cannot_start},
    db,
};

/// How long the jobs are ours, as the workers see it: by this machine's steady clock, counted from before the
/// renewal was sent, so never longer than the server grants.
#[derive(Debug)]
pub struct Lease {
    origin: Instant,
    valid_until_ms: AtomicU64,
}

impl Lease {
    fn new() -> Lease {
        Lease { origin: now(), valid_until_ms: AtomicU64::new(0) }
    }

    pub fn is_valid(&self) -> bool {
        (now().duration_since(self.origin).as_millis() as u64) < self.valid_until_ms.load(Ordering::Acquire)
    }

    fn extend(&self, asked: Instant, lease_s: u32) {
        let until = asked.duration_since(self.origin) + Duration::from_secs(lease_s.into());
        self.valid_until_ms.store(until.as_millis() as u64, Ordering::Release);
    }
}

/// Renews the lease.
pub struct LeaseRenewer {
    pub lease: Arc<Lease>,
    store: Box<dyn QueueStore>,
    lease_s: u32,
}

impl LeaseRenewer {
    /// Takes the lease before it returns: no job may be claimed by an owner who has none.
    pub fn take(store: Box<dyn QueueStore>, lease_s: u32) -> Result<LeaseRenewer, db::Error> {
        let mut renewer = LeaseRenewer { lease: Arc::new(Lease::new()), store, lease_s };
        renewer.renew()?;
        Ok(renewer)
    }

    fn renew(&mut self) -> Result<(), db::Error> {
        let asked = now();
        self.store.renew_lease(self.lease_s)?;
        self.lease.extend(asked, self.lease_s);
        Ok(())
    }

    /// How long after a renewal the next is due.
    pub fn renew_interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.lease_s) * 1000 / 3)
    }

    /// Renews; returns when to come again.
    pub fn turn(&mut self) -> Duration {
        match self.renew() {
            Ok(()) => self.renew_interval(),
            Err(error) => {
                log::debug!("the lease could not be renewed: {error}");
                self.renew_interval().min(Duration::from_millis(500))
            }
        }
    }

    /// Ends the lease at once: what is still held may be reclaimed.
    pub fn end(mut self) {
        if let Err(error) = self.store.end_lease() {
            log::debug!("the lease could not be ended: {error}");
        }
    }
}

/// The thread that renews the lease until it is told to stop.
pub struct LeaseThread {
    pub lease: Arc<Lease>,
    thread: Thread,
}

impl LeaseThread {
    /// Takes the lease before it returns.
    pub fn start(store: Box<dyn QueueStore>, lease_s: u32, alarm: &Alarm) -> Result<LeaseThread, Failure> {
        let renewer = LeaseRenewer::take(store, lease_s)?;
        let lease = renewer.lease.clone();
        let run = move |stopped| keep(renewer, &stopped);
        let thread = Thread::spawn_stoppable("lease", alarm, run).map_err(cannot_start)?;
        Ok(LeaseThread { lease, thread })
    }

    /// Stops renewing and ends the lease at once, waiting for that at most so long.
    pub fn stop(self, patience: Duration) {
        self.thread.stop(patience);
    }
}

fn keep(mut renewer: LeaseRenewer, stopped: &Receiver<()>) {
    let mut pause = renewer.renew_interval();
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = renewer.turn();
    }
    renewer.end();
}
