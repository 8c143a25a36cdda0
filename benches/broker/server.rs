//! The servers as separate processes, each on a free port; they end with the benchmark.

use crate::dialect::Dialect;
use resq::{
    base::threads::alarm,
    config::{self, Listen},
    events::updates::LogHead,
    net::{Broker, Http},
};
use resq_test_support::{Certificates, MemoryLog};
use std::{
    fs,
    io::{self, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub struct ServerProcess {
    pub dialect: Dialect,
    pub address: SocketAddr,
    /// Another one for subscribers, where they do not speak the publisher's protocol.
    pub subscribers_at: SocketAddr,
    /// Where it serves HTTP, if it does.
    pub http: SocketAddr,
    /// Subscribers connect by TLS.
    pub tls: bool,
    process: Child,
}

impl ServerProcess {
    /// Without TLS. None if it is not installed.
    pub fn start(dialect: Dialect) -> Option<ServerProcess> {
        ServerProcess::start_with(dialect, false)
    }

    /// `tls`: its subscribers connect by TLS. None if it is not installed.
    pub fn start_with(dialect: Dialect, tls: bool) -> Option<ServerProcess> {
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        let (address, http, encrypted) = (free(), free(), free());
        let port = address.port().to_string();
        let mut command = match dialect {
            Dialect::Resq | Dialect::Sse => {
                let mut command = Command::new(std::env::current_exe().expect("this program"));
                command.args(["serve", &port, &http.port().to_string(), &encrypted.port().to_string()]);
                command
            }
            Dialect::Nats => {
                let mut command = Command::new("nats-server");
                command.args(["-a", "127.0.0.1", "-p", &port]);
                if tls {
                    let file = |name| Certificates::shared().file(name);
                    command
                        .arg("--tls")
                        .arg("--tlscert")
                        .arg(file("server.pem"))
                        .arg("--tlskey")
                        .arg(file("server.key"));
                }
                command
            }
            Dialect::Redis => {
                let mut command = Command::new("redis-server");
                command.args(["--port", &port, "--save", "", "--appendonly", "no", "--maxclients", "16000"]);
                command
            }
        };
        // resq's process ends with its standard input.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = match command.spawn() {
            Ok(process) => process,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => panic!("{}: {error}", dialect.name()),
        };
        let subscribers_at = match dialect {
            Dialect::Sse => http,
            Dialect::Resq if tls => encrypted,
            _ => address,
        };
        let server = ServerProcess { dialect, address, subscribers_at, http, tls, process };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "{} does not come up", dialect.name());
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    /// Its name in the results.
    pub fn name(&self) -> String {
        format!("{}{}", self.dialect.name(), if self.tls { " tls" } else { "" })
    }

    /// Resident memory, in bytes.
    pub fn resident_bytes(&self) -> f64 {
        self.status("VmRSS:") * 1024.0
    }

    /// How often its threads have gone to sleep since it started, which is how often they were woken.
    pub fn sleeps(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("its threads");
        threads.map(|thread| status(&thread.expect("a thread").path().join("status"), "voluntary_ctxt_switches:")).sum()
    }

    fn status(&self, key: &str) -> f64 {
        status(format!("/proc/{}/status", self.process.id()).as_ref(), key)
    }
}

fn status(path: &std::path::Path, key: &str) -> f64 {
    let text = fs::read_to_string(path).expect("the process is there");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("the line is there");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process of resq's broker: an empty log and default settings, until standard input ends.
pub fn serve([port, http_port, tls_port]: [u16; 3]) {
    let listen = |port, tls| Listen { address: SocketAddr::from(([127, 0, 0, 1], port)), tls };
    let http = config::Http { listen: vec![listen(http_port, false)], ..config::Http::default() };
    let http = Http { config: Some(http), ..Http::default() };
    let listen = vec![listen(port, false), listen(tls_port, true)];
    let config = config::Broker { listen, ping: Duration::from_secs(600), ..Certificates::shared().broker(&[]) };
    let head = LogHead { log_id: 1, first_seq: 1, head_seq: 0 };
    let (alarm, _) = alarm();
    let (_broker, log_publisher, reads) =
        Broker::start(&config, false, head, Vec::new(), http, &alarm).expect("it starts");
    let _log = MemoryLog::start(log_publisher, reads, head, Vec::new());
    let _ = io::stdin().read(&mut [0]);
}
