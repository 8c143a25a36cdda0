//! Every message encoded and decoded, every frame cut at every byte, and the strict and the lenient decoder compared.

use super::*;
use crate::wire::{Code, MAX_FRAME, split};
use proptest::prelude::*;
use std::sync::LazyLock;

static LONGEST_NAME: LazyLock<String> = LazyLock::new(|| "x".repeat(64));

fn consume(
    name: &'static str,
    start: Start,
    max_unacked: u16,
    patterns: &[Pattern<'static>],
) -> ClientMessage<'static> {
    let consumer = ConsumerName::new(name).unwrap();
    ClientMessage::Consume { consumer, start, max_unacked, patterns: patterns.to_vec() }
}

fn client_messages() -> Vec<ClientMessage<'static>> {
    let patterns = vec![Pattern::Exact("Error"), Pattern::Prefix("Im"), Pattern::Prefix("")];
    vec![
        ClientMessage::Hello { role: Role::Publisher, name: "", token: "" },
        ClientMessage::Hello { role: Role::Subscriber, name: "müller", token: "secret" },
        ClientMessage::Hello { role: Role::Both, name: "x", token: "" },
        ClientMessage::Subscribe { start: Start::Now, durable_only: false, patterns: patterns.clone() },
        ClientMessage::Subscribe { start: Start::After(u64::MAX), durable_only: true, patterns: patterns.clone() },
        ClientMessage::Subscribe { start: Start::Time(17), durable_only: false, patterns: patterns.clone() },
        consume("a", Start::Now, 1, &patterns),
        consume("a.b_c:d-9", Start::Beginning, 2, &patterns),
        consume(&LONGEST_NAME, Start::After(u64::MAX), 9_999, &patterns),
        consume("Z", Start::Time(u64::MAX), MAX_UNACKED, &patterns),
        ClientMessage::Ack(0),
        ClientMessage::Ack(u64::MAX),
        ClientMessage::Publish { state: State::new("Suspended").unwrap(), payload: b"{}" },
        ClientMessage::Publish { state: State::new("S").unwrap(), payload: b"" },
        ClientMessage::Ring,
        ClientMessage::Ping(7),
        ClientMessage::Pong(u64::MAX),
    ]
}

fn server_messages() -> Vec<ServerMessage<'static>> {
    vec![
        ServerMessage::Welcome { version: 1, head_seq: 9, max_frame: 1 << 20, ping_interval_ms: 30_000, log_id: 3 },
        ServerMessage::Subscribed { seq: 9 },
        ServerMessage::Consuming { seq: u64::MAX },
        ServerMessage::Event {
            seq: 10,
            unix_time_us: 1_700_000_000_000_000,
            state: "Completed",
            payload: b"{\"a\":1}",
        },
        ServerMessage::Gap(Gap::Pruned(4)),
        ServerMessage::Gap(Gap::Dropped(5)),
        ServerMessage::Gap(Gap::BeyondHead(6)),
        ServerMessage::Error { code: Code::Slow as u16, message: "too slow" },
        ServerMessage::Ping(1),
        ServerMessage::Pong(2),
    ]
}

fn only_frame(bytes: &[u8]) -> Frame<'_> {
    let (frame, used) = split(bytes, MAX_FRAME).unwrap().unwrap();
    assert_eq!(used, bytes.len());
    frame
}

#[test]
fn every_message_survives_encoding_and_decoding() {
    for message in client_messages() {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(ClientMessage::decode(only_frame(&bytes)), Ok(message));
    }
    for message in server_messages() {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        assert_eq!(ServerMessage::decode(only_frame(&bytes)), Ok(Some(message)));
    }
}

