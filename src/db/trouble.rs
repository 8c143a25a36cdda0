//! Telling of what goes wrong again and again: the first time at once, then once a minute, so that a disk that is full
//! for an hour fills no log. Owns the time of the last line; decides nothing.

use std::time::{Duration, Instant};

use mysql::Error;

use super::{Class, class, told};

const EVERY: Duration = Duration::from_secs(60);

/// One role's troubles with the server.
#[derive(Debug, Default)]
pub struct Trouble {
    told_at: Option<Instant>,
}

impl Trouble {
    /// `what` can't be done for now and is tried again. A connection that broke is told by whoever makes the next one.
    pub fn tell(&mut self, what: &str, error: &Error) {
        let is_connection = class(error) == Class::Lost && !matches!(error, Error::MySqlError(_));
        if is_connection || self.told_at.is_some_and(|at| at.elapsed() < EVERY) {
            return log::debug!("{what}: {}", told(error));
        }
        self.told_at = Some(Instant::now());
        log::warn!("{what}, trying again: {}", told(error));
    }
}
