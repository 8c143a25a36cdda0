//! A separate broker for each test, on a TCP port and a Unix socket, with an event log in memory.

use resq_test_support::MemoryLog;

use super::peer::Address;
use crossbeam_channel::Receiver;
use resq::{
    base::threads::alarm, base::wakeup::wakeup, config, events::event::Event, events::updates::LogHead, net::Broker,
    net::Limits,
};
use std::sync::Arc;
use tempfile::TempDir;

pub const LOG_ID: u64 = 0x1234_5678_9abc_def0;

pub struct Fixture {
    pub broker: Option<Broker>,
    pub log: MemoryLog,
    pub wakeups: Receiver<()>,
    pub tcp: Address,
    pub unix: Address,
    _directory: TempDir,
}

/// What differs from the defaults.
#[derive(Clone, Default)]
pub struct Settings {
    pub limits: Limits,
    pub token: Option<String>,
    pub states: Option<Vec<String>>,
    /// Events that the log holds from the start, all of the state `Old`, numbered from 1.
    pub old_events: u64,
}

impl Fixture {
    pub fn start(settings: Settings) -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("resq.sock");
        let config = config::Broker {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            socket: Some(socket.clone()),
            token: settings.token.map(config::Secret),
            states: settings.states,
            ..config::Broker::default()
        };
        let head = LogHead { log_id: LOG_ID, first_seq: 1, head_seq: settings.old_events };
        let old = (1..=settings.old_events).map(|seq| Arc::new(Event::new(seq, seq, "Old", &b"{}"[..]))).collect();
        let (wakeup_sender, wakeups) = wakeup();
        let (broker, log_publisher, reads) =
            Broker::start_with(&config, settings.limits, false, head, vec![wakeup_sender], &alarm().0).unwrap();
        let log = MemoryLog::start(log_publisher, reads, head, old);
        let tcp = Address::Tcp(broker.local_addrs()[0]);
        Fixture { broker: Some(broker), log, wakeups, tcp, unix: Address::Unix(socket), _directory: directory }
    }

    pub fn with_defaults() -> Fixture {
        Fixture::start(Settings::default())
    }

    pub fn append(&self, state: &str, payload: &str) {
        self.log.append(1_700_000_000_000_000, &[(state, payload.as_bytes())]);
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop();
            let ended_well = broker.join();
            assert!(ended_well || std::thread::panicking(), "the broker panicked");
        }
    }
}
