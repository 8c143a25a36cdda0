//! Sends ephemeral events over one connection, without waiting for each. A reader thread answers the broker's PINGs, so
//! that an idle publisher is not disconnected. It never reconnects: after a broken connection it is unknown whether
//! publications in flight were accepted.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Address, Error, Peer,
    connection::{Connection, HANDSHAKE_TIMEOUT, Incoming},
    stream::Stream,
};
use crate::wire::{self, ClientMessage, MAX_PAYLOAD, Role, State};

/// Frames are batched up to this many bytes before they are written.
const BATCH_BYTES: usize = 64 * 1024;

/// How long a failed write waits for the ERROR frame with the reason.
const REASON_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that publishes ephemeral events. Dropping it closes the connection without sending what is batched.
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
/// publisher.confirm(Duration::from_secs(10))?; // the broker has accepted all of them
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Publisher {
    address: Address,
    batch: Vec<u8>,
    shared: Arc<Shared>,
    /// PINGs sent; each carries its number.
    pings: u64,
    /// A handle to shut down the socket, which ends the reader.
    stop: Stream,
    reader: Option<JoinHandle<()>>,
}

/// What the caller's thread and the reader share.
#[derive(Debug)]
struct Shared {
    /// Locked while a whole number of frames is written.
    writer: Mutex<Stream>,
    received: Mutex<Received>,
    /// Notified when `received` changes.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Received {
    /// The number of the last PONG.
    pong: u64,
    /// The connection has ended.
    ended: bool,
    /// Why it ended, until it is returned to the caller.
    error: Option<Error>,
}

impl Publisher {
    /// Connects and logs in, within 10 s.
    ///
    /// # Errors
    /// [`Error::Unreachable`] or [`Error::Refused`], and [`Error::Invalid`] for the peer's name.
    pub fn connect(peer: &Peer) -> Result<Publisher, Error> {
        let connection = Connection::open(peer, Role::Publisher, HANDSHAKE_TIMEOUT)?;
        let writer = Mutex::new(connection.stream()?);
        let shared = Arc::new(Shared { writer, received: Mutex::default(), changed: Condvar::new() });
        let stop = connection.stream()?;
        let reader = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("resq-publisher".into())
                .spawn(move || shared.read(connection))
                .map_err(|cause| Error::Unreachable { address: peer.address.clone(), cause })?
        };
        let address = peer.address.clone();
        Ok(Publisher { address, batch: Vec::new(), shared, pings: 0, stop, reader: Some(reader) })
    }

    /// Publishes one event. It may wait in a batch until [`Publisher::flush`] or [`Publisher::confirm`]. `state` is 1 to
    /// 64 of `A-Z a-z 0-9 _ . : -`, `payload` at most 1,000,000 bytes of any kind.
    ///
    /// # Errors
    /// [`Error::Invalid`] for this state or payload, and nothing was batched; otherwise those of [`Publisher::flush`].
    pub fn publish(&mut self, state: &str, payload: &[u8]) -> Result<(), Error> {
        let state = State::new(state).map_err(Error::Invalid)?;
        if payload.len() > MAX_PAYLOAD {
            return Err(Error::Invalid(wire::Error::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD }));
        }
        ClientMessage::Publish { state, payload }.encode(&mut self.batch);
        if self.batch.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes the batch to the socket. The broker may not have accepted it yet.
    ///
    /// # Errors
    /// [`Error::Refused`] with the broker's reason if it sent one, otherwise [`Error::Unreachable`]. The batch is lost.
    pub fn flush(&mut self) -> Result<(), Error> {
        let written = if lock(&self.shared.received).ended {
            Err(io::ErrorKind::NotConnected.into())
        } else {
            self.shared.write(&self.batch)
        };
        self.batch.clear();
        written.or_else(|cause| {
            // The broker sends the reason before it disconnects, and the reader may be about to receive it.
            self.wait(REASON_TIMEOUT, |_| false)?;
            Err(Error::Unreachable { address: self.address.clone(), cause })
        })
    }

    /// Writes the batch and a PING after it, and waits for the PONG: the broker has accepted everything before it.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if no PONG arrived `within` this time; otherwise those of [`Publisher::flush`].
    pub fn confirm(&mut self, within: Duration) -> Result<(), Error> {
        self.pings += 1;
        ClientMessage::Ping(self.pings).encode(&mut self.batch);
        self.flush()?;
        match self.wait(within, |received| received.pong >= self.pings)? {
            true => Ok(()),
            false => Err(Error::TimedOut { address: self.address.clone() }),
        }
    }

    /// Waits until the reader has received what is `wanted`; false if that took too long. The error is the reason why the
    /// connection ended.
    fn wait(&self, within: Duration, wanted: impl Fn(&Received) -> bool) -> Result<bool, Error> {
        let deadline = Instant::now() + within;
        let mut received = lock(&self.shared.received);
        while !wanted(&received) {
            if received.ended {
                let gone =
                    || Error::Unreachable { address: self.address.clone(), cause: io::ErrorKind::NotConnected.into() };
                return Err(received.error.take().unwrap_or_else(gone));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            received = self.shared.changed.wait_timeout(received, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(true)
    }
}

impl Shared {
    fn write(&self, frames: &[u8]) -> io::Result<()> {
        if frames.is_empty() { Ok(()) } else { lock(&self.writer).write_all(frames) }
    }

    /// The reader thread: answers PINGs and records PONGs until the connection ends.
    fn read(&self, mut connection: Connection) {
        let error = loop {
            match connection.next(None) {
                Ok(Some(Incoming::Ping(number))) => {
                    let mut frame = Vec::new();
                    ClientMessage::Pong(number).encode(&mut frame);
                    if let Err(cause) = self.write(&frame) {
                        break connection.lost(cause);
                    }
                }
                Ok(Some(Incoming::Pong(number))) => {
                    lock(&self.received).pong = number;
                    self.changed.notify_all();
                }
                Ok(_) => {}
                Err(e) => break e,
            }
        };
        let mut received = lock(&self.received);
        (received.ended, received.error) = (true, Some(error));
        self.changed.notify_all();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.shutdown();
        if let Some(reader) = self.reader.take() {
            // It does not panic, and no caller is left for its last error.
            let _ = reader.join();
        }
    }
}

/// Nothing panics while holding one of these locks, and the data would be consistent even so.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
