//! Sessions that a broken connection has left behind. We notice a dead network within half a minute, the server
//! perhaps after hours, and until then the rows that the session had locked stay locked. So each connection is marked
//! by a lock of the server's under a name of its own, which vanishes with the session; whoever connects next ends
//! those that are still there. Owns these names; never looks at what a session did.

use std::sync::{Mutex, PoisonError};

use mysql::{Conn, prelude::Queryable};

/// More than connections of one pool break at a time; what is over is left to the server.
const MOST: usize = 1024;

/// The connections of one pool.
pub struct OrphanedSessions {
    pool: u64,
    lost: Mutex<Vec<u32>>,
}

impl OrphanedSessions {
    pub fn new() -> OrphanedSessions {
        OrphanedSessions { pool: fastrand::u64(..), lost: Mutex::default() }
    }

    /// This connection broke, and its session may live on.
    pub fn lost(&self, conn: &Conn) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.len() < MOST {
            lost.push(conn.connection_id());
        }
    }

    /// Ends on this server what was left there, and marks `conn`, which is new. A server on which this fails is none
    /// where anything was left, or lets no session be marked.
    pub fn end_on(&self, conn: &mut Conn) {
        for id in std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner)) {
            if conn.query_drop(format!("KILL IS_USED_LOCK('{}')", self.mark(id))).is_ok() {
                log::warn!("ended session {id}, which a broken connection had left behind; is the network well?");
            }
        }
        let mark = self.mark(conn.connection_id());
        if let Err(error) = conn.query_drop(format!("DO GET_LOCK('{mark}', 0)")) {
            log::debug!("a session was not marked: {error}");
        }
    }

    /// At most 64 characters, as the server's limit is.
    fn mark(&self, id: u32) -> String {
        format!("resq.session.{:016x}.{id}", self.pool)
    }
}
