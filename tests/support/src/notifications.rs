//! The receiving end of `NOTIFY_SOCKET`: plays the part of systemd for the programs that a test starts.

use std::{
    ffi::OsString,
    io::ErrorKind,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    sync::atomic::{AtomicU32, Ordering},
};

/// A socket for one program, and the lines received from it.
pub struct Notifications {
    socket: UnixDatagram,
    name: String,
    lines: Vec<String>,
}

impl Notifications {
    pub fn new() -> Notifications {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("resq-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name).expect("a short name");
        let socket = UnixDatagram::bind_addr(&address).expect("a name of its own");
        socket.set_nonblocking(true).expect("a socket");
        Notifications { socket, name, lines: Vec::new() }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn env(&self) -> OsString {
        format!("@{}", self.name).into()
    }

    /// Whether this line, such as `READY=1`, has arrived.
    pub fn has(&mut self, line: &str) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    self.lines.extend(text.lines().map(String::from));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("NOTIFY_SOCKET: {error}"),
            }
        }
        self.lines.iter().any(|known| known == line)
    }
}
