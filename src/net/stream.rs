//! A peer's non-blocking byte stream: TCP, plain or with TLS, or Unix. Never interprets what is sent on it.

use super::{
    connection::{Kind, Socket},
    tls::{ServerTls, TlsPeer},
};
use mio::{
    Interest, Registry, Token,
    event::Source,
    net::{TcpStream, UnixStream},
};
use std::{
    io::{self, IoSlice, Read, Write},
    net::{IpAddr, Shutdown},
};

/// A connected socket.
pub enum Stream {
    /// From a TCP listener.
    Tcp(TcpStream),
    /// From a Unix listener.
    Unix(UnixStream),
    /// From a TCP listener with TLS. Boxed: its state is large, and there may be many plain peers.
    Tls(Box<TlsPeer>),
}

impl Stream {
    /// The same peer, who has to speak TLS.
    ///
    /// # Errors
    /// The certificate cannot be used after all.
    pub fn with_tls(self, tls: &ServerTls, kind: Kind) -> io::Result<Stream> {
        match self {
            Stream::Tcp(socket) => Ok(Stream::Tls(Box::new(TlsPeer::new(socket, tls, kind)?))),
            Stream::Unix(_) | Stream::Tls(_) => Ok(self),
        }
    }

    /// Registers with the poll, which then reports this socket under `token`.
    ///
    /// # Errors
    /// The system's, for example because the peer has already disconnected.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self {
            Stream::Tcp(stream) => {
                // Frames are gathered before they are written, so delaying them gains nothing.
                stream.set_nodelay(true)?;
                stream.register(registry, token, interest)
            }
            Stream::Unix(stream) => stream.register(registry, token, interest),
            Stream::Tls(peer) => {
                let stream = peer.socket_mut();
                stream.set_nodelay(true)?;
                stream.register(registry, token, interest)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tls(peer) => peer.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tls(peer) => peer.write(bytes),
        }
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.write_vectored(pieces),
            Stream::Unix(stream) => stream.write_vectored(pieces),
            Stream::Tls(peer) => peer.write_vectored(pieces),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => Ok(()),
            Stream::Tls(peer) => peer.flush(),
        }
    }
}

impl Stream {
    /// The TCP socket; None: it is a local one.
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Stream::Tcp(stream) => Some(stream),
            Stream::Unix(_) => None,
            Stream::Tls(peer) => Some(peer.stream().socket()),
        }
    }
}

impl Socket for Stream {
    fn peer(&self) -> String {
        match self.tcp().map(TcpStream::peer_addr) {
            Some(Ok(address)) => address.to_string(),
            Some(Err(_)) => "a closed peer".into(),
            None => "a local peer".into(),
        }
    }

    fn address(&self) -> Option<IpAddr> {
        self.tcp()?.peer_addr().ok().map(|address| address.ip().to_canonical())
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
            Stream::Tls(peer) => {
                peer.close();
                peer.socket_mut().shutdown(Shutdown::Write)
            }
        }
    }

    #[inline]
    fn is_encrypted(&self) -> bool {
        matches!(self, Stream::Tls(_))
    }

    #[inline]
    fn passed_on(&self, written: u64) -> u64 {
        match self {
            Stream::Tcp(_) | Stream::Unix(_) => written,
            Stream::Tls(peer) => peer.stream().passed_on(),
        }
    }
}
