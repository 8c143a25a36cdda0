//! The rules of one connection: who may say what, and when silence or a full socket ends it. Frames and `now` in,
//! actions out; knows no socket, no other peer and no event.

use crate::config::Secret;
use crate::fanout::limits::Limits;
use crate::wire::{ClientMessage, Code, Error, Frame, MAX_FRAME, MAX_FRAME_BEFORE_WELCOME, Pattern, Role, State};
use std::{fmt, time::Instant};

/// What all sessions share.
pub struct Rules {
    pub limits: Limits,
    /// None: every token will do.
    pub token: Option<Secret>,
    /// The only states there are; None: any.
    pub states: Option<Vec<String>>,
}

/// What a frame asks for, once it is known to be allowed.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    Welcome { name: &'a str, role: Role },
    Subscribe { resume_after: Option<u64>, durable_only: bool, patterns: Vec<Pattern<'a>> },
    Publish { state: State<'a>, payload: &'a [u8] },
    Ring,
    Pong(u64),
    Nothing,
}

/// What the time asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Nothing,
    Ping,
    Refuse(Refusal),
    /// The farewell took long enough.
    Close,
}

/// Why a connection ends, as its peer is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

pub struct Session {
    phase: Phase,
    ping: Ping,
    /// Since when the socket has taken nothing although something is queued.
    stuck_since: Option<Instant>,
}

enum Phase {
    Greeting { until: Instant },
    Open { role: Role, subscribed: bool },
    Closing { until: Instant },
}

enum Ping {
    Next {
        at: Instant,
    },
    /// It ends at this byte of what we write.
    Queued {
        end: u64,
    },
    /// It went out, and whether anything has come since.
    Out {
        since: Instant,
        heard: bool,
    },
}

impl Session {
    pub fn new(now: Instant, rules: &Rules) -> Session {
        Session {
            phase: Phase::Greeting { until: now + rules.limits.hello_timeout },
            ping: Ping::Next { at: now + rules.limits.ping_interval },
            stuck_since: None,
        }
    }

