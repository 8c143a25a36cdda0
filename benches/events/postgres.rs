//! PostgreSQL's NOTIFY, for comparison: writers without and with a hundred sessions that LISTEN. Runs a private server in
//! a temporary folder with PostgreSQL's own programs.

use std::{
    io::Write,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use resq_test_support::wait_until;

use crate::figures::median;

const PORT: &str = "15432";
const TURNS: usize = 3;

/// Transactions per second of eight writers, without and with listeners; None if it is not installed.
pub fn commit_rate() -> Option<[f64; 2]> {
    let programs = std::fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    let programs = programs.filter(|path| path.join("pgbench").exists() && path.join("initdb").exists()).max()?;
    let server = Postgres::start(programs)?;
    let script = server.dir.path().join("notify.sql");
    let write = "BEGIN;\nINSERT INTO bare (payload) VALUES ('x');\nNOTIFY bench, '{\"res_id\":1,\"status\":\"done\"}';\nCOMMIT;\n";
    std::fs::write(&script, write).ok()?;
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (listeners, rates) in [0, 100].into_iter().zip(&mut rates) {
            let listeners: Vec<ListeningSession> = (0..listeners).map(|_| server.listener()).collect();
            let count = "SELECT COUNT(*) FROM pg_stat_activity WHERE query = 'LISTEN bench;' AND state = 'idle'";
            wait_until("the listeners", || server.query(count) == listeners.len().to_string());
            let mut pgbench = server.program("pgbench");
            let out = pgbench
                .args(["-n", "-c", "8", "-j", "2", "-T", "3", "-f"])
                .arg(&script)
                .arg("postgres")
                .output()
                .ok()?;
            let out = String::from_utf8_lossy(&out.stdout).into_owned();
            let tps = out.lines().find_map(|line| line.strip_prefix("tps = "))?;
            rates.push(tps.split(' ').next()?.parse().ok()?);
        }
    }
    Some(rates.map(median))
}

struct Postgres {
    programs: PathBuf,
    dir: tempfile::TempDir,
    process: Option<Child>,
}

impl Postgres {
    fn start(programs: PathBuf) -> Option<Postgres> {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::Builder::new().prefix("resq-pg-").tempdir().ok()?;
        // It refuses to run as root.
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).ok()?;
        let mut server = Postgres { programs, dir, process: None };
        let data = server.dir.path().join("data");
        let made = server.as_owner("initdb").args(["-A", "trust", "-U", "postgres", "-D"]).arg(&data).output().ok()?;
        if !made.status.success() {
            return None;
        }
        let socket = format!("unix_socket_directories={}", server.dir.path().display());
        let mut postgres = server.as_owner("postgres");
        postgres
            .args(["-p", PORT, "-c", &socket, "-c", "listen_addresses=", "-c", "max_connections=200", "-D"])
            .arg(&data);
        server.process = Some(postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?);
        wait_until("PostgreSQL", || server.query("SELECT 1") == "1");
        server.query("CREATE TABLE bare (id BIGSERIAL PRIMARY KEY, payload TEXT)");
        Some(server)
    }

    /// A program of the server's, which refuses to run as root.
    fn as_owner(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(self.programs.join(name));
        command.current_dir(self.dir.path());
        command
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.arg("-h").arg(self.dir.path()).args(["-p", PORT, "-U", "postgres"]);
        command
    }

    fn query(&self, sql: &str) -> String {
        let out = self.program("psql").args(["-At", "-c", sql, "postgres"]).output();
        out.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(&out.stdout).trim().to_string())
    }

    fn listener(&self) -> ListeningSession {
        let mut psql = self.program("psql");
        psql.arg("postgres").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = psql.spawn().expect("psql runs");
        child.stdin.as_mut().expect("a pipe").write_all(b"LISTEN bench;\n").expect("psql reads");
        ListeningSession(child)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = Command::new("kill").args(["-INT", &process.id().to_string()]).status();
            let _ = process.wait();
        }
    }
}

struct ListeningSession(Child);

impl Drop for ListeningSession {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
