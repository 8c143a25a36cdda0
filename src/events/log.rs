//! What the sequencer asks of the database: the seam between its rules and the SQL, where the simulation puts a server
//! in memory. Decides nothing.

use super::store::{self, Polled};
use crate::{
    db::{Db, Error, Link},
    events::{event::SharedEvent, updates::LogHead},
};

/// Access to the event log.
///
/// # Errors
/// An error leaves nothing half done. A call that lost a race for locks was repeated already; after a lost connection
/// it is unknown whether the call took effect.
pub trait EventLog: Send {
    /// Where the log begins and ends.
    fn head(&mut self) -> Result<LogHead, Error>;

    /// Numbers up to `limit` committed events whose outbox id is above `floor`, then reads the page after `after_seq`.
    fn poll(&mut self, floor: u64, after_seq: u64, limit: usize) -> Result<Polled, Error>;

    /// Gives the log a new identity in place of `log_id`; with `unless_reached`, only if its head lies before that number.
    /// False: nothing was changed.
    fn renew_log_id(&mut self, log_id: u64, unless_reached: Option<u64>) -> Result<bool, Error>;

    /// The least id in the outbox, committed or not.
    fn oldest_unmoved(&mut self) -> Result<Option<u64>, Error>;

    /// The first events after `after_seq`, at most `limit`, and no more bytes than make a page.
    fn read(&mut self, after_seq: u64, limit: usize) -> Result<Vec<SharedEvent>, Error>;

    /// Deletes at most `limit` of the oldest events, those numbered more than `days` days ago. Returns the new first
    /// number if any was deleted.
    fn prune(&mut self, days: u32, limit: usize) -> Result<Option<u64>, Error>;
}

/// The event log in a server's global database.
pub struct SqlEventLog {
    pub(crate) link: Link,
}

impl SqlEventLog {
    /// Connects at the first call.
    pub fn new(db: &Db) -> SqlEventLog {
        SqlEventLog { link: Link::new(db) }
    }
}

impl EventLog for SqlEventLog {
    fn head(&mut self) -> Result<LogHead, Error> {
        self.link.run(store::head)
    }

    fn poll(&mut self, floor: u64, after_seq: u64, limit: usize) -> Result<Polled, Error> {
        self.link.run(|conn| store::poll(conn, floor, after_seq, limit))
    }

    fn renew_log_id(&mut self, log_id: u64, unless_reached: Option<u64>) -> Result<bool, Error> {
        // A node of a cluster may lag behind: its log only seems shorter.
        self.link.catch_up()?;
        self.link.run(|conn| store::renew_log_id(conn, log_id, unless_reached))
    }

    fn oldest_unmoved(&mut self) -> Result<Option<u64>, Error> {
        self.link.run(store::oldest_unmoved)
    }

    fn read(&mut self, after_seq: u64, limit: usize) -> Result<Vec<SharedEvent>, Error> {
        self.link.run(|conn| store::read(conn, after_seq, limit))
    }

    fn prune(&mut self, days: u32, limit: usize) -> Result<Option<u64>, Error> {
        self.link.run(|conn| store::prune(conn, days, limit))
    }
}