    /// The longest frame to be accepted now.
    pub fn frame_limit(&self) -> usize {
        match self.phase {
            Phase::Greeting { .. } => MAX_FRAME_BEFORE_WELCOME,
            Phase::Open { .. } | Phase::Closing { .. } => MAX_FRAME,
        }
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// The next frame of the peer. Not asked any more once the session is closing.
    pub fn frame<'a>(&mut self, frame: Frame<'a>, rules: &Rules, now: Instant) -> Result<Action<'a>, Refusal> {
        let message = ClientMessage::decode(frame)?;
        let (role, subscribed) = match (&mut self.phase, &message) {
            (Phase::Open { role, subscribed }, _) => (*role, subscribed),
            (Phase::Greeting { .. }, &ClientMessage::Hello { role, name, token }) => {
                if rules.token.as_ref().is_some_and(|expected| !same(expected.0.as_bytes(), token.as_bytes())) {
                    return Err(Refusal::new(Code::Token, "wrong token"));
                }
                self.phase = Phase::Open { role, subscribed: false };
                self.ping = Ping::Next { at: now + rules.limits.ping_interval };
                return Ok(Action::Welcome { name, role });
            }
            (Phase::Greeting { .. }, _) => return Err(Refusal::new(Code::Malformed, "the first frame is not HELLO")),
            (Phase::Closing { .. }, _) => return Ok(Action::Nothing),
        };
        match message {
            ClientMessage::Hello { .. } => Err(Refusal::new(Code::Malformed, "a second HELLO")),
            ClientMessage::Publish { .. } | ClientMessage::Ring if !role.publishes() => {
                Err(Refusal::new(Code::Role, "only a publisher may send PUBLISH and RING"))
            }
            ClientMessage::Subscribe { .. } if !role.subscribes() => {
                Err(Refusal::new(Code::Role, "only a subscriber may send SUBSCRIBE"))
            }
            ClientMessage::Subscribe { .. } if *subscribed => {
                Err(Refusal::new(Code::Malformed, "a second SUBSCRIBE; open another connection"))
            }
            ClientMessage::Subscribe { resume_after, durable_only, patterns } => {
                for pattern in &patterns {
                    rules.known(pattern, |state| pattern.matches(state))?;
                }
                *subscribed = true;
                Ok(Action::Subscribe { resume_after, durable_only, patterns })
            }
            ClientMessage::Publish { state, payload } => {
                rules.known(state, |known| known == state.as_str())?;
                Ok(Action::Publish { state, payload })
            }
            ClientMessage::Ring => Ok(Action::Ring),
            ClientMessage::Ping(number) => Ok(Action::Pong(number)),
            ClientMessage::Pong(_) => Ok(Action::Nothing),
        }
    }

    /// Bytes came from the peer.
    pub fn heard(&mut self) {
        if let Ping::Out { heard, .. } = &mut self.ping {
            *heard = true;
        }
    }

    /// A PING was queued; its last byte is this one of all that we write.
    pub fn ping_queued(&mut self, end: u64) {
        self.ping = Ping::Queued { end };
    }

    /// The socket was offered what is queued: whether it took any, how many bytes it has taken since the connection
    /// began, and whether some are left.
    pub fn wrote(&mut self, took_any: bool, written: u64, left: bool, now: Instant) {
        self.stuck_since = match self.stuck_since {
            _ if !left => None,
            Some(since) if !took_any => Some(since),
            _ => Some(now),
        };
        if let Ping::Queued { end } = self.ping
            && written >= end
        {
            self.ping = Ping::Out { since: now, heard: false };
        }
    }

    /// The end has come: what is queued may still go out for a while, nothing is taken any more.
    pub fn close(&mut self, now: Instant, rules: &Rules) {
        if !self.is_closing() {
            self.phase = Phase::Closing { until: now + rules.limits.farewell };
        }
    }

    /// When [`Self::tick`] next has something to say; None: not before something is written.
    pub fn due(&self, rules: &Rules) -> Option<Instant> {
        let ping = match (&self.phase, &self.ping) {
            (Phase::Greeting { until } | Phase::Closing { until }, _) => return Some(*until),
            (_, Ping::Next { at }) => Some(*at),
            (_, Ping::Queued { .. }) => None,
            (_, Ping::Out { since, .. }) => Some(*since + rules.limits.ping_interval),
        };
        let stuck = self.stuck_since.map(|since| since + rules.limits.stuck_timeout);
        ping.into_iter().chain(stuck).min()
    }

    /// What the time asks for. To be asked after the socket was read and written, so that a pause of this process is
    /// not taken for silence of its peers.
    pub fn tick(&self, rules: &Rules, now: Instant) -> Due {
        let limits = &rules.limits;
        match (&self.phase, &self.ping) {
            (Phase::Closing { until }, _) if now >= *until => Due::Close,
            (Phase::Greeting { until }, _) if now >= *until => {
                Due::Refuse(Refusal::new(Code::TimedOut, format!("no HELLO within {:?}", limits.hello_timeout)))
            }
            (Phase::Closing { .. } | Phase::Greeting { .. }, _) => Due::Nothing,
            _ if self.stuck_since.is_some_and(|since| now >= since + limits.stuck_timeout) => {
                Due::Refuse(Refusal::new(Code::Slow, format!("nothing was read for {:?}", limits.stuck_timeout)))
            }
            (_, Ping::Next { at }) if now >= *at => Due::Ping,
            (_, Ping::Out { since, heard }) if now >= *since + limits.ping_interval => match heard {
                true => Due::Ping,
                false => Due::Refuse(Refusal::new(
                    Code::TimedOut,
                    format!("PING not answered in {:?}", limits.ping_interval),
                )),
            },
            _ => Due::Nothing,
        }
    }
}

impl Rules {
    fn known(&self, asked: impl fmt::Display, matches: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        match &self.states {
            Some(states) if !states.iter().any(|state| matches(state)) => {
                Err(Refusal::new(Code::State, format!("no state is called {asked}; there are: {}", states.join(", "))))
            }
            _ => Ok(()),
        }
    }
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Refusal {
        Refusal { code, message: message.into() }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::new(error.code(), error.to_string())
    }
}

/// Compares in a time that depends on what was offered alone, so that it does not tell how much of it was right.
fn same(expected: &[u8], offered: &[u8]) -> bool {
    let differences = offered.iter().enumerate().fold(0u8, |differences, (i, byte)| {
        let other = expected.get(i % expected.len().max(1)).copied().unwrap_or(0);
        std::hint::black_box(differences | (byte ^ other))
    });
    differences == 0 && expected.len() == offered.len()
}

#[cfg(test)]
mod tests;
