//! The event log: numbers what the database has committed, publishes it to the broker, answers requests for older pages,
//! and prunes what is past its retention. Never touches a socket and knows no protocol.
//!
//! [`event`] and [`updates`] are what it shares with the fan-out; `log` is what the sequencer asks of the database and
//! [`store`] and [`chosen_rows`] the SQL of that; [`consumers`] keeps positions in the log for clients, and [`times`] finds
//! where a time lies; `isolated_log` sets aside rows that the server refuses; `sequencer` is the
//! role and [`SequencerThread`] its thread.

pub mod binlog;
pub mod chosen_rows;
pub mod consumers;
pub mod event;
mod floor;
pub mod history;
mod isolated_log;
pub(crate) mod log;
pub mod numbered;
pub(crate) mod sequencer;
mod settings;
pub mod store;
pub mod times;
mod trace;
pub mod turnaround;
pub mod updates;

use std::{io, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::{
    base::threads::{Alarm, Thread},
    db::Db,
};
pub use log::LogReplaced;
use log::SqlEventLog;
use sequencer::Sequencer;
use updates::LogPublisher;

pub use sequencer::BATCH;
pub use settings::{Inputs, Settings, StateWatch};

/// Connections that the sequencer needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// How long delivering the last events may take when the daemon stops: a server that hangs must not hold it up.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The running sequencer.
pub struct SequencerThread {
    thread: Thread,
    replaced: (Sender<LogReplaced>, Receiver<LogReplaced>),
}

impl SequencerThread {
    /// Starts the thread, which publishes through `log_publisher`. It ends by itself if the log is replaced: see
    /// [`Self::log_replaced`].
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(
        db: &Db,
        settings: Settings,
        inputs: Inputs,
        log_publisher: LogPublisher,
        watches: Vec<StateWatch>,
        alarm: &Alarm,
    ) -> io::Result<SequencerThread> {
        let sequencer = Sequencer::new(Box::new(SqlEventLog::new(db)), settings, log_publisher, watches);
        let replaced = bounded(1);
        let say = replaced.0.clone();
        let run = move |stopped| {
            if let Err(found) = sequencer.run(inputs, &stopped) {
                // There is room for the only one.
                let _ = say.try_send(found);
            }
        };
        Thread::spawn_stoppable("sequencer", alarm, run).map(|thread| SequencerThread { thread, replaced })
    }

    /// Receives what was found if the log is replaced, and otherwise nothing as long as this value exists.
    pub fn log_replaced(&self) -> Receiver<LogReplaced> {
        self.replaced.1.clone()
    }

    /// Delivers what is committed by now and ends the thread, within 5 seconds.
    pub fn stop(self) {
        self.thread.stop(STOP_TIMEOUT);
    }
}
