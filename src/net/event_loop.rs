//! The loop: waits for sockets, news and timers in one poll, and gives the hub its turns. The only place of the
//! broker that knows the clock and the poll; it sleeps while nothing happens.

use crate::base::throttle::Throttle;
use crate::events::event::LogUpdate;
use crate::net::hub::Hub;
use crate::net::listener::{Accepted, Acceptor, Listener, Stream, say_too_many};
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

pub const WAKER: Token = Token(usize::MAX);

/// Readiness taken from the kernel at once.
const EVENTS: usize = 1_024;

/// Peers accepted before those that are in have their turn.
const ACCEPT_BUDGET: usize = 256;

/// When the system has no room for another peer it is asked again after this, and the log told at most so often.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const WARN_PAUSE: Duration = Duration::from_secs(10);

pub struct EventLoop {
    pub poll: Poll,
    pub listeners: Vec<Listener>,
    pub hub: Hub<Stream>,
    pub news: Receiver<LogUpdate>,
    pub stop: Arc<AtomicBool>,
    acceptor: Acceptor,
    /// A listener may have somebody waiting; not before this time.
    accept_at: Option<Instant>,
    warnings: Throttle,
}

impl EventLoop {
    /// The tokens of the poll: peers have their key, listeners come down from the top, below the waker.
    pub fn new(
        poll: Poll,
        mut listeners: Vec<Listener>,
        hub: Hub<Stream>,
        news: Receiver<LogUpdate>,
        stop: Arc<AtomicBool>,
    ) -> io::Result<EventLoop> {
        for (listener, index) in listeners.iter_mut().zip(1..) {
            listener.register(poll.registry(), Token(WAKER.0 - index))?;
        }
        let acceptor = Acceptor::new()?;
        Ok(EventLoop {
            poll,
            listeners,
            hub,
            news,
            stop,
            acceptor,
            accept_at: None,
            warnings: Throttle::new(1, WARN_PAUSE),
        })
    }

    /// Serves until `stop` is set and every peer has gone. An error is the poll's own.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut stopping = false;
        while !(stopping && self.hub.connections() == 0) {
            self.wait(&mut events)?;
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    WAKER => {}
                    Token(key) if key >= WAKER.0 - self.listeners.len() => self.accept_at = Some(now),
                    Token(key) => {
                        self.hub.wake(key, event.is_readable(), event.is_writable(), event.is_read_closed());
                    }
                }
            }
            // Looked at before the news are, so that what was told before the stop is still delivered.
            let stop = self.stop.load(Ordering::Acquire);
            self.news.try_iter().take(self.news.len()).for_each(|news| self.hub.news(news, now));
            if self.accept_at.is_some_and(|at| at <= now) {
                self.accept(now);
            }
            self.hub.turn(now, unix_time_us());
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
        let timeout = match self.news.is_empty() {
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
                match self.acceptor.accept(&self.listeners[index]) {
                    Accepted::Peer(stream) if self.hub.is_full() => {
                        self.warn(now, "too many connections (broker.max_connections): a peer was turned away");
                        say_too_many(stream);
                    }
                    Accepted::Peer(mut stream) => {
                        match stream.register(self.poll.registry(), Token(self.hub.next_key())) {
                            Ok(()) => self.hub.insert(stream, now),
                            Err(error) => log::debug!("a new peer: {error}"),
                        }
                    }
                    Accepted::TurnedAway => {
                        self.warn(now, "out of file descriptors (ulimit -n): a peer was turned away")
                    }
                    Accepted::Nobody => {}
                    Accepted::Empty => break,
                    Accepted::Exhausted(error) => {
                        self.warn(now, &format!("cannot accept peers: {error}"));
                        self.accept_at = Some(now + ACCEPT_PAUSE);
                        break;
                    }
                }
            }
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