/// Only a payload may end anywhere; every field before it must be complete.
#[test]
fn a_body_cut_at_any_byte_is_malformed() {
    for message in client_messages() {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let frame = only_frame(&bytes);
        let fixed = match message {
            ClientMessage::Publish { payload, .. } => frame.body.len() - payload.len(),
            _ => frame.body.len(),
        };
        for cut in 0..fixed {
            let short = Frame { body: &frame.body[..cut], ..frame };
            let error = ClientMessage::decode(short).expect_err("cut");
            assert_eq!(error.code(), Code::Malformed, "{message:?} cut at {cut}");
        }
    }
    for message in server_messages() {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let frame = only_frame(&bytes);
        let fixed = match message {
            ServerMessage::Event { payload, .. } => frame.body.len() - payload.len(),
            _ => frame.body.len(),
        };
        for cut in 0..fixed {
            let short = Frame { body: &frame.body[..cut], ..frame };
            assert!(ServerMessage::decode(short).is_err(), "{message:?} cut at {cut}");
        }
    }
}

#[test]
fn trailing_bytes_are_refused_by_a_server_and_ignored_by_a_client() {
    for message in client_messages().into_iter().filter(|message| !matches!(message, ClientMessage::Publish { .. })) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let longer = [only_frame(&bytes).body, b"x"].concat();
        let frame = Frame { kind: bytes[4], body: &longer };
        assert_eq!(ClientMessage::decode(frame).unwrap_err().code(), Code::Malformed, "{message:?}");
    }
    for message in server_messages().into_iter().filter(|message| !matches!(message, ServerMessage::Event { .. })) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let longer = [only_frame(&bytes).body, b"x"].concat();
        assert_eq!(ServerMessage::decode(Frame { kind: bytes[4], body: &longer }), Ok(Some(message)));
    }
    assert_eq!(ServerMessage::decode(Frame { kind: 0xf0, body: b"new" }), Ok(None));
    assert_eq!(ServerMessage::decode(Frame { kind: 0x84, body: &[9, 0, 0, 0, 0, 0, 0, 0, 1] }), Ok(None));
}

