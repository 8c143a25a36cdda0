//! A blocking byte stream to the broker, over TCP, TLS or a Unix socket, with timeouts. The only part of the client that
//! distinguishes them.

#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};

use super::{Address, tls_stream::TlsStream};
use crate::base::tls::ClientTls;

/// A connected socket.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    Tls(TlsStream),
}

/// Calls the same method on either kind of stream.
macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match $self {
            Stream::Tcp($stream) => $call,
            #[cfg(unix)]
            Stream::Unix($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

/// The same on its socket.
macro_rules! either_socket {
    ($self:expr, $socket:ident => $call:expr) => {
        match $self {
            Stream::Tcp($socket) => $call,
            #[cfg(unix)]
            Stream::Unix($socket) => $call,
            Stream::Tls(stream) => {
                let $socket = stream.socket();
                $call
            }
        }
    };
}

impl Stream {
    /// Connects, trying every address of the host name. `within` limits TCP and the handshake of `tls`; a Unix socket
    /// connects or fails at once, and is never encrypted.
    pub fn connect(address: &Address, tls: Option<&ClientTls>, within: Duration) -> io::Result<Stream> {
        match address {
            Address::Tcp { host, port } => {
                let deadline = Instant::now() + within;
                let mut failed = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
                for address in (host.as_str(), *port).to_socket_addrs()? {
                    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                    match TcpStream::connect_timeout(&address, left) {
                        Ok(stream) => {
                            // A PONG or a publication must not wait until the previous segment is acknowledged.
                            stream.set_nodelay(true)?;
                            return match tls {
                                Some(tls) => TlsStream::connect(stream, host, tls, deadline).map(Stream::Tls),
                                None => Ok(Stream::Tcp(stream)),
                            };
                        }
                        Err(e) => failed = e,
                    }
                }
                Err(failed)
            }
            #[cfg(unix)]
            Address::Unix(path) => UnixStream::connect(path).map(Stream::Unix),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "this system has no Unix sockets")),
        }
    }

    /// A second handle on the same socket, to write to it or to shut it down.
    pub fn try_clone(&self) -> io::Result<Stream> {
        match self {
            Stream::Tcp(stream) => stream.try_clone().map(Stream::Tcp),
            #[cfg(unix)]
            Stream::Unix(stream) => stream.try_clone().map(Stream::Unix),
            Stream::Tls(stream) => stream.try_clone().map(Stream::Tls),
        }
    }

    /// How long a read may wait; `None`: forever.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        // The system refuses zero, and rounds anything below a microsecond down to zero.
        let timeout = timeout.map(|t| t.max(Duration::from_millis(1)));
        either_socket!(self, socket => socket.set_read_timeout(timeout))
    }

    /// How long a write may wait.
    pub fn set_write_timeout(&self, timeout: Duration) -> io::Result<()> {
        either_socket!(self, socket => socket.set_write_timeout(Some(timeout)))
    }

    /// Shuts the socket down for all its handles; a blocked read returns.
    pub fn shutdown(&self) {
        // An error means that it is already closed.
        let _ = either_socket!(self, socket => socket.shutdown(Shutdown::Both));
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        either!(self, stream => stream.read(buf))
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        either!(self, stream => stream.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        either!(self, stream => stream.flush())
    }
}
