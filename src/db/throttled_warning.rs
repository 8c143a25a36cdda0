//! A warning that may repeat for hours, such as that of a full disk: logged at once the first time, then at most once a
//! minute.

use std::time::{Duration, Instant};

use super::{Error, ErrorClass};
use crate::base::throttle::Throttle;

const INTERVAL: Duration = Duration::from_secs(60);

/// The repeated warning of one role that keeps trying.
#[derive(Debug)]
pub struct ThrottledWarning(Throttle);

impl Default for ThrottledWarning {
    fn default() -> Self {
        ThrottledWarning(Throttle::new(1, INTERVAL))
    }
}

impl ThrottledWarning {
    /// Logs that `what` (`<subject>: <what cannot be done>`) failed and is tried again. A broken connection is logged
    /// for debugging only: the pool reports an outage once for all roles.
    pub fn warn(&mut self, what: &str, error: &Error) {
        let is_outage = error.class() == ErrorClass::ConnectionLost && error.code().is_none();
        if is_outage || self.0.admit(Instant::now()).is_none() {
            return log::debug!("{what}: {error}; trying again");
        }
        log::warn!("{what}: {error}; trying again");
    }
}
