//! Reclaiming the jobs of expired leases on the simulated server, as `queue::sql_store::lease` does it.

use super::{
    oracle::Return,
    session::Session,
    tables::{JobRow, LeaseRow},
};
use crate::{
    db::{Error, ErrorClass},
    queue::{
        Status,
        expired::{Expired, reclaim_order},
        store::{Change, Reclaimed},
    },
};

/// When the row of a lease that has ended is deleted: after a day.
const FORGOTTEN_AFTER_US: u64 = 86_400_000_000;

/// An owner, and a job with the claim under which it is in progress.
type Held = Expired<Option<u64>, (u64, Option<u64>)>;

/// When they were read, and the jobs in progress whose daemon has no valid lease.
fn expired(session: &mut Session) -> Result<(u64, Vec<Held>), Error> {
    session.alone(|server, tx| {
        let lease = |row: &JobRow| row.owner.and_then(|owner| server.leases.get(tx, owner));
        let is_expired = |row: &JobRow| {
            row.status == Status::InProgress && lease(row).is_none_or(|lease| lease.until_us < server.now_us)
        };
        let mut jobs: Vec<_> = server.jobs.seen_by(tx).filter(|(_, row)| is_expired(row)).collect();
        jobs.sort_by_key(|(id, row)| (row.owner, row.started_at, row.priority, *id));
        let expired = jobs.into_iter().map(|(id, row)| Expired {
            owner: row.owner,
            workers: lease(row).map(|lease| lease.workers),
            job: (id, row.claim_id),
        });
        Ok((server.now_us, expired.collect()))
    })
}

pub fn mark_returned(row: &mut JobRow) {
    row.status = Status::New;
    row.attempts = row.attempts.max(1) - 1;
    (row.owner, row.claim_id) = (None, None);
}

pub fn reclaim_expired(session: &mut Session, excluded: &[u64]) -> Result<Reclaimed, Error> {
    // The first read is cheap; the second follows after the node has caught up with the others.
    let mut reclaimed = Reclaimed::default();
    if expired(session)?.1.is_empty() {
        return Ok(reclaimed);
    }
    let (seen_us, expired) = expired(session)?;
    for ((id, claim_id), may_have_run) in reclaim_order(expired) {
        if excluded.contains(&id) {
            continue;
        }
        let changed = session.alone(|server, tx| {
            let now_us = server.now_us;
            server.returning(tx, Return::Reclaimed { seen_us });
            let is_still = |_, row: &JobRow| row.status == Status::InProgress && row.claim_id == claim_id;
            server.change_jobs(tx, Change::Reclaim, &[id], is_still, |_, row| {
                mark_returned(row);
                row.interruptions += u32::from(may_have_run);
                // MariaDB and MySQL evaluate assignments from left to right: the count is the new one.
                let is_delayed = may_have_run && row.interruptions > 1;
                row.run_at = is_delayed.then(|| now_us + (1_000_000 << (row.interruptions - 1).min(6)));
            })
        });
        match changed {
            Ok(changed) => reclaimed.jobs += changed as u64,
            Err(error) if error.class() == ErrorClass::Permanent => reclaimed.refused.push((id, error)),
            Err(error) => return Err(error),
        }
    }
    if reclaimed.jobs > 0 {
        session.alone(|server, tx| {
            let is_old = |lease: &LeaseRow| lease.until_us + FORGOTTEN_AFTER_US < server.now_us;
            let old: Vec<u64> =
                server.leases.seen_by(tx).filter(|(_, lease)| is_old(lease)).map(|(id, _)| id).collect();
            for owner in old {
                server.leases.lock(tx, owner)?;
                server.leases.set(tx, owner, None);
            }
            Ok(())
        })?;
    }
    Ok(reclaimed)
}
