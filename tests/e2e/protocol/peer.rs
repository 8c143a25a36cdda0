//! A peer that speaks RSQ/1 in raw bytes, written from the specification alone: it shares no code with the broker, so that
//! both cannot be wrong in the same way.

use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use resq_test_support::{TlsClient, tls_connect};

/// How long a test waits for a frame.
pub const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
    Tls(SocketAddr, Arc<rustls::ClientConfig>),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsClient>),
}

impl Stream {
    /// Calls the function that fits with its socket.
    fn socket<T>(&self, tcp: impl FnOnce(&TcpStream) -> T, unix: impl FnOnce(&UnixStream) -> T) -> T {
        match self {
            Stream::Tcp(stream) => tcp(stream),
            Stream::Unix(stream) => unix(stream),
            Stream::Tls(stream) => tcp(&stream.sock),
        }
    }
}

pub struct Peer {
    stream: Stream,
    unread: Vec<u8>,
}

/// A decoded frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    Welcome {
        version: u8,
        head_seq: u64,
        max_frame: u32,
        ping_interval_ms: u32,
        log_id: u64,
    },
    Subscribed(u64),
    Consuming(u64),
    Event {
        seq: u64,
        unix_time_us: u64,
        state: String,
        payload: Vec<u8>,
    },
    Gap(u8, u64),
    Error(u16, String),
    Ping(u64),
    Pong(u64),
    /// The server closed, or the connection broke.
    End,
}

/// As the conformance table writes it: without the values that differ from run to run.
impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Received::Welcome { version, head_seq, .. } => write!(f, "WELCOME {version} {head_seq}"),
            Received::Subscribed(seq) => write!(f, "SUBSCRIBED {seq}"),
            Received::Consuming(seq) => write!(f, "CONSUMING {seq}"),
            Received::Event { seq, state, payload, .. } => {
                write!(f, "EVENT {seq} {state} {}", String::from_utf8_lossy(payload))
            }
            Received::Gap(kind, value) => write!(f, "GAP {kind} {value}"),
            Received::Error(code, _) => write!(f, "ERROR {code}"),
            Received::Ping(number) => write!(f, "PING {number}"),
            Received::Pong(number) => write!(f, "PONG {number}"),
            Received::End => write!(f, "END"),
        }
    }
}

impl Peer {
    pub fn connect(address: &Address) -> Peer {
        let stream = match address {
            Address::Tcp(address) => Stream::Tcp(TcpStream::connect(address).unwrap()),
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path).unwrap()),
            Address::Tls(address, config) => Stream::Tls(tls_connect(*address, config.clone()).into()),
        };
        let timeout = Some(DEADLINE);
        stream.socket(|socket| socket.set_read_timeout(timeout), |socket| socket.set_read_timeout(timeout)).unwrap();
        Peer { stream, unread: Vec::new() }
    }

    /// Connected and welcomed.
    pub fn greeted(address: &Address, role: u8) -> Peer {
        let mut peer = Peer::connect(address);
        peer.send(&hello(role, "peer", ""));
        assert!(matches!(peer.receive(), Received::Welcome { .. }));
        peer
    }

    /// Subscribed to these states, from now on.
    pub fn subscribed(address: &Address, states: &[&str]) -> Peer {
        let mut peer = Peer::greeted(address, 2);
        peer.send(&subscribe(0, 0, states));
        assert!(matches!(peer.receive(), Received::Subscribed(_)));
        peer
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// For a server that may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes),
        }
    }

    /// False if the server has not read anything for so long.
    pub fn try_send_for(&mut self, bytes: &[u8], ms: u64) -> bool {
        let timeout = Some(Duration::from_millis(ms));
        let socket = |socket: &TcpStream| socket.set_write_timeout(timeout);
        self.stream.socket(socket, |socket| socket.set_write_timeout(timeout)).unwrap();
        self.try_send(bytes).is_ok()
    }

    /// Shuts the sending side down.
    pub fn shut(&mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        }
        let end = Shutdown::Write;
        self.stream.socket(|socket| socket.shutdown(end), |socket| socket.shutdown(end)).unwrap();
    }

    /// The next frame; panics when none comes in time.
    pub fn receive(&mut self) -> Received {
        loop {
            if let Some((kind, body)) = self.frame() {
                return read(kind, &body);
            }
            let mut piece = [0; 16 << 10];
            let result = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut piece),
                Stream::Unix(stream) => stream.read(&mut piece),
                Stream::Tls(stream) => stream.read(&mut piece),
            };
            match result {
                Ok(0) => return Received::End,
                Ok(bytes) => self.unread.extend_from_slice(&piece[..bytes]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing came within {DEADLINE:?}; unread: {:?}", self.unread)
                }
                Err(_) => return Received::End,
            }
        }
    }

    /// The next frame, PINGs answered and left out.
    pub fn receive_past_pings(&mut self) -> Received {
        loop {
            match self.receive() {
                Received::Ping(number) => self.send(&pong(number)),
                other => return other,
            }
        }
    }

    /// Waits until the server has processed everything sent so far.
    pub fn sync(&mut self) {
        self.send(&ping(4711));
        assert_eq!(self.receive_past_pings(), Received::Pong(4711));
    }

    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let length = u32::from_be_bytes(*self.unread.first_chunk()?) as usize;
        assert!((1..=1_048_576).contains(&length), "a server's frame of {length} bytes");
        if self.unread.len() < 4 + length {
            return None;
        }
        let frame: Vec<u8> = self.unread.drain(..4 + length).skip(4).collect();
        Some((frame[0], frame[1..].to_vec()))
    }
}

