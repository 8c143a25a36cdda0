//! Telling of what goes wrong again and again: the first time at once, then once a minute, so that a disk that is full
//! for an hour fills no log. Owns the time of the last line; decides nothing.

use std::time::{Duration, Instant};

use super::{Error, ErrorClass};
use crate::base::throttle::Throttle;

const EVERY: Duration = Duration::from_secs(60);

/// One role's troubles with the server.
#[derive(Debug)]
pub struct ThrottledWarning(Throttle);

impl Default for ThrottledWarning {
    fn default() -> Self {
        ThrottledWarning(Throttle::new(1, EVERY))
    }
}

impl ThrottledWarning {
    /// `what` can't be done for now and is tried again. A connection that broke is told by whoever makes the next one.
    pub fn warn(&mut self, what: &str, error: &Error) {
        let is_connection = error.class() == ErrorClass::ConnectionLost && error.code().is_none();
        if is_connection || self.0.admit(Instant::now()).is_none() {
            return log::debug!("{what}: {error}");
        }
        log::warn!("{what}, trying again: {error}");
    }
}
