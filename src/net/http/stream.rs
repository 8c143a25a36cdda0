//! The fan-out's messages as Server-Sent Events. An event is encoded once, into its cache, however many streams receive
//! it. Never sends anything.

use std::fmt::Write;

use serde_json::json;

use crate::{
    base::exact::integer,
    events::updates::LogHead,
    fanout::{Bytes, CacheSlot, Message, Outgoing},
    output::line,
    wire::Gap,
};

/// The slot of an event's cache that holds its lines.
const SLOT: CacheSlot = CacheSlot::Second;

/// How long an `EventSource` waits before it reconnects, in milliseconds.
const RETRY_MS: u64 = 1_000;

/// A message of the fan-out.
pub fn message(message: Message<'_>) -> Bytes {
    match message {
        Message::Event(event) => self::event(event).clone(),
        Message::Subscribed { seq } | Message::Consuming { seq } => position(seq),
        Message::Gap(gap) => self::gap(gap),
    }
}

/// An event: its number as `id`, unless it is ephemeral and has none, its state as `event`, and one line of JSON.
pub fn event<'e>(event: &'e Outgoing<'_>) -> &'e Bytes {
    event.encoded(SLOT, |event| {
        let mut text = String::with_capacity(event.bytes() + 160);
        // Writing to a String cannot fail.
        if event.seq > 0 {
            let _ = writeln!(text, "id: {}", event.seq);
        }
        let data = line::event_json(event.seq, event.unix_time_us, &event.state, &event.payload);
        let _ = write!(text, "event: {}\ndata: {data}\n\n", event.state);
        text.into_bytes().into()
    })
}

/// A comment, and the number up to which the stream is complete: a client takes it as its position without seeing an event,
/// so that one which waits for rare states resumes close to the log's head.
pub fn position(seq: u64) -> Bytes {
    format!(":\nid: {seq}\n\n").into_bytes().into()
}

/// The first thing on a stream of events: how soon to reconnect, since resqd restarts within a second, and which log its
/// numbers belong to, as WELCOME says it in RSQ/1. The name has a `/`, which no state has. The identity is text, since it
/// may be above 2^53.
pub fn log(head: LogHead) -> Bytes {
    let data = json!({ "log_id": head.log_id.to_string(), "head_seq": integer(head.head_seq) });
    format!("retry: {RETRY_MS}\nevent: resq/log\ndata: {data}\n\n").into_bytes().into()
}

/// A comment, on a stream that carries no events.
pub fn comment() -> Bytes {
    b":\n\n"[..].into()
}

/// `event: gap`, with what is missing. After it the stream is complete again from the number in `id`.
fn gap(gap: Gap) -> Bytes {
    let (data, complete_up_to) = match gap {
        Gap::Pruned(first_seq) => (json!({ "gap": "pruned", "first_seq": first_seq }), first_seq.checked_sub(1)),
        Gap::Dropped(count) => (json!({ "gap": "dropped", "ephemeral": count }), None),
        Gap::BeyondHead(head_seq) => (json!({ "gap": "beyond_head", "head_seq": head_seq }), Some(head_seq)),
    };
    let id = complete_up_to.map_or_else(String::new, |seq| format!("id: {seq}\n"));
    format!("{id}event: gap\ndata: {data}\n\n").into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::Event;
    use proptest::prelude::*;

    /// What a client makes of a stream, by the standard's rules: the last id, and each event's type and data.
    fn parsed(bytes: &[u8]) -> (Option<String>, Vec<(String, String)>) {
        let (mut id, mut events) = (None, Vec::new());
        let (mut kind, mut data): (String, Vec<String>) = Default::default();
        for line in std::str::from_utf8(bytes).unwrap().split(['\n', '\r']) {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("id", value) => id = Some(value.to_string()),
                ("event", value) => kind = value.to_string(),
                ("data", value) => data.push(value.to_string()),
                ("retry", value) => assert!(value.parse::<u64>().is_ok()),
                ("", _) if !data.is_empty() => {
                    events.push((std::mem::take(&mut kind), std::mem::take(&mut data).join("\n")));
                }
                ("", _) => kind.clear(),
                _ => assert!(line.starts_with(':'), "{line:?}"),
            }
        }
        (id, events)
    }

    #[test]
    fn events_gaps_and_positions_are_what_a_client_expects() {
        let time = 1_795_287_601_123_456;
        let durable = Outgoing::new(Event::new(42, time, "Completed", &b"{\"a\": 1}"[..]));
        let json = r#"{"seq":42,"time":"2026-11-21T19:00:01.123456Z","state":"Completed","payload":{"a":1}}"#;
        let (id, events) = parsed(&message(Message::Event(&durable)));
        assert_eq!((id.as_deref(), events), (Some("42"), vec![("Completed".to_string(), json.to_string())]));
        let ephemeral = Outgoing::new(Event::new(0, time, "A", &b"x\ny"[..]));
        let (id, events) = parsed(&message(Message::Event(&ephemeral)));
        assert!(id.is_none() && events[0].1.ends_with(r#""payload":"x\ny"}"#), "{events:?}");
        for (gap, expected) in [
            (Gap::Pruned(7), (Some("6"), r#"{"first_seq":7,"gap":"pruned"}"#)),
            (Gap::Dropped(3), (None, r#"{"ephemeral":3,"gap":"dropped"}"#)),
            (Gap::BeyondHead(9), (Some("9"), r#"{"gap":"beyond_head","head_seq":9}"#)),
        ] {
            let (id, events) = parsed(&message(Message::Gap(gap)));
            assert_eq!((id.as_deref(), events[0].0.as_str(), events[0].1.as_str()), (expected.0, "gap", expected.1));
        }
        assert_eq!(parsed(&message(Message::Subscribed { seq: 5 })), (Some("5".to_string()), vec![]));
        let (id, events) = parsed(&log(LogHead { log_id: u64::MAX, first_seq: 1, head_seq: 3 }));
        let data = r#"{"head_seq":3,"log_id":"18446744073709551615"}"#;
        assert_eq!((id, events), (None, vec![("resq/log".to_string(), data.to_string())]));
    }

    proptest! {
        #[test]
        fn any_payload_is_one_event(payload in prop::collection::vec(any::<u8>(), 0..200), seq in 1u64..) {
            let durable = Outgoing::new(Event::new(seq, 0, "A", &payload[..]));
            let bytes = [message(Message::Event(&durable)), position(seq)].concat();
            let (id, events) = parsed(&bytes);
            prop_assert_eq!((id, events.len()), (Some(seq.to_string()), 1));
            let json: serde_json::Value = serde_json::from_str(&events[0].1).unwrap();
            prop_assert_eq!(&json["seq"], seq);
        }
    }
}
