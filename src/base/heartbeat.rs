//! Signs of life of the daemon's threads, for its health. Each thread notes when it begins a piece of work, when it waits
//! for the next one, and when it waits for the database; anyone may ask for how long. A thread that waits for work is as
//! alive as one that works, and one that waits for the database is not to blame. Decides nothing.

use std::{
    cell::RefCell,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// What times count from.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    static OWN: RefCell<Option<Arc<Pulse>>> = const { RefCell::new(None) };
}

/// What a thread does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Waiting,
    Working,
    InDatabase,
}

#[derive(Debug)]
struct Pulse {
    name: String,
    /// Milliseconds since the origin, times 4, and what has been done since then.
    state: AtomicU64,
}

impl Pulse {
    fn set(&self, doing: Doing) {
        self.state.store(((ORIGIN.elapsed().as_millis() as u64) << 2) | doing as u64, Relaxed);
    }

    fn get(&self) -> (Doing, Duration) {
        let state = self.state.load(Relaxed);
        let doing = [Doing::Waiting, Doing::Working, Doing::InDatabase][(state & 3) as usize % 3];
        (doing, ORIGIN.elapsed().saturating_sub(Duration::from_millis(state >> 2)))
    }
}

/// The threads of one daemon. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats(Arc<Mutex<Vec<Weak<Pulse>>>>);

impl Heartbeats {
    /// Adds the current thread, until it ends. It waits until it notes something else.
    pub fn join(&self, name: &str) {
        let pulse = Arc::new(Pulse { name: name.into(), state: AtomicU64::new(0) });
        pulse.set(Doing::Waiting);
        let mut pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(|pulse| pulse.strong_count() > 0);
        pulses.push(Arc::downgrade(&pulse));
        OWN.set(Some(pulse));
    }

    /// The threads that have been busy with one piece of work for longer than this, without waiting for the database.
    pub fn stalled(&self, longer_than: Duration) -> Vec<(String, Duration)> {
        self.doing(Doing::Working, longer_than)
    }

    /// The threads that have waited for one answer of the database for longer than this.
    pub fn in_database(&self, longer_than: Duration) -> Vec<(String, Duration)> {
        self.doing(Doing::InDatabase, longer_than)
    }

    fn doing(&self, what: Doing, longer_than: Duration) -> Vec<(String, Duration)> {
        let pulses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = pulses.iter().filter_map(Weak::upgrade);
        let found = alive.filter_map(|pulse| match pulse.get() {
            (doing, since) if doing == what && since > longer_than => Some((pulse.name.clone(), since)),
            _ => None,
        });
        found.collect()
    }
}

/// The current thread begins a piece of work.
pub fn working() {
    note(Doing::Working);
}

/// The current thread waits for its next piece of work.
pub fn waiting() {
    note(Doing::Waiting);
}

fn note(doing: Doing) {
    OWN.with_borrow(|own| own.iter().for_each(|pulse| pulse.set(doing)));
}

/// The current thread waits for the database as long as the value exists.
pub fn in_database() -> InDatabase {
    let before = OWN.with_borrow(|own| own.as_ref().map(|pulse| pulse.get().0));
    note(Doing::InDatabase);
    InDatabase(before)
}

/// See [`in_database`].
pub struct InDatabase(Option<Doing>);

impl Drop for InDatabase {
    fn drop(&mut self) {
        if let Some(before) = self.0 {
            note(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// What is reported of a thread that notes these things, and holds this guard, at the end of `notes`.
    fn reported<G>(notes: impl FnOnce() -> G + Send) -> (usize, usize) {
        let heartbeats = Heartbeats::default();
        let counts = || {
            let [stalled, in_database] = [heartbeats.stalled(Duration::ZERO), heartbeats.in_database(Duration::ZERO)];
            (stalled.len(), in_database.len())
        };
        let counts = thread::scope(|scope| {
            let thread = scope.spawn(|| {
                heartbeats.join("a");
                let guard = notes();
                // Times are kept in whole milliseconds.
                let noted = Instant::now();
                while noted.elapsed() < Duration::from_millis(3) {
                    thread::yield_now();
                }
                let counts = counts();
                drop(guard);
                counts
            });
            thread.join().unwrap()
        });
        assert_eq!((heartbeats.stalled(Duration::ZERO).len(), heartbeats.in_database(Duration::ZERO).len()), (0, 0));
        counts
    }

    #[test]
    fn only_work_and_waiting_for_the_database_can_last_too_long() {
        assert_eq!(reported(|| ()), (0, 0), "a thread that has not begun");
        assert_eq!(reported(working), (1, 0));
        assert_eq!(reported(|| (working(), waiting())), (0, 0));
        assert_eq!(reported(|| (working(), in_database())), (0, 1));
        assert_eq!(reported(|| (working(), drop(in_database()))), (1, 0), "the work goes on");
        assert_eq!(reported(|| drop(in_database())), (0, 0), "it had no work");
    }
}
