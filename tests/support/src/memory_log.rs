//! An event log in memory, for tests and benchmarks of the broker without a database. Its thread answers page requests;
//! the test appends and prunes.

use crossbeam_channel::Receiver;
use resq::events::{
    event::Event,
    updates::{LogHead, LogPublisher, PageRequest},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// The most events in one page.
const PAGE: usize = 256;

/// A log that ends with the broker: its thread stops when the broker is gone.
#[derive(Clone)]
pub struct MemoryLog {
    log_publisher: LogPublisher,
    events: Arc<Mutex<Kept>>,
}

struct Kept {
    events: VecDeque<Event<'static>>,
    next_seq: u64,
}

impl MemoryLog {
    /// `events` are already in the log, with dense numbers up to the head that the broker was started with.
    pub fn start(
        log_publisher: LogPublisher,
        reads: Receiver<PageRequest>,
        head: LogHead,
        events: Vec<Event<'static>>,
    ) -> MemoryLog {
        let events = Arc::new(Mutex::new(Kept { events: events.into(), next_seq: head.head_seq + 1 }));
        let log = MemoryLog { log_publisher, events };
        let answering = log.clone();
        thread::spawn(move || reads.iter().for_each(|read| answering.answer(read)));
        log
    }

    /// Numbers these events (state, payload) and publishes them; returns the number of the last one.
    pub fn append(&self, unix_time_us: u64, events: &[(&str, &[u8])]) -> u64 {
        let mut kept = self.lock();
        let mut fresh = Vec::new();
        for (state, payload) in events {
            let seq = kept.next_seq + fresh.len() as u64;
            fresh.push(Event::new(seq, unix_time_us, state.to_string(), payload.to_vec()));
        }
        kept.next_seq += fresh.len() as u64;
        kept.events.extend(fresh.iter().cloned());
        // Published while the lock is held, so that events are published in the order of their numbers.
        self.log_publisher.live(fresh);
        kept.next_seq - 1
    }

    /// Drops all events below this number.
    pub fn prune(&self, first_seq: u64) {
        let mut kept = self.lock();
        while kept.events.front().is_some_and(|event| event.seq < first_seq) {
            kept.events.pop_front();
        }
        self.log_publisher.pruned(kept.first_seq());
    }

    /// The smallest number that is kept.
    pub fn first_seq(&self) -> u64 {
        self.lock().first_seq()
    }

    /// The number before that of the first event of this time or later.
    pub fn before(&self, unix_time_us: u64) -> u64 {
        let kept = self.lock();
        kept.events.iter().find(|event| event.unix_time_us >= unix_time_us).map_or(kept.next_seq, |event| event.seq) - 1
    }

    fn answer(&self, PageRequest { after_seq }: PageRequest) {
        let kept = self.lock();
        let start = kept.events.partition_point(|event| event.seq <= after_seq);
        let page = kept.events.iter().skip(start).take(PAGE).cloned().collect();
        self.log_publisher.page(after_seq, page, kept.first_seq());
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn first_seq(&self) -> u64 {
        self.events.front().map_or(self.next_seq, |event| event.seq)
    }
}
