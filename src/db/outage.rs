//! That no connection can be made, and why: told once when somebody waits for one in vain, and once when there is one
//! again. Owns what was describe; decides nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Error;

/// One pool's outage, shared by who connects and who waits.
#[derive(Clone, Debug, Default)]
pub struct Outage(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Why the last try failed, if it did: r2d2 tells that to one of those who wait.
    error: Option<String>,
    is_reported: bool,
}

impl Outage {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a try to connect ended.
    pub fn tried(&self, error: Option<&Error>) {
        self.state().error = error.map(Error::to_string);
        if error.is_none() {
            // Who waited longest may want none any more.
            self.report_recovery();
        }
    }

    /// Somebody has a connection.
    pub fn report_recovery(&self) {
        if std::mem::take(&mut self.state().is_reported) {
            log::warn!("the database server is back");
        }
    }

    /// Somebody has waited in vain; the reason.
    pub fn report_timeout(&self, seconds: u64) -> String {
        let mut state = self.state();
        let why = state.error.clone().unwrap_or_else(|| format!("no connection within {seconds} s"));
        if !std::mem::replace(&mut state.is_reported, true) {
            log::warn!("the database server is lost, waiting for it: {why}");
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_the_reason_and_it_is_over_with_the_next_connection() {
        let outage = Outage::default();
        assert_eq!(outage.report_timeout(5), "no connection within 5 s");
        outage.tried(Some(&Error::NotReady("it is read-only".into())));
        assert_eq!(outage.report_timeout(5), outage.report_timeout(5));
        assert_ne!(outage.report_timeout(5), "no connection within 5 s");
        assert!(outage.state().is_reported);
        outage.tried(None);
        assert!(!outage.state().is_reported);
        assert_eq!(outage.report_timeout(5), "no connection within 5 s");
    }
}
