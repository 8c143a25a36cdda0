//! The daemon's thread that works off batches: those that were asked for over HTTP, and those that another process began and
//! did not end. Apart from the dispatcher, so that a batch delays no claim; one process at a time works on a batch.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, at, select};

use super::{
    batch::{ABANDONED_S, Batches},
    batch_runner::{self, Ran},
};
use crate::{
    base::{
        backoff::Backoff,
        failure::Failure,
        threads::{Alarm, Thread, cannot_start},
    },
    db::{BACKOFF, Db, Error, ThrottledWarning},
};

/// Connections that the thread needs of the pool: its own, and two while it drops what was partly built.
pub const CONNECTIONS: u32 = 3;

/// How often it looks for batches without having been woken.
const POLL: Duration = Duration::from_secs(60);
/// How long stopping may take: a step is short, but a server that hangs must not hold up the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The running thread.
pub struct BatchThread(Thread);

impl BatchThread {
    /// Starts it. It looks for batches at once, and after each of the `wakeups`.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(control: &Db, resources: &Db, wakeups: Receiver<()>, alarm: &Alarm) -> Result<BatchThread, Failure> {
        let (control, resources) = (control.clone(), resources.clone());
        let body = move |stopped: Receiver<()>| run(&control, &resources, &wakeups, &stopped);
        Ok(BatchThread(Thread::spawn_stoppable("batches", alarm, body).map_err(cannot_start)?))
    }

    /// Ends it after the step that is under way. What is left of a batch is done by another daemon, or after the next start.
    pub fn stop(self) {
        self.0.stop(STOP_TIMEOUT);
    }
}

fn run(control: &Db, resources: &Db, wakeups: &Receiver<()>, stopped: &Receiver<()>) {
    let mut batches = Batches::new(control);
    let mut warning = ThrottledWarning::default();
    let mut backoff: Backoff = BACKOFF;
    loop {
        let pause = match turn(&mut batches, control, resources, stopped) {
            Ok(pause) => {
                backoff.reset();
                pause
            }
            Err(error) => {
                warning.warn("batches: an action on many jobs cannot go on", &error);
                backoff.next(fastrand::f64())
            }
        };
        select! {
            recv(stopped) -> _ => return,
            recv(wakeups) -> _ => {}
            recv(at(Instant::now() + pause)) -> _ => {}
        }
    }
}

/// Works on what there is; returns how long until it should look again.
fn turn(batches: &mut Batches, control: &Db, resources: &Db, stopped: &Receiver<()>) -> Result<Duration, Error> {
    const TAKEN: Duration = Duration::from_secs(ABANDONED_S as u64);
    while let Some(open) = batches.open()? {
        if open.is_taken {
            return Ok(TAKEN);
        }
        let may_go_on = |_: &_| stopped.try_recv() != Err(TryRecvError::Disconnected);
        match batch_runner::run(batches, open.id, control, resources, may_go_on)? {
            Ran::ToTheEnd => report(batches, open.id)?,
            Ran::Elsewhere => return Ok(TAKEN),
            Ran::Stopped => break,
        }
    }
    Ok(POLL)
}

fn report(batches: &mut Batches, id: u64) -> Result<(), Error> {
    let done = batches.result(id)?;
    match done.last_error {
        Some(error) => log::warn!(
            "batch {id}: the server refused part of it; the rest is done count={} refused={} error={error}",
            done.count,
            done.refused
        ),
        None => log::info!("batch {id}: done count={}", done.count),
    }
    Ok(())
}
