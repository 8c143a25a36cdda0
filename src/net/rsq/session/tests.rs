//! The timers, with a simulated clock, and any frames in any order.

use super::*;
use crate::{
    config::{Access, Broker, May, Secret},
    wire::{MAX_FRAME, split},
};
use proptest::prelude::*;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn rules() -> Rules {
    Rules { limits: Limits::default(), tokens: Tokens::default(), states: None }
}

fn say<'a>(
    session: &mut Session,
    message: &ClientMessage<'_>,
    bytes: &'a mut Vec<u8>,
    now: Instant,
) -> Result<Action<'a>, Refusal> {
    message.encode(bytes);
    let (frame, _) = split(bytes, MAX_FRAME).unwrap().unwrap();
    session.frame(frame, &rules(), now)
}

fn open(role: Role, now: Instant) -> Session {
    let mut session = Session::new(now, &rules());
    let hello = ClientMessage::Hello { role, name: "x", token: "" };
    assert!(matches!(say(&mut session, &hello, &mut Vec::new(), now), Ok(Action::Welcome { .. })));
    session
}

fn code(due: Due) -> Option<Code> {
    match due {
        Due::Refuse(refusal) => Some(refusal.code),
        _ => None,
    }
}

#[test]
fn hello_is_due_within_five_seconds() {
    let (rules, start) = (rules(), Instant::now());
    let session = Session::new(start, &rules);
    assert_eq!(session.due(&rules), Some(start + 5 * SECOND));
    assert_eq!(session.tick(&rules, start + 4 * SECOND), Due::Nothing);
    assert_eq!(code(session.tick(&rules, start + 5 * SECOND)), Some(Code::TimedOut));
    assert_eq!(open(Role::Both, start).due(&rules), Some(start + 30 * SECOND));
}

#[test]
fn one_ping_per_interval_while_the_peer_answers() {
    let (rules, start) = (rules(), Instant::now());
    let mut session = open(Role::Subscriber, start);
    assert_eq!(session.tick(&rules, start + 29 * SECOND), Due::Nothing);
    for round in 1..5 {
        let now = start + 30 * round * SECOND;
        assert_eq!(session.due(&rules), Some(now));
        assert_eq!(session.tick(&rules, now), Due::Ping);
        session.ping_queued(13);
        session.wrote(true, 13, false, now);
        session.received();
    }
}

#[test]
fn silence_counts_from_the_last_byte_of_the_ping() {
    let (rules, start) = (rules(), Instant::now());
    let mut session = open(Role::Subscriber, start);
    session.received();
    let pinged = start + 30 * SECOND;
    session.ping_queued(113);
    // 112 bytes of 113 are written: the peer cannot have seen it.
    session.wrote(true, 112, true, pinged);
    assert_eq!(session.tick(&rules, pinged + 59 * SECOND), Due::Nothing);
    let out = pinged + 50 * SECOND;
    session.wrote(true, 113, false, out);
    assert_eq!(session.due(&rules), Some(out + 30 * SECOND));
    assert_eq!(session.tick(&rules, out + 29 * SECOND), Due::Nothing);
    assert_eq!(code(session.tick(&rules, out + 30 * SECOND)), Some(Code::TimedOut));
    session.received();
    assert_eq!(session.tick(&rules, out + 30 * SECOND), Due::Ping);
}

#[test]
fn socket_that_accepts_nothing_for_sixty_seconds_is_slow() {
    let (rules, start) = (rules(), Instant::now());
    let mut session = open(Role::Subscriber, start);
    session.ping_queued(1_000);
    session.wrote(true, 10, true, start);
    session.wrote(false, 10, true, start + 30 * SECOND);
    assert_eq!(session.due(&rules), Some(start + 60 * SECOND));
    assert_eq!(session.tick(&rules, start + 59 * SECOND), Due::Nothing);
    assert_eq!(code(session.tick(&rules, start + 60 * SECOND)), Some(Code::Slow));

    session.wrote(true, 11, true, start + 59 * SECOND);
    assert_eq!(session.tick(&rules, start + 118 * SECOND), Due::Nothing);
    assert_eq!(code(session.tick(&rules, start + 119 * SECOND)), Some(Code::Slow));
    session.wrote(true, 999, false, start + 118 * SECOND);
    assert_eq!(session.due(&rules), None);
}

