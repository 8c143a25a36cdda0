//! The head of a request: from its bytes to its parts, or to the status that refuses it. Strict where two readers of the
//! same bytes could disagree: line ends, lengths, repeated fields. Pure.

use super::limits::{MAX_BODY, MAX_FIELDS};

/// A request with its whole body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its first line and its header fields.
    pub head: Head,
    /// Its body; empty if it has none.
    pub body: Vec<u8>,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// What the target names before its `?`, as it was sent.
    pub path: String,
    /// What follows the target's first `?`, as it was sent.
    pub query: String,
    /// How the body is sent.
    pub framing: Framing,
    /// The client sends its body only after `100 Continue`.
    pub expects_continue: bool,
    /// The connection may carry another request after this one.
    pub keep_alive: bool,
    /// Names in lower case, values without surrounding white space.
    fields: Vec<(String, String)>,
}

/// The methods that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads; the answer has no body.
    Head,
    /// Acts.
    Post,
    /// Any other one, which nothing here allows.
    Other,
}

/// How the body is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// This many bytes, at most [`MAX_BODY`]; 0: there is none.
    Length(usize),
    /// In chunks.
    Chunked,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The status code.
    pub status: u16,
    /// For people: what is wrong, and what would be right.
    pub message: String,
    /// A header field that says more, as name and value.
    pub field: Option<(&'static str, String)>,
}

impl Rejection {
    /// A rejection with this status.
    pub fn new(status: u16, message: impl Into<String>) -> Rejection {
        Rejection { status, message: message.into(), field: None }
    }

    /// The same with this header field.
    pub fn with(self, name: &'static str, value: impl Into<String>) -> Rejection {
        Rejection { field: Some((name, value.into())), ..self }
    }
}

/// These fields decide who may do what and where a request ends: one that is repeated is refused.
const ONCE: [&str; 9] = [
    "authorization",
    "content-length",
    "content-type",
    "expect",
    "host",
    "last-event-id",
    "origin",
    "sec-fetch-site",
    "transfer-encoding",
];

impl Head {
    /// Parses a head, including the empty line at its end.
    ///
    /// # Errors
    /// The head is malformed, or asks for what is not supported: the connection is to end with this rejection.
    pub fn parse(bytes: &[u8]) -> Result<Head, Rejection> {
        let malformed = |what: &str| Rejection::new(400, format!("malformed request: {what}"));
        if (0..bytes.len()).any(|at| bytes[at] == b'\n' && (at == 0 || bytes[at - 1] != b'\r')) {
            return Err(malformed("a line does not end in CR LF"));
        }
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut parsed = httparse::Request::new(&mut slots);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err(malformed("the head is incomplete")),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Rejection::new(431, format!("more than {MAX_FIELDS} header fields")));
            }
            Err(httparse::Error::Version) => {
                return Err(Rejection::new(505, "only HTTP/1.1 and HTTP/1.0 are supported"));
            }
            Err(error) => return Err(malformed(&error.to_string())),
        }
        let mut fields = Vec::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let value = std::str::from_utf8(field.value).map_err(|_| malformed("a header field is not UTF-8"))?;
            fields.push((field.name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_string()));
        }
        let repeated = |name: &&str| fields.iter().filter(|(known, _)| known == name).count() > 1;
        if let Some(name) = ONCE.iter().find(|name| repeated(name)) {
            return Err(malformed(&format!("the field {name} is repeated")));
        }
        let target = parsed.path.unwrap_or_default();
        if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(malformed("the target is not a path"));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let is_1_1 = parsed.version == Some(1);
        let mut head = Head {
            method: match parsed.method {
                Some("GET") => Method::Get,
                Some("HEAD") => Method::Head,
                Some("POST") => Method::Post,
                _ => Method::Other,
            },
            path: path.into(),
            query: query.into(),
            framing: Framing::Length(0),
            expects_continue: false,
            keep_alive: is_1_1,
            fields,
        };
        if is_1_1 && head.field("host").is_none() {
            return Err(malformed("the field host is missing"));
        }
        head.keep_alive &= !head.has_token("connection", "close");
        head.expects_continue = match head.field("expect") {
            None => false,
            Some(expected) if expected.eq_ignore_ascii_case("100-continue") => is_1_1,
            Some(_) => return Err(Rejection::new(417, "only `Expect: 100-continue` is supported")),
        };
        head.framing = head.framing(is_1_1)?;
        Ok(head)
    }

    fn framing(&self, is_1_1: bool) -> Result<Framing, Rejection> {
        let malformed = |what: &str| Rejection::new(400, format!("malformed request: {what}"));
        match (self.field("transfer-encoding"), self.field("content-length")) {
            (None, None) => Ok(Framing::Length(0)),
            (Some(_), Some(_)) => Err(malformed("both a length and an encoding of the body are given")),
            (Some(_), None) if !is_1_1 => Err(malformed("HTTP/1.0 has no transfer encodings")),
            (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
            (Some(_), None) => Err(Rejection::new(501, "the only transfer encoding supported is chunked")),
            (None, Some(length)) if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(malformed("content-length is not a number"))
            }
            // A number that is too long to parse is too large, too.
            (None, Some(length)) => match length.parse() {
                Ok(length) if length <= MAX_BODY => Ok(Framing::Length(length)),
                _ => Err(too_large()),
            },
        }
    }

    /// The value of a field, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a field that is a list has this item.
    fn has_token(&self, name: &str, item: &str) -> bool {
        let values = self.fields.iter().filter(|(known, _)| known == name);
        values.flat_map(|(_, value)| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(item))
    }

    /// The value of a cookie.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let cookies = self.fields.iter().filter(|(known, _)| known == "cookie").flat_map(|(_, value)| value.split(';'));
        cookies.filter_map(|cookie| cookie.trim().split_once('=')).find(|(known, _)| *known == name).map(|(_, v)| v)
    }
}

