//! One connection to one daemon, as an RSQ/1 publisher: the queued frames, the bytes received so far, and how long the
//! daemon may be silent. Never waits for the socket; the sender decides when to read and write.

use crate::config::Config;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use resq::base::address::Address;
use resq::base::send_queue::{Flow, SendQueue};
use resq::base::tls::{Failed, TlsStream, server_name};
use resq::wire::{self, ClientMessage, MAX_FRAME, MAX_FRAME_BEFORE_WELCOME, Role, ServerMessage, Splitter, VERSION};
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes that may be queued here in addition to the kernel's buffer; an empty queue accepts any one frame.
const MAX_WAITING_BYTES: usize = 256 << 10;

/// From the attempt to connect until WELCOME.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long a daemon may be silent after WELCOME, in its own ping intervals.
const SILENT_INTERVALS: u32 = 3;

const READ_BYTES: usize = 4_096;

/// A TCP or Unix socket, or TLS on one.
trait Stream: Read + Write {
    /// What the poll watches.
    fn socket(&mut self) -> &mut dyn Source;

    /// Whether data can be sent: TLS has shaken hands.
    fn is_open(&self) -> bool {
        true
    }
}

impl Stream for TcpStream {
    fn socket(&mut self) -> &mut dyn Source {
        self
    }
}

impl Stream for UnixStream {
    fn socket(&mut self) -> &mut dyn Source {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn socket(&mut self) -> &mut dyn Source {
        self.socket_mut()
    }

    fn is_open(&self) -> bool {
        TlsStream::is_open(self)
    }
}

/// How a queued frame is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Event,
    Ring,
    Other,
}

/// Why a connection ended.
#[derive(Debug)]
pub enum Error {
    /// The socket failed, or could not be connected.
    Io(io::Error),
    /// The daemon closed the connection.
    Closed,
    /// Nothing arrived for too long, not even a PING.
    Silent,
    /// The received bytes are not RSQ/1.
    Protocol(wire::Error),
    /// The daemon speaks this other version.
    Version(u8),
    /// The daemon sent an ERROR frame.
    Refused { code: u16, message: String },
    /// The settings no longer have this address.
    Unconfigured,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io(error) => write!(f, "{error}"),
            Error::Closed => f.write_str("the daemon closed the connection"),
            Error::Silent => f.write_str("disconnected: no data for too long, not even a PING"),
            Error::Protocol(error) => write!(f, "disconnected: received data that is not RSQ/1 ({error})"),
            Error::Version(version) => write!(f, "the daemon speaks version {version}, expected {VERSION}"),
            Error::Refused { code, message } => write!(f, "refused, error {code}: {}", message.escape_debug()),
            Error::Unconfigured => f.write_str("disconnected: no longer in the settings"),
        }
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Io(error)
    }
}

impl From<wire::Error> for Error {
    fn from(error: wire::Error) -> Error {
        Error::Protocol(error)
    }
}

pub struct Connection {
    pub address: Address,
    pub token: Token,
    stream: Box<dyn Stream>,
    splitter: Splitter,
    /// Data can be sent.
    shaken_hands: bool,
    welcomed: bool,
    queue: SendQueue<Rc<Vec<u8>>, Kind>,
    ring_waiting: bool,
    /// The socket may have data, or room: true until a read or write would have blocked.
    readable: bool,
    writable: bool,
    /// `None`: forever.
    silent_until: Option<Instant>,
    /// How long the daemon may be silent; zero: forever.
    max_silence: Duration,
}

