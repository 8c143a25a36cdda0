//! The sender thread: it owns every socket, and no call from SQL ever waits for it. Each address in the settings has one
//! connection, and each daemon receives every RING and every event, since each has its own subscribers. A daemon that
//! accepts nothing does not delay the others.

use crate::abi;
use crate::config;
use crate::connection::{Connection, Error};
use crate::inbox::{Inbox, Outlet};
use crate::log::Log;
use crate::ring_gap::ring_gap;
use mio::{Events, Poll, Token, Waker};
use resq::base::address::Address;
use resq::base::backoff::Backoff;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

const WAKER: Token = Token(0);

/// Pauses between attempts to connect, each randomly shortened by up to half, so that the servers of a cluster do not all
/// return to a restarted daemon at the same moment.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause before a restart after an error that should never happen: no epoll descriptor, or a bug.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Starts the thread.
///
/// # Errors
/// The server cannot start another thread now.
pub fn start(inbox: &'static Inbox) -> io::Result<()> {
    let run = || {
        if let Some(outlet) = inbox.take_outlet() {
            run_forever(inbox, &outlet);
        }
    };
    abi::signals_blocked(|| {
        std::thread::Builder::new().name("resq_udf".into()).stack_size(1 << 20).spawn(run).map(drop)
    })
}

/// Runs the sender as long as the process lives, and restarts it after any error.
fn run_forever(inbox: &Inbox, outlet: &Outlet) -> ! {
    let folder = abi::library_path().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    let mut poll = loop {
        match Poll::new().and_then(|poll| Ok((Waker::new(poll.registry(), WAKER)?, poll))) {
            Ok((waker, poll)) => {
                inbox.set_waker(waker);
                break poll;
            }
            Err(_) => std::thread::sleep(RESTART_PAUSE),
        }
    };
    loop {
        let ended = abi::guard(Ok(()), || Sender::new(inbox, outlet, &mut poll, folder.clone()).run());
        if let Err(error) = ended {
            abi::log_line(&format!("sender: {error}; restarting it"));
        }
        inbox.set_connected(0);
        std::thread::sleep(RESTART_PAUSE);
    }
}

struct Sender<'a> {
    inbox: &'a Inbox,
    outlet: &'a Outlet,
    poll: &'a mut Poll,
    folder: PathBuf,
    connections: Vec<Connection>,
    /// The last token given out, and the number of rounds of connecting.
    last_token: usize,
    attempts: usize,
    backoff: Backoff,
    /// When to read the settings and connect to unconnected addresses; `None`: all are connected.
    retry_at: Option<Instant>,
    last_ring: Instant,
    ring_gap: Duration,
    log: Log,
}

impl<'a> Sender<'a> {
    fn new(inbox: &'a Inbox, outlet: &'a Outlet, poll: &'a mut Poll, folder: PathBuf) -> Sender<'a> {
        let now = Instant::now();
        Sender {
            inbox,
            outlet,
            poll,
            folder,
            connections: Vec::new(),
            last_token: WAKER.0,
            attempts: 0,
            backoff: Backoff::new(FIRST_PAUSE, LONGEST_PAUSE, 0.5),
            retry_at: Some(now),
            last_ring: now,
            ring_gap: Duration::ZERO,
            log: Log::default(),
        }
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        loop {
            let now = Instant::now();
            if self.retry_at.is_some_and(|at| at <= now) {
                self.connect(now);
            }
            self.send_rings(now);
            self.send_events();
            self.exchange(now);

            self.inbox.announce_sleep();
            let timeout = self.timeout(Instant::now());
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => self.inbox.end_sleep(),
            }
            for event in &events {
                if let Some(connection) = self.connections.iter_mut().find(|one| one.token == event.token()) {
                    connection.set_ready(event.is_readable(), event.is_writable());
                }
            }
        }
    }

    /// Reads the settings, disconnects from addresses they no longer have, and connects to those without a connection.
    fn connect(&mut self, now: Instant) {
        self.retry_at = None;
        let settings = match config::load(&self.folder) {
            Ok(settings) => settings,
            Err(error) => {
                self.log.report(now, "settings", &error.to_string());
                return self.retry(now);
            }
        };
        let addresses: Vec<_> = settings.addresses.iter().map(Address::to_string).collect();
        self.log.report(now, "settings", &format!("daemons at {}", addresses.join(", ")));
        for i in (0..self.connections.len()).rev() {
            if !settings.addresses.contains(&self.connections[i].address) {
                self.disconnect(i, now, &Error::Unconfigured);
            }
        }
        self.attempts += 1;
        for address in settings.addresses.clone() {
            if !self.connections.iter().any(|one| one.address == address) {
                self.last_token += 1;
                let (token, registry) = (Token(self.last_token), self.poll.registry());
                match Connection::open(address.clone(), &settings, self.attempts, registry, token, now) {
                    Ok(connection) => self.connections.push(connection),
                    Err(error) => {
                        self.log.report(now, &address.to_string(), &error.to_string());
                        self.retry(now);
                    }
                }
            }
        }
    }

