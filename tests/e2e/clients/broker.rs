//! The broker in this process, with an event log in memory, so that it can stop and start again on the same port as a
//! daemon does: with the same log, or with another one.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use resq::{
    config, config::Listen, config::Secret, events::event::Event, events::updates::LogHead, net::Limits,
    wire::ClientMessage, wire::Role,
};
use resq_test_support::{
    Certificates, DEADLINE, MemoryBroker, MemoryConsumers, Program, Running, binary, own_port, wait_or_report,
};
use tempfile::TempDir;

const TIME_US: u64 = 1_795_287_601_123_456;

pub struct TestBroker {
    pub directory: TempDir,
    config: config::Broker,
    limits: Limits,
    log_id: u64,
    /// The log's events from `first_seq` on.
    events: Vec<(String, String)>,
    first_seq: u64,
    pub consumers: MemoryConsumers,
    running: Option<MemoryBroker>,
}

impl TestBroker {
    pub fn start() -> TestBroker {
        TestBroker::start_with(|_, _| {})
    }

    /// With other settings and limits.
    pub fn start_with(change: impl FnOnce(&mut config::Broker, &mut Limits)) -> TestBroker {
        let directory = tempfile::tempdir().unwrap();
        let mut config = config::Broker {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], own_port())).into()],
            socket: Some(directory.path().join("resq.sock")),
            ..config::Broker::default()
        };
        let mut limits = Limits::default();
        change(&mut config, &mut limits);
        let (events, consumers, running) = (Vec::new(), MemoryConsumers::default(), None);
        let mut daemon = TestBroker { directory, config, limits, log_id: 1, events, first_seq: 1, consumers, running };
        daemon.start_again();
        daemon
    }

    pub fn with_token(token: &str) -> TestBroker {
        TestBroker::start_with(|config, _| config.token = Some(Secret(token.into())))
    }

    /// On a port with TLS.
    pub fn with_tls(certificates: &Certificates) -> TestBroker {
        TestBroker::start_with(|config, _| {
            let address = Listen { tls: true, ..config.listen[0] };
            *config = config::Broker { socket: None, listen: vec![address], ..certificates.broker(&[]) };
        })
    }

    /// With frequent PINGs, so that a test need not wait long until a silent peer is dropped.
    pub fn with_short_pings() -> TestBroker {
        TestBroker::start_with(|_, limits| limits.ping_interval = Duration::from_millis(300))
    }

    pub fn address(&self) -> SocketAddr {
        self.config.listen[0].address
    }

    pub fn socket(&self) -> PathBuf {
        self.config.socket.clone().unwrap()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Appends a durable event; published if the broker runs.
    pub fn append(&mut self, state: &str, payload: &str) {
        self.events.push((state.into(), payload.into()));
        if let Some(running) = &self.running {
            running.log.append(TIME_US, &[(state, payload.as_bytes())]);
        }
    }

    /// Drops the log's events below this number.
    pub fn prune(&mut self, first_seq: u64) {
        self.events.drain(..(first_seq - self.first_seq) as usize);
        self.first_seq = first_seq;
        if let Some(running) = &self.running {
            running.log.prune(first_seq);
        }
    }

    pub fn stop(&mut self) {
        self.running = None;
    }

    pub fn start_again(&mut self) {
        let numbered = self.events.iter().zip(self.first_seq..);
        let events: Vec<_> =
            numbered.map(|((s, p), seq)| Event::new(seq, TIME_US, s.clone(), p.clone().into_bytes())).collect();
        let head_seq = self.first_seq + events.len() as u64 - 1;
        let head = LogHead { log_id: self.log_id, first_seq: self.first_seq, head_seq };
        let mut started = None;
        // A process that another test is starting may still have inherited the previous listener.
        wait_or_report(DEADLINE, "the port", || {
            let running = MemoryBroker::start(&self.config, self.limits.clone(), head, events.clone(), &self.consumers);
            started = Some(running.map_err(|error| error.to_string())?);
            Ok(())
        });
        let running = started.expect("it listens");
        self.config.listen[0].address = running.broker().local_addrs()[0];
        self.running = Some(running);
    }

    /// Starts again with another, empty log.
    pub fn start_again_with_another_log(&mut self) {
        (self.log_id, self.first_seq) = (self.log_id + 1, 1);
        self.events.clear();
        self.start_again();
    }

    pub fn client(&self) -> Program {
        self.program(&binary("resq-client")).arg("-v")
    }

    /// A resq-client that has subscribed.
    pub fn subscribed(&self, args: &[&str]) -> Running {
        self.client().args(args).spawn_ready()
    }

    pub fn trigger(&self) -> Program {
        self.program(&binary("resq-trigger")).args(["--name", "t"])
    }

    /// Waits until the broker has dropped a peer that answers no PING: a peer that is still connected then has answered.
    pub fn wait_until_a_mute_peer_is_dropped(&self) {
        let mut peer = TcpStream::connect(self.address()).unwrap();
        peer.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut hello = Vec::new();
        ClientMessage::Hello { role: Role::Publisher, name: "mute", token: "" }.encode(&mut hello);
        peer.write_all(&hello).unwrap();
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
    }

    /// The program at this path, connecting here.
    pub fn program(&self, path: &str) -> Program {
        Program::new(path).arg(format!("--port={}", self.address().port()))
    }
}
