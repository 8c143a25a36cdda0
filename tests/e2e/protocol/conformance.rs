//! RSQ/1 as one table, of which `consumer_rules` is a part: each rule of the specification with a conversation that shows
//! it. Each is run over TCP, TLS and a Unix socket, with a separate broker.
//!
//! `a>` is sent by peer a (which connects with its first line), `a<` is what it receives next; `HELLO` is followed by
//! version, role, name and token, `SUBSCRIBE` by flags, `after_seq` and states, `CONSUME` by flags, consumer, start, value,
//! `max_unacked` and states; `stored` waits for a consumer's position at the server, `move` is an operator's; `log` appends
//! a durable event; `-` is an empty string; `wakeup` expects that a RING was passed on. A line that begins with `with`
//! configures the broker.

use super::{
    consumer_rules,
    fixture::{Fixture, Settings},
    peer::{self, Address, DEADLINE, Peer, Received},
};
use resq::{
    config::{Access, May, Secret},
    events::consumers::Loss,
};
use std::collections::HashMap;

const TABLE: &[(&str, &str)] = &[
    // HELLO.
    ("HELLO is answered by WELCOME with the head of the log", "with old 3\na> HELLO 1 2 alice -\na< WELCOME 1 3"),
    ("a name may be empty", "a> HELLO 1 3 - -\na< WELCOME 1 0"),
    ("HELLO comes first", "a> PING 1\na< ERROR 1\na< END"),
    ("HELLO comes once", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> HELLO 1 1 x -\na< ERROR 1\na< END"),
    ("another version is refused", "a> HELLO 2 1 x -\na< ERROR 2\na< END"),
    ("another version is refused whatever its HELLO holds", "a> RAW 00000003 01 07 ff\na< ERROR 2\na< END"),
    ("a role is 1 to 3", "a> HELLO 1 0 x -\na< ERROR 1\na< END\nb> HELLO 1 4 x -\nb< ERROR 1\nb< END"),
    ("the token must be right", "with token secret\na> HELLO 1 2 x wrong\na< ERROR 3\na< END"),
    ("no token is a wrong token", "with token secret\na> HELLO 1 2 x -\na< ERROR 3\na< END"),
    ("a token's beginning is a wrong token", "with token secret\na> HELLO 1 2 x secre\na< ERROR 3\na< END"),
    ("a longer token is a wrong token", "with token ss\na> HELLO 1 2 x ssss\na< ERROR 3\na< END"),
    ("the right token is accepted", "with token secret\na> HELLO 1 2 x secret\na< WELCOME 1 0"),
    ("a token is ignored where none is configured", "a> HELLO 1 2 x something\na< WELCOME 1 0"),
    (
        "frames may come together",
        "a> HELLO 1 3 x -; SUBSCRIBE 0 0 A; PUBLISH A 1; PING 5\na< WELCOME 1 0\na< SUBSCRIBED 0\na< EVENT 0 A 1\na< PONG 5",
    ),
    // Roles.
    ("a subscriber does not PUBLISH", "a> HELLO 1 2 x -\na< WELCOME 1 0\na> PUBLISH A 1\na< ERROR 4\na< END"),
    ("a subscriber does not RING", "a> HELLO 1 2 x -\na< WELCOME 1 0\na> RING\na< ERROR 4\na< END"),
    ("a publisher does not SUBSCRIBE", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> SUBSCRIBE 0 0 A\na< ERROR 4\na< END"),
    ("a RING wakes the daemon", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> RING\nwakeup"),
    (
        "every role may PING and PONG",
        "a> HELLO 1 1 x -; PING 1; PONG 9\na< WELCOME 1 0\na< PONG 1\n\
         b> HELLO 1 2 x -; PONG 9; PING 18446744073709551615\nb< WELCOME 1 0\nb< PONG 18446744073709551615",
    ),
    // Tokens with limited rights.
    (
        "a token with rights of its own permits those",
        "with access t subscribe,publish A*\na> HELLO 1 3 x t; SUBSCRIBE 0 0 A A1*; PUBLISH A 1\na< WELCOME 1 0\n\
         a< SUBSCRIBED 0\na< EVENT 0 A 1",
    ),
    (
        "another act is refused",
        "with access t subscribe *\na> HELLO 1 3 x t; PUBLISH A 1\na< WELCOME 1 0\na< ERROR 4\na< END",
    ),
    ("a RING is an act, too", "with access t publish *\na> HELLO 1 1 x t; RING\na< WELCOME 1 0\na< ERROR 4\na< END"),
    (
        "a subscription lies within its states",
        "with access t subscribe A*\na> HELLO 1 2 x t; SUBSCRIBE 0 0 *\na< WELCOME 1 0\na< ERROR 6\na< END",
    ),
    ("so does an event", "with access t publish A*\na> HELLO 1 1 x t; PUBLISH B 1\na< WELCOME 1 0\na< ERROR 6\na< END"),
    ("with limited tokens every client needs one", "with access t ring *\na> HELLO 1 1 x -\na< ERROR 3\na< END"),
    (
        "the shared token permits everything besides",
        "with token s\nwith access t ring *\na> HELLO 1 3 x s; SUBSCRIBE 0 0 *\na< WELCOME 1 0\na< SUBSCRIBED 0",
    ),
    // Malformed frames.
    ("a frame has a type", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> RAW 00000000\na< ERROR 1\na< END"),
    ("a frame has a type before HELLO too", "a> RAW 00000000\na< ERROR 1\na< END"),
    ("the shortest frame is one byte", "a> RAW 00000001 04\na< ERROR 1\na< END"),
    ("an unknown type is malformed", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> RAW 00000001 09\na< ERROR 1\na< END"),
    (
        "a server's type is malformed",
        "a> HELLO 1 1 x -\na< WELCOME 1 0\na> RAW 00000009 82 0000000000000000\na< ERROR 1\na< END",
    ),
    ("bytes left over are malformed", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> RAW 00000002 04 00\na< ERROR 1\na< END"),
    ("an unknown flag is malformed", "a> HELLO 1 2 x -\na< WELCOME 1 0\na> SUBSCRIBE 8 0 A\na< ERROR 1\na< END"),
    ("a string is UTF-8", "a> RAW 00000008 01 01 01 0001 ff 0000\na< ERROR 1\na< END"),
    ("before WELCOME a frame has 4,096 bytes at most", "a> RAW 00001001\na< ERROR 5\na< END"),
    ("then it has 1,048,576 at most", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> RAW 00100001\na< ERROR 5\na< END"),
    (
        "the longest length is refused at once",
        "a> RAW ffffffff\na< ERROR 5\na< END\nb> HELLO 1 1 x -\nb< WELCOME 1 0\nb> RAW ffffffff\nb< ERROR 5\nb< END",
    ),
    // States.
    ("a published state has no star", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> PUBLISH A* 1\na< ERROR 6\na< END"),
    ("a state has at least one character", "a> HELLO 1 1 x -\na< WELCOME 1 0\na> PUBLISH - 1\na< ERROR 6\na< END"),
    ("a star comes last", "a> HELLO 1 2 x -\na< WELCOME 1 0\na> SUBSCRIBE 0 0 *A\na< ERROR 6\na< END"),
    (
        "a closed list of states is closed to publishers",
        "with states Done,Failed\na> HELLO 1 1 x -\na< WELCOME 1 0\na> PUBLISH Fialed 1\na< ERROR 6\na< END",
    ),
    (
        "and to subscribers",
        "with states Done,Failed\na> HELLO 1 2 x -\na< WELCOME 1 0\na> SUBSCRIBE 0 0 Done Fialed\na< ERROR 6\na< END",
    ),
    (
        "a prefix of a listed state will do",
        "with states Done,Failed\na> HELLO 1 3 x -\na< WELCOME 1 0\na> SUBSCRIBE 0 0 F* *\na< SUBSCRIBED 0\n\
         a> PUBLISH Failed 1\na< EVENT 0 Failed 1",
    ),
    // Subscriptions.
    (
        "a subscriber gets its states and no other",
        "a> HELLO 1 2 x -; SUBSCRIBE 0 0 A Im*\na< WELCOME 1 0\na< SUBSCRIBED 0\n\
         b> HELLO 1 1 x -; PUBLISH B 1; PUBLISH AA 2; PUBLISH A 3; PUBLISH I 4; PUBLISH Im 5; PUBLISH Imaging 6\n\
         b< WELCOME 1 0\na< EVENT 0 A 3\na< EVENT 0 Im 5\na< EVENT 0 Imaging 6",
    ),
    (
        "a star alone is every state",
        "a> HELLO 1 3 x -; SUBSCRIBE 0 0 *; PUBLISH A 1; PUBLISH z.9:x-_ 2\na< WELCOME 1 0\na< SUBSCRIBED 0\n\
         a< EVENT 0 A 1\na< EVENT 0 z.9:x-_ 2",
    ),
    (
        "an event that matches several patterns comes once",
        "a> HELLO 1 3 x -; SUBSCRIBE 0 0 A A* * A AB; PUBLISH A 1; PUBLISH AB 2; PING 1\na< WELCOME 1 0\n\
         a< SUBSCRIBED 0\na< EVENT 0 A 1\na< EVENT 0 AB 2\na< PONG 1",
    ),
    (
        "SUBSCRIBE comes once",
        "a> HELLO 1 2 x -; SUBSCRIBE 0 0 A\na< WELCOME 1 0\na< SUBSCRIBED 0\na> SUBSCRIBE 0 0 B\na< ERROR 1\na< END",
    ),
    ("SUBSCRIBE names a state", "a> HELLO 1 2 x -; SUBSCRIBE 0 0\na< WELCOME 1 0\na< ERROR 1\na< END"),
    (
        "without resume it begins now",
        "with old 3\na> HELLO 1 2 x -; SUBSCRIBE 0 1 *\na< WELCOME 1 3\na< SUBSCRIBED 3\nlog A 1\na< EVENT 4 A 1",
    ),
    (
        "the payload is kept byte for byte, and may be empty",
        "a> HELLO 1 3 x -; SUBSCRIBE 0 0 *; PUBLISH A -; RAW 00000006 03 0001 41 ff00\na< WELCOME 1 0\n\
         a< SUBSCRIBED 0\na< EVENT 0 A \na< EVENT 0 A \u{fffd}\0",
    ),
    // Durable events.
    (
        "durable events have numbers",
        "a> HELLO 1 2 x -; SUBSCRIBE 0 0 A\na< WELCOME 1 0\na< SUBSCRIBED 0\nlog A {}\nlog B {}\nlog A {}\n\
         a< EVENT 1 A {}\na< EVENT 3 A {}",
    ),
    (
        "a durable subscription gets no other events",
        "a> HELLO 1 3 x -; SUBSCRIBE 2 0 *; PUBLISH A 1; PING 1\na< WELCOME 1 0\na< SUBSCRIBED 0\na< PONG 1\nlog A 2\na< EVENT 1 A 2",
    ),
    (
        "resume begins just after a number",
        "with old 5\na> HELLO 1 2 x -; SUBSCRIBE 1 3 *\na< WELCOME 1 5\na< SUBSCRIBED 3\na< EVENT 4 Old {}\n\
         a< EVENT 5 Old {}\nlog A 6\na< EVENT 6 A 6",
    ),
    (
        "resume from 0 is the whole log",
        "with old 2\na> HELLO 1 2 x -; SUBSCRIBE 3 0 Old\na< WELCOME 1 2\na< SUBSCRIBED 0\na< EVENT 1 Old {}\na< EVENT 2 Old {}",
    ),
    (
        "resume from the head is live",
        "with old 2\na> HELLO 1 2 x -; SUBSCRIBE 1 2 *\na< WELCOME 1 2\na< SUBSCRIBED 2\nlog A 3\na< EVENT 3 A 3",
    ),
    (
        "a gap for pruned events comes before the events",
        "with old 5\nlog prune 4\na> HELLO 1 2 x -; SUBSCRIBE 1 1 *\na< WELCOME 1 5\na< SUBSCRIBED 1\na< GAP 1 4\n\
         a< EVENT 4 Old {}\na< EVENT 5 Old {}",
    ),
    (
        "nothing is lost when the next event is the oldest kept",
        "with old 5\nlog prune 4\na> HELLO 1 2 x -; SUBSCRIBE 1 3 *\na< WELCOME 1 5\na< SUBSCRIBED 3\na< EVENT 4 Old {}",
    ),
    (
        "when all is pruned it continues with the next event",
        "with old 5\nlog prune 6\na> HELLO 1 2 x -; SUBSCRIBE 1 1 *\na< WELCOME 1 5\na< SUBSCRIBED 1\na< GAP 1 6\nlog A 6\na< EVENT 6 A 6",
    ),
    (
        "a number beyond the head is a gap",
        "with old 2\na> HELLO 1 2 x -; SUBSCRIBE 1 9 *\na< WELCOME 1 2\na< SUBSCRIBED 9\na< GAP 3 2\nlog A 3\na< EVENT 3 A 3",
    ),
    (
        "the greatest number is beyond any head",
        "a> HELLO 1 2 x -; SUBSCRIBE 1 18446744073709551615 *\na< WELCOME 1 0\na< SUBSCRIBED 18446744073709551615\n\
         a< GAP 3 0\nlog A 1\na< EVENT 1 A 1",
    ),
    // Liveness.
    (
        "a peer is PINGed, a subscriber with its position",
        "with ping 500\nwith old 3\na> HELLO 1 2 x -; SUBSCRIBE 0 0 Quiet\na< WELCOME 1 3\na< SUBSCRIBED 3\nlog A 4\n\
         log A 5\na< PING 5\na> PONG 5\na< PING 5",
    ),
    (
        "without a subscription the number is 0",
        "with ping 500\nwith old 3\na> HELLO 1 2 x -\na< WELCOME 1 3\na< PING 0",
    ),
    (
        "a peer that answers nothing is dropped",
        "with ping 100\na> HELLO 1 1 x -\na< WELCOME 1 0\na< PING 0\na< ERROR 10\na< END",
    ),
    ("any byte is a sign of life", "with ping 500\na> HELLO 1 1 x -\na< WELCOME 1 0\na< PING 0\na> RAW 00\na< PING 0"),
    ("HELLO comes in time", "with hello 100\na> RAW 00\na< ERROR 10\na< END"),
    // Ends.
    (
        "a peer that shuts its side down still gets its answers",
        "a> HELLO 1 1 x -; PING 1; SHUT\na< WELCOME 1 0\na< PONG 1\na< END",
    ),
    (
        "a server that stops sends what is queued, then ERROR 8",
        "a> HELLO 1 3 x -; SUBSCRIBE 0 0 *\na< WELCOME 1 0\na< SUBSCRIBED 0\nlog A 1\nstop\na< EVENT 1 A 1\na< ERROR 8\na< END",
    ),
    (
        "connections beyond the limit are refused",
        "with connections 1\na> HELLO 1 1 x -\na< WELCOME 1 0\nb> \nb< ERROR 9\nb< END",
    ),
];

#[test]
fn every_rule_holds() {
    for (rule, script) in TABLE.iter().chain(consumer_rules::RULES) {
        for transport in ["TCP", "Unix", "TLS"] {
            eprintln!("{rule} ({transport})");
            run(script, transport);
        }
    }
}

fn run(script: &str, transport: &str) {
    let (settings, lines): (Vec<&str>, Vec<&str>) = script.lines().partition(|line| line.starts_with("with "));
    let mut fixture = Fixture::start(set_up(&settings));
    let address = match transport {
        "TCP" => fixture.tcp.clone(),
        "Unix" => fixture.unix.clone(),
        _ if script.contains("ERROR 9") => return, // Without a handshake there is no ERROR.
        _ => fixture.tls.clone(),
    };
    let mut peers = HashMap::new();
    for line in lines {
        step(line, &mut fixture, &address, &mut peers);
    }
}

fn set_up(lines: &[&str]) -> Settings {
    let mut settings = Settings::default();
    for line in lines {
        let (what, value) = line["with ".len()..].split_once(' ').unwrap();
        let number = || value.parse::<u64>().unwrap();
        let duration = || std::time::Duration::from_millis(number());
        match what {
            "old" => settings.old_events = number(),
            "token" => settings.token = Some(value.into()),
            "access" => settings.access.push(access(value)),
            "states" => settings.states = Some(value.split(',').map(String::from).collect()),
            "ping" => settings.limits.ping_interval = duration(),
            "hello" => settings.limits.hello_timeout = duration(),
            "connections" => settings.limits.max_connections = number() as usize,
            _ => panic!("{line}"),
        }
    }
    settings
}

/// `TOKEN subscribe,publish,ring PATTERN`.
fn access(text: &str) -> Access {
    let words: Vec<&str> = text.split(' ').collect();
    let has = |act| words[1].split(',').any(|word| word == act);
    Access {
        name: "limited".into(),
        token: Secret(words[0].into()),
        may: May { subscribe: has("subscribe"), publish: has("publish"), ring: has("ring") },
        states: Some(vec![words[2].into()]),
    }
}

fn step(line: &str, fixture: &mut Fixture, address: &Address, peers: &mut HashMap<char, Peer>) {
    if let Some(rest) = line.strip_prefix("log ") {
        match rest.split_once(' ').unwrap() {
            ("prune", first) => fixture.running.log.prune(first.parse().unwrap()),
            (state, payload) => fixture.append(state, payload),
        }
    } else if let Some(rest) = line.strip_prefix("stored ") {
        let (name, position) = rest.split_once(' ').unwrap();
        let position = position.parse().ok();
        let consumers = &fixture.running.consumers;
        resq_test_support::wait_until(line, || consumers.position(name) == position);
    } else if let Some(rest) = line.strip_prefix("move ") {
        let (name, position) = rest.split_once(' ').unwrap();
        fixture.running.consumers.take_away(name, position.parse().ok(), Loss::Moved);
    } else if line == "wakeup" {
        fixture.running.wakeups.recv_timeout(DEADLINE).expect("a wakeup");
    } else if line == "stop" {
        fixture.running.broker().stop();
    } else {
        let name = line.chars().next().unwrap();
        let peer = peers.entry(name).or_insert_with(|| Peer::connect(address));
        match &line[1..3] {
            "> " => send(peer, &line[3..]),
            "< " => assert_eq!(peer.receive().to_string(), &line[3..], "in {line:?}"),
            _ => panic!("{line}"),
        }
    }
}

/// Sends frames, which semicolons separate, in one write.
fn send(peer: &mut Peer, frames: &str) {
    let mut bytes = Vec::new();
    for frame in frames.split(';').map(str::trim).filter(|frame| !frame.is_empty()) {
        let words: Vec<&str> = frame.split(' ').map(|word| if word == "-" { "" } else { word }).collect();
        match words[..] {
            ["HELLO", version, role, name, token] => {
                bytes.extend(peer::hello_version(version.parse().unwrap(), role.parse().unwrap(), name, token));
            }
            ["SUBSCRIBE", flags, after_seq, ref states @ ..] => {
                bytes.extend(peer::subscribe(flags.parse().unwrap(), after_seq.parse().unwrap(), states));
            }
            ["CONSUME", flags, consumer, start, value, max_unacked, ref states @ ..] => {
                let start = (start.parse().unwrap(), value.parse().unwrap());
                let (flags, max_unacked) = (flags.parse().unwrap(), max_unacked.parse().unwrap());
                bytes.extend(peer::consume(flags, consumer, start, max_unacked, states));
            }
            ["ACK", seq] => bytes.extend(peer::ack(seq.parse().unwrap())),
            ["PUBLISH", state, payload] => bytes.extend(peer::publish(state, payload.as_bytes())),
            ["RING"] => bytes.extend(peer::ring()),
            ["PING", number] => bytes.extend(peer::ping(number.parse().unwrap())),
            ["PONG", number] => bytes.extend(peer::pong(number.parse().unwrap())),
            ["RAW", ref hex @ ..] => {
                let digits = hex.concat();
                bytes.extend((0..digits.len()).step_by(2).map(|i| u8::from_str_radix(&digits[i..i + 2], 16).unwrap()));
            }
            ["SHUT"] => {
                peer.send(&std::mem::take(&mut bytes));
                peer.shut();
            }
            _ => panic!("{frame}"),
        }
    }
    peer.send(&bytes);
}

#[test]
fn welcome_carries_the_limits_and_the_log() {
    let fixture = Fixture::start(Settings { old_events: 7, ..Settings::default() });
    let mut peer = Peer::connect(&fixture.tcp);
    peer.send(&peer::hello(2, &"ä".repeat(64), ""));
    let expected = Received::Welcome {
        version: 1,
        head_seq: 7,
        max_frame: 1_048_576,
        ping_interval_ms: 30_000,
        log_id: super::fixture::LOG_ID,
    };
    assert_eq!(peer.receive(), expected);
}

#[test]
fn unknown_state_is_refused_with_the_known_ones() {
    let settings = Settings { states: Some(vec!["Completed".into(), "Error".into()]), ..Settings::default() };
    let fixture = Fixture::start(settings);
    let mut peer = Peer::greeted(&fixture.tcp, 2);
    peer.send(&peer::subscribe(0, 0, &["Complted"]));
    let Received::Error(6, message) = peer.receive() else { panic!("no ERROR 6") };
    for word in ["Complted", "Completed", "Error"] {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn event_carries_the_time_at_which_it_was_written() {
    let fixture = Fixture::with_defaults();
    let mut peer = Peer::subscribed(&fixture.tcp, &["*"]);
    fixture.append("A", "{}");
    assert!(matches!(peer.receive(), Received::Event { seq: 1, unix_time_us: 1_700_000_000_000_000, .. }));
    let mut publisher = Peer::greeted(&fixture.tcp, 1);
    let now_us = || std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as u64;
    let before = now_us();
    publisher.send(&peer::publish("A", b"{}"));
    let Received::Event { seq: 0, unix_time_us, .. } = peer.receive() else { panic!("no ephemeral event") };
    assert!((before.saturating_sub(1_000_000)..=now_us()).contains(&unix_time_us));
}
