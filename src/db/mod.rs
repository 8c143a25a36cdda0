//! The database connection: one bounded pool for the whole process, the session every connection is set to, and
//! what an error means. Knows no table of ours; all SQL of the queue and the log lives in their store files.

pub mod errors;
mod host_pool;
mod orphaned_sessions;
mod outage;
mod ready;
mod server;
mod timed_connect;
mod tls;
mod warning;

use std::{sync::Arc, time::Duration};

use mysql::prelude::Queryable;
use r2d2::{NopErrorHandler, Pool};

pub use errors::{Error, ErrorClass, codes};
use host_pool::{Current, HostConn, HostPool};
pub(crate) use host_pool::{SQL_MODE, session};
use outage::Outage;
pub use ready::catch_up;
pub use server::ServerInfo;
pub use warning::ThrottledWarning;

use crate::{
    base::backoff::Backoff,
    base::clock,
    base::failure::{Exit, Failure},
    config::Database,
};

/// One connection out of the pool; it goes back when dropped.
pub type Conn = r2d2::PooledConnection<HostPool>;

/// How long one try to get a connection lasts before its caller hears that the server is lost.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a short statement may take where somebody waits for it: longer than any wait for a lock in [`session`].
pub const ANSWER: Duration = Duration::from_secs(90);
/// How often a statement is tried again that lost a race for locks.
const TRIES: u32 = 20;
/// The pauses between them.
const RACE_BACKOFF: Backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(100), 1.0);
/// Pauses between attempts at a database server that is lost or refuses.
pub const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5), 0.5);

/// The process's connections, cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool<HostPool>,
    global_db: Arc<str>,
    outage: Outage,
    current: Current,
}

impl Db {
    /// A pool of at most `connections`, opened as they are needed. Fails at once where no host can be reached or
    /// logged in to, with what to do next.
    pub fn open(config: &Database, connections: u32) -> Result<Db, Failure> {
        Db::open_within(config, connections, None)
    }

    /// The same, where each answer to a statement has to come `within` a time; for programs that run short statements
    /// and end with the first error.
    pub fn open_within(config: &Database, connections: u32, within: Option<Duration>) -> Result<Db, Failure> {
        tls::check_authority(config)?;
        let nodes = HostPool::new(config, within);
        nodes.reach().map_err(|error| unreachable(&nodes.names(), &config.user, &error))?;
        Ok(Db::on(nodes, config, connections))
    }

    /// A pool that nobody has tried yet.
    fn on(nodes: HostPool, config: &Database, connections: u32) -> Db {
        let (outage, current) = (nodes.outage(), nodes.current());
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(Some(0))
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(false)
            .connection_timeout(CONNECT_TIMEOUT)
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(nodes);
        Db { pool, global_db: config.global_db.as_str().into(), outage, current }
    }

    /// One that has no server and asks for none until it is used.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Db {
        let config = Database::default();
        Db::on(HostPool::new(&config, None), &config, 1)
    }

    /// The name of the global database, unquoted.
    pub fn global_db(&self) -> &str {
        &self.global_db
    }

    /// A connection in the global database.
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

    /// A connection in no particular database.
    pub fn any(&self) -> Result<Conn, Error> {
        match self.pool.get() {
            Ok(conn) => {
                self.outage.report_recovery();
                Ok(conn)
            }
            // One that may pass: a password that was changed comes back as well as a server that was stopped.
            Err(_) => Err(Error::Unavailable(self.outage.report_timeout(CONNECT_TIMEOUT.as_secs()))),
        }
    }

    /// Whether `conn` leads to the node that the process is on. One that does not is to be given back between two
    /// pieces of work: nodes see each other's commits a moment later.
    pub fn is_current(&self, conn: &Conn) -> bool {
        conn.is_on(&self.current)
    }
}

/// Where a [`Link`] gets its connections from.
pub trait Source: Clone {
    type Conn;
    /// What is done on a connection.
    type Session;

    /// A connection in the global database.
    fn open(&self) -> Result<Self::Conn, Error>;

    /// Whether `conn` may go on with another piece of work.
    fn is_current(&self, conn: &Self::Conn) -> bool;

    fn session(conn: &mut Self::Conn) -> &mut Self::Session;

    /// Undoes what is open, after which a session is as good as new.
    fn roll_back(session: &mut Self::Session) -> Result<(), Error>;

    /// `conn` is not to be used again, though it may answer.
    fn give_up(_conn: &mut Self::Conn) {}
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
}

/// One role's connection to the global database: opened when first needed, thrown away when it broke.
pub struct Link<S: Source = Db> {
    source: S,
    conn: Option<S::Conn>,
}

impl<S: Source> Link<S> {
    pub fn new(source: &S) -> Link<S> {
        Link { source: source.clone(), conn: None }
    }

