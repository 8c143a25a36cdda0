//! The rules of one connection: which frames a peer may send when, and when silence or a blocked socket ends it. Frames
//! and `now` in, actions out; knows no socket, no other peer and no event.

use super::{
    access::{Act, Grant, Rights, Tokens},
    refusal::Refusal,
};
use crate::net::limits::Limits;
use crate::wire::{
    ClientMessage, Code, ConsumerName, Error, Frame, MAX_FRAME, MAX_FRAME_BEFORE_WELCOME, Pattern, Role, Start, State,
};
use std::{fmt, time::Instant};

/// The first two bytes of a connection by TLS, where RSQ/1 has half of a length.
const TLS_HANDSHAKE: usize = 0x1603;

/// The rules that all sessions share.
pub struct Rules {
    /// The broker's limits.
    pub limits: Limits,
    /// The tokens that a HELLO may carry, and what they give.
    pub tokens: Tokens,
    /// The only states that may be published or subscribed to; None: any.
    pub states: Option<Vec<String>>,
}

/// What the broker has to do for a frame that is allowed.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Answer HELLO.
    Welcome { name: &'a str, role: Role },
    /// Begin the subscription; see [`ClientMessage::Subscribe`].
    Subscribe { start: Start, durable_only: bool, patterns: Vec<Pattern<'a>> },
    /// Take a consumer over; see [`ClientMessage::Consume`].
    Consume { consumer: ConsumerName<'a>, start: Start, max_unacked: u16, patterns: Vec<Pattern<'a>> },
    /// Note that the consumer is done with everything up to this number.
    Acknowledge(u64),
    /// Deliver an ephemeral event.
    Publish { state: State<'a>, payload: &'a [u8] },
    /// Wake the roles that poll the database.
    Ring,
    /// Answer a PING.
    Pong(u64),
    /// Nothing.
    Nothing,
}

/// What a timer requires.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Send a PING.
    Ping,
    /// End the connection with an ERROR.
    Refuse(Refusal),
    /// The peer has had its time to read the ERROR: close the socket.
    Close,
}

/// The state of one connection.
pub struct Session {
    phase: Phase,
    ping: Ping,
    /// Since when the socket has accepted no byte although some are queued.
    stuck_since: Option<Instant>,
}

enum Phase {
    Greeting {
        until: Instant,
    },
    Open {
        role: Role,
        receives: Receives,
        /// Of the token in HELLO.
        grant: Grant,
    },
    Closing {
        until: Instant,
    },
}

/// What a peer has asked to receive.
#[derive(Clone, Copy, PartialEq)]
enum Receives {
    Nothing,
    Subscription,
    Consumer,
}

enum Ping {
    Next {
        at: Instant,
    },
    /// Queued; its last byte has this number among all bytes of the connection.
    Queued {
        end: u64,
    },
    /// Written; `answered`: the peer has sent something since.
    Out {
        since: Instant,
        answered: bool,
    },
}

impl Session {
    /// A connection that waits for HELLO.
    pub fn new(now: Instant, rules: &Rules) -> Session {
        Session {
            phase: Phase::Greeting { until: now + rules.limits.hello_timeout },
            ping: Ping::Next { at: now + rules.limits.ping_interval },
            stuck_since: None,
        }
    }

    /// The greatest length that the next frame may announce.
    pub fn frame_limit(&self) -> usize {
        match self.phase {
            Phase::Greeting { .. } => MAX_FRAME_BEFORE_WELCOME,
            Phase::Open { .. } | Phase::Closing { .. } => MAX_FRAME,
        }
    }

