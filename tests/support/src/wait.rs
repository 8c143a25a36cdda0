//! Waiting for a condition within a deadline.

use std::time::{Duration, Instant};

/// How long anything may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; panics with `what` after [`DEADLINE`].
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_at_most(DEADLINE, what, condition);
}

/// The same with the caller's deadline.
pub fn wait_at_most(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    wait_or_report(deadline, what, || if condition() { Ok(()) } else { Err(String::new()) });
}

/// The same; `check` returns what there is instead, for the panic's message.
pub fn wait_or_report(deadline: Duration, what: &str, mut check: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + deadline;
    while let Err(instead) = check() {
        assert!(Instant::now() < end, "waited {deadline:?} for {what}\n{instead}");
        // The only pause of the tests; the fault proxy merely delays bytes, as a slow network does.
        std::thread::sleep(Duration::from_millis(5));
    }
}