#[test]
fn a_server_refuses_bad_frames_with_the_code_of_the_mistake() {
    let subscribe = |flags: u8, n: u16, states: &[&[u8]]| {
        let mut body = vec![flags];
        body.extend_from_slice(&[0; 8]);
        body.extend_from_slice(&n.to_be_bytes());
        for state in states {
            body.extend_from_slice(&(state.len() as u16).to_be_bytes());
            body.extend_from_slice(state);
        }
        body
    };
    let consume = |flags: u8, name: &str, start: u8, max_unacked: u16, n: u16| {
        let mut body = vec![flags, 0, name.len() as u8];
        body.extend_from_slice(name.as_bytes());
        body.push(start);
        body.extend_from_slice(&[0; 8]);
        body.extend_from_slice(&max_unacked.to_be_bytes());
        body.extend_from_slice(&n.to_be_bytes());
        (0..n).for_each(|_| body.extend_from_slice(b"\0\x01A"));
        body
    };
    let too_large = [&b"\0\x01A"[..], &vec![0; MAX_PAYLOAD + 1]].concat();
    let hello = |role: u8, name: &str| [&[1, role, 0, name.len() as u8][..], name.as_bytes(), &[0, 0]].concat();
    let cases: Vec<(&str, u8, Vec<u8>, Code)> = vec![
        ("type 0", 0x00, vec![], Code::Malformed),
        ("type 9", 0x09, vec![], Code::Malformed),
        ("a server's type", 0x83, vec![0; 30], Code::Malformed),
        ("version 2 with an unknown body", 0x01, vec![2, 9, 9], Code::Version),
        ("version 0", 0x01, vec![0], Code::Version),
        ("role 0", 0x01, hello(0, ""), Code::Malformed),
        ("role 4", 0x01, hello(4, ""), Code::Malformed),
        ("65 characters of name", 0x01, hello(1, &"ä".repeat(65)), Code::Malformed),
        ("a control character in the name", 0x01, hello(1, "a\x1b[2J"), Code::Malformed),
        ("a name that is not UTF-8", 0x01, vec![1, 1, 0, 1, 0xff, 0, 0], Code::Malformed),
        ("unknown flags", 0x02, subscribe(8, 1, &[b"A"]), Code::Malformed),
        ("unknown flags of a consumer", 0x07, consume(1, "c", 0, 1, 1), Code::Malformed),
        ("an empty consumer's name", 0x07, consume(0, "", 0, 1, 1), Code::Malformed),
        ("a consumer's name of 65 characters", 0x07, consume(0, &"x".repeat(65), 0, 1, 1), Code::Malformed),
        ("a star in a consumer's name", 0x07, consume(0, "c*", 0, 1, 1), Code::Malformed),
        ("a blank in a consumer's name", 0x07, consume(0, "a b", 0, 1, 1), Code::Malformed),
        ("a quote in a consumer's name", 0x07, consume(0, "a'b", 0, 1, 1), Code::Malformed),
        ("an umlaut in a consumer's name", 0x07, consume(0, "ä", 0, 1, 1), Code::Malformed),
        ("a NUL in a consumer's name", 0x07, consume(0, "a\0", 0, 1, 1), Code::Malformed),
        ("an unknown start", 0x07, consume(0, "c", 4, 1, 1), Code::Malformed),
        ("no event unacknowledged", 0x07, consume(0, "c", 0, 0, 1), Code::Malformed),
        ("10,001 events unacknowledged", 0x07, consume(0, "c", 0, 10_001, 1), Code::Malformed),
        ("a consumer of no states", 0x07, consume(0, "c", 0, 1, 0), Code::Malformed),
        ("a consumer of 1,025 states", 0x07, consume(0, "c", 0, 1, 1_025), Code::Malformed),
        ("no states", 0x02, subscribe(0, 0, &[]), Code::Malformed),
        ("65,535 states", 0x02, subscribe(0, u16::MAX, &[&b"A"[..]; 65_535]), Code::Malformed),
        ("1,025 states", 0x02, subscribe(0, 1_025, &[&b"A"[..]; 1_025]), Code::Malformed),
        ("fewer states than announced", 0x02, subscribe(0, 2, &[b"A"]), Code::Malformed),
        ("a state that is not UTF-8", 0x02, subscribe(0, 1, &[b"\xff"]), Code::Malformed),
        ("bad characters in a pattern", 0x02, subscribe(0, 1, &[b"a b"]), Code::State),
        ("an empty pattern", 0x02, subscribe(0, 1, &[b""]), Code::State),
        ("a star in a published state", 0x03, b"\0\x02A*".to_vec(), Code::State),
        ("a payload of 1,000,001 bytes", 0x03, too_large, Code::TooLarge),
    ];
    for (what, kind, body, code) in cases {
        let error = ClientMessage::decode(Frame { kind, body: &body }).expect_err(what);
        assert_eq!(error.code(), code, "{what}: {error}");
    }
    let most = subscribe(3, 1_024, &[&b"A"[..]; 1_024]);
    assert!(ClientMessage::decode(Frame { kind: 0x02, body: &most }).is_ok(), "1,024 states, all the same");
    assert!(ClientMessage::decode(Frame { kind: 0x01, body: &hello(3, &"ä".repeat(64)) }).is_ok(), "64 characters");
}

#[test]
fn overlong_strings_are_cut_at_a_character() {
    let message = "ä".repeat(40_000);
    let mut bytes = Vec::new();
    ServerMessage::Error { code: 1, message: &message }.encode(&mut bytes);
    let Ok(Some(ServerMessage::Error { message, .. })) = ServerMessage::decode(only_frame(&bytes)) else { panic!() };
    assert_eq!(message.len(), 65_534);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Any bytes are decoded or refused, and an accepted message stays the same when it is encoded and decoded again.
    #[test]
    fn random_bodies(kind in prop_oneof![0u8..10, 0x80u8..0x88], body in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(message) = ClientMessage::decode(Frame { kind, body: &body }) {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            prop_assert_eq!(ClientMessage::decode(only_frame(&bytes)), Ok(message));
        }
        if let Ok(Some(message)) = ServerMessage::decode(Frame { kind, body: &body }) {
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            prop_assert_eq!(ServerMessage::decode(only_frame(&bytes)), Ok(Some(message)));
        }
    }
}
