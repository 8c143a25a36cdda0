//! The queue's tables on a server: `res_queue`, `res_error`, `res_daemon`, and the pause flag in `res_meta`. Every
//! statement expects the global database as the current one and changes a row only if it still is what the caller
//! believes. Where hooks take part, a call reads in its order: the queue's statements, the hook, the commit.

mod claim;
mod delayed;
mod lease;
mod outcomes;
mod transaction;

use std::{sync::Arc, time::Duration};

pub use self::claim::{Claimer, locking_read, token_update};
pub(super) use self::delayed::is_paused;
use super::{
    hooks::TransactionHooks,
    outcome::Outcome,
    store::{Claim, Cursor, QueueStore},
};
use crate::db::{Db, Error, Link};

/// One thread's access to the queue's tables on a server.
pub struct SqlQueueStore {
    pub(crate) link: Link,
    claimer: Claimer,
    hooks: Arc<dyn TransactionHooks>,
}

impl SqlQueueStore {
    /// Connects when first used. `hooks` take part in claims, releases and outcomes.
    pub fn new(db: &Db, claimer: &Claimer, hooks: &Arc<dyn TransactionHooks>) -> SqlQueueStore {
        SqlQueueStore { link: Link::new(db), claimer: claimer.clone(), hooks: hooks.clone() }
    }
}

impl QueueStore for SqlQueueStore {
    fn is_paused(&mut self) -> Result<bool, Error> {
        self.link.run(delayed::is_paused)
    }

    fn reclaim_expired(&mut self) -> Result<u64, Error> {
        self.link.run(lease::reclaim_expired)
    }

    fn promote_delayed(&mut self) -> Result<bool, Error> {
        self.link.run(|conn| delayed::promote(conn, self.claimer.skip_locked))
    }

    fn next_due(&mut self) -> Result<Option<Duration>, Error> {
        self.link.run(delayed::next_due)
    }

    fn claim(&mut self, claim_id: u64, limit: usize, after: Option<Cursor>) -> Result<Claim, Error> {
        self.link.run(|conn| {
            let Some((tx, claim)) = self.claimer.claim(conn, claim_id, limit, after)? else {
                return Ok(Claim::default());
            };
            self.hooks.reserve(tx.conn, &claim.jobs)?;
            tx.commit()?;
            Ok(claim)
        })
    }

    fn release_claimed(&mut self, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error> {
        self.link.run(|conn| {
            let tx = claim::release(conn, claim_id, ids)?;
            self.hooks.release(tx.conn, claim_id, ids)?;
            tx.commit()
        })
    }

    fn finish(&mut self, outcomes: &[Outcome]) -> Result<usize, Error> {
        self.link.run(|conn| {
            let (tx, recorded) = outcomes::record(conn, outcomes)?;
            if !recorded.is_empty() {
                self.hooks.record_outcomes(tx.conn, &recorded)?;
            }
            tx.commit()?;
            Ok(recorded.len())
        })
    }

    fn renew_lease(&mut self, lease_s: u32) -> Result<(), Error> {
        self.link.run(|conn| lease::renew(conn, &self.claimer.owner, lease_s))
    }

    fn end_lease(&mut self) -> Result<(), Error> {
        self.link.run(|conn| lease::end(conn, &self.claimer.owner))
    }
}
