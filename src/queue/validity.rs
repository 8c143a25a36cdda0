//! Whether this daemon's lease is valid, shared by the thread that renews it and the threads that depend on it. Holds
//! one point in time; never asks the database.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::base::clock::now;

/// This machine's steady clock may run slower than the server's by one part in so many. Clocks that are not set right
/// drift by some hundred parts in a million at most, those of virtual machines by more for a while.
const DRIFT: u32 = 100;

/// Until when the lease is valid, by this machine's steady clock. Each renewal counts from before it was sent, and for a
/// little less than was granted, so the lease never seems valid for longer than the server granted. Clones share one
/// value.
#[derive(Clone, Debug)]
pub struct Validity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What `valid_until_ms` counts from.
    origin: Instant,
    valid_until_ms: AtomicU64,
}

impl Validity {
    /// Not valid until the first renewal.
    pub fn new() -> Validity {
        Validity(Arc::new(Shared { origin: now(), valid_until_ms: AtomicU64::new(0) }))
    }

    /// Whether the lease is valid now.
    pub fn is_valid(&self) -> bool {
        let elapsed = now().duration_since(self.0.origin);
        (elapsed.as_millis() as u64) < self.0.valid_until_ms.load(Ordering::Acquire)
    }

    /// Records a renewal for `lease`, whose request was sent at or after `requested_at`.
    pub fn extend(&self, requested_at: Instant, lease: Duration) {
        let until = requested_at.duration_since(self.0.origin) + (lease - lease / DRIFT);
        self.0.valid_until_ms.store(until.as_millis() as u64, Ordering::Release);
    }
}
