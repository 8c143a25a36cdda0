//! Sessions that live on at the server without a client that uses them. Until the server ends them, perhaps after hours,
//! the rows that they locked stay locked. So each session holds a server lock under a name of its own, which vanishes
//! with the session and by which another session can find and kill it: this process those whose connection broke, which
//! is noticed here within half a minute, and any daemon those of one that is frozen, cut off or gone beyond its lease.
//! Owns these names; never looks at what a session did.

use std::sync::{Mutex, MutexGuard, PoisonError};

use mysql::{Conn, prelude::Queryable};

use super::{Error, ReadRows};

/// More than the sessions of one process; any beyond it have no mark.
const SLOTS: usize = 512;
/// How many names one query asks for.
const AT_ONCE: usize = 128;

/// The sessions of one process.
pub struct OrphanedSessions {
    /// In the names of their locks. Random: those of two processes must differ.
    process: u32,
    marks: Mutex<Marks>,
}

/// Which slot each session got, by the ids of their connections.
struct Marks {
    /// The slot to try next.
    next: usize,
    /// The session that took each slot last.
    sessions: Vec<Option<u32>>,
    /// Those that may live on.
    orphans: Vec<(usize, u32)>,
}

impl OrphanedSessions {
    /// None yet.
    pub fn new() -> OrphanedSessions {
        let marks = Mutex::new(Marks { next: 0, sessions: vec![None; SLOTS], orphans: Vec::new() });
        OrphanedSessions { process: fastrand::u32(..), marks }
    }

    /// By which another process finds these sessions, with [`kill_all`].
    pub fn process(&self) -> u32 {
        self.process
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers that `conn` broke, so that its session may live on.
    pub fn add(&self, conn: &Conn) {
        let (mut marks, id) = (self.marks(), conn.connection_id());
        if let Some(slot) = marks.sessions.iter().position(|session| *session == Some(id)) {
            marks.sessions[slot] = None;
            marks.orphans.push((slot, id));
        }
    }

    /// Kills the orphans on the server that `conn`, a new connection, leads to, and marks its session. An error means
    /// that none are there, or that this server allows no marks.
    pub fn kill_on(&self, conn: &mut Conn) {
        let orphans = std::mem::take(&mut self.marks().orphans);
        for (slot, id) in orphans {
            // The server may have ended it, and the slot may be another session's by now.
            let holder = holders(conn, self.process, slot..slot + 1).unwrap_or_default();
            if holder.contains(&id) && conn.query_drop(format!("KILL {id}")).is_ok() {
                log::warn!("database: killed session {id}, orphaned by a broken connection; check the network");
            }
        }
        if let Err(error) = self.mark(conn) {
            log::debug!("database: cannot mark a session: {error}");
        }
    }

    /// Takes the first free slot behind the last one that was taken.
    fn mark(&self, conn: &mut Conn) -> Result<(), Error> {
        for _ in 0..SLOTS {
            let slot = {
                let mut marks = self.marks();
                marks.next = (marks.next + 1) % SLOTS;
                marks.next
            };
            let taken: Option<Option<u8>> =
                conn.read_first(format!("SELECT GET_LOCK('{}', 0)", mark(self.process, slot)))?;
            match taken.flatten() {
                Some(1) => {
                    self.marks().sessions[slot] = Some(conn.connection_id());
                    return Ok(());
                }
                Some(_) => {}
                None => return Ok(()), // none are to be had
            }
        }
        Ok(())
    }
}

/// Kills the sessions that the process of this number has on the server of `conn`: its lease has expired, and whatever
/// they locked must not wait for it. Needs no privilege where they belong to the same account. Returns how many.
///
/// # Errors
///
/// The server's; one that cannot be killed is none.
pub fn kill_all(conn: &mut Conn, process: u32) -> Result<usize, Error> {
    let mut killed = 0;
    for first in (0..SLOTS).step_by(AT_ONCE) {
        for id in holders(conn, process, first..first + AT_ONCE)? {
            killed += usize::from(conn.query_drop(format!("KILL {id}")).is_ok());
        }
    }
    Ok(killed)
}

/// The sessions that hold the marks of these slots.
fn holders(conn: &mut Conn, process: u32, slots: std::ops::Range<usize>) -> Result<Vec<u32>, Error> {
    let each: Vec<_> = slots.map(|slot| format!("IS_USED_LOCK('{}')", mark(process, slot))).collect();
    let ids: Option<Option<String>> = conn.read_first(format!("SELECT CONCAT_WS(',', {})", each.join(", ")))?;
    Ok(ids.flatten().unwrap_or_default().split(',').filter_map(|id| id.parse().ok()).collect())
}

/// The name of a session's lock. Servers allow 64 characters.
fn mark(process: u32, slot: usize) -> String {
    format!("resq.session.{process:08x}.{slot}")
}
