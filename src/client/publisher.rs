//! Sends ephemeral events over one connection, many under way at a time. A thread of its own answers the broker's
//! PINGs, so that an idle publisher is not dropped. It never reconnects: what was under way then is nobody's to know.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Address, Error, Peer,
    connection::{Connection, Incoming, PATIENCE},
    stream::Stream,
};
use crate::wire::{self, ClientMessage, MAX_PAYLOAD, Role, State};

/// Frames are gathered up to this size before they are written.
const BATCH_BYTES: usize = 64 * 1024;

/// How long a failed write waits for the broker's reason.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A connection that publishes.
///
/// ```no_run
/// use std::time::Duration;
/// use resq::client::{Address, Peer, Publisher};
///
/// # fn main() -> Result<(), resq::client::Error> {
/// let peer = Peer::new(Address::Tcp { host: "127.0.0.1".into(), port: 1300 }, "scanner");
/// let mut publisher = Publisher::connect(&peer)?;
/// for page in 1..=1000 {
///     publisher.publish("Imaging", format!(r#"{{"page":{page}}}"#).as_bytes())?;
/// }
/// publisher.confirm(Duration::from_secs(10))?; // the broker has taken all of them
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Publisher {
    address: Address,
    batch: Vec<u8>,
    line: Arc<Line>,
    pings: u64,
    /// To wake the reader, whatever the writer is doing.
    stop: Stream,
    reader: Option<JoinHandle<()>>,
}

/// What the caller's thread and the reader share.
#[derive(Debug)]
struct Line {
    /// Whole frames only are written under its lock.
    writer: Mutex<Stream>,
    heard: Mutex<Heard>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    pong: u64,
    over: bool,
    /// Why it is over, until somebody was told.
    why: Option<Error>,
}

impl Publisher {
    /// Connects once; see [`Error`] for what may go wrong.
    pub fn connect(peer: &Peer) -> Result<Publisher, Error> {
        let connection = Connection::open(peer, Role::Publisher, PATIENCE)?;
        let line =
            Arc::new(Line { writer: Mutex::new(connection.stream()?), heard: Mutex::default(), news: Condvar::new() });
        let stop = connection.stream()?;
        let reader = {
            let line = Arc::clone(&line);
            std::thread::Builder::new()
                .name("resq-publisher".into())
                .spawn(move || line.listen(connection))
                .map_err(|cause| Error::Unreachable { address: peer.address.clone(), cause })?
        };
        let address = peer.address.clone();
        Ok(Publisher { address, batch: Vec::new(), line, pings: 0, stop, reader: Some(reader) })
    }

    /// Hands one event over for sending: it may wait in a batch until [`Publisher::flush`] or
    /// [`Publisher::confirm`]. `state`: 1 to 64 of `A-Z a-z 0-9 _ . : -`; `payload`: at most 1,000,000 bytes.
    pub fn publish(&mut self, state: &str, payload: &[u8]) -> Result<(), Error> {
        let state = State::new(state).map_err(Error::Invalid)?;
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::Invalid(wire::Error::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD }));
        }
        ClientMessage::Publish { state, payload }.encode(&mut self.batch);
        if self.batch.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Sends what waits, and does not wait for the broker to take it.
    pub fn flush(&mut self) -> Result<(), Error> {
        let written = if lock(&self.line.heard).over {
            Err(io::ErrorKind::NotConnected.into())
        } else {
            self.line.write(&self.batch)
        };
        self.batch.clear();
        written.or_else(|cause| {
            // The broker says why before it hangs up, and the reader may be about to hear it.
            self.wait(LAST_WORDS, |_| false)?;
            Err(Error::Unreachable { address: self.address.clone(), cause })
        })
    }

    /// Sends what waits, and waits until the broker has taken everything: a PING after it, and its PONG.
    pub fn confirm(&mut self, within: Duration) -> Result<(), Error> {
        self.pings += 1;
        ClientMessage::Ping(self.pings).encode(&mut self.batch);
        self.flush()?;
        match self.wait(within, |heard| heard.pong >= self.pings)? {
            true => Ok(()),
            false => Err(Error::TimedOut { address: self.address.clone() }),
        }
    }

    /// Waits until the reader has heard what is wanted; false: it did not in this time. The error is the
    /// connection's end.
    fn wait(&self, within: Duration, wanted: impl Fn(&Heard) -> bool) -> Result<bool, Error> {
        let deadline = Instant::now() + within;
        let mut heard = lock(&self.line.heard);
        while !wanted(&heard) {
            if heard.over {
                let gone =
                    || Error::Unreachable { address: self.address.clone(), cause: io::ErrorKind::NotConnected.into() };
                return Err(heard.why.take().unwrap_or_else(gone));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            heard = self.line.news.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(true)
    }
}

impl Line {
    fn write(&self, frames: &[u8]) -> io::Result<()> {
        if frames.is_empty() { Ok(()) } else { lock(&self.writer).write_all(frames) }
    }

    /// The reader's thread: answers PINGs and notes PONGs until the connection ends.
    fn listen(&self, mut connection: Connection) {
        let why = loop {
            match connection.next(None) {
                Ok(Some(Incoming::Ping(number))) => {
                    let mut frame = Vec::new();
                    ClientMessage::Pong(number).encode(&mut frame);
                    if let Err(cause) = self.write(&frame) {
                        break connection.lost(cause);
                    }
                }
                Ok(Some(Incoming::Pong(number))) => {
                    lock(&self.heard).pong = number;
                    self.news.notify_all();
                }
                Ok(_) => {}
                Err(e) => break e,
            }
        };
        let mut heard = lock(&self.heard);
        (heard.over, heard.why) = (true, Some(why));
        self.news.notify_all();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.shutdown();
        if let Some(reader) = self.reader.take() {
            // It has nothing to say any more, and does not panic.
            let _ = reader.join();
        }
    }
}

/// No code of ours panics while it holds one of these; the data would be whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
