//! The messages: one enum for clients and one for servers, each decoded from borrowed bytes and encoded into a `Vec`. A
//! server decodes strictly, a client leniently, so that a newer server can send more. Never does I/O.

use super::{ConsumerName, Error, Frame, Pattern, Start, State, reader::Reader};

/// The version in HELLO and WELCOME.
pub const VERSION: u8 = 1;

/// The largest payload, in bytes.
pub const MAX_PAYLOAD: usize = 1_000_000;

/// The longest name of a peer, in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// The most states in one SUBSCRIBE or CONSUME.
pub const MAX_STATES: usize = 1_024;

/// The most events that a consumer may receive beyond those that it has acknowledged.
pub const MAX_UNACKED: u16 = 10_000;

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// PUBLISH and RING.
    Publisher = 1,
    /// SUBSCRIBE, CONSUME and ACK.
    Subscriber = 2,
    /// All of them.
    Both = 3,
}

impl Role {
    /// Whether PUBLISH and RING are allowed.
    pub fn publishes(self) -> bool {
        self != Role::Subscriber
    }

    /// Whether SUBSCRIBE, CONSUME and ACK are allowed.
    pub fn subscribes(self) -> bool {
        self != Role::Publisher
    }
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage<'a> {
    /// The first frame of every connection.
    Hello {
        /// Which frames the client is going to send.
        role: Role,
        /// Its name in the server's log: at most 64 printable characters.
        name: &'a str,
        /// The shared secret; empty if there is none.
        token: &'a str,
    },
    /// The only subscription of the connection.
    Subscribe {
        /// Where delivery begins; encoded, the beginning is the place after number 0.
        start: Start,
        /// Leave out ephemeral events.
        durable_only: bool,
        /// 1 to 1,024 states or prefixes.
        patterns: Vec<Pattern<'a>>,
    },
    /// In place of SUBSCRIBE: durable events from the position that the server keeps under this name.
    Consume {
        /// The name of the consumer.
        consumer: ConsumerName<'a>,
        /// Where delivery begins if the server has no such consumer yet.
        start: Start,
        /// At most so many events are sent beyond the last ACK: 1 to 10,000.
        max_unacked: u16,
        /// 1 to 1,024 states or prefixes.
        patterns: Vec<Pattern<'a>>,
    },
    /// The consumer is done with every event up to this number.
    Ack(u64),
    /// An ephemeral event for the subscribers connected now.
    Publish {
        /// Its state.
        state: State<'a>,
        /// At most 1,000,000 bytes.
        payload: &'a [u8],
    },
    /// There may be new rows in the database.
    Ring,
    /// To be answered by a PONG with the same number.
    Ping(u64),
    /// The answer to a PING.
    Pong(u64),
}

/// What a server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerMessage<'a> {
    /// The answer to HELLO.
    Welcome {
        /// The server's version of the protocol.
        version: u8,
        /// The greatest number in the event log.
        head_seq: u64,
        /// The greatest length in bytes that a frame may announce.
        max_frame: u32,
        /// How often the server sends PING, in milliseconds.
        ping_interval_ms: u32,
        /// Identifies the event log: numbers of another log mean nothing here.
        log_id: u64,
    },
    /// The subscription is in effect.
    Subscribed {
        /// Durable events after this number follow.
        seq: u64,
    },
    /// The answer to CONSUME: the connection holds the consumer.
    Consuming {
        /// Its position: durable events after this number follow.
        seq: u64,
    },
    /// An event that the subscription matches.
    Event {
        /// Its number in the event log; 0: ephemeral.
        seq: u64,
        /// When it was written, in microseconds since 1970.
        unix_time_us: u64,
        /// Its state.
        state: &'a str,
        /// Its payload, by convention JSON.
        payload: &'a [u8],
    },
    /// Events that the subscriber did not receive.
    Gap(Gap),
    /// The last frame of a connection that the server ends.
    Error {
        /// A [`super::Code`], as a number, since a newer server may know more of them.
        code: u16,
        /// For people.
        message: &'a str,
    },
    /// To be answered by a PONG. Every matching durable event up to this number was sent.
    Ping(u64),
    /// The answer to a PING, with the same number.
    Pong(u64),
}

/// Events that a subscriber did not receive, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// All durable events below this number are deleted from the log.
    Pruned(u64),
    /// This many ephemeral events were dropped.
    Dropped(u64),
    /// The number to resume after lies beyond the log's head, which is this number; delivery continues there.
    BeyondHead(u64),
}

