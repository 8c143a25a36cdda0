//! The broker in this process with an event log in memory, for tests that need no database.

use crossbeam_channel::Receiver;
use resq::{
    base::{threads::alarm, wakeup::wakeup},
    config,
    events::{event::Event, updates::LogHead},
    net::{Broker, Http, Limits, Settings, StartError},
};

use crate::{MemoryConsumers, MemoryLog};

/// A broker that runs until it is dropped, which panics if one of its threads did.
pub struct MemoryBroker {
    broker: Option<Broker>,
    pub log: MemoryLog,
    pub consumers: MemoryConsumers,
    /// A message for each RING.
    pub wakeups: Receiver<()>,
}

impl MemoryBroker {
    /// `events` are already in the log, with dense numbers up to the head; `consumers` have their positions.
    pub fn start(
        config: &config::Broker,
        limits: Limits,
        head: LogHead,
        events: Vec<Event<'static>>,
        consumers: &MemoryConsumers,
    ) -> Result<MemoryBroker, StartError> {
        let (on_ring, wakeups) = wakeup();
        let (broker, log_publisher, page_requests) = Broker::start_with(
            Settings { config, limits, insecure: false },
            head,
            vec![on_ring],
            Http::default(),
            &alarm().0,
        )?;
        let log = MemoryLog::start(log_publisher, page_requests, head, events);
        consumers.serve(broker.consumers_end().clone(), &log);
        Ok(MemoryBroker { broker: Some(broker), log, consumers: consumers.clone(), wakeups })
    }

    pub fn broker(&self) -> &Broker {
        self.broker.as_ref().expect("it runs until it is dropped")
    }
}

impl Drop for MemoryBroker {
    fn drop(&mut self) {
        let Some(broker) = self.broker.take() else { return };
        broker.stop();
        let ended_well = broker.join();
        assert!(ended_well || std::thread::panicking(), "the broker panicked");
    }
}
