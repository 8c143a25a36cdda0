//! The daemon's lease: one row of `res_daemon` that says how long its jobs are its own. A thread of its own renews it
//! over a connection of its own, so that nothing the dispatcher waits for can let it expire.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::{store::QueueStore, validity::Validity};
use crate::{
    base::clock::now,
    base::failure::Failure,
    base::heartbeat,
    base::threads::{Alarm, Thread, cannot_start},
    db::Error,
};

/// The longest pause after a renewal that failed.
const RETRY_WITHIN: Duration = Duration::from_millis(500);

/// Renews the lease and keeps its validity.
pub struct LeaseRenewer {
    pub validity: Validity,
    store: Box<dyn QueueStore>,
    lease_s: u32,
}

impl LeaseRenewer {
    /// Acquires the lease before it returns: an owner without one must not claim jobs.
    pub fn acquire(store: Box<dyn QueueStore>, lease_s: u32) -> Result<LeaseRenewer, Error> {
        let mut renewer = LeaseRenewer { validity: Validity::new(), store, lease_s };
        renewer.renew()?;
        Ok(renewer)
    }

    fn renew(&mut self) -> Result<(), Error> {
        let requested_at = now();
        self.store.renew_lease(self.lease_s)?;
        self.validity.extend(requested_at, Duration::from_secs(self.lease_s.into()));
        Ok(())
    }

    /// The time between two renewals: a third of the lease, so that two may fail.
    pub fn renew_interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.lease_s) * 1000 / 3)
    }

    /// Renews once, and ends what those who did not have left at the server: here, since a lock of theirs may be what the
    /// dispatcher waits for. Returns the pause before the next turn.
    pub fn turn(&mut self) -> Duration {
        match self.renew().and_then(|()| self.store.end_expired_sessions()) {
            Ok(()) => self.renew_interval(),
            Err(error) => {
                log::debug!("lease: turn failed; retrying: {error}");
                self.renew_interval().min(RETRY_WITHIN)
            }
        }
    }

    /// Ends the lease at once: other daemons may reclaim what this one still holds.
    pub fn end(mut self) {
        if let Err(error) = self.store.end_lease() {
            log::debug!("lease: could not be ended and will expire: {error}");
        }
    }
}

/// The thread that renews the lease until it is stopped.
pub struct LeaseThread {
    pub validity: Validity,
    thread: Thread,
}

impl LeaseThread {
    /// Acquires the lease before it returns.
    pub fn start(store: Box<dyn QueueStore>, lease_s: u32, alarm: &Alarm) -> Result<LeaseThread, Failure> {
        let renewer = LeaseRenewer::acquire(store, lease_s)?;
        let validity = renewer.validity.clone();
        let run = move |stopped| renew_until(renewer, &stopped);
        let thread = Thread::spawn_stoppable("lease", alarm, run).map_err(cannot_start)?;
        Ok(LeaseThread { validity, thread })
    }

    /// Stops renewing and ends the lease, waiting at most this long for the database.
    pub fn stop(self, timeout: Duration) {
        self.thread.stop(timeout);
    }
}

fn renew_until(mut renewer: LeaseRenewer, stopped: &Receiver<()>) {
    let mut pause = renewer.renew_interval();
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        heartbeat::working();
        pause = renewer.turn();
        heartbeat::waiting();
    }
    renewer.end();
}