impl<'a> ClientMessage<'a> {
    /// Decodes strictly, as a server does: every byte of the body has a meaning, or the frame is malformed.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn decode(frame: Frame<'a>) -> Result<ClientMessage<'a>, Error> {
        let mut body = Reader::new(frame.body);
        let message = match frame.kind {
            0x01 => {
                // The version is checked first, since another version may have another body.
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
                let after_seq = body.u64()?;
                if flags > 0b111 {
                    return Err(Error::Malformed("unknown flags"));
                }
                let start = match (flags & 4 != 0, flags & 1 != 0) {
                    (true, _) => Start::Time(after_seq),
                    (false, true) => Start::After(after_seq),
                    (false, false) => Start::Now,
                };
                ClientMessage::Subscribe { start, durable_only: flags & 2 != 0, patterns: patterns(&mut body)? }
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
            0x07 => {
                if body.u8()? != 0 {
                    return Err(Error::Malformed("unknown flags"));
                }
                let consumer = ConsumerName::new(body.str()?)?;
                let start = match (body.u8()?, body.u64()?) {
                    (0, _) => Start::Now,
                    (1, _) => Start::Beginning,
                    (2, seq) => Start::After(seq),
                    (3, unix_time_us) => Start::Time(unix_time_us),
                    _ => return Err(Error::Malformed("a start outside 0 to 3")),
                };
                let max_unacked = body.u16()?;
                if !(1..=MAX_UNACKED).contains(&max_unacked) {
                    return Err(Error::Malformed("max_unacked outside 1 to 10,000"));
                }
                ClientMessage::Consume { consumer, start, max_unacked, patterns: patterns(&mut body)? }
            }
            0x08 => ClientMessage::Ack(body.u64()?),
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
            ClientMessage::Subscribe { start, durable_only, patterns } => frame(out, 0x02, |out| {
                let (flags, value) = match *start {
                    Start::Now => (0b000, 0),
                    Start::Beginning => (0b001, 0),
                    Start::After(seq) => (0b001, seq),
                    Start::Time(unix_time_us) => (0b101, unix_time_us),
                };
                out.push(flags | u8::from(*durable_only) << 1);
                out.extend_from_slice(&value.to_be_bytes());
                put_patterns(out, patterns);
            }),
            ClientMessage::Consume { consumer, start, max_unacked, patterns } => frame(out, 0x07, |out| {
                out.push(0);
                put_str(out, consumer.as_str());
                let (kind, value) = match *start {
                    Start::Now => (0, 0),
                    Start::Beginning => (1, 0),
                    Start::After(seq) => (2, seq),
                    Start::Time(unix_time_us) => (3, unix_time_us),
                };
                out.push(kind);
                out.extend_from_slice(&value.to_be_bytes());
                out.extend_from_slice(&max_unacked.to_be_bytes());
                put_patterns(out, patterns);
            }),
            ClientMessage::Ack(seq) => one_number(out, 0x08, *seq),
            ClientMessage::Publish { state, payload } => frame(out, 0x03, |out| {
                put_str(out, state.as_str());
                out.extend_from_slice(payload);
            }),
            ClientMessage::Ring => frame(out, 0x04, |_| {}),
            ClientMessage::Ping(number) => one_number(out, 0x05, *number),
            ClientMessage::Pong(number) => one_number(out, 0x06, *number),
        }
    }
}

impl<'a> ServerMessage<'a> {
    /// Decodes leniently, as a client does: None for an unknown type of frame or kind of gap, and further bytes are
    /// ignored.
    ///
    /// # Errors
    /// The frame is too short, or a string is not UTF-8.
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
            0x86 => ServerMessage::Consuming { seq: body.u64()? },
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
            ServerMessage::Subscribed { seq } => one_number(out, 0x82, *seq),
            ServerMessage::Consuming { seq } => one_number(out, 0x86, *seq),
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
            ServerMessage::Ping(number) => one_number(out, 0x05, *number),
            ServerMessage::Pong(number) => one_number(out, 0x06, *number),
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

/// A frame whose body is one number.
fn one_number(out: &mut Vec<u8>, kind: u8, number: u64) {
    frame(out, kind, |out| out.extend_from_slice(&number.to_be_bytes()));
}

/// `u16 n`, then that many patterns.
fn patterns<'a>(body: &mut Reader<'a>) -> Result<Vec<Pattern<'a>>, Error> {
    let n = body.u16()? as usize;
    if !(1..=MAX_STATES).contains(&n) {
        return Err(Error::Malformed("a subscription to other than 1 to 1,024 states"));
    }
    (0..n).map(|_| Pattern::new(body.str()?)).collect()
}

fn put_patterns(out: &mut Vec<u8>, patterns: &[Pattern<'_>]) {
    out.extend_from_slice(&(patterns.len() as u16).to_be_bytes());
    patterns.iter().for_each(|pattern| put_str(out, &pattern.to_string()));
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
