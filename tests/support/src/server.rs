//! The database server under test: one shared by all tests, and separate ones for tests that kill theirs.
//! `scripts/testdb.sh` starts and stops them; this module only holds the pipe whose closing makes the script clean up, so
//! that no server outlives the test process, however that ends.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use mysql::prelude::Queryable;
use mysql::{Conn, OptsBuilder};
use resq::db::session;

use crate::program::{is_alive, signal};
use crate::wait::wait_until;

const TESTDB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/testdb.sh");

/// The end of the kind of a server whose defaults are hostile.
const HOSTILE: &str = "-hostile";

/// One node as `testdb.sh` prints it.
#[derive(Clone, Debug)]
pub struct Node {
    pub port: u16,
    pub socket: PathBuf,
    pub pid: u32,
}

/// A private server, or a cluster of three nodes, of the kind in `TEST_SERVER`.
pub struct Server {
    kind: String,
    is_hostile: bool,
    dir: PathBuf,
    /// Where the disk of this server alone is mounted.
    disk: Option<PathBuf>,
    nodes: Mutex<Vec<Node>>,
    script: Child,
    /// When it closes, the script stops the servers and removes `dir`.
    hold: Option<ChildStdin>,
}

impl Server {
    /// The server shared by all tests that leave it running.
    pub fn shared() -> &'static Server {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Server::start(&kind(), &[("FAST", "1")]))
    }

    /// A separate server to kill and restart; durable; stopped when the value is dropped.
    pub fn own() -> Server {
        Server::start(&kind(), &[])
    }

    /// The server whose every default is as far from the usual one as it may be; shared by the tests that need it.
    pub fn hostile() -> &'static Server {
        static HOSTILE_ONE: OnceLock<Server> = OnceLock::new();
        let kind = kind();
        if kind.ends_with(HOSTILE) {
            return Server::shared();
        }
        HOSTILE_ONE.get_or_init(|| Server::start(&format!("{kind}{HOSTILE}"), &[("FAST", "1")]))
    }

    /// A separate server with options such as `--max-connections=20`.
    pub fn with_options(options: &[&str]) -> Server {
        Server::start(&kind(), &[("ARGS", &options.join(" "))])
    }

    /// The options of a server, or of each node, that logs what watched tables need.
    pub fn logging_options() -> &'static [&'static str] {
        match kind_under_test().as_str() {
            // Its nodes log all that is needed, each under its own number.
            "group" => &[],
            // Transactions of the cluster have one domain and one number on all nodes.
            "galera" => &[
                "--log-bin",
                "--server-id=1",
                "--log-slave-updates",
                "--wsrep-gtid-mode=ON",
                "--wsrep-gtid-domain-id=7",
                "--binlog-row-metadata=FULL",
            ],
            "mysql97" => &[
                "--log-bin",
                "--server-id=1",
                "--binlog-row-metadata=FULL",
                "--binlog-row-image=FULL",
                "--binlog-row-value-options=",
            ],
            _ => &["--log-bin", "--server-id=1", "--binlog-format=ROW", "--binlog-row-metadata=FULL"],
        }
    }

    /// A separate server on a disk of `mib` MiB in memory, with options. None: this system does not allow such a mount.
    pub fn on_small_disk(mib: u64, options: &[&str]) -> Option<Server> {
        let own_root = if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" };
        let unshare = || {
            let mut unshare = Command::new("unshare");
            unshare.args([own_root, "bash", "-c"]).env_remove("ARGS").env_remove("FAST");
            unshare
        };
        let disk = tempfile::Builder::new().prefix("resq-disk-").tempdir().expect("a temporary folder").keep();
        let mount = format!("mount -t tmpfs -o size={mib}m none '{}'", disk.display());
        if !unshare().arg(&mount).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            std::fs::remove_dir(&disk).expect("an empty folder");
            return None;
        }
        // Only the script and the server see the mount, and it disappears with them.
        let mut script = unshare();
        script.arg(format!("{mount} && exec bash \"$@\"")).arg("bash").arg(TESTDB);
        let mut server = Server::run(script, &kind(), disk.join("server"), &[("ARGS", &options.join(" "))]);
        server.disk = Some(disk);
        Some(server)
    }

    /// The path of that disk as other processes see it, while this value lives.
    pub fn disk(&self) -> PathBuf {
        let disk = self.disk.as_ref().expect("a server with a disk of its own");
        PathBuf::from(format!("/proc/{}/root", self.script.id()))
            .join(disk.strip_prefix("/").expect("an absolute path"))
    }

    fn start(kind: &str, env: &[(&str, &str)]) -> Server {
        let dir = tempfile::Builder::new().prefix("resq-e2e-").tempdir().expect("a temporary folder").keep();
        Server::run(testdb(), kind, dir, env)
    }

    pub(crate) fn run(mut script: Command, kind: &str, dir: PathBuf, env: &[(&str, &str)]) -> Server {
        let mut script = script
            .args(["hold", kind])
            .arg(&dir)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs scripts/testdb.sh");
        let hold = script.stdin.take();
        let lines = BufReader::new(script.stdout.take().expect("stdout is piped")).lines();
        let count = if matches!(kind, "galera" | "group") { 3 } else { 1 };
        let nodes: Vec<Node> = lines.take(count).map(|line| parse_node(&line.expect("a line of text"))).collect();
        assert_eq!(nodes.len(), count, "testdb.sh hold {kind} failed; its messages are above");
        let is_hostile = kind.ends_with(HOSTILE);
        let server = Server {
            kind: kind.trim_end_matches(HOSTILE).into(),
            is_hostile,
            dir,
            disk: None,
            nodes: Mutex::new(nodes),
            script,
            hold,
        };
        // MariaDB refuses logins while its first account for `%` is being created (1130).
        let mut conn = server.conn();
        if conn.query_first::<u8, _>("SELECT 1 FROM mysql.user WHERE user = 'first'").unwrap().is_none() {
            conn.query_drop("CREATE USER first@'%' ACCOUNT LOCK").unwrap();
        }
        server
    }

    /// `mysql97`, `mariadb1011`, …, also where its defaults are hostile.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The folder in which `testdb.sh` keeps it.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder from which the server loads functions and plugins.
    pub fn plugin_dir(&self) -> PathBuf {
        self.dir.join("plugin")
    }

    /// The command-line client of this kind of server.
    pub fn client(&self) -> PathBuf {
        std::fs::read_to_string(self.dir.join("client")).expect("testdb.sh writes it").trim().into()
    }

    /// The log of node `n`, from 1.
    pub fn log(&self, n: usize) -> String {
        std::fs::read_to_string(self.dir.join(format!("n{n}/server.log"))).unwrap_or_default()
    }

    /// All nodes; a single server is one.
    pub fn nodes(&self) -> Vec<Node> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Node `n`, from 1.
    pub fn node(&self, n: usize) -> Node {
        self.nodes()[n - 1].clone()
    }

    /// Node 1's port, for tests that have no use for a cluster.
    pub fn port(&self) -> u16 {
        self.node(1).port
    }

    /// A session of root on node 1, over TCP.
    pub fn conn(&self) -> Conn {
        self.conn_to(1)
    }

    /// A session of root on node `n`, over TCP.
    pub fn conn_to(&self, n: usize) -> Conn {
        self.try_conn(n).expect("root logs in without a password")
    }

    /// The same for a server that may be down.
    pub fn try_conn(&self, n: usize) -> mysql::Result<Conn> {
        let opts = OptsBuilder::new()
            .ip_or_hostname(Some("127.0.0.1"))
            .tcp_port(self.node(n).port)
            .prefer_socket(false)
            .user(Some("root"))
            .tcp_connect_timeout(Some(std::time::Duration::from_secs(5)));
        self.open(opts)
    }

    /// Opens a session that tests can work with: of what a hostile server presets, they want to see nothing.
    pub fn open(&self, opts: OptsBuilder) -> mysql::Result<Conn> {
        let mut conn = open(opts, self.is_hostile)?;
        conn.query_drop("SET NAMES utf8mb4")?;
        Ok(conn)
    }

    /// Whether its defaults are hostile.
    pub fn is_hostile(&self) -> bool {
        self.is_hostile
    }

    /// Lets every account with the privilege create triggers, as `scripts/grants.sql` advises: with a binary log, and on
    /// Galera even without one, only administrators may. A node that another test has killed is left alone.
    pub fn trust_creators_of_triggers(&self, n: usize) {
        let conn = self.try_conn(n);
        if n == 1 || conn.is_ok() {
            conn.unwrap().query_drop("SET GLOBAL log_bin_trust_function_creators = 1").unwrap();
        }
    }

    /// Kills node `n` with SIGKILL.
    pub fn kill9(&self, n: usize) {
        let pid = self.node(n).pid;
        signal(pid, "KILL");
        wait_until("the killed server to be gone", || !is_alive(pid));
    }

    /// Starts node `n` again after [`kill9`](Self::kill9), on the same port and socket.
    pub fn restart(&self, n: usize) {
        self.restart_with(n, &[]);
    }

    /// The same with options for this run.
    pub fn restart_with(&self, n: usize, options: &[&str]) {
        let mut script = testdb();
        if self.disk.is_some() {
            // The disk is mounted in its namespace only.
            script = Command::new("nsenter");
            if !nix::unistd::geteuid().is_root() {
                script.args(["--user", "--preserve-credentials"]);
            }
            script.args(["--mount", "--target", &self.script.id().to_string(), "bash", TESTDB]);
        }
        let out = script
            .env("ARGS", options.join(" "))
            .arg("node")
            .arg(&self.dir)
            .arg(n.to_string())
            .stderr(Stdio::inherit())
            .output();
        let out = out.expect("bash runs scripts/testdb.sh");
        assert!(out.status.success(), "node {n} did not start again; its messages are above");
        let node = parse_node(String::from_utf8_lossy(&out.stdout).trim());
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)[n - 1] = node;
    }
}

