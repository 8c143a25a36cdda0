//! A network between two programs that a test can break: a TCP proxy on its own port that forwards bytes, and that can
//! reset every connection, drop bytes silently as a dead link does, slow down, or lose or falsify the answer to one COMMIT.

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

/// Classic BPF: accept 0 bytes of every packet. A socket with this filter does not even send an ACK.
const DROP_ALL: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// How often an idle connection checks whether it was cut.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The proxy listens until the process ends.
pub struct FaultProxy {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    /// Connections that were reset at once because the network was cut.
    refused: u64,
    /// The delay of each piece, and the bytes forwarded per second.
    slow: Option<(Duration, u32)>,
    /// What happens to the answer to the first COMMIT after a statement with this text.
    commit: Option<(&'static str, Answer)>,
    has_lost: bool,
    open: Vec<Open>,
}

/// What happens to an answer.
#[derive(Clone, Copy)]
enum Answer {
    /// It is lost together with the connection.
    Lost,
    /// It is replaced by a lost race for locks.
    Race,
}

/// A connection that works.
struct Open {
    client: TcpStream,
    end: Arc<AtomicU8>,
}

/// How a connection ended, besides [`OPEN`].
const OPEN: u8 = 0;
const CUT: u8 = 1;
const SILENT: u8 = 2;
const ANSWER_LOST: u8 = 3;
/// It has not ended: an answer is awaited that is to be replaced.
const ANSWER_REPLACED: u8 = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    ToClient,
}

impl FaultProxy {
    /// A proxy to this port of the loopback interface.
    pub fn to(port: u16) -> FaultProxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let proxy = FaultProxy { port: listener.local_addr().expect("an address").port(), state: Arc::default() };
        let state = proxy.state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // The client notices a failure: its connection ends.
                let _ = pass(client, port, &state);
            }
        });
        proxy
    }

    /// Resets every connection, and each new one until [`restore`](Self::restore).
    pub fn cut(&self) {
        let mut state = lock(&self.state);
        (state.is_cut, state.refused) = (true, 0);
        for open in state.open.drain(..) {
            let _ = SockRef::from(&open.client).set_linger(Some(Duration::ZERO));
            open.end.store(CUT, Ordering::Release);
        }
    }

    /// Connection attempts since [`cut`](Self::cut): each means that a peer has noticed.
    pub fn refused(&self) -> u64 {
        lock(&self.state).refused
    }

    /// Neither cut nor slow any more.
    pub fn restore(&self) {
        let mut state = lock(&self.state);
        (state.is_cut, state.slow) = (false, None);
    }

    /// Silently drops everything on existing connections: no byte, no FIN and no RST gets through. New connections work.
    pub fn drop_silently(&self) {
        for open in lock(&self.state).open.drain(..) {
            open.end.store(SILENT, Ordering::Release);
            SockRef::from(&open.client).attach_filter(&DROP_ALL).expect("a filter");
            // Stays open for the life of the process: a close would be noticed.
            std::mem::forget(open);
        }
    }

    /// Delays each piece by `delay`, and forwards at most `bytes_per_s` in each direction.
    pub fn slow(&self, delay: Duration, bytes_per_s: u32) {
        lock(&self.state).slow = Some((delay, bytes_per_s));
    }

    /// Loses the server's answer to the first COMMIT that follows a statement with `mark` in it on one connection: the
    /// server has executed it, and the connection ends. For connections without TLS.
    pub fn lose_answer_to_commit(&self, mark: &'static str) {
        let mut state = lock(&self.state);
        (state.commit, state.has_lost) = (Some((mark, Answer::Lost)), false);
    }

    /// The same, but the client receives the error of a lost race for locks, and the connection goes on: what a cluster
    /// reports where a node was cut off during a COMMIT that the others carried out.
    pub fn report_race_at_commit(&self, mark: &'static str) {
        let mut state = lock(&self.state);
        (state.commit, state.has_lost) = (Some((mark, Answer::Race)), false);
    }

    /// Whether that answer was lost or replaced.
    pub fn has_lost(&self) -> bool {
        lock(&self.state).has_lost
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass(client: TcpStream, port: u16, state: &Arc<Mutex<State>>) -> io::Result<()> {
    let mut locked = lock(state);
    if locked.is_cut {
        locked.refused += 1;
        return SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
    let server = TcpStream::connect(("127.0.0.1", port))?;
    let end = Arc::<AtomicU8>::default();
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(CHECK_INTERVAL))?;
    }
    locked.open.push(Open { client: client.try_clone()?, end: end.clone() });
    let ways = [(client.try_clone()?, server.try_clone()?, Direction::ToServer), (server, client, Direction::ToClient)];
    for (from, to, direction) in ways {
        let (state, end) = (state.clone(), end.clone());
        thread::spawn(move || pump(from, to, direction, &state, &end));
    }
    Ok(())
}

