//! What frames say: one enum for what clients send, one for what servers send, each read from borrowed bytes and
//! written into a `Vec`. A server reads strictly, a client leniently, so that a newer server can say more.

use super::{Error, Frame, Pattern, State, reader::Reader};

pub const VERSION: u8 = 1;

/// The largest payload, in bytes.
pub const MAX_PAYLOAD: usize = 1_000_000;

/// The longest name of a peer, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// The most states in one SUBSCRIBE.
pub const MAX_STATES: usize = 1_024;

/// What a peer came for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Publisher = 1,
    Subscriber = 2,
    Both = 3,
}

impl Role {
    pub fn publishes(self) -> bool {
        self != Role::Subscriber
    }

    pub fn subscribes(self) -> bool {
        self != Role::Publisher
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    Hello {
        role: Role,
        name: &'a str,
        token: &'a str,
    },
    /// `resume_after`: from just after this number; None: from now on.
    Subscribe {
        resume_after: Option<u64>,
        durable_only: bool,
        patterns: Vec<Pattern<'a>>,
    },
    Publish {
        state: State<'a>,
        payload: &'a [u8],
    },
    Ring,
    Ping(u64),
    Pong(u64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage<'a> {
    Welcome {
        version: u8,
        head_seq: u64,
        max_frame: u32,
        ping_interval_ms: u32,
        log_id: u64,
    },
    Subscribed {
        seq: u64,
    },
    /// `seq` 0: ephemeral.
    Event {
        seq: u64,
        unix_time_us: u64,
        state: &'a str,
        payload: &'a [u8],
    },
    Gap(Gap),
    /// `code` is a number here, since a newer server may know more of them than [`super::Code`].
    Error {
        code: u16,
        message: &'a str,
    },
    Ping(u64),
    Pong(u64),
}

/// What a subscriber did not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// All durable events below this number are gone from the log.
    Pruned(u64),
    /// So many ephemeral events were dropped.
    Dropped(u64),
    /// The number asked for lies beyond the log's head, which is this; delivery goes on from there.
    BeyondHead(u64),
}

impl<'a> ClientMessage<'a> {
    /// Reads strictly, as a server does: every byte of the body has a meaning, or the frame is malformed.
    pub fn decode(frame: Frame<'a>) -> Result<ClientMessage<'a>, Error> {
        let mut body = Reader::new(frame.body);
        let message = match frame.kind {
            0x01 => {
                // The version stands first, since another version may have another body.
                match body.u8()? {
                    VERSION => {}
                    other => return Err(Error::Version(other)),
                }
                let role = match body.u8()? {
                    1 => Role::Publisher,
                    2 => Role::Subscriber,
                    3 => Role::Both,
                    _ => return Err(Error::Malformed("a role outside 1 to 3")),
                };
                let name = body.str()?;
                if name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
                    return Err(Error::Malformed("a name that is not at most 64 printable characters"));
                }
                ClientMessage::Hello { role, name, token: body.str()? }
            }
            0x02 => {
                let flags = body.u8()?;
                if flags > 0b11 {
                    return Err(Error::Malformed("unknown flags"));
                }
                let after_seq = body.u64()?;
                let n = body.u16()? as usize;
                if !(1..=MAX_STATES).contains(&n) {
                    return Err(Error::Malformed("a subscription to other than 1 to 1,024 states"));
                }
                let patterns = (0..n).map(|_| Pattern::new(body.str()?)).collect::<Result<_, _>>()?;
                ClientMessage::Subscribe {
                    resume_after: (flags & 1 != 0).then_some(after_seq),
                    durable_only: flags & 2 != 0,
                    patterns,
                }
            }
            0x03 => {
                let (state, payload) = (State::new(body.str()?)?, body.rest());
                if payload.len() > MAX_PAYLOAD {
                    return Err(Error::TooLarge { bytes: payload.len(), limit: MAX_PAYLOAD });
                }
                ClientMessage::Publish { state, payload }
            }
            0x04 => ClientMessage::Ring,
            0x05 => ClientMessage::Ping(body.u64()?),
            0x06 => ClientMessage::Pong(body.u64()?),
            _ => return Err(Error::Malformed("an unknown type of frame")),
        };
        body.end()?;
        Ok(message)
    }

