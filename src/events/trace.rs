//! What the daemon's log says of single events, for people to read: a bounded number of lines. Never delivers anything.

use std::time::Duration;

use super::event::Event;
use crate::base::{clock::now, text::printable, throttle::Throttle};

/// Events traced per second; the rest are counted.
const PER_SECOND: u32 = 50;

/// Events that cannot be delivered, named per minute.
const UNREADABLE_PER_MINUTE: u32 = 10;

/// Logs events that cannot be delivered.
pub struct Unreadable(Throttle);

impl Default for Unreadable {
    fn default() -> Self {
        Unreadable(Throttle::new(UNREADABLE_PER_MINUTE, Duration::from_secs(60)))
    }
}

impl Unreadable {
    /// One was met, with this state.
    pub fn log(&mut self, seq: u64, why: &str, state: &str) {
        let Some(suppressed) = self.0.admit(now()) else { return };
        if suppressed > 0 {
            log::error!(
                "event log: {suppressed} more events cannot be delivered and were not logged; delivering resq.unreadable instead"
            );
        }
        log::error!(
            "event log: event {seq} cannot be delivered, {why}; delivering resq.unreadable instead state=`{}`",
            printable(state)
        );
    }
}

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
