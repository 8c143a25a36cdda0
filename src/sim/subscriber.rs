//! A subscriber to every durable event, outside the daemons: it keeps its position while they are restarted. It does far
//! less than the broker does for a client, but relies on the same promises of the sequencer.

use crossbeam_channel::{Receiver, Sender};

use super::{log::outbox_id, simulation::with};
use crate::events::{
    event::Event,
    updates::{LogHead, LogUpdate, PageRequest},
};

pub struct Subscriber {
    updates: Receiver<LogUpdate>,
    requests: Sender<PageRequest>,
    /// The last event that the sequencer has published in this daemon.
    head_seq: u64,
    is_requesting: bool,
}

impl Subscriber {
    pub fn new(head: LogHead, updates: Receiver<LogUpdate>, requests: Sender<PageRequest>) -> Subscriber {
        Subscriber { updates, requests, head_seq: head.head_seq, is_requesting: false }
    }

    /// Receives what the sequencer has published, and requests what is missing.
    pub fn receive(&mut self) {
        for update in self.updates.try_iter() {
            match update {
                LogUpdate::Live(events) => {
                    for event in events {
                        assert_eq!(event.seq, self.head_seq + 1, "published twice, or not at all");
                        self.head_seq = event.seq;
                        if event.seq == position() + 1 {
                            accept(&event);
                        }
                    }
                }
                LogUpdate::Page { after_seq, events, first_seq } => {
                    assert!(self.is_requesting && after_seq == position(), "a page that was not requested");
                    self.is_requesting = false;
                    let pruned = with(|sim| sim.server.oracle.first_seq());
                    assert!(first_seq <= pruned.max(1), "events were reported as pruned that still exist");
                    if first_seq > after_seq + 1 {
                        set_position(first_seq - 1);
                    }
                    for event in events {
                        assert!(event.seq <= position() + 1, "a page has a hole before {}", event.seq);
                        if event.seq == position() + 1 {
                            accept(&event);
                        }
                    }
                }
                LogUpdate::Pruned { first_seq } => {
                    let pruned = with(|sim| sim.server.oracle.first_seq());
                    assert!(first_seq <= pruned.max(1), "events were reported as pruned that still exist");
                }
            }
        }
        if !self.is_requesting && position() < self.head_seq {
            self.is_requesting = self.requests.try_send(PageRequest { after_seq: position() }).is_ok();
        }
    }
}

fn position() -> u64 {
    with(|sim| sim.machines[sim.current].subscriber_seq)
}

fn set_position(seq: u64) {
    with(|sim| sim.machines[sim.current].subscriber_seq = seq);
}

/// Checks that the event is the one that has its number, and moves the position there.
fn accept(event: &Event) {
    with(|sim| {
        let entry = sim.server.oracle.numbered(event.seq);
        assert_eq!(
            (entry.outbox_id, entry.state),
            (outbox_id(event), &*event.state),
            "event {} has changed",
            event.seq
        );
    });
    set_position(event.seq);
}
