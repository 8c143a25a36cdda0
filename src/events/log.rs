//! What the sequencer asks of the database: the seam between its rules and the SQL, where the simulation puts a server
//! in memory. Decides nothing.

use super::{
    chosen_rows::{self, Refused},
    store::{self, Polled},
    trace::Unreadable,
};
use crate::{
    db::{Db, Error, Link, quarantine::Report},
    events::{event::Event, updates::LogHead},
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

    /// Waits until what is read includes all that any node of a cluster had committed at the time of the call.
    fn catch_up(&mut self) -> Result<(), Error>;

    /// The least id in the outbox, committed or not, but for `excluded` ones.
    fn oldest_unmoved(&mut self, excluded: &[u64]) -> Result<Option<u64>, Error>;

    /// The ids of committed events that have no number, but for `excluded` ones: in their order, those above `floor`, at
    /// most `limit`.
    fn unnumbered(&mut self, floor: u64, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error>;

    /// Numbers the events with these outbox ids, in this order; those that are gone are left out.
    fn number(&mut self, ids: &[u64]) -> Result<(), Error>;

    /// Lets numbering go on behind events that lie beyond the head. False: there are none.
    fn skip_taken(&mut self) -> Result<bool, Error>;

    /// The first events after `after_seq`, at most `limit`, and no more bytes than make a page.
    fn read(&mut self, after_seq: u64, limit: usize) -> Result<Vec<Event<'static>>, Error>;

    /// The numbers of the oldest events but for `excluded` ones, in ascending order: at most `limit`, and only those
    /// numbered more than `days` days ago.
    fn old(&mut self, days: u32, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error>;

    /// Deletes the events from the first to the last of these but for `excluded` ones, behind which the log begins then.
    fn delete(&mut self, seqs: &[u64], excluded: &[u64]) -> Result<(), Error>;

    /// Adds rows to the list of those that the server refuses to change, and removes others.
    fn report_set_aside(&mut self, what: Refused, added: &[Report<Refused>], removed: &[u64]) -> Result<(), Error>;
}

/// The log is not the one that this daemon served: it was restored from a backup, emptied or changed by hand. It has a
/// new identity, by which every client notices. Only another daemon, which reads it afresh, can serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogReplaced {
    /// What was found.
    pub found: String,
}

/// Why a turn of the sequencer ended early.
pub enum Broken {
    /// The database's error.
    Database(Error),
    /// The log is another one.
    Replaced(LogReplaced),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Broken {
        Broken::Database(error)
    }
}

/// The event log in a server's global database.
pub struct SqlEventLog {
    pub(crate) link: Link,
    unreadable: Unreadable,
}

impl SqlEventLog {
    /// Connects at the first call.
    pub fn new(db: &Db) -> SqlEventLog {
        SqlEventLog { link: Link::new(db), unreadable: Unreadable::default() }
    }
}

impl EventLog for SqlEventLog {
    fn head(&mut self) -> Result<LogHead, Error> {
        self.link.run(store::head)
    }

    fn poll(&mut self, floor: u64, after_seq: u64, limit: usize) -> Result<Polled, Error> {
        let SqlEventLog { link, unreadable } = self;
        link.run(|conn| store::poll(conn, floor, after_seq, limit, unreadable))
    }

    fn renew_log_id(&mut self, log_id: u64, unless_reached: Option<u64>) -> Result<bool, Error> {
        // A node of a cluster may lag behind: its log only seems shorter.
        self.link.catch_up()?;
        self.link.run(|conn| store::renew_log_id(conn, log_id, unless_reached))
    }

    fn catch_up(&mut self) -> Result<(), Error> {
        self.link.catch_up()
    }

    fn oldest_unmoved(&mut self, excluded: &[u64]) -> Result<Option<u64>, Error> {
        self.link.run(|conn| store::oldest_unmoved(conn, excluded))
    }

    fn unnumbered(&mut self, floor: u64, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
        self.link.run(|conn| chosen_rows::unnumbered(conn, floor, limit, excluded))
    }

    fn number(&mut self, ids: &[u64]) -> Result<(), Error> {
        self.link.run(|conn| chosen_rows::number(conn, ids))
    }

    fn skip_taken(&mut self) -> Result<bool, Error> {
        self.link.run(chosen_rows::skip_taken)
    }

    fn read(&mut self, after_seq: u64, limit: usize) -> Result<Vec<Event<'static>>, Error> {
        let SqlEventLog { link, unreadable } = self;
        link.run(|conn| store::read(conn, after_seq, limit, unreadable))
    }

    fn old(&mut self, days: u32, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
        self.link.run(|conn| chosen_rows::old(conn, days, limit, excluded))
    }

    fn delete(&mut self, seqs: &[u64], excluded: &[u64]) -> Result<(), Error> {
        self.link.run(|conn| chosen_rows::delete(conn, seqs, excluded))
    }

    fn report_set_aside(&mut self, what: Refused, added: &[Report<Refused>], removed: &[u64]) -> Result<(), Error> {
        self.link.run(|conn| chosen_rows::report(conn, what, added, removed))
    }
}
