//! What the reader asks of the database: the seam between its rules and the SQL, behind which a simulation may stand in
//! place of a server.

use std::sync::Arc;

use super::store::{self, Found};
use crate::{
    db::{Db, Error, Link},
    events::event::{Event, LogHead},
};

/// A way to the event log. An error leaves nothing half done. One that means a lost race for locks was tried again
/// already; after one that means a lost server nobody knows whether the call took effect.
pub trait EventLog: Send {
    /// Where the log begins and ends.
    fn head(&mut self) -> Result<LogHead, Error>;

    /// Numbers up to `limit` committed events whose outbox id is above `floor`, then reads on after `after_seq`.
    fn look(&mut self, floor: u64, after_seq: u64, limit: usize) -> Result<Found, Error>;

    /// The least id in the outbox, committed or not.
    fn oldest_unmoved(&mut self) -> Result<Option<u64>, Error>;

    /// The first events after `after_seq`, a page of at most `limit`.
    fn read(&mut self, after_seq: u64, limit: usize) -> Result<Vec<Arc<Event>>, Error>;

    /// Deletes at most `limit` of the oldest events if they were written more than `days` days ago; the new first
    /// number if that changed it.
    fn prune(&mut self, days: u32, limit: usize) -> Result<Option<u64>, Error>;
}

/// The log of a server.
pub struct SqlEventLog {
    link: Link,
}

impl SqlEventLog {
    pub fn new(db: &Db) -> SqlEventLog {
        SqlEventLog { link: Link::new(db) }
    }

    #[cfg(test)]
    pub fn link_for_tests(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl EventLog for SqlEventLog {
    fn head(&mut self) -> Result<LogHead, Error> {
        self.link.run(store::head)
    }

    fn look(&mut self, floor: u64, after_seq: u64, limit: usize) -> Result<Found, Error> {
        self.link.run(|conn| store::look(conn, floor, after_seq, limit))
    }

    fn oldest_unmoved(&mut self) -> Result<Option<u64>, Error> {
        self.link.run(store::oldest_unmoved)
    }

    fn read(&mut self, after_seq: u64, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
        self.link.run(|conn| store::read(conn, after_seq, limit))
    }

    fn prune(&mut self, days: u32, limit: usize) -> Result<Option<u64>, Error> {
        self.link.run(|conn| store::prune(conn, days, limit))
    }
}
