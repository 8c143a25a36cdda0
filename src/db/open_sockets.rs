//! The sockets of a pool's open connections, so that another thread can end a statement that a server never answers. Owns
//! the list; every socket belongs to its connection.

use std::{
    os::fd::{AsRawFd, RawFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mysql::Conn;
use nix::sys::socket::{Shutdown, shutdown};

/// Which sockets are open, each with the place of its host in the list of hosts. Clones share one list.
#[derive(Clone, Debug, Default)]
pub struct OpenSockets(Arc<Mutex<Vec<(usize, RawFd)>>>);

impl OpenSockets {
    fn lock(&self) -> MutexGuard<'_, Vec<(usize, RawFd)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the socket of `conn`, which leads to `host`, until the returned value is dropped. Drop that before `conn`: the
    /// system gives the number of a closed socket to the next file.
    pub fn add(&self, host: usize, conn: &Conn) -> OpenSocket {
        let entry = (host, conn.as_raw_fd());
        self.lock().push(entry);
        OpenSocket { sockets: self.clone(), entry }
    }

    /// Ends all connections to `host`: a thread that waits for an answer on one of them gets an error at once. Returns how
    /// many there are.
    pub fn shut_down(&self, host: usize) -> usize {
        // The list stays locked, so that none of the sockets is closed meanwhile.
        let sockets = self.lock();
        let on_host = sockets.iter().filter(|(of, _)| *of == host);
        on_host
            .map(|(_, socket)| {
                // An error means that the connection has ended already.
                let _ = shutdown(*socket, Shutdown::Both);
            })
            .count()
    }
}

/// An entry of [`OpenSockets`].
#[derive(Debug)]
pub struct OpenSocket {
    sockets: OpenSockets,
    entry: (usize, RawFd),
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        let mut sockets = self.sockets.lock();
        if let Some(at) = sockets.iter().position(|entry| *entry == self.entry) {
            sockets.swap_remove(at);
        }
    }
}