    /// Whether the connection is ending: nothing more is accepted.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// Handles the peer's next frame.
    ///
    /// # Errors
    /// The frame breaks a rule: the connection is to end with this refusal.
    pub fn frame<'a>(&mut self, frame: Frame<'a>, rules: &Rules, now: Instant) -> Result<Action<'a>, Refusal> {
        let message = ClientMessage::decode(frame)?;
        let (role, receives, rights) = match (&mut self.phase, &message) {
            (Phase::Open { role, receives, grant }, _) => (*role, receives, grant.as_deref()),
            (Phase::Greeting { .. }, &ClientMessage::Hello { role, name, token }) => {
                let grant = rules.tokens.grant(token)?;
                self.phase = Phase::Open { role, receives: Receives::Nothing, grant };
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
            ClientMessage::Subscribe { .. } | ClientMessage::Consume { .. } | ClientMessage::Ack(_)
                if !role.subscribes() =>
            {
                Err(Refusal::new(Code::Role, "only a subscriber may send SUBSCRIBE, CONSUME and ACK"))
            }
            ClientMessage::Subscribe { .. } | ClientMessage::Consume { .. } if *receives != Receives::Nothing => {
                Err(Refusal::new(Code::Malformed, "a second SUBSCRIBE or CONSUME; open another connection"))
            }
            ClientMessage::Subscribe { start, durable_only, patterns } => {
                check(rights, Act::Subscribe, &patterns)?;
                for pattern in &patterns {
                    rules.check_pattern(pattern)?;
                }
                *receives = Receives::Subscription;
                Ok(Action::Subscribe { start, durable_only, patterns })
            }
            ClientMessage::Consume { consumer, start, max_unacked, patterns } => {
                check(rights, Act::Subscribe, &patterns)?;
                for pattern in &patterns {
                    rules.check_pattern(pattern)?;
                }
                *receives = Receives::Consumer;
                Ok(Action::Consume { consumer, start, max_unacked, patterns })
            }
            ClientMessage::Ack(_) if *receives != Receives::Consumer => {
                Err(Refusal::new(Code::Malformed, "an ACK without CONSUME"))
            }
            ClientMessage::Ack(seq) => Ok(Action::Acknowledge(seq)),
            ClientMessage::Publish { state, payload } => {
                check(rights, Act::Publish, &[Pattern::Exact(state.as_str())])?;
                rules.known(state, |known| known == state.as_str())?;
                Ok(Action::Publish { state, payload })
            }
            ClientMessage::Ring => {
                check(rights, Act::Ring, &[])?;
                Ok(Action::Ring)
            }
            ClientMessage::Ping(number) => Ok(Action::Pong(number)),
            ClientMessage::Pong(_) => Ok(Action::Nothing),
        }
    }

    /// The refusal of bytes that are no frame.
    pub fn misframed(&self, error: Error) -> Refusal {
        match (&self.phase, &error) {
            (Phase::Greeting { .. }, Error::TooLarge { bytes, .. }) if bytes >> 16 == TLS_HANDSHAKE => Refusal::new(
                Code::Malformed,
                "this address expects RSQ/1 without TLS; connect without --tls, or to one with tls://",
            ),
            _ => error.into(),
        }
    }

    /// Bytes arrived from the peer.
    pub fn received(&mut self) {
        if let Ping::Out { answered, .. } = &mut self.ping {
            *answered = true;
        }
    }

    /// A PING was queued; its last byte has the number `end` among all bytes of the connection.
    pub fn ping_queued(&mut self, end: u64) {
        self.ping = Ping::Queued { end };
    }

    /// Queued bytes were offered to the socket: whether it accepted any, how many it has accepted since the connection
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
            self.ping = Ping::Out { since: now, answered: false };
        }
    }

    /// Ends the connection: queued frames are still written for a while, but no further frame is accepted.
    pub fn close(&mut self, now: Instant, rules: &Rules) {
        if !self.is_closing() {
            self.phase = Phase::Closing { until: now + rules.limits.farewell };
        }
    }

    /// When [`Self::tick`] is due next; None: not until something is written.
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

    /// What is due at `now`. The caller reads and writes the socket first, so that a pause of this process is not mistaken
    /// for silence of its peers.
    pub fn tick(&self, rules: &Rules, now: Instant) -> Due {
        let limits = &rules.limits;
        match (&self.phase, &self.ping) {
            (Phase::Closing { until }, _) if now >= *until => Due::Close,
            (Phase::Greeting { until }, _) if now >= *until => {
                Due::Refuse(Refusal::new(Code::TimedOut, format!("no HELLO within {:?}", limits.hello_timeout)))
            }
            (Phase::Closing { .. } | Phase::Greeting { .. }, _) => Due::Nothing,
            _ if self.stuck_since.is_some_and(|since| now >= since + limits.stuck_timeout) => {
                Due::Refuse(Refusal::new(Code::Slow, format!("no byte was accepted for {:?}", limits.stuck_timeout)))
            }
            (_, Ping::Next { at }) if now >= *at => Due::Ping,
            (_, Ping::Out { since, answered }) if now >= *since + limits.ping_interval => match answered {
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

/// Checks a frame against the rights of its session's token.
#[inline]
fn check(rights: Option<&Rights>, act: Act, patterns: &[Pattern<'_>]) -> Result<(), Refusal> {
    let Some(rights) = rights else { return Ok(()) };
    rights.check(act)?;
    patterns.iter().try_for_each(|pattern| rights.check_states(pattern))
}

impl Rules {
    /// Checks that a pattern matches some state that is allowed.
    ///
    /// # Errors
    /// It matches none.
    pub fn check_pattern(&self, pattern: &Pattern<'_>) -> Result<(), Refusal> {
        self.known(pattern, |state| pattern.matches(state))
    }

    fn known(&self, asked: impl fmt::Display, matches: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        match &self.states {
            Some(states) if !states.iter().any(|state| matches(state)) => {
                Err(Refusal::new(Code::State, format!("unknown state {asked}; allowed are: {}", states.join(", "))))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
