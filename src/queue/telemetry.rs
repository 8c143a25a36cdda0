//! What a running queue lets the rest of its program know: metrics, and the jobs that are set aside. Its threads write;
//! anyone may read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::store::Change;
use crate::{base::metrics::Metrics, db::quarantine::Report};

/// Shared by the threads of one [`Service`](super::Service). Cheap to clone.
#[derive(Clone, Default)]
pub struct Telemetry {
    /// What is counted and measured.
    pub metrics: Arc<Metrics>,
    /// The jobs that are set aside.
    pub set_aside: SetAsideJobs,
}

/// The jobs that the threads of this daemon have set aside, because the server refuses to change their rows.
#[derive(Clone, Debug, Default)]
pub struct SetAsideJobs(Arc<Mutex<BTreeMap<u64, String>>>);

impl SetAsideJobs {
    /// Each job's `res_id`, with what was refused and the server's message.
    pub fn list(&self) -> Vec<(u64, String)> {
        let jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.iter().map(|(id, message)| (*id, message.clone())).collect()
    }

    /// Records rows that were set aside, and ids that came back.
    pub(super) fn change(&self, added: &[Report<Change>], removed: &[u64]) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for row in added {
            jobs.insert(row.id, format!("{}: {}", row.change, row.message));
        }
        for id in removed {
            jobs.remove(id);
        }
    }
}
