//! A link against a listener of the test's own, driven as the sender drives it.

use super::*;
use mio::{Events, Poll};
use std::net::TcpListener;

struct Driven {
    poll: Poll,
    link: Link,
    now: Instant,
}

impl Driven {
    fn connect(addr: &str, attempt: usize) -> Driven {
        let (poll, now) = (Poll::new().unwrap(), Instant::now());
        let link = Link::connect(Addr::Tcp(addr.into()), "s3cret", attempt, poll.registry(), Token(1), now).unwrap();
        Driven { poll, link, now }
    }

    /// Turns until `done` or the end of the connection.
    fn until(&mut self, done: impl Fn(&Link) -> bool) -> Result<(), String> {
        let mut events = Events::with_capacity(8);
        loop {
            self.link.flush().map_err(|error| error.to_string())?;
            self.link.read(self.now)?;
            if done(&self.link) {
                return Ok(());
            }
            if !self.link.has_work() {
                self.poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
                assert!(!events.is_empty(), "nothing came for 10 s");
                events.iter().for_each(|event| self.link.became(event.is_readable(), event.is_writable()));
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
fn a_name_is_tried_at_each_of_its_addresses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = format!("localhost:{}", listener.local_addr().unwrap().port());
    let reached = (0..4).find(|attempt| Driven::connect(&addr, *attempt).until(|link| link.waiting.is_empty()).is_ok());
    assert!(reached.is_some(), "127.0.0.1 is among the addresses of localhost");
    assert!(
        Link::connect(
            Addr::Tcp("no.such.name.invalid:1".into()),
            "",
            0,
            Poll::new().unwrap().registry(),
            Token(1),
            Instant::now()
        )
        .is_err()
    );
}

#[test]
fn nobody_there_is_an_error_and_not_a_wait() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let why = Driven::connect(&gone.to_string(), 0).until(|_| false).unwrap_err();
    assert!(why.contains("refused"), "{why}");
}

#[test]
fn hello_comes_first_and_silence_has_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut driven = Driven::connect(&listener.local_addr().unwrap().to_string(), 0);
    let (mut peer, _) = listener.accept().unwrap();
    driven.until(|link| link.waiting.is_empty()).unwrap();
    assert_eq!(driven.link.silent_until(), Some(driven.now + HANDSHAKE));
    assert!(!driven.link.has_room(), "nothing but HELLO before WELCOME");

    let mut bytes = [0; 512];
    let length = peer.read(&mut bytes).unwrap();
    let (frame, used) = resq::wire::split(&bytes[..length], MAX_FRAME).unwrap().unwrap();
    let hello = ClientMessage::decode(frame).unwrap();
    assert!(matches!(hello, ClientMessage::Hello { role: Role::Publisher, token: "s3cret", .. }), "{hello:?}");
    assert_eq!(used, length);

    peer.write_all(&welcome(2_000)).unwrap();
    driven.until(Link::is_up).unwrap();
    assert_eq!(driven.link.silent_until(), Some(driven.now + Duration::from_secs(6)));

    // One RING waits, however often it is asked for; an event behind a full queue finds no room.
    driven.link.ring();
    driven.link.ring();
    assert_eq!(driven.link.waiting.len(), 1);
    driven.link.event(Rc::new(vec![0; MAX_WAITING_BYTES]));
    assert!(!driven.link.has_room() && driven.link.waiting_events() == 1);

    drop(peer);
    assert!(driven.until(|_| false).is_err());
}

#[test]
fn another_version_and_an_error_end_it() {
    let mut error = Vec::new();
    ServerMessage::Error { code: 3, message: "no\nsuch token" }.encode(&mut error);
    let mut version = welcome(0);
    version[5] = 9;
    for (bytes, why) in [(error, "error 3: no\\nsuch token"), (version, "version 9"), (vec![0xff; 8], "too large")] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut driven = Driven::connect(&listener.local_addr().unwrap().to_string(), 0);
        listener.accept().unwrap().0.write_all(&bytes).unwrap();
        let told = driven.until(|_| false).unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}
