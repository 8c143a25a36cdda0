//! The thread that reads the binary log for wakeups: from its current end, on one connection of its own. A dump that stalls,
//! ends or is refused costs latency and nothing else.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::touched::{Touched, Wakes};
use crate::{
    base::{
        heartbeat,
        metrics::Metrics,
        threads::{Alarm, Thread},
        wakeup::Wakeup,
    },
    config::Binlog,
    db::{
        BACKOFF, Error, ErrorClass, ThrottledWarning,
        dump::{Dump, DumpSource, Start},
    },
    events::numbered::HandOver,
};

/// Whom commits wake.
#[derive(Clone, Debug)]
pub struct Targets {
    /// After a job was inserted.
    pub dispatcher: Wakeup,
    /// After an event was written.
    pub sequencer: Wakeup,
    /// Whether this daemon's sequencer receives the events of watched tables anyway.
    pub watcher: HandOver,
}

/// Why the log is not read, while it is not. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Broken(Arc<Mutex<Option<String>>>);

impl Broken {
    /// The reason.
    pub fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, reason: Option<String>) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_broken = current.is_some();
        *current = reason;
        was_broken
    }
}

/// The running thread. Dropping it lets the thread end with the next event.
pub struct WakeupThread {
    _thread: Thread,
    broken: Broken,
}

/// Why wakeups from the binary log cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// They were asked for (`events.binlog = on`).
    #[error(
        "events.binlog is on, and the binary log cannot be read: {0}; turn the log on (log_bin), GRANT REPLICATION SLAVE, \
         REPLICATION CLIENT to the account of resqd, or set events.binlog to auto"
    )]
    Required(Error),
    /// The system cannot start another thread.
    #[error("cannot start the thread that reads the binary log: {0}")]
    Thread(#[from] io::Error),
}

impl WakeupThread {
    /// Opens the first dump, then starts the thread. None: the settings do not want it, or they leave it to the server, which
    /// has no log for this account.
    ///
    /// # Errors
    /// The settings require it and it is not to be had, or the system cannot start another thread.
    pub fn start(
        mode: Binlog,
        source: DumpSource,
        global_db: &str,
        targets: Targets,
        metrics: Arc<Metrics>,
        alarm: &Alarm,
    ) -> Result<Option<WakeupThread>, StartError> {
        if mode == Binlog::Off {
            return Ok(None);
        }
        let dump = match source.open(&Start::End) {
            Ok(dump) => Some(dump),
            Err(error) if mode == Binlog::On => return Err(StartError::Required(error)),
            Err(error) if error.class() == ErrorClass::Permanent => {
                log::info!("binary log: not read for wakeups: {error}");
                return Ok(None);
            }
            // It is there, or may be: the thread tries again.
            Err(error) => {
                log::debug!("binary log: cannot be read yet: {error}");
                None
            }
        };
        let broken = Broken::default();
        let role = Role {
            source,
            global_db: global_db.into(),
            targets,
            metrics,
            broken: broken.clone(),
            warning: ThrottledWarning::default(),
        };
        let thread = Thread::spawn_stoppable("binlog", alarm, move |stopped| role.run(dump, &stopped))?;
        Ok(Some(WakeupThread { _thread: thread, broken }))
    }

    /// Why the log is not read, while it is not.
    pub fn broken(&self) -> Broken {
        self.broken.clone()
    }
}

struct Role {
    source: DumpSource,
    global_db: String,
    targets: Targets,
    metrics: Arc<Metrics>,
    broken: Broken,
    warning: ThrottledWarning,
}

impl Role {
    fn run(mut self, mut dump: Option<Dump>, stopped: &Receiver<()>) {
        let mut backoff = BACKOFF;
        while stopped.try_recv() != Err(TryRecvError::Disconnected) {
            let ended = match dump.take().map_or_else(|| self.source.open(&Start::End), Ok) {
                Ok(dump) => {
                    if self.broken.set(None) {
                        log::warn!("binary log: read again; commits are noticed at once");
                    }
                    // What was committed while nothing was read.
                    self.wake(Wakes::ALL);
                    self.read(dump, stopped, || backoff.reset())
                }
                Err(error) => error,
            };
            if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                return;
            }
            self.broken.set(Some(ended.to_string()));
            self.warning.warn(
                "binary log: cannot be read for wakeups, so that work is found by other wakeups and polls",
                &ended,
            );
            heartbeat::waiting();
            if stopped.recv_timeout(backoff.next(fastrand::f64())) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    /// Reads until the dump ends, or the thread is to. `has_read` is called after each event.
    fn read(&self, mut dump: Dump, stopped: &Receiver<()>, mut has_read: impl FnMut()) -> Error {
        let mut touched = Touched::new(&self.global_db);
        loop {
            heartbeat::waiting();
            let read = dump.next(&mut |event| {
                let wakes = touched.observe(event).unwrap_or_else(|malformed| {
                    log::debug!("binary log: {malformed}; taking it for work");
                    touched.unknown()
                });
                self.wake(wakes);
                true
            });
            match read {
                Ok(()) => has_read(),
                Err(error) => return error,
            }
            if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                return Error::NotReady("resqd stops".into());
            }
        }
    }

    fn wake(&self, wakes: Wakes) {
        if wakes.by_watcher && self.targets.watcher.is_open() {
            return;
        }
        if wakes.dispatcher {
            self.targets.dispatcher.notify();
        }
        if wakes.sequencer {
            self.targets.sequencer.notify();
        }
        if wakes != Wakes::default() {
            self.metrics.wakeups_by_binlog.increment();
        }
    }
}
