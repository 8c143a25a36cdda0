//! Which host is connected to, and with which options. Owns the order of the hosts and the one that this process is on:
//! all its connections lead to the same node, since another may not have applied yet what that one has committed. Never
//! runs a statement of the queue.

use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mysql::{Conn, OptsBuilder, prelude::Queryable};
use r2d2::ManageConnection;

use super::{
    Error,
    open_sockets::{OpenSocket, OpenSockets},
    orphaned_sessions::OrphanedSessions,
    outage::Outage,
    ready,
    timed_connect::{Check, TimedConnect},
    tls::Endpoint,
};
use crate::config::Database;

/// The largest packet of the protocol, in bytes.
const LARGEST_PACKET: usize = 1 << 30;

/// The hosts as r2d2 connects to them. The one that was connected to last is tried first. Clones share everything.
#[derive(Clone)]
pub struct HostPool {
    /// Each by its name for messages.
    hosts: Arc<[(String, TimedConnect)]>,
    /// Answers have a time limit, so that a returned connection is not tested: the program ends with its first error.
    has_answer_limit: bool,
    current: CurrentHost,
    sockets: OpenSockets,
    orphaned_sessions: Arc<OrphanedSessions>,
    outage: Outage,
}

/// The host that this process is on, by its place in the list. Clones share one value.
#[derive(Clone, Debug, Default)]
pub struct CurrentHost(Arc<AtomicUsize>);

impl CurrentHost {
    /// Its place in the list.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves to `host`; false if the process was there already.
    fn move_to(&self, host: usize) -> bool {
        self.0.swap(host, Ordering::Relaxed) != host
    }
}

/// A connection that knows which host it leads to.
pub struct HostConn {
    /// Above `conn`, so that it is dropped first.
    _socket: OpenSocket,
    conn: Conn,
    host: usize,
    is_given_up: bool,
}

impl HostConn {
    /// False once the process has moved to another host.
    pub fn is_on(&self, current: &CurrentHost) -> bool {
        self.leads_to(current.get())
    }

    /// Whether it leads to the host at this place in the list.
    pub fn leads_to(&self, host: usize) -> bool {
        self.host == host
    }

    /// The connection alone, for a use that no pool knows of.
    pub fn into_conn(self) -> Conn {
        self.conn
    }

    /// Keeps the pool from lending this connection again, even if it still answers, as that to a node which has left
    /// its cluster does.
    pub fn give_up(&mut self) {
        self.is_given_up = true;
    }
}

impl Deref for HostConn {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for HostConn {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

impl HostPool {
    /// The hosts of the settings. `answer_within` limits how long one answer of the server may take; None: no limit.
    pub fn new(config: &Database, answer_within: Option<Duration>) -> HostPool {
        HostPool::with(config, answer_within, None)
    }

    /// The same hosts for reading their binary logs: whose events may have any size, and arrive at least this often.
    pub fn for_dumps(config: &Database, event_within: Duration) -> HostPool {
        HostPool::with(config, Some(event_within), Some(LARGEST_PACKET))
    }

    fn with(config: &Database, answer_within: Option<Duration>, packet_bytes: Option<usize>) -> HostPool {
        let one = |host: &str, port: u16| {
            let opts = OptsBuilder::new()
                .ip_or_hostname(Some(host))
                .tcp_port(port)
                .socket(config.socket.as_ref().map(|path| path.to_string_lossy().into_owned()))
                .prefer_socket(false)
                .user(Some(&config.user))
                .pass(Some(&config.password.0))
                .tcp_connect_timeout(Some(Duration::from_secs(5)))
                .read_timeout(answer_within)
                // A network that drops everything is noticed within half a minute, however long an answer may take.
                .tcp_keepalive_time_ms(Some(10_000))
                .tcp_keepalive_probe_interval_secs(Some(5))
                .tcp_user_timeout_ms(Some(20_000))
                .max_allowed_packet(packet_bytes)
                .stmt_cache_size(16);
            let name = match &config.socket {
                Some(path) => path.display().to_string(),
                None => format!("{host}:{port}"),
            };
            (name, TimedConnect::new(Endpoint::new(opts, config)))
        };
        let hosts = match config.hosts.as_slice() {
            [] => vec![one(&config.host, config.port)],
            hosts => hosts.iter().map(|(name, port)| one(name, *port)).collect(),
        };
        HostPool {
            hosts: hosts.into(),
            has_answer_limit: answer_within.is_some(),
            current: CurrentHost::default(),
            sockets: OpenSockets::default(),
            orphaned_sessions: Arc::new(OrphanedSessions::new()),
            outage: Outage::default(),
        }
    }

