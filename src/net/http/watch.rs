//! What a stream may carry besides events: the state of the daemon at a glance, and its subscribers, as an open page shows
//! them. Their names have a `/`, which no state has, so that no publisher can forge them. Pure.

use std::{collections::BTreeMap, time::Instant};

use serde_json::Value as Json;

use super::request::Rejection;
use crate::fanout::Bytes;

/// What is wanted. By default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Topics {
    /// The state of the daemon at a glance, each second.
    pub overview: bool,
    /// Its subscribers, each second.
    pub subscribers: bool,
}

impl Topics {
    /// From the values of the parameter `watch`.
    ///
    /// # Errors
    /// One is unknown.
    pub fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Result<Topics, Rejection> {
        let mut topics = Topics::default();
        for value in values {
            match value {
                "overview" => topics.overview = true,
                "subscribers" => topics.subscribers = true,
                _ => return Err(Rejection::new(400, format!("watch={value:?}: expected overview or subscribers"))),
            }
        }
        Ok(topics)
    }

    /// Whether anything is wanted.
    pub fn any(self) -> bool {
        self != Topics::default()
    }
}

/// The streams that want any of it, and what they got last.
#[derive(Debug, Default)]
pub struct Pages {
    /// By the key of the connection.
    pub topics: BTreeMap<usize, Topics>,
    /// The state at a glance, and when it was sent.
    pub last: Option<(Instant, Bytes)>,
}

/// The state at a glance; `json` is one line.
pub fn overview(json: &str) -> Bytes {
    format!("event: resq/overview\ndata: {{\"overview\":{json}}}\n\n").into_bytes().into()
}

/// The subscribers, as the hub lists them.
pub fn subscribers(data: &Json) -> Bytes {
    format!("event: resq/subscribers\ndata: {data}\n\n").into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn topics_are_known_ones() {
        let parse = |values: &[&str]| Topics::parse(values.iter().copied()).map_err(|rejection| rejection.status);
        assert_eq!(parse(&[]), Ok(Topics::default()));
        assert_eq!(parse(&["overview"]), Ok(Topics { overview: true, subscribers: false }));
        assert_eq!(parse(&["subscribers", "overview"]), Ok(Topics { overview: true, subscribers: true }));
        assert_eq!(parse(&["overview", "x"]), Err(400));
    }

    #[test]
    fn names_are_text_within_one_event() {
        let one = json!({ "name": "a\n\nevent: x" });
        let bytes = subscribers(&json!({ "subscribers": [one], "count": 7 }));
        let text = std::str::from_utf8(&bytes).unwrap();
        assert_eq!(text.matches('\n').count(), 3, "{text}");
        let data: Json = serde_json::from_str(text.split("data: ").nth(1).unwrap()).unwrap();
        assert_eq!((&data["count"], &data["subscribers"][0]["name"]), (&json!(7), &json!("a\n\nevent: x")));
    }
}
