//! Whether the daemon is alive and whether it is ready to serve. Owns the stage that it is in and the checks that its
//! parts have added; asks no database, and a check must not wait.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::heartbeat::Heartbeats;

/// A thread that has worked on one thing for longer than this, without waiting for the database, makes no progress.
const STALLED_AFTER: Duration = Duration::from_secs(15);

/// A stage in the daemon's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Starting,
    Serving,
    Draining,
}

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The check: one word.
    pub check: &'static str,
    /// What it found, as a phrase.
    pub reason: String,
    /// The daemon is not ready because of this; otherwise it is only worth knowing.
    pub is_blocking: bool,
}

impl Finding {
    /// What keeps the daemon from being ready.
    pub fn blocking(check: &'static str, reason: impl Into<String>) -> Finding {
        Finding { check, reason: reason.into(), is_blocking: true }
    }

    /// What an operator should know, although the daemon serves.
    pub fn note(check: &'static str, reason: impl Into<String>) -> Finding {
        Finding { check, reason: reason.into(), is_blocking: false }
    }
}

type Check = Box<dyn Fn() -> Vec<Finding> + Send>;

/// The health of one daemon.
#[derive(Default)]
pub struct Health {
    heartbeats: Heartbeats,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stage: Stage,
    checks: Vec<Check>,
}

impl Health {
    /// Of a daemon that is starting.
    pub fn new(heartbeats: Heartbeats) -> Health {
        Health { heartbeats, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a check, which is run for each [`Health::findings`]. It must not wait.
    pub fn add(&self, check: impl Fn() -> Vec<Finding> + Send + 'static) {
        self.state().checks.push(Box::new(check));
    }

    /// All parts run.
    pub fn serving(&self) {
        self.state().stage = Stage::Serving;
    }

    /// The daemon has begun to stop.
    pub fn draining(&self) {
        self.state().stage = Stage::Draining;
    }

    /// What keeps the daemon from being ready, if anything does, and what else is worth knowing.
    pub fn findings(&self) -> Vec<Finding> {
        let state = self.state();
        let stage = match state.stage {
            Stage::Starting => Some(Finding::blocking("stage", "resqd is starting")),
            Stage::Serving => None,
            Stage::Draining => Some(Finding::blocking("stage", "resqd is stopping: it finishes running jobs")),
        };
        stage.into_iter().chain(state.checks.iter().flat_map(|check| check())).collect()
    }

    /// The threads that make no progress, each with how long it has been at the same piece of work.
    pub fn stalled(&self) -> Vec<(String, Duration)> {
        self.heartbeats.stalled(STALLED_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemon_is_ready_between_start_and_stop_while_no_check_blocks() {
        let health = Health::default();
        let blocking = |health: &Health| -> Vec<&str> {
            health.findings().iter().filter(|finding| finding.is_blocking).map(|finding| finding.check).collect()
        };
        assert_eq!(blocking(&health), ["stage"]);
        health.add(|| vec![Finding::note("schema", "a trigger is missing")]);
        health.serving();
        assert_eq!((blocking(&health), health.findings().len()), (vec![], 1));
        health.add(|| vec![Finding::blocking("lease", "it expired")]);
        assert_eq!(blocking(&health), ["lease"]);
        health.draining();
        assert_eq!(blocking(&health), ["stage", "lease"]);
        assert!(health.stalled().is_empty());
    }
}
