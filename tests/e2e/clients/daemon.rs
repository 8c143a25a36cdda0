//! The broker in this process, with an event log that the test keeps, so that it can go away and come back on the
//! same port as a daemon does: with the same log, or with another one.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use resq::{
    config::{self, Secret},
    events::{
        event::{Event, LogHead},
        memory_log::MemoryLog,
    },
    fanout::Limits,
    net::Broker,
    wire::{ClientMessage, Role},
};
use tempfile::TempDir;

use crate::program::{DEADLINE, Program, Running, wait_or_tell};

const TIME_US: u64 = 1_795_287_601_123_456;

pub struct Daemon {
    pub directory: TempDir,
    config: config::Broker,
    limits: Limits,
    log_id: u64,
    /// The log's events since `first_seq`.
    events: Vec<(String, String)>,
    first_seq: u64,
    running: Option<(Broker, MemoryLog)>,
}

impl Daemon {
    pub fn start() -> Daemon {
        Daemon::start_with(|_, _| {})
    }

    /// A daemon whose settings and limits differ.
    pub fn start_with(change: impl FnOnce(&mut config::Broker, &mut Limits)) -> Daemon {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config::Broker {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], own_port()))],
            socket: Some(directory.path().join("resq.sock")),
            ..config::Broker::default()
        };
        let mut limits = Limits::default();
        change(&mut config, &mut limits);
        let (events, running) = (Vec::new(), None);
        let mut daemon = Daemon { directory, config, limits, log_id: 1, events, first_seq: 1, running };
        daemon.come_back();
        daemon
    }

    pub fn with_token(token: &str) -> Daemon {
        Daemon::start_with(|config, _| config.token = Some(Secret(token.into())))
    }

    /// A daemon that PINGs often, so that a test need not wait long for a peer that is dropped for its silence.
    pub fn with_short_pings() -> Daemon {
        Daemon::start_with(|_, limits| limits.ping_interval = Duration::from_millis(300))
    }

    pub fn address(&self) -> SocketAddr {
        self.config.listen[0]
    }

    pub fn socket(&self) -> PathBuf {
        self.config.socket.clone().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a durable event, announced if the daemon runs.
    pub fn append(&mut self, state: &str, payload: &str) {
        self.events.push((state.into(), payload.into()));
        if let Some((_, log)) = &self.running {
            log.append(TIME_US, &[(state, payload.as_bytes())]).unwrap();
        }
    }

    /// Drops the log's events below this number.
    pub fn prune(&mut self, first_seq: u64) {
        self.events.drain(..(first_seq - self.first_seq) as usize);
        self.first_seq = first_seq;
        if let Some((_, log)) = &self.running {
            log.prune(first_seq);
        }
    }

    pub fn go_away(&mut self) {
        if let Some((broker, _)) = self.running.take() {
            broker.stop();
            assert!(broker.join(), "the broker panicked");
        }
    }

    pub fn come_back(&mut self) {
        let numbered = self.events.iter().zip(self.first_seq..);
        let events: Vec<_> =
            numbered.map(|((s, p), seq)| Arc::new(Event::new(seq, TIME_US, s, p.as_bytes()).unwrap())).collect();
        let head_seq = self.first_seq + events.len() as u64 - 1;
        let head = LogHead { log_id: self.log_id, first_seq: self.first_seq, head_seq };
        let mut started = None;
        // A process that another test is just starting may still hold the socket that listened before.
        wait_or_tell(DEADLINE, "the port", || {
            let alarm = resq::base::threads::alarm().0;
            let broker = Broker::start_with(&self.config, self.limits.clone(), false, head, vec![], &alarm);
            started = Some(broker.map_err(|error| error.to_string())?);
            Ok(())
        });
        let (broker, announcer, reads) = started.expect("it listens");
        self.config.listen = broker.local_addrs().to_vec();
        self.running = Some((broker, MemoryLog::start(announcer, reads, head, events)));
    }

    /// Comes back with another log, empty.
    pub fn come_back_with_another_log(&mut self) {
        (self.log_id, self.first_seq) = (self.log_id + 1, 1);
        self.events.clear();
        self.come_back();
    }

    pub fn client(&self) -> Program {
        self.program(env!("CARGO_BIN_EXE_resq-client")).arg("-v")
    }

    /// A resq-client that has subscribed.
    pub fn subscribed(&self, args: &[&str]) -> Running {
        let mut client = self.client().args(args).spawn();
        client.wait_for_log("subscribed at");
        client
    }

    pub fn trigger(&self) -> Program {
        self.program(env!("CARGO_BIN_EXE_resq-trigger")).args(["--name", "t"])
    }

    /// Waits until the daemon has dropped a peer that answers no PING: longer than that, no peer stays by luck.
    pub fn wait_until_a_mute_peer_is_dropped(&self) {
        let mut peer = TcpStream::connect(self.address()).unwrap();
        peer.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut hello = Vec::new();
        ClientMessage::Hello { role: Role::Publisher, name: "mute", token: "" }.encode(&mut hello);
        peer.write_all(&hello).unwrap();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
    }

    fn program(&self, path: &str) -> Program {
        Program::new(path).arg(format!("--port={}", self.address().port()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.go_away();
        }
    }
}

/// A free port below those that the system hands out, and another one for each call: nobody takes it while the daemon
/// is away.
pub fn own_port() -> u16 {
    static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(..6_000)));
    let next = || 10_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 6_000;
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).find(free).expect("endless")
}
