//! A network of the test's own between two programs: a relay on a port that passes bytes on, and that can be cut
//! (every connection reset, new ones, too), made to swallow what comes on its connections without a word, as a dead
//! link does, or slowed down.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::{SockFilter, SockRef};

/// Classic BPF: return 0 bytes of every packet. A socket with this filter answers nothing, not even with an ACK.
const DROP_ALL: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// How often a pump looks whether its connection was cut.
const LOOK: Duration = Duration::from_millis(20);

/// Ends with the process.
pub struct Relay {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    /// How long a piece is on its way, and how many bytes a second pass.
    slow: Option<(Duration, u32)>,
    open: Vec<Open>,
}

/// A connection that passes.
struct Open {
    client: TcpStream,
    end: Arc<AtomicU8>,
}

/// How a connection ended: not at all, reset, or without a word.
const CUT: u8 = 1;
const DEAD: u8 = 2;

impl Relay {
    /// To this port of the loopback.
    pub fn to(port: u16) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let relay = Relay { port: listener.local_addr().expect("an address").port(), state: Arc::default() };
        let state = relay.state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // A failure is the client's to notice: its connection ends.
                let _ = pass(client, port, &state);
            }
        });
        relay
    }

    /// Resets every connection, and each new one until [`mend`](Self::mend).
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        state.is_cut = true;
        for open in state.open.drain(..) {
            let _ = SockRef::from(&open.client).set_linger(Some(Duration::ZERO));
            open.end.store(CUT, Ordering::Release);
        }
    }

    /// Neither cut nor slow any more.
    pub fn mend(&self) {
        let mut state = lock(&self.state);
        (state.is_cut, state.slow) = (false, None);
    }

    /// From now on nothing comes through the connections that there are, and nobody is told. New ones pass.
    pub fn swallow(&self) {
        for open in lock(&self.state).open.drain(..) {
            open.end.store(DEAD, Ordering::Release);
            SockRef::from(&open.client).attach_filter(&DROP_ALL).expect("a filter");
            // Open for as long as the process: its end would be heard.
            std::mem::forget(open);
        }
    }

    /// Each piece takes `delay` longer, and at most so many bytes a second pass, each way.
    pub fn slow(&self, delay: Duration, bytes_per_s: u32) {
        lock(&self.state).slow = Some((delay, bytes_per_s));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass(client: TcpStream, port: u16, state: &Arc<Mutex<State>>) -> io::Result<()> {
    let mut locked = lock(state);
    if locked.is_cut {
        return SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
    let server = TcpStream::connect(("127.0.0.1", port))?;
    let end = Arc::<AtomicU8>::default();
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
    }
    locked.open.push(Open { client: client.try_clone()?, end: end.clone() });
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let (state, end) = (state.clone(), end.clone());
        thread::spawn(move || pump(from, to, &state, &end));
    }
    Ok(())
}

/// Ends with the stream, or when the connection is cut; then the last end to be closed sends the RST.
fn pump(mut from: TcpStream, mut to: TcpStream, state: &Mutex<State>, end: &AtomicU8) {
    let mut piece = vec![0; 16 * 1024];
    while end.load(Ordering::Acquire) == 0 {
        let n = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => break,
        };
        let slow = lock(state).slow;
        if let Some((delay, bytes_per_s)) = slow {
            // A link's own pause, not a test's.
            thread::sleep(delay + Duration::from_secs(1) * n as u32 / bytes_per_s);
        }
        if end.load(Ordering::Acquire) != 0 || to.write_all(&piece[..n]).is_err() {
            break;
        }
    }
    match end.load(Ordering::Acquire) {
        CUT => {}
        // Open for as long as the process: its end would be heard.
        DEAD => std::mem::forget((from, to)),
        _ => drop(to.shutdown(Shutdown::Write)),
    }
}
