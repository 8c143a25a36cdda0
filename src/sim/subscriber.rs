//! A subscriber of everything durable, outside of the daemon whose broker serves it: it keeps its place over the
//! daemon's lives. Much less than the broker does for one, but by the same promises of the journal.

use crossbeam_channel::{Receiver, Sender};

use super::{log::outbox_id, simulation::with};
use crate::events::event::{Event, LogHead, LogUpdate, PageRequest};

pub struct Subscriber {
    told: Receiver<LogUpdate>,
    ask: Sender<PageRequest>,
    /// Up to here the journal has told this daemon.
    head_seq: u64,
    is_asking: bool,
}

impl Subscriber {
    pub fn new(head: LogHead, told: Receiver<LogUpdate>, ask: Sender<PageRequest>) -> Subscriber {
        Subscriber { told, ask, head_seq: head.head_seq, is_asking: false }
    }

    /// Takes what the journal has told, and asks for what is missing.
    pub fn listen(&mut self) {
        for news in self.told.try_iter() {
            match news {
                LogUpdate::Live(events) => {
                    for event in events {
                        assert_eq!(event.seq, self.head_seq + 1, "told twice, or not at all");
                        self.head_seq = event.seq;
                        if event.seq == place() + 1 {
                            take(&event);
                        }
                    }
                }
                LogUpdate::Page { after_seq, events, first_seq } => {
                    assert!(self.is_asking && after_seq == place(), "a page that nobody asked for");
                    self.is_asking = false;
                    let pruned = with(|sim| sim.server.oracle.first_seq());
                    assert!(first_seq <= pruned.max(1), "events were said to be pruned that are there");
                    if first_seq > after_seq + 1 {
                        set_place(first_seq - 1);
                    }
                    for event in events {
                        assert!(event.seq <= place() + 1, "a page has a hole before {}", event.seq);
                        if event.seq == place() + 1 {
                            take(&event);
                        }
                    }
                }
                LogUpdate::Pruned { first_seq } => {
                    let pruned = with(|sim| sim.server.oracle.first_seq());
                    assert!(first_seq <= pruned.max(1), "events were said to be pruned that are there");
                }
            }
        }
        if !self.is_asking && place() < self.head_seq {
            self.is_asking = self.ask.try_send(PageRequest { after_seq: place() }).is_ok();
        }
    }
}

fn place() -> u64 {
    with(|sim| sim.machines[sim.current].subscriber_seq)
}

fn set_place(seq: u64) {
    with(|sim| sim.machines[sim.current].subscriber_seq = seq);
}

/// The event is the one that has its number for ever.
fn take(event: &Event) {
    with(|sim| {
        let entry = sim.server.oracle.numbered(event.seq);
        assert_eq!((entry.outbox_id, entry.state), (outbox_id(event), &*event.state), "event {} is another", event.seq);
    });
    set_place(event.seq);
}
