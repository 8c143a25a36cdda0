//! One peer: its socket, the bytes between frames in both directions, and its session. Reads and writes until the
//! socket would block or others have their turn; never blocks.

use super::{
    feed::Feed,
    outbox::{Flow, Outbox},
    session::{Refusal, Rules, Session},
};
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

pub struct Conn<S> {
    pub socket: S,
    pub splitter: Splitter,
    pub outbox: Outbox,
    pub session: Session,
    /// Its subscription, once it has one.
    pub feed: Option<Box<Feed>>,
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

impl<S: Socket> Conn<S> {
    pub fn new(socket: S, now: Instant, rules: &Rules) -> Conn<S> {
        Conn {
            socket,
            splitter: Splitter::default(),
            outbox: Outbox::default(),
            session: Session::new(now, rules),
            feed: None,
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
        let before = self.outbox.written();
        let flow = self.outbox.write_to(&mut self.socket)?;
        self.writable = flow != Flow::Blocked;
        let written = self.outbox.written();
        self.session.wrote(written > before, written, !self.outbox.is_empty(), now);
        Ok(flow)
    }

    /// Before a frame is refused for want of room the socket is offered what is queued: only who does not read is slow.
    pub fn make_room(&mut self, bytes: usize, limit: usize, now: Instant) {
        if self.writable && !self.outbox.has_room(bytes, limit) {
            // A broken socket shows itself again when its turn comes.
            let _ = self.write(now);
        }
    }

    /// Ends the session with an ERROR, behind what is queued; or behind the frame that is half written, where
    /// `at_once` says so.
    pub fn refuse(&mut self, refusal: &Refusal, at_once: bool, now: Instant, rules: &Rules) {
        if at_once {
            self.outbox.cut();
        }
        self.outbox.push_message(&ServerMessage::Error { code: refusal.code as u16, message: &refusal.message });
        self.session.close(now, rules);
        self.splitter = Splitter::default();
    }
}
