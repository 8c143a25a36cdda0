//! Connecting: which host is asked, and what a new connection is set to. Owns the order of the hosts, and which of
//! them this process is on: all its connections are to lead to one node, since another may not have applied yet what
//! that one has committed. Never runs a statement of the queue.

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
    Error, orphaned_sessions::OrphanedSessions, outage::Outage, ready, timed_connect::TimedConnect, tls::Endpoint,
};
use crate::config::Database;

/// One known sql_mode, because it decides how literals are read.
pub const SQL_MODE: &str = "sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'";

/// Every connection's session. READ COMMITTED because under REPEATABLE READ a claim that asks for more rows than
/// there are blocks the INSERTs of the producers.
pub fn session() -> [String; 2] {
    [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".into(),
        format!(
            "SET SESSION autocommit = 1, time_zone = '+00:00', innodb_lock_wait_timeout = 10, lock_wait_timeout = 60, \
             {SQL_MODE}"
        ),
    ]
}

/// The r2d2 manager over one or several hosts: the one that was connected to last is asked first.
pub struct HostPool {
    nodes: Vec<(String, TimedConnect)>,
    /// Statements are bounded, so that a connection is never asked whether it lives.
    impatient: bool,
    current: Current,
    orphaned_sessions: OrphanedSessions,
    outage: Outage,
}

/// The node that this process is on, by its place in the list.
pub type Current = Arc<AtomicUsize>;

/// A connection that knows which node it leads to.
pub struct HostConn {
    conn: Conn,
    node: usize,
    is_lost: bool,
}

impl HostConn {
    /// False once the process has moved on to another node.
    pub fn is_on(&self, current: &Current) -> bool {
        self.node == current.load(Ordering::Relaxed)
    }

    /// Not to be used again, though it may answer: a node that has left its cluster does.
    pub fn give_up(&mut self) {
        self.is_lost = true;
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
    /// `answer_within`: how long one answer of the server may take; None: as long as it takes.
    pub fn new(config: &Database, answer_within: Option<Duration>) -> HostPool {
        let host = |host: &str, port: u16| {
            let opts = OptsBuilder::new()
                .ip_or_hostname(Some(host))
                .tcp_port(port)
                .socket(config.socket.as_ref().map(|path| path.to_string_lossy().into_owned()))
                .prefer_socket(false)
                .user(Some(&config.user))
                .pass(Some(&config.password.0))
                .tcp_connect_timeout(Some(Duration::from_secs(5)))
                .read_timeout(answer_within)
                // A network that swallows everything is noticed within half a minute, however long an answer may take.
                .tcp_keepalive_time_ms(Some(10_000))
                .tcp_keepalive_probe_interval_secs(Some(5))
                .tcp_user_timeout_ms(Some(20_000))
                .stmt_cache_size(16)
                .init(session().into());
            let name = match &config.socket {
                Some(path) => path.display().to_string(),
                None => format!("{host}:{port}"),
            };
            (name, TimedConnect::new(Endpoint::new(opts, config)))
        };
        let nodes = match config.hosts.as_slice() {
            [] => vec![host(&config.host, config.port)],
            hosts => hosts.iter().map(|(name, port)| host(name, *port)).collect(),
        };
        HostPool {
            nodes,
            impatient: answer_within.is_some(),
            current: Current::default(),
            orphaned_sessions: OrphanedSessions::new(),
            outage: Outage::default(),
        }
    }

    /// `host:port` of every node, for people.
    pub fn names(&self) -> String {
        self.nodes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub fn outage(&self) -> Outage {
        self.outage.clone()
    }

    pub fn current(&self) -> Current {
        self.current.clone()
    }

    /// A connection to the first node that is ready. Err: that of the last one asked.
    pub fn reach(&self) -> Result<HostConn, Error> {
        let first = self.current.load(Ordering::Relaxed);
        let mut error = None;
        for node in (0..self.nodes.len()).map(|i| (first + i) % self.nodes.len()) {
            match self.connect_to(node) {
                Ok(mut conn) => {
                    self.orphaned_sessions.end_on(&mut conn);
                    if self.current.swap(node, Ordering::Relaxed) != node {
                        let why = error.as_ref().map_or_else(String::new, |e| format!(": {e}"));
                        log::warn!("now on database node {}{why}", self.nodes[node].0);
                    }
                    return Ok(conn);
                }
                Err(e) => error = Some(e),
            }
        }
        Err(error.expect("there is at least one host"))
    }

    fn connect_to(&self, node: usize) -> Result<HostConn, Error> {
        let mut conn = self.nodes[node].1.connect()?;
        if self.nodes.len() > 1 {
            ready::check(&mut conn)?;
        }
        Ok(HostConn { conn, node, is_lost: false })
    }
}

impl ManageConnection for HostPool {
    type Connection = HostConn;
    type Error = Error;

    fn connect(&self) -> Result<HostConn, Error> {
        let reached = self.reach();
        self.outage.tried(reached.as_ref().err());
        reached
    }

    fn is_valid(&self, conn: &mut HostConn) -> Result<(), Error> {
        Ok(conn.ping()?)
    }

    /// Asked when a connection comes back, which is rare: roles keep theirs until it breaks or they end.
    fn has_broken(&self, conn: &mut HostConn) -> bool {
        // Not a ping: a server that turned read-only refuses a statement in the middle of a transaction, and whoever
        // gets the connection next would go on inside it and never commit.
        let has_broken = !self.impatient && conn.query_drop("ROLLBACK").is_err();
        if has_broken {
            self.orphaned_sessions.lost(conn);
        }
        has_broken || conn.is_lost || !conn.is_on(&self.current)
    }
}