/// Ends with the stream, or when the connection is cut; then closing the last descriptor sends the RST.
fn pump(mut from: TcpStream, mut to: TcpStream, direction: Direction, state: &Mutex<State>, end: &AtomicU8) {
    let mut piece = vec![0; 64 * 1024];
    let mut marked = None;
    let mut awaited = Vec::new();
    let ended = || end.load(Ordering::Acquire);
    while matches!(ended(), OPEN | ANSWER_LOST | ANSWER_REPLACED) {
        let n = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Err(_) => break,
        };
        let slow = lock(state).slow;
        if let Some((delay, bytes_per_s)) = slow {
            // This pause is the link's delay; no test waits for it.
            thread::sleep(delay + Duration::from_secs(1) * n as u32 / bytes_per_s);
        }
        let mut bytes = &piece[..n];
        match (ended(), direction) {
            (OPEN, Direction::ToServer) => match commit_answer(bytes, &mut marked, state) {
                // Set before the statement is forwarded, so that its answer cannot overtake this.
                Some(Answer::Lost) => {
                    end.store(ANSWER_LOST, Ordering::Release);
                    let _ = to.write_all(bytes);
                    return;
                }
                Some(Answer::Race) => end.store(ANSWER_REPLACED, Ordering::Release),
                None => {}
            },
            (ANSWER_REPLACED, Direction::ToClient) => {
                awaited.extend_from_slice(bytes);
                if !replace_by_race(&mut awaited) {
                    continue;
                }
                end.store(OPEN, Ordering::Release);
                bytes = &awaited;
            }
            (OPEN | ANSWER_REPLACED, _) => {}
            _ => break,
        }
        if to.write_all(bytes).is_err() {
            break;
        }
        if ended() == OPEN {
            awaited.clear();
        }
    }
    match ended() {
        CUT => {}
        // Stays open for the life of the process: a close would be noticed.
        SILENT => std::mem::forget((from, to)),
        // The answer has arrived from the server and is not forwarded.
        ANSWER_LOST => [from, to].iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both))),
        _ => drop(to.shutdown(Shutdown::Write)),
    }
}

/// What is to happen to the answer to this piece from the client. The MySQL protocol takes turns, and the statements in
/// question are far smaller than one read.
fn commit_answer(piece: &[u8], marked: &mut Option<&'static str>, state: &Mutex<State>) -> Option<Answer> {
    let mut state = lock(state);
    let (mark, answer) = state.commit.filter(|_| !state.has_lost)?;
    let has = |text: &str| piece.windows(text.len()).any(|window| window == text.as_bytes());
    if has(mark) {
        *marked = Some(mark);
    }
    state.has_lost = *marked == Some(mark) && has("COMMIT");
    state.has_lost.then_some(answer)
}

/// Replaces the last packet of an answer, which says that all went well, by an error; whether the answer is whole. It
/// consists of such packets alone, one for each statement.
fn replace_by_race(answer: &mut Vec<u8>) -> bool {
    const OK: u8 = 0;
    /// Of the status: another packet follows.
    const MORE: u8 = 8;
    const RACE: &[u8] = b"\xff\xbd\x04#40001Deadlock found when trying to get lock; try restarting transaction";
    let mut at = 0;
    while let Some([a, b, c, number]) = answer.get(at..at + 4) {
        let (len, number) = (usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16, *number);
        let Some(packet) = answer.get(at + 4..at + 4 + len) else { return false };
        assert_eq!(packet[0], OK, "no answer to a COMMIT: {}", String::from_utf8_lossy(packet));
        // Two numbers of one byte, or of a few bytes if they are large, precede the status.
        let bytes = |first: u8| [1, 3, 4, 9][usize::from(first.saturating_sub(251).min(3))];
        let affected = bytes(packet[1]);
        let status = 1 + affected + bytes(packet[1 + affected]);
        if packet[status] & MORE == 0 {
            answer.truncate(at);
            answer.extend([RACE.len() as u8, 0, 0, number]);
            answer.extend_from_slice(RACE);
            return true;
        }
        at += 4 + len;
    }
    false
}
