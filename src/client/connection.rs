//! One connection to the broker: HELLO and WELCOME, then frames in both directions, decoded into owned messages. Never
//! manages subscriptions and never reconnects.

use std::{
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use super::{Address, Error, Event, Gap, Peer, stream::Stream};
use crate::wire::{
    self, ClientMessage, MAX_FRAME, MAX_FRAME_BEFORE_WELCOME, MAX_NAME_CHARS, Role, ServerMessage, Splitter,
};

/// The time limit for connecting until WELCOME, and again for SUBSCRIBED.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A broker that accepts no byte for this long is considered dead.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

const READ_BUFFER: usize = 16 * 1024;

/// A message from the broker, owned.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    Welcome { log_id: u64, ping_interval: Duration },
    Subscribed(u64),
    Consuming(u64),
    Event(Event),
    Gap(Gap),
    Ping(u64),
    Pong(u64),
}

/// A connection after WELCOME.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    address: Address,
    splitter: Splitter,
    input: Box<[u8]>,
    /// The part of `input` that is received and not yet split into frames.
    unread: std::ops::Range<usize>,
    read_timeout: Option<Duration>,
    /// Which event log the broker has.
    pub log_id: u64,
    /// How often the broker sends PING while nothing else arrives.
    pub ping_interval: Duration,
}

impl Connection {
    /// Connects, sends HELLO and waits for WELCOME, all within this time.
    pub fn open(peer: &Peer, role: Role, within: Duration) -> Result<Connection, Error> {
        let token = peer.token.as_ref().map_or("", |token| &token.0);
        // The broker would only close the connection; this error names the reason.
        if peer.name.chars().count() > MAX_NAME_CHARS || peer.name.chars().any(char::is_control) {
            return Err(Error::Invalid(wire::Error::Malformed("a name that is not at most 64 printable characters")));
        }
        let deadline = Instant::now() + within;
        let unreachable = |cause| Error::Unreachable { address: peer.address.clone(), cause };
        let stream = Stream::connect(&peer.address, peer.tls.as_ref(), within).map_err(unreachable)?;
        stream.set_write_timeout(WRITE_TIMEOUT).map_err(unreachable)?;
        let mut connection = Connection {
            stream,
            address: peer.address.clone(),
            splitter: Splitter::default(),
            input: vec![0; READ_BUFFER].into(),
            unread: 0..0,
            read_timeout: None,
            log_id: 0,
            ping_interval: Duration::ZERO,
        };
        connection.send(&ClientMessage::Hello { role, name: &peer.name, token })?;
        connection.await_welcome(deadline)?;
        Ok(connection)
    }

    /// Writes one message.
    pub fn send(&mut self, message: &ClientMessage<'_>) -> Result<(), Error> {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.stream.write_all(&frame).map_err(|cause| self.lost(cause))
    }

    /// The next message; `None` if none arrived before the deadline. An ERROR frame is [`Error::Refused`].
    pub fn next(&mut self, deadline: Option<Instant>) -> Result<Option<Incoming>, Error> {
        self.message(deadline, MAX_FRAME)
    }

    fn message(&mut self, deadline: Option<Instant>, limit: usize) -> Result<Option<Incoming>, Error> {
        loop {
            let mut piece = &self.input[self.unread.clone()];
            let before = piece.len();
            let message = match self.splitter.next(&mut piece, limit) {
                Ok(frame) => frame.map(|frame| {
                    ServerMessage::decode(frame).map(|message| message.map(|message| owned(message, &self.address)))
                }),
                Err(e) => Some(Err(e)),
            };
            self.unread.start += before - piece.len();
            match message {
                Some(Ok(Some(message))) => return message.map(Some),
                Some(Ok(None)) => {} // A message type that only newer servers send.
                Some(Err(e)) => {
                    let what = format!("it sent data that is not RSQ/1 ({e})");
                    return Err(self.lost(io::Error::new(io::ErrorKind::InvalidData, what)));
                }
                None if !self.fill(deadline)? => return Ok(None),
                None => {}
            }
        }
    }

    /// Whether bytes have arrived that [`Connection::next`] has not returned as messages yet.
    pub fn has_input(&self) -> bool {
        !self.unread.is_empty()
    }

    /// A second handle on the socket, to write to it or to shut it down.
    pub fn stream(&self) -> Result<Stream, Error> {
        self.stream.try_clone().map_err(|cause| self.lost(cause))
    }

    /// The error of a connection that broke for this cause.
    pub fn lost(&self, cause: io::Error) -> Error {
        Error::Unreachable { address: self.address.clone(), cause }
    }

    fn await_welcome(&mut self, deadline: Instant) -> Result<(), Error> {
        match self.message(Some(deadline), MAX_FRAME_BEFORE_WELCOME)? {
            Some(Incoming::Welcome { log_id, ping_interval }) => {
                (self.log_id, self.ping_interval) = (log_id, ping_interval);
                Ok(())
            }
            Some(_) => Err(self.lost(io::Error::new(io::ErrorKind::InvalidData, "its first frame is not WELCOME"))),
            None => Err(self.lost(io::Error::new(io::ErrorKind::TimedOut, "it did not answer HELLO"))),
        }
    }

    /// Reads more bytes; false if none arrived before the deadline.
    fn fill(&mut self, deadline: Option<Instant>) -> Result<bool, Error> {
        loop {
            let timeout = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if timeout != self.read_timeout {
                self.stream.set_read_timeout(timeout).map_err(|cause| self.lost(cause))?;
                self.read_timeout = timeout;
            }
            match self.stream.read(&mut self.input) {
                Ok(0) => {
                    return Err(self.lost(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")));
                }
                Ok(n) => {
                    self.unread = 0..n;
                    return Ok(true);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                        return Ok(false);
                    }
                }
                Err(e) => return Err(self.lost(e)),
            }
        }
    }
}

/// The message, copied from the buffer that it arrived in.
fn owned(message: ServerMessage<'_>, address: &Address) -> Result<Incoming, Error> {
    Ok(match message {
        ServerMessage::Error { code, message } => {
            return Err(Error::Refused { address: address.clone(), code, message: message.into() });
        }
        ServerMessage::Welcome { log_id, ping_interval_ms, .. } => {
            Incoming::Welcome { log_id, ping_interval: Duration::from_millis(ping_interval_ms.into()) }
        }
        ServerMessage::Subscribed { seq } => Incoming::Subscribed(seq),
        ServerMessage::Consuming { seq } => Incoming::Consuming(seq),
        ServerMessage::Event { seq, unix_time_us, state, payload } => {
            Incoming::Event(Event { seq, unix_time_us, state: state.into(), payload: payload.into() })
        }
        ServerMessage::Gap(gap) => Incoming::Gap(gap),
        ServerMessage::Ping(number) => Incoming::Ping(number),
        ServerMessage::Pong(number) => Incoming::Pong(number),
    })
}
