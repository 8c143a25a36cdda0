//! Keeps the watchdog of the service manager calm while every thread of the daemon makes progress. When one does not, the
//! reports end, and the service manager restarts the daemon. Decides nothing about what progress is: `base::health` does.

use std::{io, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::base::{
    health::Health,
    readiness::{State, Supervisor},
    threads::{Alarm, Thread},
};

/// Starts the thread, if the service manager asks for reports. It ends when it is dropped.
///
/// # Errors
/// The system cannot start another thread.
pub fn start(health: &Arc<Health>, alarm: &Alarm) -> io::Result<Option<Thread>> {
    let Some(limit) = Supervisor::watchdog_from_env() else { return Ok(None) };
    let (supervisor, health) = (Supervisor::from_env(), Arc::clone(health));
    let run = move |stopped: Receiver<()>| {
        report(&stopped, limit / 2, || health.stalled(), || supervisor.notify(State::Alive));
    };
    Thread::spawn_stoppable("watchdog", alarm, run).map(Some)
}

/// Calls `alive` at once and whenever `every` has passed, except while a thread makes no progress; returns when stopped.
fn report(
    stopped: &Receiver<()>,
    every: Duration,
    mut stalled: impl FnMut() -> Vec<(String, Duration)>,
    mut alive: impl FnMut(),
) {
    let mut was_stalled = false;
    loop {
        let stalled = stalled();
        if stalled.is_empty() {
            alive();
        } else if !was_stalled {
            let threads: Vec<String> = stalled.iter().map(|(name, _)| name.clone()).collect();
            log::error!(
                "watchdog: some threads are stuck; not reporting to the service manager threads={}",
                threads.join(",")
            );
        }
        was_stalled = !stalled.is_empty();
        if stopped.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::*;

    #[test]
    fn nothing_is_reported_while_a_thread_makes_no_progress() {
        let (stop, stopped) = bounded::<()>(0);
        let (mut stop, mut asked, mut reported_after) = (Some(stop), 0, Vec::new());
        let asked_so_far = std::cell::Cell::new(0);
        let stalled = || {
            asked += 1;
            asked_so_far.set(asked);
            if asked == 5 {
                stop = None;
            }
            if (2..=3).contains(&asked) { vec![("broker".to_string(), Duration::from_secs(60))] } else { Vec::new() }
        };
        report(&stopped, Duration::from_millis(1), stalled, || reported_after.push(asked_so_far.get()));
        assert_eq!(reported_after, [1, 4, 5]);
    }
}
