//! Answers as bytes: status line, header fields, body. Every answer carries the fields that keep a browser from doing more
//! with it than it is for. Never sends anything.

use std::fmt::Write;

use serde_json::json;

use super::request::Rejection;
use crate::fanout::Bytes;

/// The fields of every answer. The policy allows nothing; a page that needs more sends one of its own.
const SECURITY: &str = "X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\
                        Cross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n";

/// The policy of everything that is not a page.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// An answer whose body is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The value of `Content-Type`.
    content_type: &'static str,
    /// Further fields, as name and value. A value has no line ends.
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Response {
    /// With this body.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
        Response { status, content_type, fields: Vec::new(), body: body.into() }
    }

    /// With a JSON value as its body.
    pub fn json(status: u16, value: &serde_json::Value) -> Response {
        Response::new(status, "application/json", format!("{value}\n"))
    }

    /// Adds a field. A value with a line end would add others, so what follows it is cut off.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Response {
        let value: String = value.into();
        let safe = value.split(['\r', '\n', '\0']).next().unwrap_or_default();
        self.fields.push((name, safe.to_string()));
        self
    }

    /// The bytes to send. `closes`: the connection ends after it. `is_head`: the request's method was HEAD.
    pub fn encode(&self, closes: bool, is_head: bool) -> Bytes {
        let mut head = head(self.status, self.content_type);
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        for (name, usual) in [("Cache-Control", "no-store"), ("Content-Security-Policy", NOTHING)] {
            if !self.fields.iter().any(|(field, _)| *field == name) {
                let _ = write!(head, "{name}: {usual}\r\n");
            }
        }
        if closes {
            head += "Connection: close\r\n";
        }
        // The length in a 304 would be that of the file, which is not sent.
        if self.status != 304 {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        if !is_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes.into()
    }
}

impl From<&Rejection> for Response {
    fn from(rejection: &Rejection) -> Response {
        let response = Response::json(rejection.status, &json!({ "error": rejection.message }));
        let response = match &rejection.field {
            Some((name, value)) => response.with(name, value.as_str()),
            None => response,
        };
        match rejection.status {
            401 => response.with("WWW-Authenticate", "Bearer realm=\"resq\""),
            _ => response,
        }
    }
}

/// The head of an answer whose body ends with the connection: a stream of events.
pub fn stream_head() -> Bytes {
    let head = head(200, "text/event-stream");
    // Proxies that buffer answers would hold events back.
    format!("{head}Content-Security-Policy: {NOTHING}\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\nConnection: close\r\n\r\n")
        .into_bytes()
        .into()
}

/// `100 Continue`.
pub fn go_on() -> Bytes {
    b"HTTP/1.1 100 Continue\r\n\r\n"[..].into()
}

fn head(status: u16, content_type: &str) -> String {
    format!("HTTP/1.1 {status} {}\r\nContent-Type: {content_type}\r\n{SECURITY}", reason(status))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> (Vec<&str>, &str) {
        let (head, body) = std::str::from_utf8(bytes).unwrap().split_once("\r\n\r\n").unwrap();
        (head.split("\r\n").collect(), body)
    }

    #[test]
    fn answers_have_a_length_and_forbid_everything_to_browsers() {
        let bytes = Response::json(503, &json!({ "ready": false })).encode(true, false);
        let (lines, body) = text(&bytes);
        assert_eq!((lines[0], body), ("HTTP/1.1 503 Service Unavailable", "{\"ready\":false}\n"));
        for line in
            ["Content-Length: 16", "Connection: close", "X-Content-Type-Options: nosniff", "Cache-Control: no-store"]
        {
            assert!(lines.contains(&line), "{line}: {lines:?}");
        }
        assert!(lines.iter().any(|line| line.starts_with("Content-Security-Policy: default-src 'none'")));
        let bytes = Response::json(200, &json!(1)).encode(false, true);
        let (lines, body) = text(&bytes);
        assert_eq!(
            (body, lines.contains(&"Content-Length: 2"), lines.contains(&"Connection: close")),
            ("", true, false)
        );
    }

    #[test]
    fn a_value_cannot_add_a_field() {
        let bytes = Response::json(200, &json!(1)).with("X-Name", "a\r\nSet-Cookie: b").encode(false, false);
        assert!(text(&bytes).0.contains(&"X-Name: a"));
        assert!(!String::from_utf8_lossy(&bytes).contains("Set-Cookie"));
    }

    #[test]
    fn rejections_say_what_to_do_next() {
        let bytes = Response::from(&Rejection::new(401, "a \"token\"\r\nis needed")).encode(false, false);
        let (lines, body) = text(&bytes);
        assert!(lines.contains(&"WWW-Authenticate: Bearer realm=\"resq\""));
        assert_eq!(body, "{\"error\":\"a \\\"token\\\"\\r\\nis needed\"}\n");
        let limited = Rejection::new(429, "too many").with("Retry-After", "8");
        assert!(text(&Response::from(&limited).encode(false, false)).0.contains(&"Retry-After: 8"));
    }
}