    /// Every host for a message: `host:port`, or the socket's path, separated by commas.
    pub fn names(&self) -> String {
        self.hosts.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// One host for a message.
    pub fn name(&self, host: usize) -> &str {
        &self.hosts[host].0
    }

    /// How many hosts there are.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether there is no other host to move to.
    pub fn is_single(&self) -> bool {
        self.len() == 1
    }

    /// The sockets of the connections that were opened and still live.
    pub fn sockets(&self) -> &OpenSockets {
        &self.sockets
    }

    /// The outage that attempts to connect are noted in.
    pub fn outage(&self) -> &Outage {
        &self.outage
    }

    /// The host that this process is on, as it changes.
    pub fn current(&self) -> &CurrentHost {
        &self.current
    }

    /// The number that the marks of this process's sessions have in common.
    pub fn process(&self) -> u32 {
        self.orphaned_sessions.process()
    }

    /// Connects to the first host that is ready, beginning with the current one, and makes it the current one.
    ///
    /// # Errors
    ///
    /// That of the last host tried.
    pub fn reach(&self) -> Result<HostConn, Error> {
        let first = self.current.get();
        let mut error = None;
        for host in (0..self.hosts.len()).map(|i| (first + i) % self.hosts.len()) {
            match self.connect_to(host) {
                Ok(mut conn) => {
                    self.orphaned_sessions.kill_on(&mut conn);
                    if self.current.move_to(host) {
                        let why = error.as_ref().map_or_else(String::new, |e| format!("; the one before it: {e}"));
                        log::warn!("database: now using node {}{why}", self.hosts[host].0);
                    }
                    return Ok(conn);
                }
                Err(e) => error = Some(e),
            }
        }
        Err(error.expect("there is at least one host"))
    }

    fn connect_to(&self, host: usize) -> Result<HostConn, Error> {
        self.connect_and(host, (!self.is_single()).then_some(ready::check))
    }

    /// Connects to one host, whatever its state.
    ///
    /// # Errors
    ///
    /// As [`TimedConnect::connect`].
    pub fn connect_unchecked(&self, host: usize) -> Result<HostConn, Error> {
        self.connect_and(host, None)
    }

    /// Waits until the current host has applied all that its cluster had committed at the time of the call.
    ///
    /// # Errors
    ///
    /// It is too far behind or has lost the other nodes, or there is no connection to be had.
    pub fn catch_up(&self) -> Result<(), Error> {
        self.connect_and(self.current.get(), Some(ready::catch_up)).map(drop)
    }

    fn connect_and(&self, host: usize, check: Option<Check>) -> Result<HostConn, Error> {
        let conn = self.hosts[host].1.connect(check)?;
        Ok(HostConn { _socket: self.sockets.add(host, &conn), conn, host, is_given_up: false })
    }
}

impl ManageConnection for HostPool {
    type Connection = HostConn;
    type Error = Error;

    fn connect(&self) -> Result<HostConn, Error> {
        let reached = self.reach();
        self.outage.attempted(reached.as_ref().err());
        reached
    }

    fn is_valid(&self, conn: &mut HostConn) -> Result<(), Error> {
        Ok(conn.ping()?)
    }

    /// Called when a connection is returned, which is rare: roles keep theirs until it breaks or they end.
    fn has_broken(&self, conn: &mut HostConn) -> bool {
        // Not a ping: a server that turned read-only refuses a statement in the middle of a transaction, and the next
        // user of the connection would continue inside that transaction and never commit.
        let has_broken = !self.has_answer_limit && conn.query_drop("ROLLBACK").is_err();
        if has_broken {
            self.orphaned_sessions.add(conn);
        }
        has_broken || conn.is_given_up || !conn.is_on(&self.current)
    }
}
