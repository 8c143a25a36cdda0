//! Named threads whose panic is heard: a role that dies takes the daemon with it at once, instead of leaving the rest
//! to wait for it.

use std::{
    io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Rings when a thread spawned with it panics.
#[derive(Clone, Debug)]
pub struct Alarm(Sender<String>);

/// An alarm and the ear that hears the names of threads that panicked.
pub fn alarm() -> (Alarm, Receiver<String>) {
    let (alarm, ear) = bounded(16);
    (Alarm(alarm), ear)
}

/// Spawns `body` as the thread `name`.
pub fn spawn(name: &str, alarm: &Alarm, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    struct OnPanic(String, Alarm);
    impl Drop for OnPanic {
        fn drop(&mut self) {
            if thread::panicking() {
                let _ = self.1.0.try_send(std::mem::take(&mut self.0));
            }
        }
    }
    let on_panic = OnPanic(name.to_string(), alarm.clone());
    thread::Builder::new().name(name.to_string()).spawn(move || {
        let _on_panic = on_panic;
        body();
    })
}

/// Waits for a thread's end at most so long; false if it goes on. Its panic was heard through the alarm.
pub fn join_within(thread: JoinHandle<()>, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let _ = thread.join();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_heard_and_an_end_is_not() {
        let (alarm, ear) = alarm();
        spawn("calm", &alarm, || {}).unwrap().join().unwrap();
        assert!(ear.try_recv().is_err());
        assert!(spawn("loud", &alarm, || panic!("on purpose")).unwrap().join().is_err());
        assert_eq!(ear.try_recv().as_deref(), Ok("loud"));
    }
}
