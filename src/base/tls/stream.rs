//! An encrypted stream over a socket that does not block, as a state machine: each read and write goes as far as the socket
//! allows. Bounded: no plaintext is taken while encrypted bytes wait for the socket.

use std::{
    io::{self, ErrorKind, IoSlice, Read, Write},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection, pki_types::ServerName};

use super::failure::{Failed, explain};

/// Plaintext that is encrypted at once; more waits in its own queue.
const TAKEN_BYTES: usize = 64 << 10;

/// Reads from the socket that bring no data, in one turn. A record of data needs 5, the longest certificates 16; more can
/// only be meant to keep this side busy.
const IDLE_READS: usize = 64;

/// A socket and the state of TLS on it.
#[derive(Debug)]
pub struct TlsStream<T> {
    socket: T,
    session: Connection,
    /// Plaintext bytes that were taken from the caller.
    taken: u64,
    /// How many of those the system has, at most; all of them only when none is left.
    passed_on: u64,
}

impl<T: Read + Write> TlsStream<T> {
    /// The server's end.
    ///
    /// # Errors
    /// The configuration does not fit itself.
    pub fn server(socket: T, config: Arc<ServerConfig>) -> Result<TlsStream<T>, rustls::Error> {
        Ok(TlsStream::new(socket, ServerConnection::new(config)?.into()))
    }

    /// The client's end.
    ///
    /// # Errors
    /// The configuration does not fit itself.
    pub fn client(socket: T, config: Arc<ClientConfig>, host: ServerName<'static>) -> Result<Self, rustls::Error> {
        Ok(TlsStream::new(socket, ClientConnection::new(config, host)?.into()))
    }

    fn new(socket: T, mut session: Connection) -> TlsStream<T> {
        session.set_buffer_limit(Some(TAKEN_BYTES));
        TlsStream { socket, session, taken: 0, passed_on: 0 }
    }

    /// The socket.
    pub fn socket(&self) -> &T {
        &self.socket
    }

    /// The socket, to register it with a poll. Reading or writing it breaks the stream.
    pub fn socket_mut(&mut self) -> &mut T {
        &mut self.socket
    }

    /// Whether data can be sent and received.
    pub fn is_open(&self) -> bool {
        !self.session.is_handshaking()
    }

    /// How many of the bytes written to this stream the system has: all of them, or a little less while some wait here.
    pub fn passed_on(&self) -> u64 {
        self.passed_on
    }

    /// Tells the peer that no more follows.
    ///
    /// # Errors
    /// The socket's; `WouldBlock` if it does not take that now.
    pub fn close(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        self.send()
    }

    /// Hands encrypted bytes to the socket until none is left.
    fn send(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                // The encrypted bytes are more than those taken, so that this cannot fall behind.
                Ok(bytes) => {
                    let most = self.taken.saturating_sub(1).max(self.passed_on);
                    self.passed_on = (self.passed_on + bytes as u64).min(most);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.passed_on = self.taken;
        Ok(())
    }

    /// As [`Self::send`], where it does not matter that the socket takes no more now.
    fn send_some(&mut self) -> io::Result<()> {
        match self.send() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }
}

/// `WouldBlock` only when the socket is empty: fewer bytes than asked for do not mean that.
impl<T: Read + Write> Read for TlsStream<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..IDLE_READS {
            match self.session.reader().read(buffer) {
                // What travels on a stream is framed, so an end without a farewell is no more than an end.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.session.read_tls(&mut self.socket)?;
            let processed = self.session.process_new_packets();
            // Replies of the handshake, or the alert that tells the peer what was wrong.
            let sent = self.send_some();
            processed.map_err(|error| Failed::error(explain(&error)))?;
            sent?;
        }
        Err(Failed::error("it sends records without data"))
    }
}

impl<T: Read + Write> Write for TlsStream<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        self.send()?;
        if !self.is_open() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let bytes = self.session.writer().write_vectored(pieces)?;
        self.taken += bytes as u64;
        self.send_some()?;
        Ok(bytes)
    }

    /// `WouldBlock` while encrypted bytes wait for the socket.
    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