fn read(kind: u8, body: &[u8]) -> Received {
    let u16_at = |at: usize| u16::from_be_bytes(body[at..at + 2].try_into().unwrap());
    let u32_at = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
    let u64_at = |at: usize| u64::from_be_bytes(body[at..at + 8].try_into().unwrap());
    let str_at = |at: usize| String::from_utf8(body[at + 2..at + 2 + u16_at(at) as usize].to_vec()).unwrap();
    match kind {
        0x05 => Received::Ping(u64_at(0)),
        0x06 => Received::Pong(u64_at(0)),
        0x81 => Received::Welcome {
            version: body[0],
            head_seq: u64_at(1),
            max_frame: u32_at(9),
            ping_interval_ms: u32_at(13),
            log_id: u64_at(17),
        },
        0x82 => Received::Subscribed(u64_at(0)),
        0x83 => {
            let state = str_at(16);
            let payload = body[18 + state.len()..].to_vec();
            Received::Event { seq: u64_at(0), unix_time_us: u64_at(8), state, payload }
        }
        0x84 => Received::Gap(body[0], u64_at(1)),
        0x85 => Received::Error(u16_at(0), str_at(2)),
        0x86 => Received::Consuming(u64_at(0)),
        other => panic!("a server sends no type {other:#x}"),
    }
}

pub fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 1).to_be_bytes()[..], &[kind], body].concat()
}

pub fn str(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text].concat()
}

pub fn hello(role: u8, name: &str, token: &str) -> Vec<u8> {
    hello_version(1, role, name, token)
}

pub fn hello_version(version: u8, role: u8, name: &str, token: &str) -> Vec<u8> {
    frame(0x01, &[&[version, role][..], &str(name.as_bytes()), &str(token.as_bytes())].concat())
}

pub fn subscribe(flags: u8, after_seq: u64, states: &[&str]) -> Vec<u8> {
    let states_bytes: Vec<u8> = states.iter().flat_map(|state| str(state.as_bytes())).collect();
    let n = states.len() as u16;
    frame(0x02, &[&[flags][..], &after_seq.to_be_bytes(), &n.to_be_bytes(), &states_bytes].concat())
}

pub fn consume(flags: u8, consumer: &str, (start, value): (u8, u64), max_unacked: u16, states: &[&str]) -> Vec<u8> {
    let mut body = vec![flags];
    body.extend(str(consumer.as_bytes()));
    body.push(start);
    body.extend(value.to_be_bytes());
    body.extend(max_unacked.to_be_bytes());
    body.extend((states.len() as u16).to_be_bytes());
    states.iter().for_each(|state| body.extend(str(state.as_bytes())));
    frame(0x07, &body)
}

pub fn ack(seq: u64) -> Vec<u8> {
    frame(0x08, &seq.to_be_bytes())
}

pub fn publish(state: &str, payload: &[u8]) -> Vec<u8> {
    frame(0x03, &[&str(state.as_bytes())[..], payload].concat())
}

pub fn ring() -> Vec<u8> {
    frame(0x04, &[])
}

pub fn ping(number: u64) -> Vec<u8> {
    frame(0x05, &number.to_be_bytes())
}

pub fn pong(number: u64) -> Vec<u8> {
    frame(0x06, &number.to_be_bytes())
}