/// Opens a session, without what a hostile server presets.
pub(crate) fn open(opts: OptsBuilder, is_hostile: bool) -> mysql::Result<Conn> {
    // Asked for it, a hostile server would not answer.
    let mut conn = Conn::new(opts.max_allowed_packet(Some(16 << 20)))?;
    if is_hostile {
        session::reset(&mut conn).map_err(std::io::Error::other)?;
    }
    Ok(conn)
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.hold.take());
        let mut rest = String::new();
        let _ = self.script.stdout.take().map(|mut out| out.read_to_string(&mut rest));
        let _ = self.script.wait();
        let _ = self.disk.as_ref().map(std::fs::remove_dir);
    }
}

/// The kind in `TEST_SERVER`.
pub(crate) fn kind() -> String {
    std::env::var("TEST_SERVER").unwrap_or_else(|_| "mariadb1011".into())
}

/// `mysql97`, `mariadb1011`, …, also where its defaults are hostile; starts no server.
pub fn kind_under_test() -> String {
    kind().trim_end_matches(HOSTILE).into()
}

/// Whether that is three nodes.
pub fn is_cluster() -> bool {
    matches!(kind_under_test().as_str(), "galera" | "group")
}

pub(crate) fn testdb() -> Command {
    let mut command = Command::new("bash");
    command.arg(TESTDB).env_remove("ARGS").env_remove("FAST");
    command
}

fn parse_node(line: &str) -> Node {
    let mut parts = line.split(' ');
    let mut next = || parts.next().unwrap_or_else(|| panic!("PORT SOCKET PID expected, not {line:?}"));
    let port = next().parse().expect("a port");
    let socket = next().into();
    Node { port, socket, pid: next().parse().expect("a pid") }
}