/// The rejection of a body that is longer than [`MAX_BODY`].
pub fn too_large() -> Rejection {
    Rejection::new(413, format!("the body of a request has at most {MAX_BODY} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Head, u16> {
        Head::parse(text.as_bytes()).map_err(|rejection| rejection.status)
    }

    fn with(fields: &str) -> Result<Head, u16> {
        parse(&format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
    }

    #[test]
    fn heads_are_taken_apart() {
        let head =
            parse("GET /a/b?c=d?e HTTP/1.1\r\nHOST:  h:1 \r\nCookie: x=1; resq=2\r\nConnection: a, Close\r\n\r\n");
        let head = head.unwrap();
        assert_eq!((head.method, head.path.as_str(), head.query.as_str()), (Method::Get, "/a/b", "c=d?e"));
        assert_eq!((head.field("host"), head.cookie("resq"), head.cookie("y")), (Some("h:1"), Some("2"), None));
        assert_eq!((head.keep_alive, head.framing, head.expects_continue), (false, Framing::Length(0), false));
        assert!(with("").unwrap().keep_alive);
        assert!(!parse("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap().keep_alive);
        assert_eq!(parse("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().method, Method::Other);
        assert_eq!(with("Transfer-Encoding: Chunked\r\n").unwrap().framing, Framing::Chunked);
        assert_eq!(with("Content-Length: 65536\r\n").unwrap().framing, Framing::Length(65_536));
        assert!(with("Expect: 100-Continue\r\n").unwrap().expects_continue);
    }

    #[test]
    fn heads_that_two_readers_could_read_differently_are_refused() {
        for (status, text) in [
            (400, "GET / HTTP/1.1\r\n\r\n"),
            (400, "GET / HTTP/1.1\nHost: h\n\n"),
            (400, "GET / HTTP/1.1\r\nHost: h\n\r\n"),
            (400, "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
            (400, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
            (400, "GET /#a HTTP/1.1\r\nHost: h\r\n\r\n"),
            (400, "GET /\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n"),
            (400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
            (400, "GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost : h\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"),
            (400, "GET / HTTP/1.1\r\nHost: h\0\r\n\r\n"),
            (400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (400, "\x16\x03\x01\r\n\r\n"),
            (505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
        ] {
            assert_eq!(parse(text).err(), Some(status), "{text:?}");
        }
        for (status, fields) in [
            (400, "Content-Length: 1\r\nContent-Length: 1\r\n"),
            (400, "Content-Length: 1, 1\r\n"),
            (400, "Content-Length: +1\r\n"),
            (400, "Content-Length: -1\r\n"),
            (400, "Content-Length: 0x1\r\n"),
            (400, "Content-Length:\r\n"),
            (400, "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
            (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
            (400, "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
            (501, "Transfer-Encoding: gzip, chunked\r\n"),
            (501, "Transfer-Encoding: xchunked\r\n"),
            (413, "Content-Length: 65537\r\n"),
            (413, "Content-Length: 99999999999999999999999\r\n"),
            (417, "Expect: 200-ok\r\n"),
        ] {
            assert_eq!(with(fields).err(), Some(status), "{fields:?}");
        }
        assert_eq!(with(&"X: y\r\n".repeat(64)).err(), Some(431));
    }
}
