//! Writes events to the daemon's log for people to read, a bounded number per second. Never delivers anything.

use std::time::Duration;

use super::event::Event;
use crate::base::{clock::now, text::printable, throttle::Throttle};

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
    /// Logs one line per event, at level INFO.
    pub fn log(&mut self, events: &[Event<'static>]) {
        for event in events {
            let Some(suppressed) = self.0.admit(now()) else { continue };
            if suppressed > 0 {
                log::info!("events: {suppressed} more");
            }
            let payload = String::from_utf8_lossy(&event.payload);
            log::info!("{} #{} {}", event.state, event.seq, printable(&payload));
        }
    }
}