    fn retry(&mut self, now: Instant) {
        let at = now + self.backoff.next(chance());
        self.retry_at = Some(self.retry_at.map_or(at, |before| before.min(at)));
    }

    /// Queues one RING to each daemon for all calls since the last one. Without a daemon the calls stay counted, so that
    /// they do not wake the sender.
    fn send_rings(&mut self, now: Instant) {
        if now < self.last_ring + self.ring_gap
            || !self.inbox.has_rings()
            || !self.connections.iter().any(Connection::is_up)
        {
            return;
        }
        let rings = self.inbox.take_rings();
        self.ring_gap = ring_gap(rings, now - self.last_ring, self.ring_gap);
        self.last_ring = now;
        self.connections.iter_mut().filter(|one| one.is_up()).for_each(Connection::queue_ring);
    }

    /// Queues events at the pace of the fastest daemon; copies for a daemon whose queue is full are dropped and counted.
    fn send_events(&mut self) {
        while self.connections.iter().any(Connection::has_room)
            && let Some(frame) = self.inbox.take(self.outlet)
        {
            let frame = Rc::new(frame);
            for connection in self.connections.iter_mut().filter(|one| one.is_up()) {
                match connection.has_room() {
                    true => connection.queue_event(Rc::clone(&frame)),
                    false => self.inbox.count_dropped(1),
                }
            }
        }
    }

    /// Writes and reads as far as each socket allows, and ends broken connections.
    fn exchange(&mut self, now: Instant) {
        for i in (0..self.connections.len()).rev() {
            match exchange(&mut self.connections[i], self.inbox, now) {
                Ok(false) => {}
                Ok(true) => self.welcome(i, now),
                Err(error) => self.disconnect(i, now, &error),
            }
        }
    }

    fn welcome(&mut self, i: usize, now: Instant) {
        self.backoff.reset();
        self.log.report(now, &self.connections[i].address.to_string(), "connected");
        // For calls of `resq_ring` while the daemon was away.
        self.connections[i].queue_ring();
        if self.count_up() == 1 {
            // Events that calls queued while the last connection broke.
            self.drop_queued();
        }
        self.inbox.set_connected(self.count_up());
    }

    fn disconnect(&mut self, i: usize, now: Instant, error: &Error) {
        let connection = self.connections.swap_remove(i);
        self.log.report(now, &connection.address.to_string(), &error.to_string());
        self.inbox.count_dropped(connection.waiting_events());
        self.inbox.set_connected(self.count_up());
        if self.count_up() == 0 {
            self.drop_queued();
        }
        self.retry(now);
    }

    fn drop_queued(&self) {
        while self.inbox.take(self.outlet).is_some() {
            self.inbox.count_dropped(1);
        }
    }

    fn count_up(&self) -> usize {
        self.connections.iter().filter(|one| one.is_up()).count()
    }

    /// How long to sleep; `None`: until a call wakes the sender.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let has_room = self.connections.iter().any(Connection::has_room);
        if self.connections.iter().any(Connection::has_work) || (!self.inbox.is_empty() && has_room) {
            return Some(Duration::ZERO);
        }
        let next_ring = (self.count_up() > 0 && self.inbox.has_rings()).then_some(self.last_ring + self.ring_gap);
        let silences = self.connections.iter().filter_map(Connection::silent_until);
        let next = silences.chain(self.retry_at).chain(next_ring).min()?;
        // epoll rounds up to whole milliseconds, so the sender never wakes just too early and spins.
        Some(next.saturating_duration_since(now))
    }
}

/// True if WELCOME has just arrived. An error ends the connection.
fn exchange(connection: &mut Connection, inbox: &Inbox, now: Instant) -> Result<bool, Error> {
    inbox.count_sent(connection.write()?);
    let welcome = connection.read(now)?;
    match connection.silent_until() {
        Some(until) if until <= now => Err(Error::Silent),
        _ => Ok(welcome),
    }
}

/// A random number from 0.0 up to 1.0: the standard library seeds its hashes at random.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
