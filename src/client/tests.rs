//! Subscriber and publisher against a scripted broker: one closure per connection.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::*;
use crate::wire::{ClientMessage, MAX_FRAME, ServerMessage, split};

const SOON: Duration = Duration::from_secs(20);

/// The broker's end of one connection.
struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// The next message in `Debug` form; `end` if the client disconnected.
    fn receive(&mut self) -> String {
        loop {
            if let Some((frame, used)) = split(&self.input, MAX_FRAME).unwrap() {
                let message = format!("{:?}", ClientMessage::decode(frame).unwrap());
                self.input.drain(..used);
                return message;
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(n) if n > 0 => self.input.extend_from_slice(&piece[..n]),
                _ => return "end".into(),
            }
        }
    }

    fn send(&mut self, message: ServerMessage<'_>) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.stream.write_all(&frame).unwrap();
    }

    /// HELLO, WELCOME, SUBSCRIBE, SUBSCRIBED; returns the number that the client asked to resume after.
    fn subscribed(&mut self, log_id: u64, head: u64) -> Option<u64> {
        assert!(self.receive().starts_with("Hello { role: Subscriber, name: \"t\""));
        self.send(welcome(log_id));
        let asked = self.receive();
        assert!(asked.starts_with("Subscribe"), "{asked}");
        let resume = asked.split("After(").nth(1).map(|rest| rest.split(')').next().unwrap().parse().unwrap());
        self.send(ServerMessage::Subscribed { seq: resume.unwrap_or(head) });
        resume
    }

    fn event(&mut self, seq: u64) {
        self.send(ServerMessage::Event { seq, unix_time_us: 1, state: "A", payload: b"{}" });
    }
}

fn welcome(log_id: u64) -> ServerMessage<'static> {
    ServerMessage::Welcome { version: 1, head_seq: 0, max_frame: 1 << 20, ping_interval_ms: 30_000, log_id }
}

type Script = Box<dyn FnOnce(&mut Client) + Send>;

/// A broker for as many connections as there are scripts; each connection ends with its script.
fn broker(scripts: Vec<Script>) -> (Peer, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for script in scripts {
            let (stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            script(&mut Client { stream, input: Vec::new() });
        }
    });
    (Peer::new(Address::Tcp { host: "127.0.0.1".into(), port }, "t"), thread)
}

fn seqs(subscriber: &mut Subscriber, n: usize) -> Vec<String> {
    let next = |s: &mut Subscriber| match s.recv_timeout(SOON).unwrap().expect("a delivery in time") {
        Delivery::Event(event) => event.seq.to_string(),
        other => format!("{other:?}"),
    };
    (0..n).map(|_| next(subscriber)).collect()
}

#[test]
fn subscriber_resumes_after_the_last_event_or_ping() {
    let (peer, broker) = broker(vec![
        Box::new(|c| {
            assert_eq!(c.subscribed(7, 5), None);
            c.event(6);
            c.send(ServerMessage::Ping(8));
            assert_eq!(c.receive(), "Pong(8)");
        }),
        Box::new(|c| {
            assert_eq!(c.subscribed(7, 9), Some(8));
            c.event(9);
            c.send(ServerMessage::Error { code: 8, message: "shutting down" });
        }),
        Box::new(|c| {
            assert_eq!(c.subscribed(7, 9), Some(9));
            c.event(10);
            assert_eq!(c.receive(), "end");
        }),
    ]);
    let mut subscriber = Subscriber::connect(peer, Subscription::to(["A"])).unwrap();
    assert_eq!(seqs(&mut subscriber, 3), ["6", "9", "10"]);
    drop(subscriber);
    broker.join().unwrap();
}

#[test]
fn different_log_is_reported_and_read_from_its_beginning() {
    let (peer, broker) = broker(vec![
        Box::new(|c| {
            assert_eq!(c.subscribed(7, 5), None);
            c.event(6);
        }),
        Box::new(|c| {
            assert_eq!(c.subscribed(8, 2), Some(0));
            c.event(1);
        }),
    ]);
    let mut subscriber = Subscriber::connect(peer, Subscription::to(["A"])).unwrap();
    assert_eq!(seqs(&mut subscriber, 3), ["6", "OtherLog", "1"]);
    broker.join().unwrap();
}

#[test]
fn since_and_durable_are_sent_and_gaps_delivered() {
    let (mut peer, broker) = broker(vec![Box::new(|c| {
        assert_eq!(c.receive(), "Hello { role: Subscriber, name: \"t\", token: \"s3cret\" }");
        c.send(welcome(1));
        let asked = c.receive();
        assert_eq!(asked, "Subscribe { start: After(4), durable_only: true, patterns: [Exact(\"A\"), Prefix(\"B\")] }");
        c.send(ServerMessage::Subscribed { seq: 4 });
        c.send(ServerMessage::Gap(Gap::Pruned(9)));
        c.event(9);
    })]);
    peer.token = Some(Secret("s3cret".into()));
    let subscription = Subscription { since: Start::After(4), durable_only: true, ..Subscription::to(["A", "B*"]) };
    let mut subscriber = Subscriber::connect(peer, subscription).unwrap();
    assert_eq!(seqs(&mut subscriber, 2), ["Gap(Pruned(9))", "9"]);
    broker.join().unwrap();
}

