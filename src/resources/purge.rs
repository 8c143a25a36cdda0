//! The daemon's thread that drops databases whose time is over, and scratch databases that a crash has left. Several daemons
//! may do so at once: each database is dropped under the lock of its name.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, at, select};

use super::{drop::Dropper, drop_error::DropError, scratch::ScratchDatabases};
use crate::{
    base::{
        backoff::Backoff,
        failure::Failure,
        threads::{Alarm, Thread, cannot_start},
    },
    db::{BACKOFF, Db, ServerInfo, ThrottledWarning},
    queue::audit::Actor,
};

/// Connections that the thread needs of the pool: two to the control server, for drops and for scratch databases; one that
/// drops, and one that looks for foreign keys.
pub const CONNECTIONS: u32 = 4;

/// How often it looks for what is due.
const POLL: Duration = Duration::from_secs(5);
/// How long stopping may take: a server that hangs must not hold up the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The running thread.
pub struct PurgeThread(Thread);

impl PurgeThread {
    /// Starts it. Scratch databases are those below `prefix`.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(
        control: &Db,
        resources: &Db,
        prefix: &str,
        server: &ServerInfo,
        alarm: &Alarm,
    ) -> Result<PurgeThread, Failure> {
        let who = format!("resqd on {}", server.host);
        let mut dropper = Dropper::new(control, resources).acting(Actor { who, reason: None });
        let mut scratch = ScratchDatabases::new(control, resources, prefix, server);
        let body = move |stopped: Receiver<()>| run(&mut dropper, &mut scratch, &stopped);
        Ok(PurgeThread(Thread::spawn_stoppable("purge", alarm, body).map_err(cannot_start)?))
    }

    /// Ends it after the database that is being dropped.
    pub fn stop(self) {
        self.0.stop(STOP_TIMEOUT);
    }
}

fn run(dropper: &mut Dropper, scratch: &mut ScratchDatabases, stopped: &Receiver<()>) {
    let mut warning = ThrottledWarning::default();
    let mut backoff: Backoff = BACKOFF;
    loop {
        let is_stopped = || stopped.try_recv() == Err(TryRecvError::Disconnected);
        let pause = match turn(dropper, scratch, is_stopped) {
            Ok(pause) => {
                backoff.reset();
                pause
            }
            Err(DropError::Queue(error)) => {
                warning.warn("purge: cannot look for databases whose time is over", &error);
                backoff.next(fastrand::f64())
            }
            // Recorded with the database.
            Err(_) => POLL,
        };
        select! {
            recv(stopped) -> _ => return,
            recv(at(Instant::now() + pause)) -> _ => {}
        }
    }
}

fn turn(
    dropper: &mut Dropper,
    scratch: &mut ScratchDatabases,
    is_stopped: impl Fn() -> bool,
) -> Result<Duration, DropError> {
    scratch.sweep()?;
    dropper.purge(POLL, is_stopped)
}
