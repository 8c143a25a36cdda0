//! The event log: numbers what the database has committed and hands it to the broker, answers the broker's questions
//! for older pages, and prunes what is past its time. `log` is what it asks of the database and `store` the SQL of that,
//! `sequencer` the thread's work; it never touches a socket.

pub mod event;
pub(crate) mod log;
pub(crate) mod sequencer;
pub mod store;
mod trace;

use std::{io, time::Duration};

use crossbeam_channel::Receiver;

use crate::{
    base::threads::{Alarm, Thread},
    base::wakeup::Wakeup,
    db::Db,
    events::event::{LogHead, LogPublisher, PageRequest},
};
use log::SqlEventLog;
use sequencer::Sequencer;

/// Connections that a journal needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// How long the last look may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a journal goes by.
pub struct Settings {
    /// How long between two looks without a wakeup.
    pub poll: Duration,
    /// Events written longer ago are deleted.
    pub retention_days: u32,
    /// Other nodes' open transactions are not to be seen here.
    pub is_cluster: bool,
    /// Where the log stood when the broker was started.
    pub head: LogHead,
}

/// A running journal.
pub struct SequencerThread(Thread);

impl SequencerThread {
    /// Starts the thread. `ear` hears that there may be news; `reads` are the broker's questions; `new_jobs` rings when
    /// a job was committed.
    pub fn start(
        db: &Db,
        settings: Settings,
        ear: Receiver<()>,
        reads: Receiver<PageRequest>,
        log_publisher: LogPublisher,
        new_jobs: Wakeup,
        alarm: &Alarm,
    ) -> io::Result<SequencerThread> {
        let sequencer = Sequencer::new(Box::new(SqlEventLog::new(db)), settings, log_publisher, new_jobs);
        let run = move |stopped| sequencer.run(&ear, &reads, &stopped);
        Thread::spawn_stoppable("sequencer", alarm, run).map(SequencerThread)
    }

    /// Tells what is committed by now and ends; a server that hangs does not hold up the stop.
    pub fn stop(self) {
        self.0.stop(LAST_WORDS);
    }
}