    /// Runs `op` and, where it lost a race for locks ([`ErrorClass::Retry`]), rolls back and runs it again. After
    /// [`ErrorClass::ConnectionLost`] the next call uses a new connection, and whether `op` took effect is not known.
    pub fn run<T>(&mut self, mut op: impl FnMut(&mut S::Session) -> Result<T, Error>) -> Result<T, Error> {
        let mut tries = 0;
        self.conn.take_if(|conn| !self.source.is_current(conn));
        loop {
            let conn = match &mut self.conn {
                Some(conn) => conn,
                none => none.insert(self.source.open()?),
            };
            let session = S::session(conn);
            match op(session) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    tries += 1;
                    let class = error.class();
                    let rolled_back = class != ErrorClass::ConnectionLost && S::roll_back(session).is_ok();
                    if !rolled_back {
                        S::give_up(conn);
                        self.conn = None;
                    }
                    if !rolled_back || class != ErrorClass::Retry || tries == TRIES {
                        return Err(error);
                    }
                    clock::sleep(RACE_BACKOFF.pause(tries, fastrand::f64()));
                }
            }
        }
    }
}

/// Why a script failed.
#[derive(Debug)]
pub struct ScriptError {
    /// The number of the statement that failed, from 1.
    pub statement: usize,
    /// Why it failed.
    pub error: Error,
}

impl From<ScriptError> for Error {
    fn from(failed: ScriptError) -> Error {
        failed.error
    }
}

/// Sends a script of one or several statements whole; the server finds their ends.
///
/// # Errors
///
/// The first statement that failed; those after it were not run.
pub fn run_script(conn: &mut mysql::Conn, script: &str) -> Result<(), ScriptError> {
    let failed = |statement, error: mysql::Error| ScriptError { statement, error: error.into() };
    let mut results = conn.query_iter(script).map_err(|error| failed(1, error))?;
    let mut statement = 0;
    while let Some(rows) = results.iter() {
        statement += 1;
        for row in rows {
            row.map_err(|error| failed(statement, error))?;
        }
    }
    Ok(())
}

/// `name` as an SQL identifier.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `text` as an SQL string literal under the session's sql_mode.
pub fn literal(text: &str) -> String {
    mysql::Value::from(text).as_sql(false)
}

/// `1,2,3`, for an IN list of numbers.
pub fn id_list<'a>(ids: impl IntoIterator<Item = &'a u64>) -> String {
    ids.into_iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// A failed login or connection, told with what to do next.
fn unreachable(hosts: &str, user: &str, error: &Error) -> Failure {
    let next = match error.code() {
        _ if error.is_login_refused() => {
            "check database.user and database.password (MYSQL_USER, MYSQL_PASSWORD), and database.tls where the \
             account requires it"
        }
        _ if error.is_out_of_connections() => "raise the server's max_connections or lower queue.workers",
        Some(codes::ER_SECURE_TRANSPORT_REQUIRED) => {
            "this server takes encrypted connections alone: set database.tls (MYSQL_TLS) to required or verify"
        }
        _ if error.is_tls_missing() => "set TLS up on that server, or database.tls (MYSQL_TLS) to preferred",
        _ if error.is_tls_failure() => {
            "check database.tls, database.tls_ca (MYSQL_TLS, MYSQL_TLS_CA) and that database.host is a name in the server's certificate"
        }
        _ => {
            "check database.host, database.port or database.socket (MYSQL_HOST, MYSQL_PORT, MYSQL_SOCKET), and that the server runs"
        }
    };
    Failure::new(Exit::Unreachable, format!("cannot connect to {hosts} as user {user}: {error}; {next}"))
}

/// For commands, which use the driver's connection themselves.
impl From<mysql::Error> for Failure {
    fn from(error: mysql::Error) -> Failure {
        Error::from(error).into()
    }
}

/// A failed statement of a command, told with what to do next.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        use codes::*;
        match error.code() {
            Some(ER_BAD_DB_ERROR | ER_NO_SUCH_TABLE | ER_SP_DOES_NOT_EXIST | ER_BAD_FIELD_ERROR) => {
                Failure::new(Exit::Failed, format!("{error}; run `resqctl init` on this server first"))
            }
            code if error.is_denied() || code == Some(ER_BINLOG_CREATE_ROUTINE_NEED_SUPER) => {
                Failure::new(Exit::Failed, format!("{error}; `resqctl doctor` says which privilege is missing"))
            }
            _ if error.class() == ErrorClass::ConnectionLost => {
                Failure::new(Exit::Unreachable, format!("lost the database server: {error}; try again when it is back"))
            }
            _ => Failure::new(Exit::Failed, error.to_string()),
        }
    }
}
