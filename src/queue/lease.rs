//! The daemon's lease: one row that says how long its jobs are its own, renewed by a thread and a connection of its
//! own so that nothing the dispatcher waits for can let it run out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::table::Table;
use crate::{
    clock::now,
    db::told,
    threads::{Alarm, join_within, spawn},
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
pub struct Renewer {
    pub lease: Arc<Lease>,
    table: Box<dyn Table>,
    lease_s: u32,
}

impl Renewer {
    /// Takes the lease before it returns: no job may be claimed by an owner who has none.
    pub fn take(table: Box<dyn Table>, lease_s: u32) -> Result<Renewer, mysql::Error> {
        let mut renewer = Renewer { lease: Arc::new(Lease::new()), table, lease_s };
        renewer.renew()?;
        Ok(renewer)
    }

    fn renew(&mut self) -> Result<(), mysql::Error> {
        let asked = now();
        self.table.renew_lease(self.lease_s)?;
        self.lease.extend(asked, self.lease_s);
        Ok(())
    }

    /// How long after a renewal the next is due.
    pub fn third(&self) -> Duration {
        Duration::from_millis(u64::from(self.lease_s) * 1000 / 3)
    }

    /// Renews; returns when to come again.
    pub fn turn(&mut self) -> Duration {
        match self.renew() {
            Ok(()) => self.third(),
            Err(error) => {
                log::debug!("the lease could not be renewed: {}", told(&error));
                self.third().min(Duration::from_millis(500))
            }
        }
    }

    /// Ends the lease at once: what is still held may be rescued.
    pub fn end(mut self) {
        if let Err(error) = self.table.end_lease() {
            log::debug!("the lease could not be ended: {}", told(&error));
        }
    }
}

/// The thread that renews the lease until it is told to stop.
pub struct Keeper {
    pub lease: Arc<Lease>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Takes the lease before it returns.
    pub fn start(table: Box<dyn Table>, lease_s: u32, alarm: &Alarm) -> Result<Keeper, mysql::Error> {
        let renewer = Renewer::take(table, lease_s)?;
        let lease = renewer.lease.clone();
        let (stop, stopped) = bounded(0);
        let thread = spawn("lease", alarm, move || keep(renewer, &stopped)).map_err(mysql::Error::IoError)?;
        Ok(Keeper { lease, stop, thread })
    }

    /// Stops renewing and ends the lease at once, waiting for that at most so long.
    pub fn stop(self, patience: Duration) {
        drop(self.stop);
        join_within(self.thread, patience);
    }
}

fn keep(mut renewer: Renewer, stopped: &Receiver<()>) {
    let mut pause = renewer.third();
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = renewer.turn();
    }
    renewer.end();
}
