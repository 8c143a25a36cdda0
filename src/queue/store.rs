//! What the queue's threads ask of the database: the seam between their rules and the SQL, behind which a simulation
//! may stand in place of a server. Each call is one short transaction or statement; none keeps anything in memory.

use std::{sync::Arc, time::Duration};

use super::{
    handler::Handler,
    job::Job,
    sql_store::{self, Claimer, Cursor, Outcome},
};
use crate::db::{Db, Error, Link};

/// One thread's way to the queue's tables. An error leaves nothing half done. One that means a lost race for locks
/// was tried again already; after one that means a lost server nobody knows whether the call took effect.
pub trait QueueStore: Send {
    /// Whether an operator has paused the queue.
    fn is_paused(&mut self) -> Result<bool, Error>;

    /// Puts jobs whose daemon's lease has run out back to `new`; returns how many.
    fn reclaim_expired(&mut self) -> Result<u64, Error>;

    /// Makes delayed jobs ready whose time has come; true if there may be more of them.
    fn promote_delayed(&mut self) -> Result<bool, Error>;

    /// How long until the next delayed job is due, by the server's clock.
    fn next_due(&mut self) -> Result<Option<Duration>, Error>;

    /// Claims up to `limit` ready jobs behind `after`, in their order. With them comes where the next claim may go on;
    /// None: from the start again.
    fn claim(
        &mut self,
        claim_id: u64,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<(Vec<Job>, Option<Cursor>), Error>;

    /// Gives jobs of one claim back that were not started, all of them or these.
    fn release_claimed(&mut self, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error>;

    /// Records how attempts ended; returns how many of them still had their job.
    fn finish(&mut self, outcomes: &[Outcome]) -> Result<usize, Error>;

    /// Keeps this daemon's jobs for so many seconds from now, by the server's clock.
    fn renew_lease(&mut self, lease_s: u32) -> Result<(), Error>;

    /// Ends the lease at once.
    fn end_lease(&mut self) -> Result<(), Error>;
}

/// The tables of a server.
pub struct SqlQueueStore {
    link: Link,
    claimer: Claimer,
    /// What it adds to a claim, a giving back and an outcome is committed with them.
    handler: Arc<dyn Handler>,
}

impl SqlQueueStore {
    pub fn new(db: &Db, claimer: &Claimer, handler: &Arc<dyn Handler>) -> SqlQueueStore {
        SqlQueueStore { link: Link::new(db), claimer: claimer.clone(), handler: handler.clone() }
    }

    #[cfg(test)]
    pub fn link_for_tests(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl QueueStore for SqlQueueStore {
    fn is_paused(&mut self) -> Result<bool, Error> {
        self.link.run(sql_store::paused)
    }

    fn reclaim_expired(&mut self) -> Result<u64, Error> {
        self.link.run(sql_store::reclaim_expired)
    }

    fn promote_delayed(&mut self) -> Result<bool, Error> {
        self.link.run(|conn| self.claimer.promote_delayed(conn))
    }

    fn next_due(&mut self) -> Result<Option<Duration>, Error> {
        self.link.run(sql_store::next_due)
    }

    fn claim(
        &mut self,
        claim_id: u64,
        limit: usize,
        after: Option<Cursor>,
    ) -> Result<(Vec<Job>, Option<Cursor>), Error> {
        let (claimer, handler) = (&self.claimer, &self.handler);
        self.link.run(|conn| claimer.claim(conn, claim_id, limit, after, |conn, jobs| handler.reserve(conn, jobs)))
    }

    fn release_claimed(&mut self, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error> {
        let handler = &self.handler;
        self.link
            .run(|conn| sql_store::release_claimed(conn, claim_id, ids, |conn| handler.release(conn, claim_id, ids)))
    }

    fn finish(&mut self, outcomes: &[Outcome]) -> Result<usize, Error> {
        let handler = &self.handler;
        self.link.run(|conn| sql_store::finish(conn, outcomes, |conn, held| handler.record_outcomes(conn, held)))
    }

    fn renew_lease(&mut self, lease_s: u32) -> Result<(), Error> {
        self.link.run(|conn| sql_store::renew_lease(conn, &self.claimer.owner, lease_s))
    }

    fn end_lease(&mut self) -> Result<(), Error> {
        self.link.run(|conn| sql_store::end_lease(conn, &self.claimer.owner))
    }
}
