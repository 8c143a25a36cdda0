//! Makes known which rows are set aside: in the log, limited, and in `res_quarantine`, where `resqctl status` and
//! `resqctl doctor` find them. Neither holds up the work: what cannot be written is left out.

use std::time::Duration;

use super::{quarantine::Quarantine, store::QueueStore};
use crate::base::{clock::now, throttle::Throttle};

/// Rows named one by one in the log per minute.
const LINES_PER_MINUTE: u32 = 10;

pub struct Reporter(Throttle);

impl Default for Reporter {
    fn default() -> Self {
        Reporter(Throttle::new(LINES_PER_MINUTE, Duration::from_secs(60)))
    }
}

impl Reporter {
    /// Reports what has changed since the last call.
    pub fn report<T>(&mut self, quarantine: &mut Quarantine<T>, store: &mut dyn QueueStore) {
        let (added, removed) = quarantine.take_changes();
        if added.is_empty() && removed.is_empty() {
            return;
        }
        for row in &added {
            let Some(suppressed) = self.0.admit(now()) else { continue };
            if suppressed > 0 {
                log::warn!("queue: {suppressed} more refusals were not logged; see `resqctl status`");
            }
            log::warn!(
                "job {}: the server refused its {}; set aside, trying again in {:.0} s, other jobs continue error={}",
                row.id,
                row.change.as_str(),
                row.pause.as_secs_f64().ceil(),
                row.message
            );
        }
        for id in &removed {
            log::info!("job {id}: the server accepts it again");
        }
        if let Err(error) = store.report_set_aside(&added, &removed) {
            log::debug!("queue: the list of jobs that are set aside could not be written: {error}");
        }
    }
}
