//! Accepts peers, even when the process has run out of file descriptors: one is kept in reserve, so that a peer can be
//! accepted and refused instead of being left waiting. Never reads from a peer.

use super::{
    connection::{Kind, Socket},
    http::{request::Rejection, response::Response},
    listener::Listener,
    rsq::{encode, refusal::Refusal},
    stream::Stream,
};
use crate::wire::Code;
use nix::errno::Errno;
use std::{
    fs::File,
    io::{self, Write},
};

/// Holds the reserved descriptor.
pub struct Acceptor {
    reserve: Option<File>,
}

/// The result of one attempt.
pub enum Accepted {
    /// A new peer.
    Peer(Stream),
    /// The peer has already disconnected; another one may be waiting.
    Gone,
    /// The peer was refused, because no file descriptor is left.
    TurnedAway,
    /// No peer is waiting.
    Empty,
    /// The system cannot accept a peer now; try again a little later.
    Exhausted(io::Error),
}

impl Acceptor {
    /// Opens the reserved descriptor.
    ///
    /// # Errors
    /// The process has no file descriptor left already.
    pub fn new() -> io::Result<Acceptor> {
        Ok(Acceptor { reserve: Some(spare()?) })
    }

    /// Accepts one peer, without blocking.
    pub fn accept(&mut self, listener: &Listener, kind: Kind) -> Accepted {
        match listener.accept_once() {
            Ok(stream) => Accepted::Peer(stream),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                _ if error.kind() == io::ErrorKind::WouldBlock => Accepted::Empty,
                Some(Errno::EMFILE | Errno::ENFILE) => self.turn_away(listener, kind, error),
                // These concern this one peer, which has already disconnected.
                Some(Errno::ECONNABORTED | Errno::EINTR | Errno::EPROTO) => Accepted::Gone,
                _ => Accepted::Exhausted(error),
            },
        }
    }

    fn turn_away(&mut self, listener: &Listener, kind: Kind, error: io::Error) -> Accepted {
        if self.reserve.take().is_some()
            && let Ok(stream) = listener.accept_once()
        {
            refuse_too_many(stream, kind, listener.is_tls());
        }
        self.reserve = spare().ok();
        match self.reserve {
            Some(_) => Accepted::TurnedAway,
            None => Accepted::Exhausted(error),
        }
    }
}

fn spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// Sends ERROR 9, or 503, and closes. A socket just accepted has room for it. With TLS it only closes: there is nothing
/// that could be said before the handshake.
pub fn refuse_too_many(mut stream: Stream, kind: Kind, is_tls: bool) {
    const WHY: &str = "too many connections";
    if is_tls {
        return;
    }
    let bytes = match kind {
        Kind::Rsq => encode::refusal(&Refusal::new(Code::TooManyConnections, WHY)),
        Kind::Http => Response::from(&Rejection::new(503, WHY)).encode(true, false),
    };
    let _ = stream.write_all(&bytes);
    let _ = stream.shutdown_write();
}