#[test]
fn farewell_ends_after_two_seconds() {
    let (rules, start) = (rules(), Instant::now());
    let mut session = open(Role::Subscriber, start);
    session.close(start, &rules);
    session.close(start + SECOND, &rules);
    assert_eq!(session.due(&rules), Some(start + 2 * SECOND));
    assert_eq!(session.tick(&rules, start + SECOND), Due::Nothing);
    assert_eq!(session.tick(&rules, start + 2 * SECOND), Due::Close);
}

fn entry(name: &str, may: [bool; 3], states: Option<&[&str]>) -> Access {
    let [subscribe, publish, ring] = may;
    let states = states.map(|states| states.iter().map(|state| state.to_string()).collect());
    Access { name: name.into(), token: Secret(name.into()), may: May { subscribe, publish, ring }, states }
}

#[test]
fn only_exact_tokens_are_accepted() {
    let broker = |token: Option<&str>, access: Vec<Access>| {
        Tokens::new(&Broker { token: token.map(|token| Secret(token.into())), access, ..Broker::default() })
    };
    let limited = || vec![entry("limited", [true; 3], None)];
    for (tokens, offered, expected) in [
        (broker(None, vec![]), "", Some("everything")),
        (broker(None, vec![]), "any", Some("everything")),
        (broker(Some(""), vec![]), "any", Some("everything")),
        (broker(Some("secret"), vec![]), "secret", Some("everything")),
        (broker(Some("secret"), vec![]), "secreT", None),
        (broker(Some("secret"), vec![]), "secre", None),
        (broker(Some("secret"), vec![]), "secretsecret", None),
        (broker(Some("secret"), vec![]), "", None),
        (broker(Some("secret"), limited()), "secret", Some("everything")),
        (broker(Some("secret"), limited()), "limited", Some("limited")),
        (broker(None, limited()), "limited", Some("limited")),
        (broker(None, limited()), "", None),
        (broker(Some(""), limited()), "", None),
    ] {
        let granted = tokens.grant(offered).map(|grant| if grant.is_none() { "everything" } else { "limited" });
        assert_eq!(granted.ok(), expected, "{offered:?}");
    }
}

#[test]
fn frames_are_checked_against_the_rights_of_the_token() {
    let now = Instant::now();
    let states: Option<&[&str]> = Some(&["Own.*", "One"]);
    let subscribe = |text| ClientMessage::Subscribe {
        start: Start::Now,
        durable_only: false,
        patterns: vec![Pattern::Exact("One"), Pattern::new(text).unwrap()],
    };
    let consume = |text| ClientMessage::Consume {
        consumer: ConsumerName::new("c").unwrap(),
        start: Start::Now,
        max_unacked: 1,
        patterns: vec![Pattern::new(text).unwrap()],
    };
    let publish = |state| ClientMessage::Publish { state: State::new(state).unwrap(), payload: b"" };
    // Each frame, and what its token must permit: subscribe, publish, ring; and whether its states are among "Own.*", "One".
    for (message, needed, is_own) in [
        (subscribe("Own.x"), Some(0), true),
        (subscribe("Own.*"), Some(0), true),
        (subscribe("Own.x*"), Some(0), true),
        (subscribe("Own*"), Some(0), false),
        (subscribe("*"), Some(0), false),
        (subscribe("Other"), Some(0), false),
        (subscribe("One*"), Some(0), false),
        (consume("Own.*"), Some(0), true),
        (consume("*"), Some(0), false),
        (publish("Own.x"), Some(1), true),
        (publish("One"), Some(1), true),
        (publish("One2"), Some(1), false),
        (ClientMessage::Ring, Some(2), true),
        (ClientMessage::Ping(1), None, true),
        (ClientMessage::Pong(1), None, true),
        // Behind a CONSUME, without which it is malformed.
        (ClientMessage::Ack(0), Some(0), true),
    ] {
        for bits in 0..16u8 {
            let may = [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0];
            let is_limited = bits & 8 > 0;
            let access = vec![entry("t", may, states.filter(|_| is_limited))];
            let tokens = Tokens::new(&Broker { access, ..Broker::default() });
            let rules = Rules { tokens, ..rules() };
            let mut session = Session::new(now, &rules);
            let hello = ClientMessage::Hello { role: Role::Both, name: "x", token: "t" };
            let before =
                if matches!(message, ClientMessage::Ack(_)) { vec![hello, consume("Own.*")] } else { vec![hello] };
            for message in before.into_iter().chain([message.clone()]) {
                let mut bytes = Vec::new();
                message.encode(&mut bytes);
                let (frame, _) = split(&bytes, MAX_FRAME).unwrap().unwrap();
                let code = session.frame(frame, &rules, now).err().map(|refusal| refusal.code);
                let expected = match (&message, needed) {
                    (ClientMessage::Hello { .. }, _) => None,
                    (_, Some(needed)) if !may[needed] => Some(Code::Role),
                    _ if is_limited && !is_own => Some(Code::State),
                    _ => None,
                };
                assert_eq!(code, expected, "{message:?} with {may:?}, limited {is_limited}");
                if code.is_some() {
                    break;
                }
            }
        }
    }
}

