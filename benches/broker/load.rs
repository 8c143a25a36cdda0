//! The measuring client: one publisher and many subscribers on one poll, the same for every server. Each event carries its
//! number and the time it was sent; each subscriber checks that it receives every one, in order.

use crate::{
    dialect::{Dialect, PAYLOAD},
    server::ServerProcess,
};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use resq::client::ClientTls;
use resq_test_support::InOrder;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::{
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// Longer than any server needs; after that the run has failed.
const DEADLINE: Duration = Duration::from_secs(60);

pub struct Subscribers {
    dialect: Dialect,
    poll: Poll,
    subscribers: Vec<Subscriber>,
    buffer: Vec<u8>,
    began: Instant,
    order: InOrder,
    pub delivered: u64,
}

/// A connection that does not block, once what is sent first has been sent.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn connect(address: SocketAddr, dialect: Dialect, tls: Option<&Arc<ClientConfig>>, first: &[u8]) -> Stream {
        let mut socket = std::net::TcpStream::connect(address).expect("it listens");
        let from_std = |socket: std::net::TcpStream| {
            socket.set_nonblocking(true).expect("a socket");
            TcpStream::from_std(socket)
        };
        match tls {
            None => {
                socket.write_all(first).expect("it reads");
                Stream::Plain(from_std(socket))
            }
            Some(config) => {
                if dialect == Dialect::Nats {
                    // It begins in clear text, with a line.
                    let mut byte = [0];
                    while byte != *b"\n" {
                        socket.read_exact(&mut byte).expect("its greeting");
                    }
                }
                let name = resq::base::tls::server_name("127.0.0.1").expect("a name");
                let session = ClientConnection::new(config.clone(), name).expect("a session");
                let mut stream = StreamOwned::new(session, socket);
                stream.write_all(first).and_then(|()| stream.flush()).expect("it reads");
                let (session, socket) = stream.into_parts();
                Stream::Tls(Box::new(StreamOwned::new(session, from_std(socket))))
            }
        }
    }

    fn socket(&mut self) -> &mut TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &mut stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(_) => Ok(()),
            Stream::Tls(stream) => stream.flush(),
        }
    }
}

/// Encryption without proof: what is measured is what is sent.
fn client_tls() -> Arc<ClientConfig> {
    ClientTls::default().load().expect("it reads no file")
}

struct Subscriber {
    stream: Stream,
    /// The beginning of an incomplete message.
    partial: Vec<u8>,
    ready: bool,
}

impl Subscribers {
    /// Connects this many subscribers and waits until all are subscribed.
    pub fn connect(server: &ServerProcess, count: usize) -> Subscribers {
        let dialect = server.dialect;
        let poll = Poll::new().expect("a poll");
        let mut all = Subscribers {
            dialect,
            poll,
            subscribers: Vec::new(),
            buffer: vec![0; 256 << 10],
            began: Instant::now(),
            order: InOrder::new(count),
            delivered: 0,
        };
        let tls = server.tls.then(client_tls);
        // At most as many at once as a listener's backlog holds.
        while all.subscribers.len() < count {
            for _ in 0..100.min(count - all.subscribers.len()) {
                let mut stream = Stream::connect(server.subscribers_at, dialect, tls.as_ref(), &dialect.subscribe());
                let token = Token(all.subscribers.len());
                all.poll.registry().register(stream.socket(), token, Interest::READABLE).expect("a place in the poll");
                all.subscribers.push(Subscriber { stream, partial: Vec::new(), ready: false });
            }
            let deadline = Instant::now() + DEADLINE;
            while !all.subscribers.iter().all(|subscriber| subscriber.ready) {
                assert!(Instant::now() < deadline, "subscriptions take too long");
                all.receive(Some(Duration::from_millis(100)), |_| {});
            }
        }
        all
    }

    pub fn len(&self) -> u64 {
        self.subscribers.len() as u64
    }

