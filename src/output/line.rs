//! An event as one line, for people or as JSON. It stays one line whatever the payload contains. Never prints.

use serde_json::value::RawValue;

use crate::{
    base::text::{printable, utc},
    client::Event,
};

/// `2026-11-21T19:00:01.123456Z Completed #42 {"res_id":1}`, without the line's end; an ephemeral event is #0.
/// Control characters are escaped, bytes that are not UTF-8 replaced.
pub fn human(event: &Event) -> String {
    let payload = String::from_utf8_lossy(&event.payload);
    format!("{} {} #{} {}", utc(event.unix_time_us), printable(&event.state), event.seq, printable(&payload))
}

/// `{"seq":42,"time":"2026-11-21T19:00:01.123456Z","state":"Completed","payload":{"res_id":1}}`. A payload that is JSON
/// is copied, without the white space between its parts; any other becomes a JSON string.
pub fn json(event: &Event) -> String {
    event_json(event.seq, event.unix_time_us, &event.state, &event.payload)
}

/// The same of an event's parts; `unix_time_us` in microseconds since 1970.
pub fn event_json(seq: u64, unix_time_us: u64, state: &str, payload: &[u8]) -> String {
    let payload = std::str::from_utf8(payload)
        .ok()
        .filter(|text| serde_json::from_str::<&RawValue>(text).is_ok())
        .map_or_else(|| quoted(&String::from_utf8_lossy(payload)), without_white_space);
    let (time, state) = (utc(unix_time_us), quoted(state));
    format!(r#"{{"seq":{seq},"time":"{time}","state":{state},"payload":{payload}}}"#)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Valid JSON without the white space outside its strings. Numbers, keys and their order stay as written, which parsing
/// and serializing would not guarantee.
fn without_white_space(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |c: &char| {
        match c {
            '"' if !escaped => in_string = !in_string,
            ' ' | '\t' | '\r' | '\n' if !in_string => return false,
            _ => {}
        }
        escaped = *c == '\\' && !escaped;
        true
    };
    json.chars().filter(keep).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(state: &str, payload: &[u8]) -> Event {
        Event { seq: 42, unix_time_us: 1_795_287_601_123_456, state: state.into(), payload: payload.into() }
    }

    #[test]
    fn human_escapes_control_characters() {
        for (payload, shown) in
            [(&b"{\"res_id\":1}"[..], "{\"res_id\":1}"), (b"", ""), (b"a\nb\x1b[2J\xff", "a\\nb\\u{1b}[2J\u{fffd}")]
        {
            assert_eq!(
                human(&event("Completed", payload)),
                format!("2026-11-21T19:00:01.123456Z Completed #42 {shown}")
            );
        }
        assert!(human(&event("A\n", b"")).contains(" A\\n #42"), "servers are not trusted, either");
    }

    #[test]
    fn json_copies_json_and_quotes_the_rest() {
        for (payload, shown) in [
            (&b"{\"res_id\":1}"[..], "{\"res_id\":1}"),
            (
                b"{ \"b\" : 1e400,\n\t\"a\":[ 12345678901234567890123, \" x\\\" \\\\\" ] }\r\n",
                "{\"b\":1e400,\"a\":[12345678901234567890123,\" x\\\" \\\\\"]}",
            ),
            (b"null", "null"),
            (b"", "\"\""),
            (b"not \"json\"\n", "\"not \\\"json\\\"\\n\""),
            (b"{\"a\":1} {}", "\"{\\\"a\\\":1} {}\""),
            (b"\xff", "\"\u{fffd}\""),
        ] {
            let line = json(&event("Completed", payload));
            let start = r#"{"seq":42,"time":"2026-11-21T19:00:01.123456Z","state":"Completed","payload":"#;
            assert_eq!(line, format!("{start}{shown}}}"));
        }
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(json(&event("A", deep.as_bytes())).contains(&deep), "deep nesting uses no stack");
    }

    proptest! {
        #[test]
        fn any_payload_is_one_line_and_valid_json(payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let line = json(&event("A", &payload));
            prop_assert!(!line.contains('\n'));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&value["seq"], 42);
            prop_assert!(!human(&event("A", &payload)).chars().any(char::is_control));
        }

        #[test]
        fn only_white_space_between_tokens_is_removed(text in "\\PC*", n in any::<i64>()) {
            let value = serde_json::json!({ "text": text, "n": [n, null, {"deep": true}] });
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(without_white_space(&pretty), value.to_string());
        }
    }
}
