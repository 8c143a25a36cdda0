//! A connection to a listener in the test, driven as the sender drives it.

use super::*;
use mio::{Events, Poll};
use std::net::TcpListener;

fn settings(token: &str) -> Config {
    Config { addresses: Vec::new(), token: token.into(), tls: None }
}

struct Driven {
    poll: Poll,
    connection: Connection,
    now: Instant,
}

impl Driven {
    fn connect(addr: &str, attempt: usize) -> Driven {
        let (poll, now) = (Poll::new().unwrap(), Instant::now());
        let connection =
            Connection::open(addr.parse().unwrap(), &settings("s3cret"), attempt, poll.registry(), Token(1), now)
                .unwrap();
        Driven { poll, connection, now }
    }

    /// Reads and writes until `done`, or until the connection ends.
    fn until(&mut self, done: impl Fn(&Connection) -> bool) -> Result<(), Error> {
        let mut events = Events::with_capacity(8);
        loop {
            self.connection.write()?;
            self.connection.read(self.now)?;
            if done(&self.connection) {
                return Ok(());
            }
            if !self.connection.has_work() {
                self.poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
                assert!(!events.is_empty(), "nothing happened for 10 s");
                events.iter().for_each(|event| self.connection.set_ready(event.is_readable(), event.is_writable()));
            }
        }
    }
}

fn welcome(ping_interval_ms: u32) -> Vec<u8> {
    let mut out = Vec::new();
    ServerMessage::Welcome { version: VERSION, head_seq: 0, max_frame: 1 << 20, ping_interval_ms, log_id: 7 }
        .encode(&mut out);
    out
}

#[test]
fn each_address_of_a_name_is_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("localhost:{}", listener.local_addr().unwrap().port());
    let reached =
        (0..4).find(|attempt| Driven::connect(&addr, *attempt).until(|connection| connection.queue.is_empty()).is_ok());
    assert!(reached.is_some(), "127.0.0.1 is among the addresses of localhost");
    assert!(
        Connection::open(
            "no.such.name.invalid:1".parse().unwrap(),
            &settings(""),
            0,
            Poll::new().unwrap().registry(),
            Token(1),
            Instant::now()
        )
        .is_err()
    );
}

#[test]
fn refused_connection_is_an_error() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Driven::connect(&gone.to_string(), 0).until(|_| false).unwrap_err();
    assert!(matches!(&error, Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused), "{error}");
}

#[test]
fn hello_is_sent_first_and_silence_is_bounded() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut driven = Driven::connect(&listener.local_addr().unwrap().to_string(), 0);
    let (mut peer, _) = listener.accept().unwrap();
    driven.until(|connection| connection.queue.is_empty()).unwrap();
    assert_eq!(driven.connection.silent_until(), Some(driven.now + HANDSHAKE));
    assert!(!driven.connection.has_room(), "nothing but HELLO before WELCOME");

    let mut bytes = [0; 512];
    let length = peer.read(&mut bytes).unwrap();
    let (frame, used) = resq::wire::split(&bytes[..length], MAX_FRAME).unwrap().unwrap();
    let hello = ClientMessage::decode(frame).unwrap();
    assert!(matches!(hello, ClientMessage::Hello { role: Role::Publisher, token: "s3cret", .. }), "{hello:?}");
    assert_eq!(used, length);

    peer.write_all(&welcome(2_000)).unwrap();
    driven.until(Connection::is_up).unwrap();
    assert_eq!(driven.connection.silent_until(), Some(driven.now + Duration::from_secs(6)));

    // At most one RING is queued, and a full queue has no room for an event.
    driven.connection.queue_ring();
    driven.connection.queue_ring();
    assert_eq!(driven.connection.queue.tags().count(), 1);
    driven.connection.queue_event(Rc::new(vec![0; MAX_WAITING_BYTES]));
    assert!(!driven.connection.has_room() && driven.connection.waiting_events() == 1);

    drop(peer);
    assert!(driven.until(|_| false).is_err());
}

#[test]
fn other_version_error_and_garbage_end_the_connection() {
    let mut error = Vec::new();
    ServerMessage::Error { code: 3, message: "no\nsuch token" }.encode(&mut error);
    let mut version = welcome(0);
    version[5] = 9;
    for (bytes, why) in [(error, "error 3: no\\nsuch token"), (version, "version 9"), (vec![0xff; 8], "too large")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut driven = Driven::connect(&listener.local_addr().unwrap().to_string(), 0);
        listener.accept().unwrap().0.write_all(&bytes).unwrap();
        let error = driven.until(|_| false).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}
