//! A separate broker for each test, on a TCP port, one with TLS, and a Unix socket, with an event log in memory.

use resq::{config, events::event::Event, events::updates::LogHead, net::Limits};
use resq_test_support::{Certificates, MemoryBroker, MemoryConsumers};
use tempfile::TempDir;

use super::peer::Address;

pub const LOG_ID: u64 = 0x1234_5678_9abc_def0;

pub struct Fixture {
    pub running: MemoryBroker,
    pub tcp: Address,
    pub tls: Address,
    pub unix: Address,
    _directory: TempDir,
}

/// What differs from the defaults.
#[derive(Clone, Default)]
pub struct Settings {
    pub limits: Limits,
    pub token: Option<String>,
    pub states: Option<Vec<String>>,
    pub access: Vec<config::Access>,
    /// Events that the log holds from the start, all of the state `Old`, numbered from 1.
    pub old_events: u64,
}

impl Fixture {
    pub fn start(settings: Settings) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("resq.sock");
        let config = config::Broker {
            socket: Some(socket.clone()),
            token: settings.token.map(config::Secret),
            states: settings.states,
            access: settings.access,
            ..Certificates::shared().broker(&["127.0.0.1:0", "tls://127.0.0.1:0"])
        };
        let head = LogHead { log_id: LOG_ID, first_seq: 1, head_seq: settings.old_events };
        let old = (1..=settings.old_events).map(|seq| Event::new(seq, seq, "Old", &b"{}"[..])).collect();
        let running = MemoryBroker::start(&config, settings.limits, head, old, &MemoryConsumers::default()).unwrap();
        let tcp = Address::Tcp(running.broker().local_addrs()[0]);
        let tls = Address::Tls(running.broker().local_addrs()[1], Certificates::shared().client().load().unwrap());
        Fixture { running, tcp, tls, unix: Address::Unix(socket), _directory: directory }
    }

    pub fn with_defaults() -> Fixture {
        Fixture::start(Settings::default())
    }

    pub fn append(&self, state: &str, payload: &str) {
        self.running.log.append(1_700_000_000_000_000, &[(state, payload.as_bytes())]);
    }
}
