//! A blocking TLS stream that one thread reads and others write. Reading holds no lock while it waits for the network, and
//! neither does writing hold one that reading needs.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use rustls::ClientConnection;

use crate::base::tls::{ClientTls, Failed, explain, server_name};

/// Encrypted bytes read from the socket at once: one record.
const INPUT_BYTES: usize = 17 * 1024;

/// Plaintext encrypted at once.
const OUTPUT_BYTES: usize = 64 * 1024;

/// One handle; any number may write, one may read.
#[derive(Debug)]
pub struct TlsStream {
    socket: TcpStream,
    shared: Arc<Shared>,
    /// Encrypted bytes that arrived at this handle; without room until its first read.
    input: Vec<u8>,
    /// The part of `input` that was not decrypted yet.
    unread: Range<usize>,
}

#[derive(Debug)]
struct Shared {
    session: Mutex<ClientConnection>,
    /// Held while encrypted bytes are on their way to the socket, so that they leave in their order. Locked before
    /// `session`.
    sending: Mutex<()>,
}

impl TlsStream {
    /// Shakes hands on a connected socket, before `deadline`. Leaves some read timeout behind.
    pub fn connect(mut socket: TcpStream, host: &str, tls: &ClientTls, deadline: Instant) -> io::Result<TlsStream> {
        let config = tls.load().map_err(|file| Failed::error(file.to_string()))?;
        let mut session = ClientConnection::new(config, server_name(host)?).map_err(failed)?;
        loop {
            while session.wants_write() {
                session.write_tls(&mut socket)?;
            }
            if !session.is_handshaking() {
                break;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not finish the handshake of TLS in time"));
            }
            // The system rounds anything below a microsecond down to zero, which it refuses.
            socket.set_read_timeout(Some(left.max(std::time::Duration::from_millis(1))))?;
            match session.read_tls(&mut socket) {
                Ok(0) => {
                    let what = "it closed the connection during the handshake of TLS";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, what));
                }
                Ok(_) => {}
                Err(error) if is_time_out(&error) => continue,
                Err(error) => return Err(error),
            }
            if let Err(error) = session.process_new_packets() {
                // The alert that tells the other side.
                let _ = session.write_tls(&mut socket);
                return Err(failed(error));
            }
        }
        let shared = Shared { session: Mutex::new(session), sending: Mutex::new(()) };
        Ok(TlsStream { socket, shared: Arc::new(shared), input: Vec::new(), unread: 0..0 })
    }

    /// A second handle, which must not be read.
    pub fn try_clone(&self) -> io::Result<TlsStream> {
        let socket = self.socket.try_clone()?;
        Ok(TlsStream { socket, shared: Arc::clone(&self.shared), input: Vec::new(), unread: 0..0 })
    }

    /// The socket, for its timeouts and its end.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl Read for TlsStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            {
                let mut session = lock(&self.shared.session);
                match session.reader().read(buffer) {
                    // Frames have lengths, so an end without a farewell is no more than an end.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    result => return result,
                }
                if !self.unread.is_empty() {
                    let mut encrypted = &self.input[self.unread.clone()];
                    self.unread.start += session.read_tls(&mut encrypted)?;
                    session.process_new_packets().map_err(failed)?;
                    continue;
                }
            }
            self.input.resize(INPUT_BYTES, 0);
            self.unread = 0..self.socket.read(&mut self.input)?;
            if self.unread.is_empty() {
                lock(&self.shared.session).read_tls(&mut io::empty())?;
            }
        }
    }
}

impl Write for TlsStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(OUTPUT_BYTES)];
        let _sending = lock(&self.shared.sending);
        let mut encrypted = Vec::with_capacity(bytes.len() + 64);
        let taken = {
            let mut session = lock(&self.shared.session);
            let taken = session.writer().write(bytes)?;
            while session.wants_write() {
                session.write_tls(&mut encrypted)?;
            }
            taken
        };
        self.socket.write_all(&encrypted)?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn failed(error: rustls::Error) -> io::Error {
    Failed::error(explain(&error))
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

/// Nothing panics while holding one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