fn any_message() -> impl Strategy<Value = ClientMessage<'static>> {
    let role = prop_oneof![Just(Role::Publisher), Just(Role::Subscriber), Just(Role::Both)];
    let patterns = vec![Pattern::Exact("A"), Pattern::Prefix("")];
    let consumer = ConsumerName::new("c").unwrap();
    prop_oneof![
        2 => role.prop_map(|role| ClientMessage::Hello { role, name: "x", token: "" }),
        1 => Just(ClientMessage::Subscribe { start: Start::After(1), durable_only: false, patterns: patterns.clone() }),
        1 => Just(ClientMessage::Consume { consumer, start: Start::Now, max_unacked: 1, patterns }),
        1 => any::<u64>().prop_map(ClientMessage::Ack),
        1 => Just(ClientMessage::Publish { state: State::new("A").unwrap(), payload: b"{}" }),
        1 => Just(ClientMessage::Ring),
        1 => any::<u64>().prop_map(ClientMessage::Ping),
        1 => any::<u64>().prop_map(ClientMessage::Pong),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    /// Compares with the rules written as plainly as possible, for any order of messages.
    #[test]
    fn any_order_of_messages_obeys_the_rules(messages in prop::collection::vec(any_message(), 1..12)) {
        let now = Instant::now();
        let mut session = Session::new(now, &rules());
        let (mut role, mut subscribed, mut consuming) = (None::<Role>, false, false);
        for message in messages {
            let expected = match (role, &message) {
                (None, ClientMessage::Hello { .. }) => None,
                (None, _) | (Some(_), ClientMessage::Hello { .. }) => Some(Code::Malformed),
                (Some(Role::Subscriber), ClientMessage::Publish { .. } | ClientMessage::Ring) => Some(Code::Role),
                (
                    Some(Role::Publisher),
                    ClientMessage::Subscribe { .. } | ClientMessage::Consume { .. } | ClientMessage::Ack(_),
                ) => Some(Code::Role),
                (Some(_), ClientMessage::Subscribe { .. } | ClientMessage::Consume { .. })
                    if subscribed || consuming =>
                {
                    Some(Code::Malformed)
                }
                (Some(_), ClientMessage::Ack(_)) if !consuming => Some(Code::Malformed),
                _ => None,
            };
            let mut bytes = Vec::new();
            let result = say(&mut session, &message, &mut bytes, now);
            prop_assert_eq!(result.as_ref().err().map(|refusal| refusal.code), expected);
            if result.is_err() {
                session.close(now, &rules());
                let after = say(&mut session, &ClientMessage::Ping(1), &mut Vec::new(), now).map(|action| action == Action::Nothing);
                prop_assert_eq!(after, Ok(true));
                break;
            }
            match message {
                ClientMessage::Hello { role: new, .. } => role = Some(new),
                ClientMessage::Subscribe { .. } => subscribed = true,
                ClientMessage::Consume { .. } => consuming = true,
                _ => {}
            }
        }
    }

    /// Every input of an untrusted peer leads to an action or a refusal.
    #[test]
    fn any_frame_is_answered_or_refused(frames in prop::collection::vec((0u8..10, prop::collection::vec(any::<u8>(), 0..40)), 1..10)) {
        let now = Instant::now();
        let mut session = open(Role::Both, now);
        for (kind, body) in &frames {
            let _ = session.frame(Frame { kind: *kind, body }, &rules(), now);
        }
    }
}
