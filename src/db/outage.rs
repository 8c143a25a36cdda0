//! An outage of the database server, as the log shows it: one line when a caller could not get a connection in time, one
//! when there is a connection again. Decides nothing.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::Error;
use crate::base::clock::now;

/// One pool's outage, shared by the thread that connects and the callers that wait. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outage(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Why the last attempt failed, if it did: r2d2 reports that to only one of the callers that wait.
    error: Option<String>,
    /// When there was a connection last.
    connected_at: Option<Instant>,
    is_reported: bool,
}

impl Outage {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how an attempt to connect ended; None: well.
    pub fn attempted(&self, error: Option<&Error>) {
        self.state().error = error.map(Error::to_string);
        if error.is_none() {
            // The callers that waited may have given up by now.
            self.report_recovery();
        }
    }

    /// Notes that a caller has a connection.
    pub fn report_recovery(&self) {
        let mut state = self.state();
        state.connected_at = Some(now());
        if std::mem::take(&mut state.is_reported) {
            log::warn!("database: the server is back; work goes on");
        }
    }

    /// Why the server is lost, while it is.
    pub fn current(&self) -> Option<String> {
        let state = self.state();
        state.is_reported.then(|| state.error.clone().unwrap_or_else(|| "no connection in time".into()))
    }

    /// Notes that a caller waited `timeout` without getting a connection; returns why there is none.
    pub fn report_timeout(&self, timeout: Duration) -> String {
        let mut state = self.state();
        let why = state.error.clone().unwrap_or_else(|| format!("no connection within {} s", timeout.as_secs()));
        // One that began to wait during an outage may give up just after its end.
        let is_over = state.error.is_none() && state.connected_at.is_some_and(|at| now() - at < timeout);
        if !is_over && !std::mem::replace(&mut state.is_reported, true) {
            log::warn!("database: lost the server ({why}); waiting for it");
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_gets_the_reason_until_the_next_connection() {
        let (outage, timeout) = (Outage::default(), Duration::from_secs(5));
        assert_eq!(outage.report_timeout(timeout), "no connection within 5 s");
        outage.attempted(Some(&Error::NotReady("it is read-only".into())));
        for _ in 0..2 {
            assert_eq!(outage.report_timeout(timeout), "the node is not ready: it is read-only");
        }
        assert!(outage.state().is_reported);
        outage.attempted(None);
        assert!(!outage.state().is_reported);
        assert_eq!(outage.report_timeout(timeout), "no connection within 5 s");
        assert!(!outage.state().is_reported, "another caller got a connection while this one waited");
        outage.report_timeout(Duration::ZERO);
        assert!(outage.state().is_reported, "none did");
    }
}