    /// Receives available events, waiting up to `timeout` for them. Calls `each` with the time from publishing to decoding.
    pub fn receive(&mut self, timeout: Option<Duration>, mut each: impl FnMut(Duration)) {
        let mut events = Events::with_capacity(1_024);
        match self.poll.poll(&mut events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            result => result.expect("the poll"),
        }
        let now = self.began.elapsed();
        for event in &events {
            let subscriber = &mut self.subscribers[event.token().0];
            loop {
                let kept = subscriber.partial.len();
                self.buffer[..kept].copy_from_slice(&subscriber.partial);
                let room = &mut self.buffer[kept..];
                let all = room.len();
                let read = match subscriber.stream.read(room) {
                    Ok(0) => panic!("the server closed"),
                    Ok(bytes) => bytes,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                };
                let mut rest = &self.buffer[..kept + read];
                while let Some(message) = self.dialect.first_message(rest) {
                    match message.payload {
                        Some(payload) => {
                            let (number, sent) = read_payload(payload);
                            self.order.observe(event.token().0, number);
                            self.delivered += 1;
                            each(now.saturating_sub(sent));
                        }
                        None => subscriber.ready |= self.dialect.is_ready(rest),
                    }
                    rest = &rest[message.bytes..];
                }
                subscriber.partial.clear();
                subscriber.partial.extend_from_slice(rest);
                // A short read has emptied the socket, except by TLS.
                if read < all && matches!(subscriber.stream, Stream::Plain(_)) {
                    break;
                }
            }
        }
    }

    pub fn publisher(&self, server: &ServerProcess) -> Publisher {
        // Only where the one port is for TLS.
        let tls = (server.tls && server.address == server.subscribers_at).then(client_tls);
        let first = self.dialect.greet_as_publisher();
        let mut stream = Stream::connect(server.address, self.dialect, tls.as_ref(), &first);
        stream.socket().set_nodelay(true).expect("a socket");
        Publisher { dialect: self.dialect, stream, began: self.began, queued: Vec::new(), published: 0 }
    }
}

pub struct Publisher {
    dialect: Dialect,
    stream: Stream,
    began: Instant,
    queued: Vec<u8>,
    pub published: u64,
}

impl Publisher {
    /// Publishes this many events in one write. What the socket does not accept is sent with the next call.
    pub fn publish(&mut self, events: u64) {
        for _ in 0..events {
            let mut payload = [b'.'; PAYLOAD];
            payload[..16].copy_from_slice(&as_text(self.published));
            payload[16..32].copy_from_slice(&as_text(self.began.elapsed().as_nanos() as u64));
            self.dialect.publish(&payload, &mut self.queued);
            self.published += 1;
        }
        while !self.queued.is_empty() {
            match self.stream.write(&self.queued) {
                Ok(bytes) => drop(self.queued.drain(..bytes)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        // Replies, if the server sends any.
        while matches!(self.stream.read(&mut [0; 16 << 10]), Ok(1..)) {}
    }
}

const NIBBLES: u64 = 0x0f0f_0f0f_0f0f_0f0f;

/// A number as plain text, which every protocol carries as it is, at next to no cost.
fn as_text(number: u64) -> [u8; 16] {
    let text = |nibbles: u64| u128::from((nibbles & NIBBLES) | 0x4040_4040_4040_4040);
    (text(number) << 64 | text(number >> 4)).to_be_bytes()
}

fn from_text(text: [u8; 16]) -> u64 {
    let both = u128::from_be_bytes(text);
    ((both >> 64) as u64 & NIBBLES) | (both as u64 & NIBBLES) << 4
}

fn read_payload(payload: &[u8]) -> (u64, Duration) {
    assert_eq!(payload.len(), PAYLOAD);
    let number = |at: usize| from_text(payload[at..at + 16].try_into().expect("sixteen bytes"));
    (number(0), Duration::from_nanos(number(16)))
}

/// The client and each server need a file for each connection.
pub fn raise_open_files() -> io::Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}
