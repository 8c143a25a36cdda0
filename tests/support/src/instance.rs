//! One installation of resq for one test: its own global database, prefix and broker socket on a server, so that tests
//! run side by side without seeing each other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use mysql::Conn;
use mysql::prelude::Queryable;
use tempfile::TempDir;

use crate::account::Account;
use crate::program::Program;
use crate::server::Server;
use crate::sessions::sessions;

/// A test's own resq on `server`.
pub struct Instance<'a> {
    pub server: &'a Server,
    /// Name of its global database.
    pub global_db: String,
    /// The prefix of its resources' databases.
    pub db_prefix: String,
    /// The account of its resqd and resqctl.
    pub daemon: Account,
    application: OnceLock<Account>,
    dir: TempDir,
}

impl Instance<'static> {
    /// On the shared server, with nothing set up yet. `name` is unique to the test.
    pub fn new(name: &str) -> Instance<'static> {
        Instance::on(Server::shared(), name)
    }

    /// On the shared server, after `resqctl init`.
    pub fn ready(name: &str) -> Instance<'static> {
        let instance = Instance::new(name);
        instance.resqctl(["init"]).ok();
        instance
    }
}

impl<'a> Instance<'a> {
    /// On a separate server.
    pub fn on(server: &'a Server, name: &str) -> Instance<'a> {
        for n in 1..=server.nodes().len() {
            server.trust_creators_of_triggers(n);
        }
        Instance::on_untrusting(server, name)
    }

    /// The same with the server as it is configured: its binary log may restrict which accounts create triggers.
    pub fn on_untrusting(server: &'a Server, name: &str) -> Instance<'a> {
        assert_distinct(server, name);
        let dir = tempfile::Builder::new().prefix("resq-").tempdir().expect("a temporary folder");
        let (global_db, db_prefix) = (format!("resq_{name}"), format!("{name}_"));
        let daemon = Account::daemon(server, &global_db, &db_prefix);
        Instance { server, global_db, db_prefix, daemon, application: OnceLock::new(), dir }
    }

    /// A session of an application, in the global database; after `resqctl init`.
    pub fn app(&self) -> Conn {
        let account = self.application.get_or_init(|| Account::application(self.server, &self.global_db));
        let mut conn = account.conn(self.server);
        conn.select_db(&self.global_db).unwrap();
        conn
    }

    /// A session of root, in the global database if it exists already.
    pub fn conn(&self) -> Conn {
        let mut conn = self.server.conn();
        let exists: Option<u8> = conn
            .exec_first("SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", (&self.global_db,))
            .unwrap();
        if exists.is_some() {
            conn.query_drop(format!("USE `{}`", self.global_db)).unwrap();
        }
        conn
    }

    /// The sessions of its resqd that wait for a user lock, as templates make them.
    pub fn sessions_at_a_user_lock(&self, conn: &mut Conn) -> Vec<u64> {
        self.sessions_in_state(conn, "User lock%")
    }

    /// The sessions of its resqd that wait for a table that others use.
    pub fn sessions_at_a_table(&self, conn: &mut Conn) -> Vec<u64> {
        self.sessions_in_state(conn, "%table metadata lock")
    }

    fn sessions_in_state(&self, conn: &mut Conn, pattern: &str) -> Vec<u64> {
        let waiting = format!("SELECT id FROM {} WHERE user = ? AND state LIKE ?", sessions());
        conn.exec(waiting, (&self.daemon.user, pattern)).unwrap()
    }

    /// A folder for the test's files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A folder of templates with these files, for `--sql-dir`.
    pub fn sql_dir(&self, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.dir.path().join("sql");
        for (name, text) in files {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().expect("below the folder")).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    /// The broker's Unix socket.
    pub fn broker_socket(&self) -> PathBuf {
        self.dir.path().join("broker.sock")
    }

    pub fn resqd(&self) -> Program {
        self.program(&binary("resqd"))
    }

    pub fn resqctl<const N: usize>(&self, args: [&str; N]) -> Program {
        self.program(&binary("resqctl")).args(args)
    }

    pub fn resq_client<const N: usize>(&self, args: [&str; N]) -> Program {
        self.program(&binary("resq-client")).args(args)
    }

    pub fn resq_trigger<const N: usize>(&self, args: [&str; N]) -> Program {
        self.program(&binary("resq-trigger")).args(args)
    }

    /// Any program, with the settings of this instance in its environment.
    pub fn program(&self, path: &str) -> Program {
        self.settings().into_iter().fold(Program::new(path), |program, (key, value)| program.env(key, value))
    }

    /// The environment that directs every program to this instance and hides the machine's own settings.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("RESQ_CONFIG", "/dev/null".into()),
            ("MYSQL_HOST", "127.0.0.1".into()),
            ("MYSQL_PORT", self.server.port().to_string()),
            ("MYSQL_USER", self.daemon.user.clone()),
            ("MYSQL_PASSWORD", self.daemon.password.clone()),
            ("RESQ_GLOBAL_DB", self.global_db.clone()),
            ("RESQ_DB_PREFIX", self.db_prefix.clone()),
            ("RESQ_LISTEN", "127.0.0.1:0".into()),
            ("RESQ_HTTP", "127.0.0.1:0".into()),
            ("RESQ_SOCKET", self.broker_socket().display().to_string()),
        ]
    }
}

/// One of resq's programs, which cargo builds into the folder above this test program's or benchmark's own.
pub fn binary(name: &str) -> String {
    let own = std::env::current_exe().expect("a program knows its path");
    own.ancestors().nth(2).unwrap_or(Path::new("/")).join(name).display().to_string()
}

/// Tests whose prefixes overlap would see each other's databases: `drain` would find those of `drain_end`.
fn assert_distinct(server: &Server, name: &str) {
    static NAMES: Mutex<BTreeSet<(u16, String)>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let begins = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.starts_with('_'));
    let port = server.port();
    let taken = names.iter().find(|(p, other)| *p == port && (begins(other, name) || begins(name, other)));
    assert!(taken.is_none(), "the prefixes of two tests overlap: {name}, {}", taken.map_or("", |(_, other)| other));
    names.insert((port, name.into()));
}