#[test]
fn frames_may_arrive_in_pieces_and_unknown_ones_are_ignored() {
    let (peer, broker) = broker(vec![Box::new(|c| {
        c.subscribed(1, 0);
        let mut bytes = vec![0, 0, 0, 2, 0xEE, 1];
        for seq in 1..=3 {
            ServerMessage::Event { seq, unix_time_us: 1, state: "A", payload: b"[]" }.encode(&mut bytes);
        }
        bytes.iter().for_each(|byte| c.stream.write_all(&[*byte]).unwrap());
        assert_eq!(c.receive(), "end");
    })]);
    let mut subscriber = Subscriber::connect(peer, Subscription::to(["*"])).unwrap();
    assert_eq!(seqs(&mut subscriber, 3), ["1", "2", "3"]);
    assert_eq!(subscriber.recv_timeout(Duration::from_millis(20)).unwrap(), None);
    drop(subscriber);
    broker.join().unwrap();
}

#[test]
fn first_connection_must_succeed_and_a_final_refusal_ends_a_later_one() {
    let unreachable = Peer::new(Address::Tcp { host: "127.0.0.1".into(), port: 1 }, "t");
    let error = Subscriber::connect(unreachable, Subscription::to(["A"])).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && !error.is_final(), "{error}");

    let (peer, broker) = broker(vec![
        Box::new(|c| assert_eq!(c.subscribed(1, 0), None)),
        Box::new(|c| {
            c.receive();
            c.send(ServerMessage::Error { code: 3, message: "wrong token\n" });
        }),
    ]);
    let mut subscriber = Subscriber::connect(peer, Subscription::to(["A"])).unwrap();
    let error = subscriber.recv().unwrap_err();
    assert!(error.is_refusal(Code::Token) && error.is_final());
    assert!(error.to_string().ends_with("refused (error 3): wrong token\\n"), "{error}");
    broker.join().unwrap();
}

#[test]
fn deadline_holds_for_the_first_connection() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::Tcp { host: "127.0.0.1".into(), port: mute.local_addr().unwrap().port() };
    let start = Instant::now();
    let deadline = Some(start + Duration::from_millis(50));
    let error = Subscriber::connect_deadline(Peer::new(address, "t"), Subscription::to(["A"]), deadline).unwrap_err();
    assert!(error.to_string().contains("did not answer HELLO") && start.elapsed() < SOON / 4, "{error}");
}

#[test]
fn invalid_pattern_is_not_sent_and_garbage_is_not_accepted() {
    let (peer, broker) = broker(vec![Box::new(|c| {
        c.stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        c.receive();
    })]);
    let error = Subscriber::connect(peer.clone(), Subscription::to(["a b"])).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let error = Subscriber::connect(peer, Subscription::to(["A"])).unwrap_err();
    assert!(error.to_string().contains("not RSQ/1"), "{error}");
    broker.join().unwrap();
}

#[test]
fn publisher_pipelines_confirms_and_answers_pings_while_idle() {
    let (peer, broker) = broker(vec![Box::new(|c| {
        assert!(c.receive().starts_with("Hello { role: Publisher"));
        c.send(welcome(1));
        for _ in 0..5000 {
            assert!(c.receive().starts_with("Publish { state: State(\"A\")"));
        }
        assert_eq!(c.receive(), "Ping(1)");
        c.send(ServerMessage::Pong(1));
        c.send(ServerMessage::Ping(7));
        assert_eq!(c.receive(), "Pong(7)");
    })]);
    let mut publisher = Publisher::connect(&peer).unwrap();
    for _ in 0..5000 {
        publisher.publish("A", &[b'x'; 100]).unwrap();
    }
    publisher.confirm(SOON).unwrap();
    broker.join().unwrap();
    assert!(matches!(publisher.publish("a b", b""), Err(Error::Invalid(_))));
    assert!(matches!(publisher.publish("A", &vec![0; 1_000_001]), Err(Error::Invalid(_))));
}

#[test]
fn publisher_reports_the_brokers_reason_and_times_out_without_an_answer() {
    let (peer, refusing) = broker(vec![Box::new(|c| {
        c.receive();
        c.send(welcome(1));
        c.receive();
        c.send(ServerMessage::Error { code: 6, message: "no such state" });
    })]);
    let mut publisher = Publisher::connect(&peer).unwrap();
    publisher.publish("A", b"").unwrap();
    assert!(publisher.confirm(SOON).unwrap_err().is_refusal(Code::State));
    assert!(matches!(publisher.confirm(SOON), Err(Error::Unreachable { .. })));
    refusing.join().unwrap();

    let (peer, silent) = broker(vec![Box::new(|c| {
        c.receive();
        c.send(welcome(1));
        while c.receive() != "end" {}
    })]);
    let mut publisher = Publisher::connect(&peer).unwrap();
    assert!(matches!(publisher.confirm(Duration::from_millis(20)), Err(Error::TimedOut { .. })));
    drop(publisher);
    silent.join().unwrap();
}

#[test]
fn busy_subscriber_can_keep_its_connection_alive() {
    let (peer, broker) = broker(vec![Box::new(|c| {
        c.receive();
        let ServerMessage::Welcome { version, head_seq, max_frame, log_id, .. } = welcome(1) else { unreachable!() };
        c.send(ServerMessage::Welcome { version, head_seq, max_frame, ping_interval_ms: 0, log_id });
        c.receive();
        c.send(ServerMessage::Subscribed { seq: 0 });
        assert_eq!(c.receive(), "Ping(0)");
        c.send(ServerMessage::Pong(0));
        c.event(1);
    })]);
    let mut subscriber = Subscriber::connect(peer, Subscription::to(["A"])).unwrap();
    subscriber.keep_alive();
    assert_eq!(seqs(&mut subscriber, 1), ["1"]);
    broker.join().unwrap();
}
