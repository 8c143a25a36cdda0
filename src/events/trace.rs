//! Events in the log for people, a bounded number a second.

use std::{sync::Arc, time::Duration};

use crate::{
    base::clock::now,
    base::text::printable,
    base::throttle::Throttle,
    events::event::Event,
    wire::{MAX_FRAME, ServerMessage, split},
};

/// Events traced per second; the rest are counted.
const PER_SECOND: u32 = 50;

/// Logs events, up to a number per second.
pub struct EventTrace(Throttle);

impl Default for EventTrace {
    fn default() -> Self {
        EventTrace(Throttle::new(PER_SECOND, Duration::from_secs(1)))
    }
}

impl EventTrace {
    pub fn print(&mut self, events: &[Arc<Event>]) {
        for event in events {
            let Some(suppressed) = self.0.admit(now()) else { continue };
            if suppressed > 0 {
                log::info!("and {suppressed} more events");
            }
            if let Some(ServerMessage::Event { state, payload, .. }) = decode(&event.frame) {
                log::info!("{state} #{} {}", event.seq, printable(&String::from_utf8_lossy(payload)));
            }
        }
    }
}

fn decode(frame: &[u8]) -> Option<ServerMessage<'_>> {
    let (frame, _) = split(frame, MAX_FRAME).ok()??;
    ServerMessage::decode(frame).ok()?
}
