//! The rules of one HTTP connection: which bytes are a request, one request at a time however many are sent at once, and
//! when silence or a blocked socket ends the connection. Bytes and `now` in, requests out; knows no socket, no other peer
//! and no event.

use std::time::{Duration, Instant};

use super::{
    body::Body,
    limits::{Limits, MAX_HEAD},
    request::{Head, Rejection, Request},
};

/// The state of one connection.
pub struct Session {
    phase: Phase,
    /// Bytes that arrived and are no part of a request yet.
    inbox: Vec<u8>,
    /// How many of them are known not to end a head.
    scanned: usize,
    /// Since when the socket has accepted no byte although some are queued.
    stuck_since: Option<Instant>,
}

enum Phase {
    /// Expects a request, or the rest of its head. `begun`: some of it has arrived, or it is the first one.
    Head { until: Instant, begun: bool },
    /// Expects the rest of a body.
    Body { until: Instant, head: Box<Head>, body: Body },
    /// A request is being answered, at once or by the database.
    Answering { asked: Option<Asked> },
    /// A stream of events is sent: since when it is quiet, and when to look for that.
    Streaming { sent_at: Instant, check_at: Instant },
    /// What is queued is sent, and nothing more is read: until then; or, with a farewell, as long as any of it is accepted,
    /// and for that long afterwards.
    Closing { until: Instant, farewell: Option<Duration> },
}

/// A request whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Its number among all requests.
    pub serial: u64,
    /// The connection ends after its answer.
    pub closes: bool,
    /// Its method is HEAD.
    pub is_head: bool,
    /// When its answer is due.
    pub until: Instant,
}

/// What the bytes received so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Input {
    /// More bytes are needed, or none are expected.
    Incomplete,
    /// The client waits for `100 Continue` before it sends a body.
    Continue,
    /// The next request. [`Session::answered`] or [`Session::stream`] has to follow before the one after it.
    Request(Box<Request>),
    /// The connection is to end with this rejection.
    Rejected(Rejection),
}

/// What a timer requires.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing.
    Nothing,
    /// Send a comment on the stream.
    Comment,
    /// End the connection with this rejection.
    Reject(Rejection),
    /// Close the socket.
    Close,
}

impl Session {
    /// A connection on which a request is expected.
    pub fn new(now: Instant, limits: &Limits) -> Session {
        let phase = Phase::Head { until: now + limits.head_timeout, begun: true };
        Session { phase, inbox: Vec::new(), scanned: 0, stuck_since: None }
    }