impl Connection {
    /// Begins to connect and queues HELLO. `attempt` selects one of the host name's addresses in turn.
    ///
    /// # Errors
    /// The name has no address, a file of the settings cannot be used, or the socket cannot be made or connected.
    pub fn open(
        address: Address,
        settings: &Config,
        attempt: usize,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> Result<Connection, Error> {
        let mut stream: Box<dyn Stream> = match &address {
            Address::Unix(path) => Box::new(UnixStream::connect(path)?),
            Address::Tcp { host, port } => {
                let found: Vec<_> = (host.as_str(), *port).to_socket_addrs()?.collect();
                let one =
                    found.get(attempt % found.len().max(1)).ok_or_else(|| io::Error::from(ErrorKind::NotFound))?;
                let stream = TcpStream::connect(*one)?;
                stream.set_nodelay(true)?;
                match &settings.tls {
                    None => Box::new(stream),
                    Some(tls) => {
                        let config = tls.load().map_err(|file| Failed::error(file.to_string()))?;
                        let tls = TlsStream::client(stream, config, server_name(host)?);
                        Box::new(tls.map_err(|error| Failed::error(error.to_string()))?)
                    }
                }
            }
        };
        registry.register(stream.socket(), token, Interest::READABLE | Interest::WRITABLE)?;
        let mut connection = Connection {
            address,
            token,
            stream,
            splitter: Splitter::default(),
            shaken_hands: false,
            welcomed: false,
            queue: SendQueue::default(),
            ring_waiting: false,
            readable: false,
            writable: false,
            silent_until: Some(now + HANDSHAKE),
            max_silence: HANDSHAKE,
        };
        let name = format!("resq_udf {} pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
        connection.queue_message(
            &ClientMessage::Hello { role: Role::Publisher, name: &name, token: &settings.token },
            Kind::Other,
        );
        Ok(connection)
    }

    /// Whether the daemon has sent WELCOME.
    pub fn is_up(&self) -> bool {
        self.welcomed
    }

    /// Whether one more event may be queued.
    pub fn has_room(&self) -> bool {
        self.welcomed && self.queue.has_room(1, MAX_WAITING_BYTES)
    }

    /// When the daemon's silence will have lasted too long.
    pub fn silent_until(&self) -> Option<Instant> {
        self.silent_until
    }

    /// The number of events that are not completely written yet.
    pub fn waiting_events(&self) -> u64 {
        self.queue.tags().filter(|kind| *kind == Kind::Event).count() as u64
    }

    /// Queues an event, which is already encoded as a frame.
    pub fn queue_event(&mut self, frame: Rc<Vec<u8>>) {
        self.queue.push(frame, Kind::Event);
    }

    /// Queues a RING, unless one is still queued: a second would add nothing.
    pub fn queue_ring(&mut self) {
        if !self.ring_waiting {
            self.ring_waiting = true;
            self.queue_message(&ClientMessage::Ring, Kind::Ring);
        }
    }

    /// Notes what the poll reported about the socket.
    pub fn set_ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Whether [`Connection::write`] or [`Connection::read`] may make progress.
    pub fn has_work(&self) -> bool {
        self.readable || (self.writable && !self.queue.is_empty())
    }

    /// Writes as much as the socket accepts; returns the number of events whose last byte was written.
    ///
    /// # Errors
    /// The socket failed; the connection is over.
    pub fn write(&mut self) -> Result<u64, Error> {
        let mut events = 0;
        if self.writable {
            let ring_waiting = &mut self.ring_waiting;
            let flow = self.queue.write_to(&mut self.stream, usize::MAX, |kind| match kind {
                Kind::Event => events += 1,
                Kind::Ring => *ring_waiting = false,
                Kind::Other => {}
            })?;
            self.writable = flow != Flow::Blocked;
            match self.stream.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                result => result?,
            }
        }
        Ok(events)
    }

    /// Reads once and queues the answers; true if WELCOME arrived.
    ///
    /// # Errors
    /// The reason why the connection is over.
    pub fn read(&mut self, now: Instant) -> Result<bool, Error> {
        if !self.readable {
            return Ok(false);
        }
        let mut buffer = [0; READ_BYTES];
        let result = self.stream.read(&mut buffer);
        if !self.shaken_hands && self.stream.is_open() {
            // HELLO had to wait for that.
            (self.shaken_hands, self.writable) = (true, true);
        }
        match result {
            Ok(0) => Err(Error::Closed),
            Ok(length) => {
                let was_up = self.welcomed;
                self.process_frames(&buffer[..length])?;
                self.silent_until = (!self.max_silence.is_zero()).then(|| now + self.max_silence);
                Ok(self.welcomed && !was_up)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn process_frames(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        loop {
            let limit = if self.welcomed { MAX_FRAME } else { MAX_FRAME_BEFORE_WELCOME };
            let Some(frame) = self.splitter.next(&mut bytes, limit)? else {
                return Ok(());
            };
            match ServerMessage::decode(frame)? {
                Some(ServerMessage::Welcome { version: VERSION, ping_interval_ms, .. }) => {
                    self.welcomed = true;
                    self.max_silence = SILENT_INTERVALS * Duration::from_millis(ping_interval_ms.into());
                }
                Some(ServerMessage::Welcome { version, .. }) => return Err(Error::Version(version)),
                Some(ServerMessage::Error { code, message }) => {
                    return Err(Error::Refused { code, message: message.into() });
                }
                // With a full queue no PONG is needed: the queued bytes show that this peer is alive.
                Some(ServerMessage::Ping(_)) if self.queue.bytes() >= MAX_WAITING_BYTES => {}
                Some(ServerMessage::Ping(number)) => self.queue_message(&ClientMessage::Pong(number), Kind::Other),
                // Not meant for publishers, or only sent by newer daemons.
                _ => {}
            }
        }
    }

    fn queue_message(&mut self, message: &ClientMessage, kind: Kind) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.queue.push(Rc::new(frame), kind);
    }
}

#[cfg(test)]
mod tests;
