//! The broker's loop: waits for sockets, updates of the event log and timers in one poll, and gives the hub its turns.
//! The only part of the broker that knows the clock and the poll; sleeps while nothing happens.

use super::{
    acceptor::{Accepted, Acceptor, refuse_too_many},
    connection::Kind,
    http::handoff::ApiAnswer,
    hub::Hub,
    listener::Listener,
    reload::Reloaded,
    stream::Stream,
    tls::ServerTls,
};
use crate::{
    base::{heartbeat, throttle::Throttle},
    events::{consumers::ConsumerAnswer, updates::LogUpdate},
};
use crossbeam_channel::Receiver;
use mio::{Events, Poll, Token};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The poll's token of the waker.
pub const WAKER: Token = Token(usize::MAX);

/// Readiness reports read from the kernel per poll.
const EVENTS: usize = 1_024;

/// Peers accepted per turn, so that connected peers are served in between.
const ACCEPT_BUDGET: usize = 256;

/// The pause before accepting again after the system could not accept a peer.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The shortest time between two warnings about peers that could not be accepted.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// Registers the listeners. Their tokens count down from the waker's.
///
/// # Errors
/// The system's.
pub fn register(poll: &Poll, listeners: &mut [(Kind, Listener)]) -> io::Result<()> {
    let mut numbered = listeners.iter_mut().zip(1..);
    numbered.try_for_each(|((_, listener), index)| listener.register(poll.registry(), Token(WAKER.0 - index)))
}

/// What other threads send: the log, what the database answers, and states at a glance.
pub struct Inbox {
    /// From the sequencer.
    pub log_updates: Receiver<LogUpdate>,
    /// To requests of HTTP.
    pub api_answers: Receiver<ApiAnswer>,
    /// From the sampler.
    pub overviews: Receiver<String>,
    /// From the thread that keeps consumers' positions.
    pub consumer_answers: Receiver<ConsumerAnswer>,
    /// Certificates and tokens that were read again.
    pub reloads: Receiver<Reloaded>,
}

/// Everything the broker's thread owns.
pub struct EventLoop {
    poll: Poll,
    /// Each with what is spoken there.
    listeners: Vec<(Kind, Listener)>,
    hub: Hub<Stream>,
    inbox: Inbox,
    /// For the listeners with TLS.
    tls: Option<ServerTls>,
    stop: Arc<AtomicBool>,
    acceptor: Acceptor,
    /// A peer may be waiting at a listener; not to be accepted before this time.
    accept_at: Option<Instant>,
    warnings: Throttle,
}

impl EventLoop {
    /// Serves these listeners, which are registered; the token of a peer is its key. `tls` is for those
    /// that need it.
    pub fn new(
        poll: Poll,
        listeners: Vec<(Kind, Listener)>,
        acceptor: Acceptor,
        hub: Hub<Stream>,
        inbox: Inbox,
        tls: Option<ServerTls>,
        stop: Arc<AtomicBool>,
    ) -> EventLoop {
        EventLoop {
            poll,
            listeners,
            hub,
            inbox,
            tls,
            stop,
            acceptor,
            accept_at: None,
            warnings: Throttle::new(1, WARN_INTERVAL),
        }
    }

    /// Serves until `stop` is set and every peer has gone.
    ///
    /// # Errors
    /// The poll's.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut stopping = false;
        while !(stopping && self.hub.len() == 0) {
            heartbeat::waiting();
            self.wait(&mut events)?;
            heartbeat::working();
            let (now, unix_time_us) = (Instant::now(), unix_time_us());
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(key) if key >= WAKER.0 - self.listeners.len() => self.accept_at = Some(now),
                    Token(key) => {
                        self.hub.socket_ready(key, event.is_readable(), event.is_writable(), event.is_read_closed());
                    }
                }
            }
            // Read before the updates, so that those sent before the stop are still delivered.
            let stop = self.stop.load(Ordering::Acquire);
            let Inbox { log_updates, api_answers, overviews, consumer_answers, reloads } = &self.inbox;
            let waiting = log_updates.len();
            log_updates.try_iter().take(waiting).for_each(|update| self.hub.update(update, now, unix_time_us));
            consumer_answers.try_iter().for_each(|answer| self.hub.consumer_answered(answer, now));
            api_answers.try_iter().for_each(|answer| self.hub.answered(answer, now));
            if let Ok(overview) = overviews.try_recv() {
                self.hub.overview(&overview, now);
            }
            if let Ok(reloaded) = reloads.try_recv() {
                self.tls = reloaded.tls;
                self.hub.replace_tokens(reloaded.tokens, reloaded.http_token, reloaded.http_read_token);
            }
            if self.accept_at.is_some_and(|at| at <= now) {
                self.accept(now);
            }
            self.hub.turn(now, unix_time_us);
            if stop && !stopping {
                stopping = true;
                self.listeners.clear();
                self.accept_at = None;
                self.hub.close_all(now);
            }
        }
        Ok(())
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now = Instant::now();
        let next = self.hub.next_turn(now).into_iter().chain(self.accept_at).min();
        let timeout = match self.inbox.log_updates.is_empty() {
            true => next.map(|at| at.saturating_duration_since(now)),
            false => Some(Duration::ZERO),
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            result => result,
        }
    }

    fn accept(&mut self, now: Instant) {
        self.accept_at = None;
        for index in 0..self.listeners.len() {
            for attempt in 0.. {
                if attempt == ACCEPT_BUDGET {
                    self.accept_at = Some(now);
                    break;
                }
                let (kind, listener) = &self.listeners[index];
                let (kind, is_tls) = (*kind, listener.is_tls());
                match self.acceptor.accept(listener, kind) {
                    Accepted::Peer(stream) if self.hub.is_full(kind) => {
                        self.warn(
                            now,
                            match kind {
                                Kind::Rsq => "broker: too many connections; refused a peer (broker.max_connections)",
                                Kind::Http => "http: too many connections; refused a client",
                            },
                        );
                        refuse_too_many(stream, kind, is_tls);
                    }
                    Accepted::Peer(stream) => self.insert(stream, kind, is_tls, now),
                    Accepted::TurnedAway => {
                        self.warn(now, "broker: out of file descriptors; refused a peer (ulimit -n)")
                    }
                    Accepted::Gone => {}
                    Accepted::Empty => break,
                    Accepted::Exhausted(error) => {
                        self.warn(now, &format!("broker: cannot accept peers, {error}; trying again"));
                        self.accept_at = Some(now + ACCEPT_PAUSE);
                        break;
                    }
                }
            }
        }
    }

    fn insert(&mut self, stream: Stream, kind: Kind, is_tls: bool, now: Instant) {
        let stream = match &self.tls {
            Some(tls) if is_tls => stream.with_tls(tls, kind),
            _ => Ok(stream),
        };
        let registered = stream.and_then(|mut stream| {
            stream.register(self.poll.registry(), Token(self.hub.next_key()))?;
            Ok(stream)
        });
        match registered {
            Ok(stream) => self.hub.insert(stream, kind, now),
            Err(error) => log::debug!("lost a peer just accepted: {error}"),
        }
    }

    fn warn(&mut self, now: Instant, what: &str) {
        if self.warnings.admit(now).is_some() {
            log::warn!("{what}");
        }
    }
}

fn unix_time_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
