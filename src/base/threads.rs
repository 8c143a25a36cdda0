//! The daemon's threads: one way to start, stop and join them. A thread that panics raises an alarm, so that the daemon
//! ends at once instead of waiting for a role that no longer runs.

use std::{
    io,
    thread::{self, JoinHandle},
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::{
    failure::{Exit, Failure},
    heartbeat::Heartbeats,
};

/// Reports the names of panicked threads, of those that were started with it, and keeps their heartbeats. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Alarm {
    panicked: Sender<String>,
    heartbeats: Heartbeats,
}

/// An alarm, and the names of the threads that panicked.
pub fn alarm() -> (Alarm, Receiver<String>) {
    let (sender, panicked) = bounded(16);
    (Alarm { panicked: sender, heartbeats: Heartbeats::default() }, panicked)
}

impl Alarm {
    /// The heartbeats of the threads that were started with it.
    pub fn heartbeats(&self) -> &Heartbeats {
        &self.heartbeats
    }
}

/// A running thread. Dropping it detaches the thread, after asking it to stop if it was started by
/// [`Thread::spawn_stoppable`].
#[derive(Debug)]
pub struct Thread {
    stop: Option<Sender<()>>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    handle: JoinHandle<()>,
}

impl Thread {
    /// Starts `body` as the thread `name`. It ends by itself.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn spawn(name: &str, alarm: &Alarm, body: impl FnOnce() + Send + 'static) -> io::Result<Thread> {
        let (end, ended) = bounded(0);
        let on_end = OnEnd { name: name.to_string(), alarm: alarm.clone(), _ended: end };
        let handle = thread::Builder::new().name(name.to_string()).spawn(move || {
            on_end.alarm.heartbeats.join(&on_end.name);
            let _on_end = on_end;
            body();
        })?;
        Ok(Thread { stop: None, ended, handle })
    }

    /// Starts `body` as the thread `name`. It has to end when the receiver passed to it is disconnected.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn spawn_stoppable(
        name: &str,
        alarm: &Alarm,
        body: impl FnOnce(Receiver<()>) + Send + 'static,
    ) -> io::Result<Thread> {
        let (stop, stopped) = bounded(0);
        let thread = Thread::spawn(name, alarm, move || body(stopped))?;
        Ok(Thread { stop: Some(stop), ..thread })
    }

    /// Asks the thread to stop, without waiting for it. Calling it again changes nothing.
    pub fn request_stop(&mut self) {
        self.stop = None;
    }

    /// Waits until the thread has ended. False if it panicked, which the alarm has reported.
    pub fn join(self) -> bool {
        self.handle.join().is_ok()
    }

    /// Waits at most `timeout` until the thread has ended. False if it still runs; it is then detached.
    pub fn join_within(self, timeout: Duration) -> bool {
        let has_ended = self.ended.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected);
        if has_ended {
            // A panic was reported through the alarm.
            let _ = self.handle.join();
        }
        has_ended
    }

    /// Asks the thread to stop, then waits as [`Thread::join_within`] does.
    pub fn stop(mut self, timeout: Duration) -> bool {
        self.request_stop();
        self.join_within(timeout)
    }
}

/// The failure of a program that cannot continue without the thread.
pub fn cannot_start(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot start a thread: {error}"))
}

/// Dropped when the thread ends, by a panic or not.
struct OnEnd {
    name: String,
    alarm: Alarm,
    _ended: Sender<()>,
}

impl Drop for OnEnd {
    fn drop(&mut self) {
        if thread::panicking() {
            // Full: the daemon is ending already.
            let _ = self.alarm.panicked.try_send(std::mem::take(&mut self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn alarm_reports_panics_only() {
        let (alarm, panicked) = alarm();
        assert!(Thread::spawn("calm", &alarm, || {}).unwrap().join());
        assert!(panicked.try_recv().is_err());
        assert!(!Thread::spawn("loud", &alarm, || panic!("on purpose")).unwrap().join());
        assert_eq!(panicked.try_recv().as_deref(), Ok("loud"));
    }

    #[test]
    fn stop_waits_for_the_end_but_no_longer_than_its_timeout() {
        let (alarm, _panicked) = alarm();
        let (release, hold) = bounded::<()>(0);
        let patient = Thread::spawn_stoppable("patient", &alarm, |stopped| {
            let _ = stopped.recv();
        });
        assert!(patient.unwrap().stop(SOON));
        let busy = Thread::spawn_stoppable("busy", &alarm, move |_| {
            let _ = hold.recv();
        });
        assert!(!busy.unwrap().stop(Duration::ZERO));
        drop(release);
    }
}
