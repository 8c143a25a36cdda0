//! Connecting: which host is asked, what a new connection is set to, and when a node counts as ready. Owns the
//! order of the hosts; never runs a statement of the queue.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use mysql::{Conn, Error, OptsBuilder, prelude::Queryable};
use r2d2::ManageConnection;
use r2d2_mysql::MySqlConnectionManager;

use super::{leftovers::Leftovers, login::Login};
use crate::config::Database;

/// One known sql_mode, because it decides how literals are read.
pub const SQL_MODE: &str = "sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'";

/// Every connection's session. READ COMMITTED because under REPEATABLE READ a claim that asks for more rows than
/// there are blocks the INSERTs of the producers.
pub const SESSION: &[&str] = &[
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION autocommit = 1, time_zone = '+00:00', innodb_lock_wait_timeout = 10, lock_wait_timeout = 60, \
     sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
];

/// A node that is connected but can't be written to: not yet synced (Galera), not online (group replication) or
/// read-only. One statement for all servers: an unknown status or member simply is not found.
const READY: &str = "SELECT @@global.read_only, \
    (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_local_state_comment')";
const READY_MYSQL: &str = "SELECT @@global.super_read_only, \
    (SELECT MEMBER_STATE FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@server_uuid)";

/// The r2d2 manager over one or several hosts: the one that answered last is asked first.
pub struct Nodes {
    nodes: Vec<(String, Login)>,
    /// Statements are bounded, so that a connection is never asked whether it lives.
    impatient: bool,
    preferred: AtomicUsize,
    leftovers: Leftovers,
    last_error: LastError,
}

/// Why the last connection could not be made; r2d2 itself keeps only its text.
pub type LastError = Arc<Mutex<Option<Error>>>;

impl Nodes {
    /// `answer_within`: how long one answer of the server may take; None: as long as it takes.
    pub fn new(config: &Database, answer_within: Option<Duration>) -> Nodes {
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
                .init(SESSION.iter().map(|s| s.to_string()).collect());
            let name = match &config.socket {
                Some(path) => path.display().to_string(),
                None => format!("{host}:{port}"),
            };
            (name, Login::new(MySqlConnectionManager::new(opts)))
        };
        let nodes = match config.hosts.as_slice() {
            [] => vec![host(&config.host, config.port)],
            hosts => hosts.iter().map(|(name, port)| host(name, *port)).collect(),
        };
        Nodes {
            nodes,
            impatient: answer_within.is_some(),
            preferred: AtomicUsize::new(0),
            leftovers: Leftovers::new(),
            last_error: LastError::default(),
        }
    }

    /// `host:port` of every node, for people.
    pub fn names(&self) -> String {
        self.nodes.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub fn last_error(&self) -> LastError {
        self.last_error.clone()
    }

    /// Only a cluster has nodes that answer and yet can't be used.
    fn check_ready(&self, conn: &mut Conn) -> Result<(), Error> {
        if self.nodes.len() == 1 {
            return Ok(());
        }
        let row: Option<(u8, Option<String>)> =
            conn.query_first(READY).or_else(|_| conn.query_first(READY_MYSQL)).unwrap_or(None);
        match row {
            Some((1, _)) => Err(not_ready("it is read-only")),
            Some((_, Some(state))) if !matches!(state.as_str(), "Synced" | "ONLINE") => Err(not_ready(&state)),
            _ => Ok(()),
        }
    }
}

fn not_ready(why: &str) -> Error {
    Error::IoError(std::io::Error::other(format!("the node is not ready: {why}")))
}

impl ManageConnection for Nodes {
    type Connection = Conn;
    type Error = Error;

    fn connect(&self) -> Result<Conn, Error> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut error = None;
        for i in (0..self.nodes.len()).map(|i| (first + i) % self.nodes.len()) {
            match self.nodes[i].1.connect().and_then(|mut conn| self.check_ready(&mut conn).map(|()| conn)) {
                Ok(mut conn) => {
                    self.leftovers.end_on(&mut conn);
                    self.preferred.store(i, Ordering::Relaxed);
                    return Ok(conn);
                }
                Err(e) => error = Some(e),
            }
        }
        let text = error.as_ref().map_or_else(String::new, Error::to_string);
        *self.last_error.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = error;
        Err(Error::IoError(std::io::Error::other(text)))
    }

    fn is_valid(&self, conn: &mut Conn) -> Result<(), Error> {
        conn.ping()
    }

    /// Asked when a connection comes back, which is rare: roles keep theirs until it breaks or they end.
    fn has_broken(&self, conn: &mut Conn) -> bool {
        // Not a ping: a server that turned read-only refuses a statement in the middle of a transaction, and whoever
        // gets the connection next would go on inside it and never commit.
        let has_broken = !self.impatient && conn.query_drop("ROLLBACK").is_err();
        if has_broken {
            self.leftovers.lost(conn);
        }
        has_broken
    }
}
