//! One peer: its socket, the bytes between frames in both directions, and its session. Reads and writes until the
//! socket would block or others have their turn; never blocks.

use crate::fanout::cursor::Cursor;
use crate::fanout::limits::WRITE_BUDGET;
use crate::net::rsq::session::{Refusal, Rules, Session};
use crate::net::send_queue::{Flow, SendQueue};
use crate::wire::{ServerMessage, Splitter};
use std::{
    io::{self, Read, Write},
    time::Instant,
};

/// A stream socket that does not block.
pub trait Socket: Read + Write {
    /// Who is at the other end, for the log.
    fn peer(&self) -> String;

    /// Nothing more will be written; the peer may still read all of it.
    fn shutdown_write(&self) -> io::Result<()>;
}

pub struct Connection<S> {
    pub socket: S,
    pub splitter: Splitter,
    pub send_queue: SendQueue,
    pub session: Session,
    /// Its subscription, once it has one.
    pub cursor: Option<Box<Cursor>>,
    /// The socket may have something to read: true until reading said that it would block.
    pub readable: bool,
    /// The peer has finished or gone: reading goes on until it says so.
    pub hung_up: bool,
    /// As `readable`, for writing.
    pub writable: bool,
    /// Its place among the timers.
    pub due: Option<Instant>,
    /// It stands in the list of those to be read, or written.
    pub in_ready: bool,
    pub in_dirty: bool,
}

impl<S: Socket> Connection<S> {
    pub fn new(socket: S, now: Instant, rules: &Rules) -> Connection<S> {
        Connection {
            socket,
            splitter: Splitter::default(),
            send_queue: SendQueue::default(),
            session: Session::new(now, rules),
            cursor: None,
            readable: true,
            hung_up: false,
            writable: true,
            due: None,
            in_ready: false,
            in_dirty: false,
        }
    }

    /// Reads into `buffer` once. None: nothing there now. Zero: the peer has finished.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.read(buffer) {
                Ok(bytes) => {
                    self.session.heard();
                    // A short read has emptied the socket, and whatever comes now will be told (see epoll(7)); an end
                    // that came before it was told already.
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

    /// Offers what is queued to the socket.
    pub fn write(&mut self, now: Instant) -> io::Result<Flow> {
        let before = self.send_queue.written();
        let flow = self.send_queue.write_to(&mut self.socket, WRITE_BUDGET, |()| {})?;
        self.writable = flow != Flow::Blocked;
        let written = self.send_queue.written();
        self.session.wrote(written > before, written, !self.send_queue.is_empty(), now);
        Ok(flow)
    }

    /// Before a frame is refused for want of room the socket is offered what is queued: only who does not read is slow.
    pub fn make_room(&mut self, bytes: usize, limit: usize, now: Instant) {
        if self.writable && !self.send_queue.has_room(bytes, limit) {
            // A broken socket shows itself again when its turn comes.
            let _ = self.write(now);
        }
    }

    /// Ends the session with an ERROR, behind what is queued; or behind the frame that is half written, where
    /// `at_once` says so.
    pub fn refuse(&mut self, refusal: &Refusal, at_once: bool, now: Instant, rules: &Rules) {
        if at_once {
            self.send_queue.cut();
        }
        self.send_queue.push_message(&ServerMessage::Error { code: refusal.code as u16, message: &refusal.message });
        self.session.close(now, rules);
        self.splitter = Splitter::default();
    }
}
