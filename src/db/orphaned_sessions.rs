//! Sessions that live on at the server after their connection broke. A dead network is noticed here within half a minute,
//! by the server perhaps after hours, and until then the rows that the session locked stay locked. So each session takes
//! a server lock under a name of its own, which vanishes with the session; the next connection kills every orphan whose
//! lock is still held. Owns these names; never looks at what a session did.

use std::sync::{Mutex, PoisonError};

use mysql::{Conn, prelude::Queryable};

/// More than the connections of one pool that can break at the same time; any beyond it are left to the server.
const MOST: usize = 1024;

/// The sessions of one pool.
pub struct OrphanedSessions {
    /// Random: the locks' names are the same for all pools of a server otherwise.
    pool: u64,
    /// The connection ids of those that may live on.
    orphans: Mutex<Vec<u32>>,
}

impl OrphanedSessions {
    /// None yet.
    pub fn new() -> OrphanedSessions {
        OrphanedSessions { pool: fastrand::u64(..), orphans: Mutex::default() }
    }

    /// Remembers that `conn` broke, so that its session may live on.
    pub fn add(&self, conn: &Conn) {
        let mut orphans = self.orphans.lock().unwrap_or_else(PoisonError::into_inner);
        if orphans.len() < MOST {
            orphans.push(conn.connection_id());
        }
    }

    /// Kills the orphans on the server that `conn`, a new connection, leads to, and marks its session. An error means
    /// that none are there, or that this server allows no marks.
    pub fn kill_on(&self, conn: &mut Conn) {
        for id in std::mem::take(&mut *self.orphans.lock().unwrap_or_else(PoisonError::into_inner)) {
            if conn.query_drop(format!("KILL IS_USED_LOCK('{}')", self.mark(id))).is_ok() {
                log::warn!("database: killed session {id}, orphaned by a broken connection; check the network");
            }
        }
        let mark = self.mark(conn.connection_id());
        if let Err(error) = conn.query_drop(format!("DO GET_LOCK('{mark}', 0)")) {
            log::debug!("database: cannot mark a session: {error}");
        }
    }

    /// The name of a session's lock. Servers allow 64 characters.
    fn mark(&self, id: u32) -> String {
        format!("resq.session.{:016x}.{id}", self.pool)
    }
}
