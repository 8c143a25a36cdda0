//! The keeper's thread: a turn after each request or due time.

use std::{io, time::Duration};

use crossbeam_channel::{at, never, select};

use super::{ConsumersEnd, Keeper, SqlConsumers};
use crate::{
    base::{
        heartbeat,
        threads::{Alarm, Thread},
    },
    db::Db,
};

/// Connections that the thread needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// How long storing the last positions may take when the daemon stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The running thread.
pub struct ConsumersThread(Thread);

impl ConsumersThread {
    /// Starts it. It ends with the broker, whose requests it carries out.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(db: &Db, end: ConsumersEnd, alarm: &Alarm) -> io::Result<ConsumersThread> {
        let store = Box::new(SqlConsumers::new(db));
        let requests = end.requests.clone();
        let mut keeper = Keeper::new(store, move |answer| end.answer(answer));
        let body = move |stopped| {
            loop {
                heartbeat::working();
                let due = keeper.turn();
                heartbeat::waiting();
                select! {
                    recv(requests) -> request => match request {
                        Ok(request) => {
                            keeper.requested(request);
                            // Positions that arrive together are stored together.
                            requests.try_iter().take(requests.len()).for_each(|request| keeper.requested(request));
                        }
                        // The broker has ended.
                        Err(_) => break,
                    },
                    recv(stopped) -> _ => {
                        requests.try_iter().for_each(|request| keeper.requested(request));
                        break;
                    }
                    recv(due.map_or_else(never, at)) -> _ => {}
                }
            }
            keeper.end();
        };
        Thread::spawn_stoppable("consumers", alarm, body).map(ConsumersThread)
    }

    /// Stores the last positions and ends the thread, within 2 seconds. The broker has ended.
    pub fn stop(self) {
        self.0.stop(STOP_TIMEOUT);
    }
}
