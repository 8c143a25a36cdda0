//! An event as a desktop notification. If no desktop shows it, this is logged once and the program continues.

use log::{debug, warn};
use notify_rust::Notification;
use serde_json::{Map, Value};

use crate::{base::text::printable, client::Event};

/// The most informative fields of a payload, shown first and in this order.
const MAIN_FIELDS: [&str; 5] = ["res_name", "last_error", "db_name", "res_type", "status"];

const LINES: usize = 4;
const LINE_CHARS: usize = 120;

/// Shows events, and logs only once if it cannot.
#[derive(Debug, Default)]
pub struct Toast {
    warned: bool,
}

impl Toast {
    /// Shows one event; a failure is logged.
    pub fn show(&mut self, event: &Event) {
        let shown = Notification::new()
            .appname("resq")
            .summary(&cut(&event.state))
            .body(&body(&event.payload))
            .icon(icon(&event.state))
            .show();
        match shown {
            Ok(_) => {}
            Err(e) if self.warned => debug!("--toast: {e}"),
            Err(e) => {
                self.warned = true;
                warn!("--toast: no desktop shows notifications here ({e}); continuing without them");
            }
        }
    }
}

/// An icon name of the freedesktop icon naming specification.
fn icon(state: &str) -> &'static str {
    match state {
        "Error" => "dialog-error",
        "Suspended" => "dialog-warning",
        _ => "dialog-information",
    }
}

/// The payload's main fields, one per line. A payload that is not a JSON object is shown unchanged.
fn body(payload: &[u8]) -> String {
    let lines = match serde_json::from_slice(payload) {
        Ok(Value::Object(fields)) => main_fields(&fields),
        _ => vec![cut(&String::from_utf8_lossy(payload))],
    };
    // Notification servers render markup in the body; an untrusted payload must not become a link or an image.
    lines.join("\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn main_fields(fields: &Map<String, Value>) -> Vec<String> {
    let main = MAIN_FIELDS.iter().filter_map(|name| fields.get_key_value(*name));
    let others = fields.iter().filter(|(name, _)| !MAIN_FIELDS.contains(&name.as_str()));
    let line = |(name, value): (&String, &Value)| match value {
        Value::Null => None,
        Value::String(text) => Some(cut(&format!("{name}: {text}"))),
        other => Some(cut(&format!("{name}: {other}"))),
    };
    main.chain(others).filter_map(line).take(LINES).collect()
}

fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(LINE_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    printable(&short).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_the_main_fields_in_a_few_short_lines() {
        let long = "x".repeat(1000);
        for (payload, shown) in [
            (
                r#"{"res_id":1,"res_name":"shop-17","db_name":null,"last_error":"no space"}"#,
                "res_name: shop-17\nlast_error: no space\nres_id: 1".to_string(),
            ),
            (r#"{"a":1,"b":[2],"c":true,"d":4,"e":5}"#, "a: 1\nb: [2]\nc: true\nd: 4".into()),
            (r#"{"a":"<a href='x'>&"}"#, "a: &lt;a href='x'&gt;&amp;".into()),
            ("plain\n\0text", "plain\\n\\u{0}text".into()),
            ("", String::new()),
            (&long, format!("{}…", "x".repeat(LINE_CHARS))),
        ] {
            assert_eq!(body(payload.as_bytes()), shown);
        }
    }

    #[test]
    fn icon_depends_on_the_state() {
        let icons = ["Error", "Suspended", "Completed", "error"].map(icon);
        assert_eq!(icons, ["dialog-error", "dialog-warning", "dialog-information", "dialog-information"]);
    }
}
