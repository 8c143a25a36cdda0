//! The queue's tables on a server: `res_queue`, `res_error`, `res_daemon`, `res_quarantine`, and the pause flag in `res_meta`. Every
//! statement expects the global database as the current one and changes a row only if it still is what the caller
//! believes. Where hooks take part, a call reads in its order: the queue's statements, the hook, the commit.

mod claim;
mod delayed;
mod lease;
mod outcomes;
mod quarantine;
mod transaction;

use std::{sync::Arc, time::Duration};

use self::claim::Which;
pub use self::claim::{Claimer, locking_read, token_update};
pub use self::delayed::READY_SINCE;
pub(super) use self::delayed::{PAUSED, is_paused};
use super::{
    claim_ids::ClaimIds,
    hooks::TransactionHooks,
    job::Job,
    outcome::Outcome,
    store::{Change, Claim, Cursor, QueueStore, Reclaimed},
    telemetry::Telemetry,
};
use crate::db::{Db, Error, Link, quarantine::Report};

/// One thread's access to the queue's tables on a server.
pub struct SqlQueueStore {
    pub(crate) link: Link,
    claimer: Claimer,
    hooks: Arc<dyn TransactionHooks>,
    telemetry: Telemetry,
    /// The expired leases whose daemons' sessions were ended.
    ended: Vec<(String, String)>,
}

impl SqlQueueStore {
    /// Connects when first used. `hooks` take part in claims, releases and outcomes.
    pub fn new(db: &Db, claimer: &Claimer, hooks: &Arc<dyn TransactionHooks>) -> SqlQueueStore {
        let (claimer, hooks, telemetry) = (claimer.clone(), hooks.clone(), Telemetry::default());
        SqlQueueStore { link: Link::new(db), claimer, hooks, telemetry, ended: Vec::new() }
    }

    /// Lets the rest of the program know how long jobs waited for their claim, and which are set aside.
    pub fn with_telemetry(self, telemetry: &Telemetry) -> SqlQueueStore {
        SqlQueueStore { telemetry: telemetry.clone(), ..self }
    }
}

impl SqlQueueStore {
    fn claim_which(&mut self, tries: &mut ClaimIds, which: Which<'_>) -> Result<Claim, Error> {
        self.link.run(|conn| {
            let claim_id = tries.draw();
            let Some((tx, claim, waited)) = self.claimer.claim(conn, claim_id, which)? else {
                return Ok(Claim::default());
            };
            self.hooks.reserve(tx.conn, &claim.jobs)?;
            tx.commit().inspect_err(|_| tries.commit_failed(claim_id))?;
            for (job, waited) in claim.jobs.iter().zip(waited) {
                self.telemetry.metrics.job_wait.with(&job.res_type).observe(waited);
            }
            Ok(claim)
        })
    }
}

impl QueueStore for SqlQueueStore {
    fn is_paused(&mut self) -> Result<bool, Error> {
        self.link.run(delayed::is_paused)
    }

    fn reclaim_expired(&mut self, excluded: &[u64]) -> Result<Reclaimed, Error> {
        if self.link.run(|conn| lease::expired(conn, excluded))?.is_empty() {
            return Ok(Reclaimed::default());
        }
        // In a cluster this node may lag behind: the lease may have been renewed on another one, by a daemon that is
        // running the job.
        self.link.catch_up()?;
        self.link.run(|conn| lease::reclaim_expired(conn, excluded))
    }

    fn due(&mut self, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
        self.link.run(|conn| delayed::due(conn, limit, excluded))
    }

    fn promote(&mut self, ids: &[u64]) -> Result<u64, Error> {
        delayed::promote(&mut self.link, ids, self.claimer.skip_locked)
    }

    fn next_due(&mut self, excluded: &[u64]) -> Result<Option<Duration>, Error> {
        self.link.run(|conn| delayed::next_due(conn, excluded))
    }

    fn claim(
        &mut self,
        tries: &mut ClaimIds,
        limit: usize,
        after: Option<Cursor>,
        excluded: &[u64],
    ) -> Result<Claim, Error> {
        self.claim_which(tries, Which::Next { limit, after, excluded })
    }

    fn claim_ids(&mut self, tries: &mut ClaimIds, ids: &[u64]) -> Result<Vec<Job>, Error> {
        Ok(self.claim_which(tries, Which::Ids(ids))?.jobs)
    }

    fn ready(&mut self, limit: usize, after: Option<Cursor>, excluded: &[u64]) -> Result<Vec<Cursor>, Error> {
        self.link.run(|conn| claim::ready(conn, limit, after, excluded))
    }

    fn holding(&mut self, claim_ids: &[u64]) -> Result<Vec<u64>, Error> {
        self.link.run(|conn| claim::holding(conn, claim_ids))
    }

    fn claimed(&mut self, claim_id: u64) -> Result<Vec<u64>, Error> {
        self.link.run(|conn| claim::claimed(conn, claim_id))
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

    fn report_set_aside(&mut self, added: &[Report<Change>], removed: &[u64]) -> Result<(), Error> {
        self.telemetry.set_aside.change(added, removed);
        self.link.run(|conn| quarantine::report(conn, &self.claimer.owner, added, removed))
    }

    fn renew_lease(&mut self, lease_s: u32) -> Result<(), Error> {
        self.link.run(|conn| lease::renew(conn, &self.claimer, lease_s))
    }

    fn end_lease(&mut self) -> Result<(), Error> {
        self.link.run(|conn| lease::end(conn, &self.claimer.owner))
    }

    fn end_expired_sessions(&mut self) -> Result<(), Error> {
        let expired = self.link.run(|conn| lease::expired_daemons(conn, &self.claimer.owner))?;
        self.ended.retain(|lease| expired.contains(lease));
        if expired.len() == self.ended.len() {
            return Ok(());
        }
        // In a cluster this node may lag behind: the lease may have been renewed on another one.
        self.link.catch_up()?;
        for lease in self.link.run(|conn| lease::expired_daemons(conn, &self.claimer.owner))? {
            if !self.ended.contains(&lease) {
                let sessions = self.link.run(|conn| lease::end_sessions(conn, &lease.0))?;
                if sessions > 0 {
                    log::warn!(
                        "queue: the lease of another daemon expired; killed its sessions daemon={} sessions={sessions}",
                        lease.0
                    );
                }
                self.ended.push(lease);
            }
        }
        Ok(())
    }
}
