//! Events in the log for people, a bounded number a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    base::clock::now,
    base::text::printable,
    events::event::Event,
    wire::{MAX_FRAME, ServerMessage, split},
};

/// Events trace in a second; the rest are counted.
const A_SECOND: u32 = 50;

/// What was trace since when.
pub struct EventTrace {
    since: Instant,
    count: u32,
}

impl Default for EventTrace {
    fn default() -> Self {
        EventTrace { since: now(), count: 0 }
    }
}

impl EventTrace {
    pub fn print(&mut self, events: &[Arc<Event>]) {
        for event in events {
            if now() - self.since >= Duration::from_secs(1) {
                if self.count > A_SECOND {
                    log::info!("and {} more events", self.count - A_SECOND);
                }
                (self.since, self.count) = (now(), 0);
            }
            self.count += 1;
            if self.count <= A_SECOND
                && let Some(ServerMessage::Event { state, payload, .. }) = decode(&event.frame)
            {
                log::info!("{state} #{} {}", event.seq, printable(&String::from_utf8_lossy(payload)));
            }
        }
    }
}

fn decode(frame: &[u8]) -> Option<ServerMessage<'_>> {
    let (frame, _) = split(frame, MAX_FRAME).ok()??;
    ServerMessage::decode(frame).ok()?
}
