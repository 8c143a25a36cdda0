//! The process's connections. r2d2's `Pool` bounds their number and lends them out; `HostPool`, its manager, chooses the
//! host; a `TimedConnect` for each host gives a login a deadline; its `Endpoint` connects with or without TLS; what comes
//! out is the driver's `Conn`, wrapped as a `HostConn` that knows its host. Every role keeps the connection that it was
//! lent until the connection breaks or the role ends.

use std::{sync::Arc, time::Duration};

use crossbeam_channel::Receiver;
use r2d2::{NopErrorHandler, Pool};

use super::{Error, OpenError, OtherHosts, dump::DumpSource, host_pool::HostPool, node_watch::NodeWatch, tls};
use crate::{
    base::{
        backoff::Backoff,
        clock,
        threads::{Alarm, Thread},
        wakeup::{Wakeup, wakeup},
    },
    config::Database,
};

/// A connection out of the pool. It returns there when dropped.
pub type Conn = r2d2::PooledConnection<HostPool>;

/// How long a caller waits for a connection before it gets an error.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Pauses between attempts at a server that is not there yet.
const START_BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 0.5);

/// The process's connections to one server or cluster. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool<HostPool>,
    hosts: HostPool,
    global_db: Arc<str>,
    schema_faults: (Wakeup, Receiver<()>),
}

impl Db {
    /// A pool of at most `connections`, opened as they are needed. A server that is not there yet is waited for as long as
    /// `database.wait_s` says.
    ///
    /// # Errors
    ///
    /// No host can be reached and logged in to, or the settings for TLS are of no use. A refused login is not repeated.
    pub fn open(config: &Database, connections: u32) -> Result<Db, OpenError> {
        Db::open_within(config, connections, None)
    }

    /// As [`Db::open`], with a limit on how long each answer to a statement may take: for programs that run short
    /// statements and end with the first error.
    ///
    /// # Errors
    ///
    /// As [`Db::open`].
    pub fn open_within(config: &Database, connections: u32, within: Option<Duration>) -> Result<Db, OpenError> {
        tls::check_authority(config)?;
        let hosts = HostPool::new(config, within);
        match reach_within(&hosts, config.wait) {
            Ok(()) => Ok(Db::pool(hosts, config, connections)),
            Err(error) => Err(OpenError::Unreachable { hosts: hosts.names(), user: config.user.clone(), error }),
        }
    }

    /// As [`Db::open`], without trying to connect before a connection is asked for.
    pub fn open_lazily(config: &Database, connections: u32) -> Db {
        Db::pool(HostPool::new(config, None), config, connections)
    }

    fn pool(hosts: HostPool, config: &Database, connections: u32) -> Db {
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(Some(0))
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .connection_timeout(CONNECT_TIMEOUT)
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(hosts.clone());
        Db { pool, hosts, global_db: config.global_db.as_str().into(), schema_faults: wakeup() }
    }

    /// Starts the thread that gives up the current node of a cluster when it hangs or has lost the majority. It has a
    /// connection of its own, beside those of the pool, and ends with the returned value.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub fn watch_node(&self, config: &Database, alarm: &Alarm) -> std::io::Result<Thread> {
        let watch = NodeWatch::new(config, &self.hosts);
        Thread::spawn_stoppable("node watch", alarm, move |stopped| watch.run(&stopped))
    }

    /// The hosts beside the current one, over connections beside those of the pool.
    pub fn other_hosts(&self, config: &Database) -> OtherHosts {
        OtherHosts::new(config, &self.hosts)
    }

    /// The current host, for reading its binary log over connections beside those of the pool.
    pub fn dumps(&self, config: &Database) -> DumpSource {
        DumpSource::new(config, &self.hosts)
    }

    /// Random; finds the sessions of this process, with [`super::kill_sessions`].
    pub fn process(&self) -> u32 {
        self.hosts.process()
    }

    /// The name of the global database, unquoted.
    pub fn global_db(&self) -> &str {
        &self.global_db
    }

    /// A connection whose current database is the global one.
    ///
    /// # Errors
    ///
    /// As [`Db::any`]; and the global database does not exist, or not for this account.
    pub fn global(&self) -> Result<Conn, Error> {
        let mut conn = self.any()?;
        match conn.select_db(&self.global_db) {
            Ok(()) => Ok(conn),
            Err(error) => {
                conn.give_up();
                Err(error.into())
            }
        }
    }

    /// A connection without a particular current database.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`]: none within 5 s. That may pass: a password that was changed may be changed back, as a
    /// server that was stopped may be started.
    pub fn any(&self) -> Result<Conn, Error> {
        match self.pool.get() {
            Ok(conn) => {
                self.hosts.outage().report_recovery();
                Ok(conn)
            }
            Err(_) => Err(Error::Unavailable(self.hosts.outage().report_timeout(CONNECT_TIMEOUT))),
        }
    }

    /// Why no connection is to be had, while that is so.
    pub fn outage(&self) -> Option<String> {
        self.hosts.outage().current()
    }

    /// How many connections are open.
    pub fn connections(&self) -> u32 {
        self.pool.state().connections
    }

    /// Notified when a statement of a role failed because an object of resq's is missing or not what it should be.
    pub fn schema_faults(&self) -> Receiver<()> {
        self.schema_faults.1.clone()
    }

    pub(super) fn failed(&self, error: &Error) {
        if error.is_schema_fault() {
            self.schema_faults.0.notify();
        }
    }

    /// Waits until the current host has applied all that its cluster had committed at the time of the call; returns at
    /// once where there is no cluster.
    ///
    /// # Errors
    ///
    /// It is too far behind or has lost the other nodes, or there is no connection to be had.
    pub fn catch_up(&self) -> Result<(), Error> {
        self.hosts.catch_up()
    }

    /// Whether `conn` leads to the host that the process is on. One that does not belongs back in the pool between
    /// two pieces of work: the nodes of a cluster see each other's commits a moment later.
    pub fn is_current(&self, conn: &Conn) -> bool {
        conn.is_on(self.hosts.current())
    }
}

/// Connects to the first host that is ready; tries again for as long as `wait` while the reason may pass.
fn reach_within(hosts: &HostPool, wait: Duration) -> Result<(), Error> {
    let deadline = clock::now() + wait;
    let (mut backoff, mut is_reported) = (START_BACKOFF, false);
    loop {
        let error = match hosts.reach() {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() || !error.may_pass() {
            return Err(error);
        }
        if !std::mem::replace(&mut is_reported, true) {
            log::warn!("database: cannot connect yet ({error}); waiting for the server wait_s={}", wait.as_secs());
        }
        clock::sleep(backoff.next(fastrand::f64()).min(left));
    }
}
