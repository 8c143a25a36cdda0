//! One connection to one daemon, as a publisher of RSQ/1: what still has to go out, what came in, how long it may
//! be silent. It never waits; whether there is anything to do is the sender's to know.

use crate::config::Addr;
use mio::event::Source;
use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry, Token};
use resq::wire::{ClientMessage, MAX_FRAME, MAX_FRAME_BEFORE_WELCOME, Role, ServerMessage, Splitter, VERSION};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::ToSocketAddrs;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Bytes that may wait here beyond the kernel's own buffer; an empty queue takes any one frame.
const MAX_WAITING_BYTES: usize = 256 << 10;

/// From the attempt to connect until WELCOME.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// After WELCOME, in the daemon's own ping intervals.
const SILENT_INTERVALS: u32 = 3;

const READ_BYTES: usize = 4_096;
const MAX_SLICES: usize = 64;

trait Stream: Read + Write + Source {}
impl<S: Read + Write + Source> Stream for S {}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Event,
    Ring,
    Other,
}

struct Outgoing {
    bytes: Rc<Vec<u8>>,
    kind: Kind,
}

pub struct Link {
    pub addr: Addr,
    pub token: Token,
    stream: Box<dyn Stream>,
    splitter: Splitter,
    welcomed: bool,
    waiting: VecDeque<Outgoing>,
    waiting_bytes: usize,
    /// How much of the first waiting frame is written.
    written: usize,
    ring_waiting: bool,
    /// The socket may have room, may have bytes: known by trying, and again by an event.
    writable: bool,
    readable: bool,
    /// None: for ever.
    silent_until: Option<Instant>,
    patience: Duration,
}

impl Link {
    /// Begins to connect and to say HELLO. `attempt` picks one of a name's addresses by turns.
    pub fn connect(
        addr: Addr,
        secret: &str,
        attempt: usize,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> io::Result<Link> {
        let mut stream: Box<dyn Stream> = match &addr {
            Addr::Unix(path) => Box::new(UnixStream::connect(path)?),
            Addr::Tcp(name) => {
                let found: Vec<_> = name.to_socket_addrs()?.collect();
                let one = found.get(attempt % found.len().max(1)).ok_or(ErrorKind::NotFound)?;
                let stream = TcpStream::connect(*one)?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let mut link = Link {
            addr,
            token,
            stream,
            splitter: Splitter::default(),
            welcomed: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            written: 0,
            ring_waiting: false,
            writable: false,
            readable: false,
            silent_until: Some(now + HANDSHAKE),
            patience: HANDSHAKE,
        };
        let name = format!("resq_udf {} pid {}", env!("CARGO_PKG_VERSION"), std::process::id());
        link.put(&ClientMessage::Hello { role: Role::Publisher, name: &name, token: secret }, Kind::Other);
        Ok(link)
    }

    pub fn is_up(&self) -> bool {
        self.welcomed
    }

    pub fn has_room(&self) -> bool {
        self.welcomed && (self.waiting.is_empty() || self.waiting_bytes < MAX_WAITING_BYTES)
    }

    /// When the daemon will have been silent for too long.
    pub fn silent_until(&self) -> Option<Instant> {
        self.silent_until
    }

    /// Events that the socket did not take.
    pub fn waiting_events(&self) -> u64 {
        self.waiting.iter().filter(|frame| frame.kind == Kind::Event).count() as u64
    }

    pub fn event(&mut self, frame: Rc<Vec<u8>>) {
        self.push(frame, Kind::Event);
    }

    /// Another RING says nothing while one still waits.
    pub fn ring(&mut self) {
        if !self.ring_waiting {
            self.ring_waiting = true;
            self.put(&ClientMessage::Ring, Kind::Ring);
        }
    }

    pub fn became(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    pub fn has_work(&self) -> bool {
        self.readable || (self.writable && !self.waiting.is_empty())
    }

    /// Writes what the socket takes; the number of events among it.
    pub fn flush(&mut self) -> io::Result<u64> {
        let mut sent = 0;
        while self.writable && !self.waiting.is_empty() {
            let slices: Vec<IoSlice> = (self.waiting.iter().take(MAX_SLICES).enumerate())
                .map(|(i, frame)| IoSlice::new(&frame.bytes[if i == 0 { self.written } else { 0 }..]))
                .collect();
            match self.stream.write_vectored(&slices) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => sent += self.wrote(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    fn wrote(&mut self, bytes: usize) -> u64 {
        let mut events = 0;
        self.written += bytes;
        self.waiting_bytes -= bytes;
        while let Some(frame) = self.waiting.front()
            && frame.bytes.len() <= self.written
        {
            self.written -= frame.bytes.len();
            match frame.kind {
                Kind::Event => events += 1,
                Kind::Ring => self.ring_waiting = false,
                Kind::Other => {}
            }
            self.waiting.pop_front();
        }
        events
    }

    /// Reads once and answers; true if that was the WELCOME. An error ends the connection and says why.
    pub fn read(&mut self, now: Instant) -> Result<bool, String> {
        if !self.readable {
            return Ok(false);
        }
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err("the daemon closed the connection".into()),
            Ok(length) => {
                let was_up = self.welcomed;
                self.take(&buffer[..length])?;
                self.silent_until = (!self.patience.is_zero()).then(|| now + self.patience);
                Ok(self.welcomed && !was_up)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(false)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        loop {
            let limit = if self.welcomed { MAX_FRAME } else { MAX_FRAME_BEFORE_WELCOME };
            let Some(frame) = self.splitter.next(&mut bytes, limit).map_err(|error| error.to_string())? else {
                return Ok(());
            };
            match ServerMessage::decode(frame).map_err(|error| error.to_string())? {
                Some(ServerMessage::Welcome { version: VERSION, ping_interval_ms, .. }) => {
                    self.welcomed = true;
                    self.patience = SILENT_INTERVALS * Duration::from_millis(ping_interval_ms.into());
                }
                Some(ServerMessage::Welcome { version, .. }) => {
                    return Err(format!("the daemon speaks version {version}, this is {VERSION}"));
                }
                Some(ServerMessage::Error { code, message }) => {
                    return Err(format!("the daemon says error {code}: {}", message.escape_debug()));
                }
                // Behind a full queue no PONG is needed: the queue's own bytes say that this peer lives.
                Some(ServerMessage::Ping(_)) if self.waiting_bytes >= MAX_WAITING_BYTES => {}
                Some(ServerMessage::Ping(number)) => self.put(&ClientMessage::Pong(number), Kind::Other),
                // Not for publishers, or unknown here.
                _ => {}
            }
        }
    }

    fn put(&mut self, message: &ClientMessage, kind: Kind) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.push(Rc::new(frame), kind);
    }

    fn push(&mut self, bytes: Rc<Vec<u8>>, kind: Kind) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Outgoing { bytes, kind });
    }
}

#[cfg(test)]
mod tests;
