//! One peer: its socket, its partly received and unsent bytes, and its session. Reads and writes until the socket would
//! block or it is another peer's turn; never blocks.

use super::{
    http,
    limits::WRITE_BUDGET,
    rsq::session::{self, Rules},
};
use crate::{
    base::send_queue::{Flow, SendQueue},
    fanout::Bytes,
    wire::Splitter,
};
use std::{
    io::{self, Read, Write},
    net::IpAddr,
    time::Instant,
};

/// A stream socket that does not block.
pub trait Socket: Read + Write {
    /// The peer's address, for the log.
    fn peer(&self) -> String;

    /// The peer's IP address; None: it has none, being local.
    fn address(&self) -> Option<IpAddr>;

    /// Ends the writing half; the peer can still read all that was written.
    ///
    /// # Errors
    /// The system's, for a socket that is broken.
    fn shutdown_write(&mut self) -> io::Result<()>;

    /// Whether it is encrypted. Then bytes may be left after a read that brought fewer than it could.
    fn is_encrypted(&self) -> bool {
        false
    }

    /// How many of the bytes that were `written` to it the system has. A flush hands it the rest.
    fn passed_on(&self, written: u64) -> u64 {
        written
    }
}

/// What is spoken on a connection; a listener's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSQ/1.
    Rsq,
    /// HTTP/1.1.
    Http,
}

/// The rules of one connection, and what has arrived on it incompletely.
pub enum Protocol {
    /// RSQ/1.
    Rsq {
        /// The session's rules.
        session: session::Session,
        /// The peer's name, as it gave it.
        name: Box<str>,
        /// The received bytes of an incomplete frame.
        splitter: Splitter,
    },
    /// HTTP/1.1.
    Http(Box<http::session::Session>),
}

impl Protocol {
    /// Whether more may be read: answers are not to be queued for a peer that does not wait for them.
    #[inline]
    pub fn is_reading(&self) -> bool {
        match self {
            Protocol::Rsq { .. } => true,
            Protocol::Http(session) => session.is_reading(),
        }
    }

    /// Whether bytes that have arrived wait for their turn.
    #[inline]
    pub fn has_input(&self) -> bool {
        match self {
            Protocol::Rsq { .. } => false,
            Protocol::Http(session) => session.has_input(),
        }
    }

    /// Whether the connection is ending.
    #[inline]
    pub fn is_closing(&self) -> bool {
        match self {
            Protocol::Rsq { session, .. } => session.is_closing(),
            Protocol::Http(session) => session.is_closing(),
        }
    }

    /// When its timer is due.
    #[inline]
    pub fn due(&self, rules: &Rules) -> Option<Instant> {
        match self {
            Protocol::Rsq { session, .. } => session.due(rules),
            Protocol::Http(session) => session.due(rules.limits.stuck_timeout),
        }
    }
}

/// A peer's connection. What each delivery reads and writes comes first and fills one cache line: with a thousand
/// subscribers, fetching a second one for each is several percent of the broker's throughput.
#[repr(C, align(64))]
pub struct Connection<S> {
    /// Frames to be written.
    pub send_queue: SendQueue<Bytes>,
    /// What is spoken on it: the variant of `protocol`.
    pub kind: Kind,
    /// The socket accepts data: true until a write would have blocked.
    pub writable: bool,
    /// It is in the list of connections to write to.
    pub in_write_list: bool,
    /// As `writable`, for reading.
    pub readable: bool,
    /// It is in the list of connections to read.
    pub in_read_list: bool,
    /// The poll reported that the peer has hung up: reading continues until it returns the end of the stream.
    pub hung_up: bool,
    /// When its timer is due, as entered among the timers.
    pub due: Option<Instant>,
    /// Its socket.
    pub socket: S,
    /// The rules of what is spoken on it.
    pub protocol: Protocol,
}

impl<S: Socket> Connection<S> {
    /// A peer just accepted.
    pub fn new(socket: S, kind: Kind, now: Instant, rules: &Rules) -> Connection<S> {
        let protocol = match kind {
            Kind::Rsq => Protocol::Rsq {
                session: session::Session::new(now, rules),
                name: Box::default(),
                splitter: Splitter::default(),
            },
            Kind::Http => Protocol::Http(Box::new(http::session::Session::new(now, &rules.limits.http))),
        };
        Connection {
            send_queue: SendQueue::default(),
            kind,
            writable: true,
            in_write_list: false,
            readable: true,
            in_read_list: false,
            hung_up: false,
            due: None,
            socket,
            protocol,
        }
    }

    /// Reads into `buffer` once. None: there is no data at the moment. Zero: the peer sends no more.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.read(buffer) {
                Ok(bytes) => {
                    if let Protocol::Rsq { session, .. } = &mut self.protocol {
                        session.received();
                    }
                    // A short read has emptied the socket, and the poll reports what arrives later (see epoll(7)); an
                    // end that arrived before was reported already.
                    self.readable = self.hung_up || bytes == buffer.len() || self.socket.is_encrypted();
                    return Ok(Some(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(None);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes queued frames to the socket, as far as it accepts them.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, now: Instant) -> io::Result<Flow> {
        let before = self.socket.passed_on(self.send_queue.written());
        let mut flow = self.send_queue.write_to(&mut self.socket, WRITE_BUDGET, |()| {})?;
        if flow == Flow::Empty
            && let Err(error) = self.socket.flush()
        {
            match error.kind() {
                io::ErrorKind::WouldBlock => flow = Flow::Blocked,
                _ => return Err(error),
            }
        }
        self.writable = flow != Flow::Blocked;
        let written = self.socket.passed_on(self.send_queue.written());
        let (took_any, left) = (written > before, flow == Flow::Blocked || !self.send_queue.is_empty());
        match &mut self.protocol {
            Protocol::Rsq { session, .. } => session.wrote(took_any, written, left, now),
            Protocol::Http(session) => session.wrote(took_any, left, now),
        }
        Ok(flow)
    }
}
