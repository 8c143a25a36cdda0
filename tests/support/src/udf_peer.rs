//! The daemon's end of RSQ/1 for the loadable functions, in raw bytes and without the code under test, which must not
//! check itself. It accepts every connection, records the frames, and can freeze, die and return.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

pub const HELLO: u8 = 0x01;
pub const PUBLISH: u8 = 0x03;
pub const RING: u8 = 0x04;
pub const PONG: u8 = 0x06;

const WELCOME: u8 = 0x81;

#[derive(Default)]
struct State {
    frozen: bool,
    dead: bool,
    streams: Vec<UnixStream>,
    /// Every frame received, in order: type and body.
    frames: Vec<(u8, Vec<u8>)>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    thawed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits out a freeze; false if the peer is dead.
    fn alive(&self) -> bool {
        let state = self.thawed.wait_while(self.lock(), |state| state.frozen && !state.dead);
        !state.unwrap_or_else(PoisonError::into_inner).dead
    }
}

/// One daemon on a Unix socket; dead when dropped.
pub struct UdfPeer {
    path: PathBuf,
    shared: Arc<Shared>,
}

impl UdfPeer {
    pub fn listen(path: &Path) -> UdfPeer {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("a socket to listen on");
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if !accepting.alive() {
                    return;
                }
                let (stream, shared) = (stream.expect("a connection"), Arc::clone(&accepting));
                shared.lock().streams.push(stream.try_clone().expect("another descriptor"));
                std::thread::spawn(move || serve(stream, &shared));
            }
        });
        UdfPeer { path: path.to_owned(), shared }
    }

    /// Reads nothing more, as a stopped process; what is on its way fills the kernel's buffers.
    pub fn freeze(&self) {
        self.shared.lock().frozen = true;
    }

    pub fn thaw(&self) {
        self.shared.lock().frozen = false;
        self.shared.thawed.notify_all();
    }

    /// Sends these bytes to everyone connected.
    pub fn send(&self, kind: u8, body: &[u8]) {
        for stream in &mut self.shared.lock().streams {
            let _ = stream.write_all(&frame(kind, body)); // one that is gone
        }
    }

    /// The bodies of all frames of this type so far.
    pub fn received(&self, kind: u8) -> Vec<Vec<u8>> {
        self.shared.lock().frames.iter().filter(|frame| frame.0 == kind).map(|frame| frame.1.clone()).collect()
    }

    /// How many there are.
    pub fn count(&self, kind: u8) -> usize {
        self.shared.lock().frames.iter().filter(|frame| frame.0 == kind).count()
    }

    pub fn forget(&self) {
        self.shared.lock().frames.clear();
    }
}

impl Drop for UdfPeer {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.dead = true;
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        drop(state);
        self.shared.thawed.notify_all();
        let _ = UnixStream::connect(&self.path); // so that accepting ends
        let _ = std::fs::remove_file(&self.path);
    }
}

fn serve(mut stream: UnixStream, shared: &Shared) {
    let mut bytes = Vec::new();
    let mut chunk = [0; 65_536];
    while shared.alive() {
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(length) => bytes.extend_from_slice(&chunk[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return,
        }
        let mut start = 0;
        while let Some(header) = bytes[start..].first_chunk::<4>() {
            let end = start + 4 + u32::from_be_bytes(*header) as usize;
            let Some(frame) = bytes.get(start + 4..end) else { break };
            if frame[0] == HELLO {
                let _ = stream.write_all(&welcome());
            }
            shared.lock().frames.push((frame[0], frame[1..].to_vec()));
            start = end;
        }
        bytes.drain(..start);
    }
}

/// Version 1, head_seq 0, frames up to 1 MiB, a PING every 30 s (which never comes: tests send their own), log 7.
fn welcome() -> Vec<u8> {
    let body =
        [&[1][..], &0u64.to_be_bytes(), &1_048_576u32.to_be_bytes(), &30_000u32.to_be_bytes(), &7u64.to_be_bytes()];
    frame(WELCOME, &body.concat())
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 1).to_be_bytes()[..], &[kind], body].concat()
}
