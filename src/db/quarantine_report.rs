//! Makes known which rows are set aside: in the log, limited, and in a list in the database, where `resqctl status` and
//! `resqctl doctor` find them. Neither holds up the work: what cannot be written is left out.

use std::{fmt::Display, time::Duration};

use super::{
    Error,
    quarantine::{Quarantine, Report},
};
use crate::base::{clock::now, throttle::Throttle};

/// Rows named one by one in the log per minute.
const LINES_PER_MINUTE: u32 = 10;

/// Reports the rows of one quarantine.
pub struct Reporter {
    /// What a row is: `job`.
    subject: &'static str,
    throttle: Throttle,
}

impl Reporter {
    /// `subject`: what a row is, as the log names it.
    pub fn new(subject: &'static str) -> Reporter {
        Reporter { subject, throttle: Throttle::new(LINES_PER_MINUTE, Duration::from_secs(60)) }
    }

    /// Reports what has changed since the last call; `list` adds rows to the list and removes others.
    pub fn report<C: Copy + PartialEq + Display, T>(
        &mut self,
        quarantine: &mut Quarantine<C, T>,
        list: impl FnOnce(&[Report<C>], &[u64]) -> Result<(), Error>,
    ) {
        let (added, removed) = quarantine.take_changes();
        if added.is_empty() && removed.is_empty() {
            return;
        }
        let subject = self.subject;
        for row in &added {
            let Some(suppressed) = self.throttle.admit(now()) else { continue };
            if suppressed > 0 {
                log::warn!("{subject}s: {suppressed} more refusals were not logged; see `resqctl status`");
            }
            log::warn!(
                "{subject} {}: the server refused its {}; set aside, trying again in {:.0} s, other {subject}s continue error={}",
                row.id,
                row.change,
                row.pause.as_secs_f64().ceil(),
                row.message
            );
        }
        for id in &removed {
            log::info!("{subject} {id}: the server accepts it again");
        }
        if let Err(error) = list(&added, &removed) {
            log::debug!("{subject}s: the list of those that are set aside could not be written: {error}");
        }
    }
}
