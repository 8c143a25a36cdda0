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

use crossbeam_channel::{Receiver, Sender, bounded};

use super::store;
use crate::{
    db::{Db, Link, told},
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
    pub fn is_valid(&self) -> bool {
        (self.origin.elapsed().as_millis() as u64) < self.valid_until_ms.load(Ordering::Acquire)
    }

    fn extend(&self, asked: Instant, lease_s: u32) {
        let until = asked.duration_since(self.origin) + Duration::from_secs(lease_s.into());
        self.valid_until_ms.store(until.as_millis() as u64, Ordering::Release);
    }
}

/// The thread that renews the lease until it is told to stop.
pub struct Keeper {
    pub lease: Arc<Lease>,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Takes the lease before it returns: no job may be claimed by an owner who has none.
    pub fn start(db: &Db, owner: &str, lease_s: u32, alarm: &Alarm) -> Result<Keeper, mysql::Error> {
        let mut link = Link::new(db);
        let lease = Arc::new(Lease { origin: Instant::now(), valid_until_ms: AtomicU64::new(0) });
        renew(&mut link, &lease, owner, lease_s)?;
        let (stop, stopped) = bounded(0);
        let (kept, owner) = (lease.clone(), owner.to_string());
        let thread = spawn("lease", alarm, move || keep(link, &kept, &owner, lease_s, &stopped));
        Ok(Keeper { lease, stop, thread: thread.map_err(mysql::Error::IoError)? })
    }

    /// Stops renewing and ends the lease at once, waiting for that at most so long.
    pub fn stop(self, patience: Duration) {
        drop(self.stop);
        join_within(self.thread, patience);
    }
}

fn keep(mut link: Link, lease: &Lease, owner: &str, lease_s: u32, stopped: &Receiver<()>) {
    let third = Duration::from_millis(u64::from(lease_s) * 1000 / 3);
    let mut pause = third;
    while stopped.recv_timeout(pause) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
        pause = match renew(&mut link, lease, owner, lease_s) {
            Ok(()) => third,
            Err(error) => {
                log::debug!("the lease could not be renewed: {}", told(&error));
                third.min(Duration::from_millis(500))
            }
        };
    }
    if let Err(error) = link.run(|conn| store::end_lease(conn, owner)) {
        log::debug!("the lease could not be ended: {}", told(&error));
    }
}

fn renew(link: &mut Link, lease: &Lease, owner: &str, lease_s: u32) -> Result<(), mysql::Error> {
    let asked = Instant::now();
    link.run(|conn| store::renew_lease(conn, owner, lease_s))?;
    lease.extend(asked, lease_s);
    Ok(())
}
