//! A database server with the loadable functions, installed by `udf/install.sh` as users do, and peers for them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use mysql::Conn;
use mysql::prelude::Queryable;

use crate::program::Program;
use crate::server::Server;
use crate::udf_peer::UdfPeer;
use crate::wait::wait_until;

const UDF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../udf");

pub struct UdfServer {
    pub server: Server,
    /// For the tests' sockets and files; removed with the server's folder.
    pub dir: PathBuf,
    /// Read by statements that call a function while another session may register it.
    calls: RwLock<()>,
}

/// What `resq_stats()` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    pub connected: u64,
    pub sent: u64,
    pub dropped: u64,
}

impl UdfServer {
    /// A separate server; no peer listens yet.
    pub fn own() -> UdfServer {
        build();
        let server = Server::with_options(&[]);
        let dir = server.plugin_dir().with_file_name("peers");
        std::fs::create_dir(&dir).expect("a folder beside the server's");
        let udf = UdfServer { server, dir, calls: RwLock::default() };
        udf.configure(&[0]);
        udf.register(&udf.install());
        udf
    }

    /// The one shared by tests that leave the server running, with settings for peer 0.
    pub fn shared() -> MutexGuard<'static, UdfServer> {
        static SHARED: OnceLock<Mutex<UdfServer>> = OnceLock::new();
        let udf = SHARED.get_or_init(|| Mutex::new(UdfServer::own())).lock().unwrap_or_else(PoisonError::into_inner);
        udf.configure(&[0]);
        // An earlier test may have had other settings, which hold as long as its peers are connected.
        wait_until("the peers of the last test to be gone", || udf.stats().connected == 0);
        udf
    }

    pub fn peer_path(&self, n: usize) -> PathBuf {
        self.dir.join(format!("peer{n}.sock"))
    }

    /// A peer on address `n`, connected.
    pub fn peer(&self, n: usize) -> UdfPeer {
        let before = self.stats().connected;
        let peer = UdfPeer::listen(&self.peer_path(n));
        wait_until("the sender to connect", || self.stats().connected > before);
        peer
    }

    /// Settings with the addresses of these peers; in force at the next attempt to connect.
    pub fn configure(&self, peers: &[usize]) {
        let lines: Vec<_> = peers.iter().map(|n| format!("addr = unix:{}\n", self.peer_path(*n).display())).collect();
        self.write_settings(&lines.concat(), 0o640);
    }

    pub fn write_settings(&self, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        let (path, new) = (self.server.plugin_dir().join("resq_udf.conf"), self.dir.join("new.conf"));
        std::fs::write(&new, text).expect("a file");
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode)).expect("its mode");
        std::fs::copy(&new, &path).expect("the settings");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("their mode");
    }

    pub fn stats(&self) -> Stats {
        stats(&mut self.server.conn())
    }

    /// Runs install.sh; the SQL that it prints.
    pub fn install(&self) -> String {
        self.installer().arg(self.server.plugin_dir()).ok()
    }

    pub fn installer(&self) -> Program {
        Program::new(format!("{UDF}/install.sh")).env("SERVER_PID", self.server.node(1).pid.to_string())
    }

    /// Runs what install.sh printed, statement by statement.
    pub fn register(&self, sql: &str) {
        register(&self.server, 1, sql, Some(&self.calls));
    }

    /// Runs a statement that calls a function, beside any [`UdfServer::register`]. On MySQL never amid a CREATE FUNCTION:
    /// a call then finds the function without an address, whatever the library, and the server dies.
    pub fn call<T>(&self, statement: impl FnOnce() -> T) -> T {
        let _no_create = (!is_mariadb(&self.server)).then(|| self.calls.read().unwrap_or_else(PoisonError::into_inner));
        statement()
    }
}

/// Installs the functions on node `n` of a server, with `conf` as their settings.
pub fn install_functions(server: &Server, n: usize, conf: &str) {
    build();
    std::fs::write(server.plugin_dir().join("resq_udf.conf"), conf).expect("the settings");
    let installer = Program::new(format!("{UDF}/install.sh")).env("SERVER_PID", server.node(n).pid.to_string());
    register(server, n, &installer.arg(server.plugin_dir()).ok(), None);
}

fn is_mariadb(server: &Server) -> bool {
    server.kind().starts_with("mariadb") || server.kind() == "galera"
}

fn register(server: &Server, n: usize, sql: &str, calls: Option<&RwLock<()>>) {
    let mut conn = server.conn_to(n);
    let code: String = sql.lines().filter(|line| !line.starts_with("--")).collect();
    for statement in code.split(';').map(str::trim).filter(|text| !text.is_empty()) {
        if is_mariadb(server) || !statement.starts_with("/*M!") {
            let _no_call = calls.filter(|_| statement.starts_with("CREATE")).map(RwLock::write);
            conn.query_drop(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
}

pub fn stats(conn: &mut Conn) -> Stats {
    let text: String = conn.query_first("SELECT resq_stats()").unwrap().unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    let [connected, sent, dropped] = ["connected", "sent", "dropped"].map(|key| json[key].as_u64().unwrap());
    Stats { connected, sent, dropped }
}

/// Builds the library and the one that panics, once a test run.
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--release", "--quiet", "--lib", "--examples"]);
        cargo.args(["--manifest-path", &format!("{UDF}/Cargo.toml"), "--target-dir", &format!("{UDF}/target")]);
        assert!(cargo.status().expect("cargo runs").success(), "the library does not build");
    });
}

/// The library whose one function panics.
pub fn panicking_library() -> PathBuf {
    format!("{UDF}/target/release/examples/libpanicking_udf.so").into()
}
