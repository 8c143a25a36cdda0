//! One role's connection to the global database, and the retry of what lost a race for locks. Owns when a connection is
//! given up; never knows what is run on it.

use std::time::Duration;

use mysql::prelude::Queryable;

use super::{Conn, Db, Error, ErrorClass, ServerInfo, host_pool::HostConn};
use crate::base::{backoff::Backoff, clock, heartbeat};

/// How often a transaction that lost a race for locks is run before its error is reported.
const TRIES: u32 = 20;
/// The pauses between them.
pub const RACE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(100), 1.0);

/// Where a [`Link`] gets its connections. [`Db`] is the only source in a program; the simulation's server is another,
/// so that its runs go through the retry that is shipped.
pub trait Source: Clone {
    /// What is kept between calls.
    type Conn;
    /// What a call runs its statements on.
    type Session;

    /// A connection whose current database is the global one.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    fn open(&self) -> Result<Self::Conn, Error>;

    /// Whether `conn` may be used for another piece of work.
    fn is_current(&self, conn: &Self::Conn) -> bool;

    /// The session of `conn`.
    fn session(conn: &mut Self::Conn) -> &mut Self::Session;

    /// Rolls back an open transaction, after which the session is as good as new.
    ///
    /// # Errors
    ///
    /// The connection is of no use any more.
    fn roll_back(session: &mut Self::Session) -> Result<(), Error>;

    /// Never to use `conn` again, even if it still answers.
    fn give_up(_conn: &mut Self::Conn) {}

    /// A statement failed with `error`.
    fn failed(&self, _error: &Error) {}
}

impl Source for Db {
    type Conn = Conn;
    type Session = mysql::Conn;

    fn open(&self) -> Result<Conn, Error> {
        self.global()
    }

    fn is_current(&self, conn: &Conn) -> bool {
        Db::is_current(self, conn)
    }

    fn session(conn: &mut Conn) -> &mut mysql::Conn {
        conn
    }

    fn roll_back(session: &mut mysql::Conn) -> Result<(), Error> {
        Ok(session.query_drop("ROLLBACK")?)
    }

    fn give_up(conn: &mut Conn) {
        HostConn::give_up(conn);
    }

    fn failed(&self, error: &Error) {
        Db::failed(self, error);
    }
}

/// One role's connection to the global database: opened when first needed, thrown away when it broke.
pub struct Link<S: Source = Db> {
    source: S,
    conn: Option<S::Conn>,
}

impl<S: Source> Link<S> {
    /// A link that opens its connection at the first [`Link::run`].
    pub fn new(source: &S) -> Link<S> {
        Link { source: source.clone(), conn: None }
    }

    /// Runs `op`, one statement or transaction. Where it lost a race for locks ([`ErrorClass::Retry`]), rolls back and
    /// runs it again, up to 20 times.
    ///
    /// # Errors
    ///
    /// The last error of `op`, with nothing left open; or no connection was to be had. After
    /// [`ErrorClass::ConnectionLost`] the next call uses a new connection, and whether `op` took effect is unknown.
    pub fn run<T>(&mut self, mut op: impl FnMut(&mut S::Session) -> Result<T, Error>) -> Result<T, Error> {
        let _waiting = heartbeat::in_database();
        let mut tries = 0;
        self.conn.take_if(|conn| !self.source.is_current(conn));
        loop {
            let conn = match &mut self.conn {
                Some(conn) => conn,
                none => none.insert(self.source.open()?),
            };
            let session = S::session(conn);
            let error = match op(session) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            tries += 1;
            self.source.failed(&error);
            let class = error.class();
            let is_rolled_back = class != ErrorClass::ConnectionLost && S::roll_back(session).is_ok();
            if !is_rolled_back {
                S::give_up(conn);
                self.conn = None;
            }
            if !is_rolled_back || class != ErrorClass::Retry || tries == TRIES {
                return Err(error);
            }
            clock::sleep(RACE_BACKOFF.pause(tries, fastrand::f64()));
        }
    }
}

impl Link {
    /// On a cluster, waits until the node has applied all that any node had committed at the time of the call. Asked over
    /// a connection of its own, which is then closed.
    ///
    /// # Errors
    ///
    /// As [`Link::run`]; or the node is too far behind, or has lost the others.
    pub fn catch_up(&mut self) -> Result<(), Error> {
        if self.run(ServerInfo::query)?.is_cluster { self.source.catch_up() } else { Ok(()) }
    }
}