    /// Whether the connection is ending: nothing more is accepted.
    pub fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing { .. })
    }

    /// Whether events are streamed.
    pub fn is_streaming(&self) -> bool {
        matches!(self.phase, Phase::Streaming { .. })
    }

    /// Whether bytes are expected now. Those of further requests are left in the socket until there is room for them.
    pub fn is_reading(&self) -> bool {
        !matches!(self.phase, Phase::Answering { .. }) && self.inbox.len() <= MAX_HEAD
    }

    /// Whether bytes have arrived that are no part of a request yet.
    pub fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    /// Bytes arrived. Those on a connection that has become a stream, or is closing, mean nothing.
    pub fn receive(&mut self, bytes: &[u8]) {
        if !matches!(self.phase, Phase::Streaming { .. } | Phase::Closing { .. }) {
            self.inbox.extend_from_slice(bytes);
        }
    }

    /// The next request among the bytes received.
    pub fn next(&mut self, limits: &Limits, now: Instant) -> Input {
        match &self.phase {
            Phase::Head { .. } => self.next_head(limits, now),
            Phase::Body { .. } => self.next_body(),
            Phase::Answering { .. } | Phase::Streaming { .. } | Phase::Closing { .. } => Input::Incomplete,
        }
    }

    fn next_head(&mut self, limits: &Limits, now: Instant) -> Input {
        let Phase::Head { until, begun } = &mut self.phase else { return Input::Incomplete };
        // Empty lines before a request are ignored.
        let empty = 2 * self.inbox.chunks(2).take_while(|line| line == b"\r\n").count();
        self.inbox.drain(..empty);
        self.scanned = self.scanned.saturating_sub(empty);
        if !self.inbox.is_empty() && !*begun {
            (*until, *begun) = (now + limits.head_timeout, true);
        }
        let from = self.scanned.saturating_sub(3);
        let Some(length) = end_of_head(&self.inbox[from..]).map(|end| from + end) else {
            self.scanned = self.inbox.len();
            return match self.inbox.len() {
                ..=MAX_HEAD => Input::Incomplete,
                _ => Input::Rejected(head_too_long()),
            };
        };
        if length > MAX_HEAD {
            return Input::Rejected(head_too_long());
        }
        let head = match Head::parse(&self.inbox[..length]) {
            Ok(head) => head,
            Err(rejection) => return Input::Rejected(rejection),
        };
        self.inbox.drain(..length);
        self.scanned = 0;
        let body = Body::new(head.framing);
        let waits = head.expects_continue && self.inbox.is_empty();
        self.phase = Phase::Body { until: now + limits.body_timeout, head: Box::new(head), body };
        match self.next_body() {
            Input::Incomplete if waits => Input::Continue,
            input => input,
        }
    }

    fn next_body(&mut self) -> Input {
        let Phase::Body { body, .. } = &mut self.phase else { return Input::Incomplete };
        let mut rest = &self.inbox[..];
        let received = body.receive(&mut rest);
        let taken = self.inbox.len() - rest.len();
        self.inbox.drain(..taken);
        match received {
            Err(rejection) => return Input::Rejected(rejection),
            Ok(false) => return Input::Incomplete,
            Ok(true) => {}
        }
        match std::mem::replace(&mut self.phase, Phase::Answering { asked: None }) {
            Phase::Body { head, body, .. } => {
                Input::Request(Box::new(Request { head: *head, body: body.into_bytes() }))
            }
            phase => {
                self.phase = phase;
                Input::Incomplete
            }
        }
    }

    /// The request was answered; the next one may follow.
    pub fn answered(&mut self, limits: &Limits, now: Instant) {
        if self.inbox.capacity() > MAX_HEAD {
            self.inbox.shrink_to_fit();
        }
        if matches!(self.phase, Phase::Answering { .. }) {
            let begun = !self.inbox.is_empty();
            let timeout = if begun { limits.head_timeout } else { limits.idle_timeout };
            self.phase = Phase::Head { until: now + timeout, begun };
        }
    }

    /// The request's answer is awaited.
    pub fn ask(&mut self, asked: Asked) {
        if matches!(self.phase, Phase::Answering { .. }) {
            self.phase = Phase::Answering { asked: Some(asked) };
        }
    }

    /// The request with this number, if its answer is awaited.
    pub fn asked(&self, serial: u64) -> Option<Asked> {
        match self.phase {
            Phase::Answering { asked } => asked.filter(|asked| asked.serial == serial),
            _ => None,
        }
    }

    /// The request is answered by a stream of events, which ends with the connection.
    pub fn stream(&mut self, limits: &Limits, now: Instant) {
        self.inbox = Vec::new();
        self.phase = Phase::Streaming { sent_at: now, check_at: now + limits.comment_interval };
    }

    /// Queued bytes were offered to the socket: whether it accepted any, and whether some are left.
    pub fn wrote(&mut self, took_any: bool, left: bool, now: Instant) {
        self.stuck_since = match self.stuck_since {
            _ if !left => None,
            Some(since) if !took_any => Some(since),
            _ => Some(now),
        };
        if let Phase::Streaming { sent_at, .. } = &mut self.phase
            && took_any
        {
            // The timer stays as it is: moving it at each write would cost more than the write.
            *sent_at = now;
        }
        if let Phase::Closing { until, farewell: Some(farewell) } = &mut self.phase
            && !left
        {
            *until = now + *farewell;
        }
    }

    /// Ends the connection: queued bytes are still written until then, but nothing more is accepted.
    pub fn close(&mut self, until: Instant) {
        self.inbox = Vec::new();
        self.phase = Phase::Closing { until, farewell: None };
    }

    /// Ends the connection once what is queued is written, however long that takes as long as some of it is; and then once
    /// the peer has hung up, or after `farewell`.
    pub fn close_after_answers(&mut self, farewell: Duration, now: Instant) {
        if !self.is_closing() {
            self.inbox = Vec::new();
            self.phase = Phase::Closing { until: now + farewell, farewell: Some(farewell) };
        }
    }

    /// When [`Self::tick`] is due next; None: not until something is written. `stuck_timeout`: how long a socket may accept
    /// no byte.
    pub fn due(&self, stuck_timeout: Duration) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Closing { .. } => return self.closes_at(stuck_timeout),
            Phase::Head { until, .. } | Phase::Body { until, .. } => Some(*until),
            Phase::Answering { asked } => asked.map(|asked| asked.until),
            Phase::Streaming { check_at, .. } => Some(*check_at),
        };
        let stuck = self.stuck_since.map(|since| since + stuck_timeout);
        phase.into_iter().chain(stuck).min()
    }

    /// When a connection that ends is closed at the latest, unless more of its answers is written.
    fn closes_at(&self, stuck_timeout: Duration) -> Option<Instant> {
        match (&self.phase, self.stuck_since) {
            (Phase::Closing { farewell: Some(_), .. }, Some(since)) => Some(since + stuck_timeout),
            (Phase::Closing { until, .. }, _) => Some(*until),
            _ => None,
        }
    }

    /// What is due at `now`.
    pub fn tick(&mut self, limits: &Limits, stuck_timeout: Duration, now: Instant) -> Due {
        let is_stuck = self.stuck_since.is_some_and(|since| now >= since + stuck_timeout);
        match &mut self.phase {
            Phase::Closing { .. } => {
                let is_over = self.closes_at(stuck_timeout).is_none_or(|at| now >= at);
                if is_over { Due::Close } else { Due::Nothing }
            }
            _ if is_stuck => Due::Close,
            Phase::Head { until, begun: false } if now >= *until => Due::Close,
            Phase::Head { until, .. } if now >= *until => {
                // A connection on which nothing was ever sent gets no answer, either.
                match self.inbox.is_empty() {
                    true => Due::Close,
                    false => Due::Reject(late("head", limits.head_timeout)),
                }
            }
            Phase::Body { until, .. } if now >= *until => Due::Reject(late("body", limits.body_timeout)),
            Phase::Answering { asked: Some(asked) } if now >= asked.until => {
                Due::Reject(Rejection::new(503, format!("no answer within {:?}", limits.answer_timeout)))
            }
            Phase::Streaming { sent_at, check_at } if now >= *check_at => {
                let quiet_until = *sent_at + limits.comment_interval;
                let is_quiet = now >= quiet_until;
                *check_at = if is_quiet { now + limits.comment_interval } else { quiet_until };
                if is_quiet { Due::Comment } else { Due::Nothing }
            }
            _ => Due::Nothing,
        }
    }
}

/// The length of a head, if its end is there. A line that ends in LF alone may end it, too: it is refused later.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let ends = |at: &usize| matches!(&bytes[*at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]);
    let lines = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let last = lines.into_iter().find(ends)?;
    Some(last + if bytes[last + 1] == b'\n' { 2 } else { 3 })
}

fn head_too_long() -> Rejection {
    Rejection::new(431, format!("the head of a request has at most {MAX_HEAD} bytes"))
}

fn late(what: &str, timeout: Duration) -> Rejection {
    Rejection::new(408, format!("the request's {what} was not complete within {timeout:?}"))
}

#[cfg(test)]
mod tests;
