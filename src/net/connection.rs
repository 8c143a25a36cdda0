//! One peer: its socket, its partly received and unsent bytes, and its session. Reads and writes until the socket would
//! block or it is another peer's turn; never blocks.

use super::{
    limits::WRITE_BUDGET,
    rsq::{
        encode,
        session::{Refusal, Rules, Session},
    },
};
use crate::{
    base::send_queue::{Flow, SendQueue},
    wire::Splitter,
};
use std::{
    io::{self, Read, Write},
    sync::Arc,
    time::Instant,
};

/// A stream socket that does not block.
pub trait Socket: Read + Write {
    /// The peer's address, for the log.
    fn peer(&self) -> String;

    /// Ends the writing half; the peer can still read all that was written.
    ///
    /// # Errors
    /// The system's, for a socket that is broken.
    fn shutdown_write(&self) -> io::Result<()>;
}

/// A peer's connection.
pub struct Connection<S> {
    /// Its socket.
    pub socket: S,
    /// The received bytes of an incomplete frame.
    pub splitter: Splitter,
    /// Frames to be written.
    pub send_queue: SendQueue<Arc<[u8]>>,
    /// The protocol's rules.
    pub session: Session,
    /// The socket may have data: true until a read would have blocked.
    pub readable: bool,
    /// The poll reported that the peer has hung up: reading continues until it returns the end of the stream.
    pub hung_up: bool,
    /// As `readable`, for writing.
    pub writable: bool,
    /// When its timer is due, as entered among the timers.
    pub due: Option<Instant>,
    /// It is in the list of connections to read.
    pub in_read_list: bool,
    /// It is in the list of connections to write to.
    pub in_write_list: bool,
}

impl<S: Socket> Connection<S> {
    /// A peer just accepted.
    pub fn new(socket: S, now: Instant, rules: &Rules) -> Connection<S> {
        Connection {
            socket,
            splitter: Splitter::default(),
            send_queue: SendQueue::default(),
            session: Session::new(now, rules),
            readable: true,
            hung_up: false,
            writable: true,
            due: None,
            in_read_list: false,
            in_write_list: false,
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
                    self.session.received();
                    // A short read has emptied the socket, and the poll reports what arrives later (see epoll(7)); an
                    // end that arrived before was reported already.
                    self.readable = self.hung_up || bytes == buffer.len();
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
        let before = self.send_queue.written();
        let flow = self.send_queue.write_to(&mut self.socket, WRITE_BUDGET, |()| {})?;
        self.writable = flow != Flow::Blocked;
        let written = self.send_queue.written();
        self.session.wrote(written > before, written, !self.send_queue.is_empty(), now);
        Ok(flow)
    }

    /// Ends the session with an ERROR after the queued frames; with `at_once`, only after a frame that is partly written.
    pub fn refuse(&mut self, refusal: &Refusal, at_once: bool, now: Instant, rules: &Rules) {
        if at_once {
            self.send_queue.cut();
        }
        self.send_queue.push(encode::refusal(refusal), ());
        self.session.close(now, rules);
        self.splitter = Splitter::default();
    }
}
