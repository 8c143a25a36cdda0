//! The leases of daemons, and reclaiming the jobs of those whose lease has expired. All times are the server's.

use mysql::{Conn, prelude::Queryable};

use super::claim::Claimer;
use crate::{
    db::{Error, ErrorClass, ReadRows, kill_sessions, literal},
    queue::{expired, store::Reclaimed},
};

/// The most jobs reclaimed by one call.
const RECLAIM_BATCH: usize = 500;

/// Keeps the claimer's jobs its own for `lease_s` seconds from now.
pub fn renew(conn: &mut Conn, claimer: &Claimer, lease_s: u32) -> Result<(), Error> {
    Ok(conn.query_drop(format!(
        "INSERT INTO res_daemon (owner, lease_until, workers) VALUES ({}, NOW(6) + INTERVAL {lease_s} SECOND, {}) \
         ON DUPLICATE KEY UPDATE lease_until = VALUES(lease_until), workers = VALUES(workers)",
        literal(&claimer.owner),
        claimer.workers
    ))?)
}

/// Ends the lease at once: what `owner` still holds may be reclaimed.
pub fn end(conn: &mut Conn, owner: &str) -> Result<(), Error> {
    Ok(conn.query_drop(format!("DELETE FROM res_daemon WHERE owner = {}", literal(owner)))?)
}

/// The daemons of other processes whose lease has expired, each with its end.
pub fn expired_daemons(conn: &mut Conn, me: &str) -> Result<Vec<(String, String)>, Error> {
    let expired = "SELECT owner, CAST(lease_until AS CHAR) FROM res_daemon WHERE lease_until < NOW(6)";
    let mut daemons: Vec<(String, String)> = conn.read_rows(expired)?;
    daemons.retain(|(owner, _)| process(owner) != process(me));
    Ok(daemons)
}

/// Ends the sessions of a daemon whose lease has expired. Returns how many.
pub fn end_sessions(conn: &mut Conn, owner: &str) -> Result<usize, Error> {
    process(owner).map_or(Ok(0), |process| kill_sessions(conn, process))
}

/// The number of a daemon's process: see `service::owner`.
fn process(owner: &str) -> Option<u32> {
    let (_, last) = owner.rsplit_once(':')?;
    u32::from_str_radix(last.get(last.len().checked_sub(8)?..)?, 16).ok()
}

/// A job, its claim as SQL, and whether a worker may have begun it.
type Expired = ((u64, String), bool);

/// Up to 500 jobs whose daemon's lease has expired, in the order in which to reclaim them. No id below 1: see
/// [`super::claim`].
pub fn expired(conn: &mut Conn, excluded: &[u64]) -> Result<Vec<Expired>, Error> {
    type Columns = (u64, Option<u64>, Option<String>, Option<u32>);
    let rows: Vec<Columns> = conn.read_rows(
        "SELECT q.res_id, q.claim_id, HEX(q.owner), d.workers FROM res_queue q FORCE INDEX (res_queue_claim) \
         LEFT JOIN res_daemon d ON d.owner = q.owner \
         WHERE q.status = 'in_progress' AND q.res_id + 0 > 0 AND COALESCE(q.claim_id, 0) >= 0 \
         AND (d.owner IS NULL OR d.lease_until < NOW(6)) \
         ORDER BY q.owner, q.started_at, q.priority, q.res_id",
    )?;
    let jobs = rows.into_iter().map(|(id, claim_id, owner, workers)| {
        let claim_id = claim_id.map_or("NULL".into(), |id| id.to_string());
        expired::Expired { owner, workers, job: (id, claim_id) }
    });
    let mut order = expired::reclaim_order(jobs.collect());
    order.retain(|((id, _), _)| !excluded.contains(id));
    order.truncate(RECLAIM_BATCH);
    Ok(order)
}

/// Puts those jobs back to `new`. The attempt does not count. Where a worker may have begun it, the interruption does, and
/// the pause grows. Each is a transaction by itself.
pub fn reclaim_expired(conn: &mut Conn, excluded: &[u64]) -> Result<Reclaimed, Error> {
    let mut reclaimed = Reclaimed::default();
    for ((id, claim_id), may_have_run) in expired(conn, excluded)? {
        // Assignments are evaluated from left to right: the second one sees the new count.
        let cost = if may_have_run {
            "interruptions = LEAST(interruptions, 1000) + 1, \
             run_at = IF(interruptions > 1, NOW(6) + INTERVAL POW(2, LEAST(interruptions - 1, 6)) SECOND, NULL)"
        } else {
            "run_at = NULL"
        };
        let changed = conn.query_drop(format!(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET status = 'new', owner = NULL, claim_id = NULL, \
             attempts = GREATEST(attempts, 1) - 1, {cost} \
             WHERE res_id = {id} AND status = 'in_progress' AND claim_id <=> {claim_id}"
        ));
        match changed.map_err(Error::from) {
            Ok(()) => reclaimed.jobs += conn.affected_rows(),
            Err(error) if error.class() == ErrorClass::Permanent => reclaimed.refused.push((id, error)),
            Err(error) => return Err(error),
        }
    }
    if reclaimed.jobs > 0 {
        conn.query_drop("DELETE FROM res_daemon WHERE lease_until < NOW(6) - INTERVAL 1 DAY")?;
    }
    Ok(reclaimed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::owner;

    #[test]
    fn owner_tells_its_process() {
        for (owner, expected) in [
            (owner(0xc0ffee), Some(0xc0ffee)),
            ("host:with:colons:7:0123456789abcdef".into(), Some(0x89ab_cdef)),
            ("an older version:7:dff01cf0".into(), Some(0xdff0_1cf0)),
            ("host:7:short".into(), None),
            ("host:7:äöüäöü".into(), None),
            ("by hand".into(), None),
        ] {
            assert_eq!(process(&owner), expected, "{owner}");
        }
        assert_ne!(owner(1), owner(1));
    }
}
