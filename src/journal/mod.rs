//! The event log: numbers what the database has committed and hands it to the broker, answers the broker's questions
//! for older pages, and prunes what is past its time. `log` is what it asks of the database and `store` the SQL of that,
//! `reader` the thread's work; it never touches a socket.

pub(crate) mod log;
mod printed;
pub(crate) mod reader;
pub mod store;

use std::{io, thread::JoinHandle, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    bell::Bell,
    broker::{Announcer, LogHead, Read},
    db::Db,
    threads::{Alarm, join_within, spawn},
};
use log::SqlLog;
use reader::Reader;

/// Connections that a journal needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// How long the last look may take.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What a journal goes by.
pub struct Settings {
    /// How long between two looks without a bell.
    pub poll: Duration,
    /// Events written longer ago are deleted.
    pub retention_days: u32,
    /// Other nodes' open transactions are not to be seen here.
    pub is_cluster: bool,
    /// Where the log stood when the broker was started.
    pub head: LogHead,
}

/// A running journal.
pub struct Journal {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Journal {
    /// Starts the thread. `ear` hears that there may be news; `reads` are the broker's questions; `new_jobs` rings when
    /// a job was committed.
    pub fn start(
        db: &Db,
        settings: Settings,
        ear: Receiver<()>,
        reads: Receiver<Read>,
        announcer: Announcer,
        new_jobs: Bell,
        alarm: &Alarm,
    ) -> io::Result<Journal> {
        let (stop, stopped) = bounded(0);
        let reader = Reader::new(Box::new(SqlLog::new(db)), settings, announcer, new_jobs);
        let thread = spawn("journal", alarm, move || reader.run(&ear, &reads, &stopped))?;
        Ok(Journal { stop, thread })
    }

    /// Tells what is committed by now and ends; a server that hangs does not hold up the stop.
    pub fn stop(self) {
        drop(self.stop);
        join_within(self.thread, LAST_WORDS);
    }
}
