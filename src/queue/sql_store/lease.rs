//! The leases of daemons, and reclaiming the jobs of those whose lease has expired. All times are the server's.

use mysql::{Conn, prelude::Queryable};

use crate::{
    db::{Error, ErrorClass, except},
    queue::store::Reclaimed,
};

/// Keeps `owner`'s jobs its own for `lease_s` seconds from now.
pub fn renew(conn: &mut Conn, owner: &str, lease_s: u32) -> Result<(), Error> {
    Ok(conn.exec_drop(
        "INSERT INTO res_daemon (owner, lease_until) VALUES (?, NOW(6) + INTERVAL ? SECOND) \
         ON DUPLICATE KEY UPDATE lease_until = VALUES(lease_until)",
        (owner, lease_s),
    )?)
}

/// Ends the lease at once: what `owner` still holds may be reclaimed.
pub fn end(conn: &mut Conn, owner: &str) -> Result<(), Error> {
    Ok(conn.exec_drop("DELETE FROM res_daemon WHERE owner = ?", (owner,))?)
}

/// Up to 500 jobs whose daemon's lease has expired, each with its claim. No id below 1: see [`super::claim`].
pub fn expired(conn: &mut Conn, excluded: &[u64]) -> Result<Vec<(u64, Option<u64>)>, Error> {
    Ok(conn.query(format!(
        "SELECT q.res_id, q.claim_id FROM res_queue q FORCE INDEX (res_queue_claim) \
         LEFT JOIN res_daemon d ON d.owner = q.owner \
         WHERE q.status = 'in_progress' AND q.res_id + 0 > 0 AND COALESCE(q.claim_id, 0) >= 0 {} \
         AND (d.owner IS NULL OR d.lease_until < NOW(6)) LIMIT 500",
        except("q.res_id", excluded)
    ))?)
}

/// Puts those jobs back to `new`, with a growing pause. The attempt does not count, the interruption does. Each is a
/// transaction by itself.
pub fn reclaim_expired(conn: &mut Conn, excluded: &[u64]) -> Result<Reclaimed, Error> {
    let mut reclaimed = Reclaimed::default();
    for (id, claim_id) in expired(conn, excluded)? {
        let changed = conn.exec_drop(
            "UPDATE res_queue FORCE INDEX (PRIMARY) SET status = 'new', owner = NULL, claim_id = NULL, \
             attempts = GREATEST(attempts, 1) - 1, interruptions = LEAST(interruptions, 1000) + 1, \
             run_at = IF(interruptions > 1, NOW(6) + INTERVAL POW(2, LEAST(interruptions - 1, 6)) SECOND, NULL) \
             WHERE res_id = ? AND status = 'in_progress' AND claim_id <=> ?",
            (id, claim_id),
        );
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