    /// Appends the message as one frame. A string beyond 65,535 bytes is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ClientMessage::Hello { role, name, token } => frame(out, 0x01, |out| {
                out.extend_from_slice(&[VERSION, *role as u8]);
                put_str(out, name);
                put_str(out, token);
            }),
            ClientMessage::Subscribe { resume_after, durable_only, patterns } => frame(out, 0x02, |out| {
                out.push(u8::from(resume_after.is_some()) | u8::from(*durable_only) << 1);
                out.extend_from_slice(&resume_after.unwrap_or(0).to_be_bytes());
                out.extend_from_slice(&(patterns.len() as u16).to_be_bytes());
                patterns.iter().for_each(|pattern| put_str(out, &pattern.to_string()));
            }),
            ClientMessage::Publish { state, payload } => frame(out, 0x03, |out| {
                put_str(out, state.as_str());
                out.extend_from_slice(payload);
            }),
            ClientMessage::Ring => frame(out, 0x04, |_| {}),
            ClientMessage::Ping(number) => ping(out, 0x05, *number),
            ClientMessage::Pong(number) => ping(out, 0x06, *number),
        }
    }
}

impl<'a> ServerMessage<'a> {
    /// Reads leniently, as a client does: None for a type of frame or a kind of gap that it does not know, and no
    /// care for further bytes. Too short is an error all the same.
    pub fn decode(frame: Frame<'a>) -> Result<Option<ServerMessage<'a>>, Error> {
        let mut body = Reader::new(frame.body);
        Ok(Some(match frame.kind {
            0x05 => ServerMessage::Ping(body.u64()?),
            0x06 => ServerMessage::Pong(body.u64()?),
            0x81 => ServerMessage::Welcome {
                version: body.u8()?,
                head_seq: body.u64()?,
                max_frame: body.u32()?,
                ping_interval_ms: body.u32()?,
                log_id: body.u64()?,
            },
            0x82 => ServerMessage::Subscribed { seq: body.u64()? },
            0x83 => ServerMessage::Event {
                seq: body.u64()?,
                unix_time_us: body.u64()?,
                state: body.str()?,
                payload: body.rest(),
            },
            0x84 => match (body.u8()?, body.u64()?) {
                (1, value) => ServerMessage::Gap(Gap::Pruned(value)),
                (2, value) => ServerMessage::Gap(Gap::Dropped(value)),
                (3, value) => ServerMessage::Gap(Gap::BeyondHead(value)),
                _ => return Ok(None),
            },
            0x85 => ServerMessage::Error { code: body.u16()?, message: body.str()? },
            _ => return Ok(None),
        }))
    }

    /// Appends the message as one frame. A string beyond 65,535 bytes is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ServerMessage::Welcome { version, head_seq, max_frame, ping_interval_ms, log_id } => {
                frame(out, 0x81, |out| {
                    out.push(*version);
                    out.extend_from_slice(&head_seq.to_be_bytes());
                    out.extend_from_slice(&max_frame.to_be_bytes());
                    out.extend_from_slice(&ping_interval_ms.to_be_bytes());
                    out.extend_from_slice(&log_id.to_be_bytes());
                })
            }
            ServerMessage::Subscribed { seq } => frame(out, 0x82, |out| out.extend_from_slice(&seq.to_be_bytes())),
            ServerMessage::Event { seq, unix_time_us, state, payload } => frame(out, 0x83, |out| {
                out.extend_from_slice(&seq.to_be_bytes());
                out.extend_from_slice(&unix_time_us.to_be_bytes());
                put_str(out, state);
                out.extend_from_slice(payload);
            }),
            ServerMessage::Gap(gap) => frame(out, 0x84, |out| {
                let (kind, value) = match gap {
                    Gap::Pruned(first_kept) => (1, first_kept),
                    Gap::Dropped(events) => (2, events),
                    Gap::BeyondHead(head_seq) => (3, head_seq),
                };
                out.push(kind);
                out.extend_from_slice(&value.to_be_bytes());
            }),
            ServerMessage::Error { code, message } => frame(out, 0x85, |out| {
                out.extend_from_slice(&code.to_be_bytes());
                put_str(out, message);
            }),
            ServerMessage::Ping(number) => ping(out, 0x05, *number),
            ServerMessage::Pong(number) => ping(out, 0x06, *number),
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    body(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn ping(out: &mut Vec<u8>, kind: u8, number: u64) {
    frame(out, kind, |out| out.extend_from_slice(&number.to_be_bytes()));
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    let mut end = text.len().min(u16::MAX as usize);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.extend_from_slice(&(end as u16).to_be_bytes());
    out.extend_from_slice(&text.as_bytes()[..end]);
}

#[cfg(test)]
mod tests;
