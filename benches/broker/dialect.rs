//! The protocols of the three servers, as far as one topic needs them. The rest of the measuring client is shared.

/// The size of every payload, in bytes.
pub const PAYLOAD: usize = 128;

/// What comes before an ephemeral event's payload, which is not JSON and so a string.
const SSE_BEFORE_PAYLOAD: usize =
    concat!("event: news\ndata: ", r#"{"seq":0,"time":"2026-11-21T19:00:01.123456Z","state":"news","payload":""#,)
        .len();
const SSE_AFTER_PAYLOAD: &[u8] = b"\"}\n\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Resq,
    /// The same broker's event stream by HTTP.
    Sse,
    Nats,
    Redis,
}

pub const ALL: [Dialect; 4] = [Dialect::Resq, Dialect::Sse, Dialect::Nats, Dialect::Redis];

/// Those that serve 10,000 subscribers: HTTP has a limit of its own.
pub const FOR_MANY: [Dialect; 3] = [Dialect::Resq, Dialect::Nats, Dialect::Redis];

/// The first complete message of a buffer: its length and, if it is an event, the range of its payload.
pub struct Message<'a> {
    pub bytes: usize,
    pub payload: Option<&'a [u8]>,
}

impl Dialect {
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Resq => "resq",
            Dialect::Sse => "sse",
            Dialect::Nats => "nats",
            Dialect::Redis => "redis",
        }
    }

    /// What a subscriber sends; the server answers it, see [`Dialect::is_ready`].
    pub fn subscribe(self) -> Vec<u8> {
        match self {
            Dialect::Resq => {
                let hello = b"\0\0\0\x09\x01\x01\x02\0\x01s\0\0".to_vec();
                let hello = [&(hello.len() as u32 - 4).to_be_bytes()[..], &hello[4..]].concat();
                [&hello[..], b"\0\0\0\x12\x02\0\0\0\0\0\0\0\0\0\0\x01\0\x04news"].concat()
            }
            Dialect::Sse => b"GET /api/v1/stream?sub=news HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            Dialect::Nats => b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB news 1\r\nPING\r\n".to_vec(),
            Dialect::Redis => b"*2\r\n$9\r\nSUBSCRIBE\r\n$4\r\nnews\r\n".to_vec(),
        }
    }

    /// Whether this message of the server confirms the subscription.
    pub fn is_ready(self, message: &[u8]) -> bool {
        match self {
            Dialect::Resq => message[4] == 0x82,
            Dialect::Sse => message.starts_with(b":\n"),
            Dialect::Nats => message.starts_with(b"PONG"),
            Dialect::Redis => message.starts_with(b"*3\r\n$9"),
        }
    }

    pub fn greet_as_publisher(self) -> Vec<u8> {
        match self {
            Dialect::Resq | Dialect::Sse => b"\0\0\0\x08\x01\x01\x01\0\x01p\0\0".to_vec(),
            Dialect::Nats => b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n".to_vec(),
            Dialect::Redis => Vec::new(),
        }
    }

    pub fn publish(self, payload: &[u8], out: &mut Vec<u8>) {
        match self {
            Dialect::Resq | Dialect::Sse => {
                out.extend_from_slice(&(payload.len() as u32 + 7).to_be_bytes());
                out.extend_from_slice(b"\x03\0\x04news");
                out.extend_from_slice(payload);
            }
            Dialect::Nats => {
                out.extend_from_slice(format!("PUB news {}\r\n", payload.len()).as_bytes());
                out.extend_from_slice(payload);
                out.extend_from_slice(b"\r\n");
            }
            Dialect::Redis => {
                out.extend_from_slice(
                    format!("*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n${}\r\n", payload.len()).as_bytes(),
                );
                out.extend_from_slice(payload);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    pub fn first_message(self, buffer: &[u8]) -> Option<Message<'_>> {
        match self {
            Dialect::Resq => {
                let bytes = u32::from_be_bytes(*buffer.first_chunk()?) as usize + 4;
                let message = buffer.get(..bytes)?;
                assert!(message[4] < 0x84, "a gap or an error: {message:?}");
                let payload = (message[4] == 0x83)
                    .then(|| &message[23 + u16::from_be_bytes([message[21], message[22]]) as usize..]);
                Some(Message { bytes, payload })
            }
            Dialect::Sse => {
                if !buffer.starts_with(b"event: news") {
                    let end: &[u8] = if buffer.starts_with(b"HTTP") { b"\r\n\r\n" } else { b"\n\n" };
                    let bytes = buffer.windows(end.len()).position(|bytes| bytes == end)? + end.len();
                    return Some(Message { bytes, payload: None });
                }
                // All events have this length, so that finding their end costs no more than with RSQ/1.
                let bytes = SSE_BEFORE_PAYLOAD + PAYLOAD + SSE_AFTER_PAYLOAD.len();
                let message = buffer.get(..bytes)?;
                assert!(message.ends_with(SSE_AFTER_PAYLOAD), "{}", String::from_utf8_lossy(message));
                let payload = &message[SSE_BEFORE_PAYLOAD..SSE_BEFORE_PAYLOAD + PAYLOAD];
                Some(Message { bytes, payload: Some(payload) })
            }
            Dialect::Nats => {
                let line = line(buffer, 0)?;
                if !buffer.starts_with(b"MSG ") {
                    assert!(!buffer.starts_with(b"-"), "{:?}", String::from_utf8_lossy(buffer));
                    return Some(Message { bytes: line, payload: None });
                }
                let size = buffer[..line - 2].rsplit(|&byte| byte == b' ').next().map(number)?;
                let payload = buffer.get(line..line + size + 2)?;
                Some(Message { bytes: line + size + 2, payload: Some(&payload[..size]) })
            }
            Dialect::Redis => {
                let first = line(buffer, 0)?;
                if buffer[0] != b'*' {
                    assert_ne!(buffer[0], b'-', "{:?}", String::from_utf8_lossy(buffer));
                    return Some(Message { bytes: first, payload: None });
                }
                let mut at = first;
                let mut last = &buffer[..0];
                for _ in 0..number(&buffer[1..first - 2]) {
                    let end = line(buffer, at)?;
                    let size = if buffer[at] == b'$' { number(&buffer[at + 1..end - 2]) + 2 } else { 0 };
                    last = buffer.get(end..end + size)?;
                    at = end + size;
                }
                let payload = buffer[first..].starts_with(b"$7\r\nmessage").then(|| &last[..last.len() - 2]);
                Some(Message { bytes: at, payload })
            }
        }
    }
}

/// Where the line that begins at `from` ends, including its CRLF.
fn line(buffer: &[u8], from: usize) -> Option<usize> {
    buffer.get(from..)?.iter().position(|&byte| byte == b'\n').map(|at| from + at + 1)
}

fn number(digits: &[u8]) -> usize {
    digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
