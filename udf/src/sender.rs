//! The sender thread: it owns every socket, and nothing that a call waits for. Each address of the settings has one
//! connection, and each daemon gets every ring and every event, since each has subscribers of its own; one that
//! takes nothing holds up no other.

use crate::abi;
use crate::config::{self, Addr};
use crate::inbox::{Inbox, Outlet};
use crate::link::Link;
use crate::log::Log;
use crate::pace::ring_gap;
use mio::{Events, Poll, Token, Waker};
use resq::base::backoff::Backoff;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

const WAKER: Token = Token(0);

/// Pauses between attempts to connect, up to half shorter by chance, so that the servers of a cluster do not all return
/// to a restarted daemon at the same moment.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// After what should never happen: no more epoll descriptors, or a bug.
const AFTER_TROUBLE: Duration = Duration::from_secs(1);

/// Starts the thread. An error means that the server has no room for one: try again later.
pub fn start(inbox: &'static Inbox) -> io::Result<()> {
    let run = || {
        if let Some(outlet) = inbox.outlet() {
            live(inbox, &outlet);
        }
    };
    abi::signals_blocked(|| {
        std::thread::Builder::new().name("resq_udf".into()).stack_size(1 << 20).spawn(run).map(drop)
    })
}

/// As long as the process lives: whatever goes wrong, it begins afresh.
fn live(inbox: &Inbox, outlet: &Outlet) -> ! {
    let folder = abi::library_path().and_then(|path| path.parent().map(Path::to_owned)).unwrap_or_default();
    let mut poll = loop {
        match Poll::new().and_then(|poll| Ok((Waker::new(poll.registry(), WAKER)?, poll))) {
            Ok((waker, poll)) => {
                inbox.woken_by(waker);
                break poll;
            }
            Err(_) => std::thread::sleep(AFTER_TROUBLE),
        }
    };
    loop {
        let ended = abi::guard(Ok(()), || Sender::new(inbox, outlet, &mut poll, folder.clone()).run());
        if let Err(error) = ended {
            abi::note(&format!("the sender begins afresh: {error}"));
        }
        inbox.set_connected(0);
        std::thread::sleep(AFTER_TROUBLE);
    }
}

struct Sender<'a> {
    inbox: &'a Inbox,
    outlet: &'a Outlet,
    poll: &'a mut Poll,
    folder: PathBuf,
    links: Vec<Link>,
    /// The last token given, and how often anybody tried to connect.
    last_token: usize,
    attempts: usize,
    backoff: Backoff,
    /// When to read the settings and to connect what is not connected; None: all of it is.
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
            links: Vec::new(),
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
            self.pass_on_rings(now);
            self.pass_on_events();
            self.exchange(now);

            self.inbox.falling_asleep();
            let timeout = self.timeout(Instant::now());
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => self.inbox.awake(),
            }
            for event in &events {
                if let Some(link) = self.links.iter_mut().find(|link| link.token == event.token()) {
                    link.became(event.is_readable(), event.is_writable());
                }
            }
        }
    }

    /// Reads the settings and begins to connect to each address that has no connection.
    fn connect(&mut self, now: Instant) {
        self.retry_at = None;
        let settings = match config::load(&self.folder) {
            Ok(settings) => settings,
            Err(why) => {
                self.log.tell(now, "settings", &why);
                return self.retry(now);
            }
        };
        let addrs: Vec<_> = settings.addrs.iter().map(Addr::to_string).collect();
        self.log.tell(now, "settings", &format!("daemons at {}", addrs.join(", ")));
        for i in (0..self.links.len()).rev() {
            if !settings.addrs.contains(&self.links[i].addr) {
                self.lose(i, now, "no longer in the settings");
            }
        }
        self.attempts += 1;
        for addr in settings.addrs {
            if !self.links.iter().any(|link| link.addr == addr) {
                self.last_token += 1;
                let (token, registry) = (Token(self.last_token), self.poll.registry());
                match Link::connect(addr.clone(), &settings.token, self.attempts, registry, token, now) {
                    Ok(link) => self.links.push(link),
                    Err(error) => {
                        self.log.tell(now, &addr.to_string(), &error.to_string());
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

    /// One RING to each daemon for all calls since the last one. Without a daemon the calls stay counted, so that
    /// they wake nobody.
    fn pass_on_rings(&mut self, now: Instant) {
        if now < self.last_ring + self.ring_gap || !self.inbox.rung() || !self.links.iter().any(Link::is_up) {
            return;
        }
        let rings = self.inbox.take_rings();
        self.ring_gap = ring_gap(rings, now - self.last_ring, self.ring_gap);
        self.last_ring = now;
        self.links.iter_mut().filter(|link| link.is_up()).for_each(Link::ring);
    }

    /// At the speed of the fastest daemon; one that is full goes without, and it is counted.
    fn pass_on_events(&mut self) {
        while self.links.iter().any(Link::has_room)
            && let Some(frame) = self.inbox.take(self.outlet)
        {
            let frame = Rc::new(frame);
            for link in self.links.iter_mut().filter(|link| link.is_up()) {
                match link.has_room() {
                    true => link.event(Rc::clone(&frame)),
                    false => self.inbox.count_dropped(1),
                }
            }
        }
    }

    /// Writes and reads what each socket can do now, and ends the connections that broke.
    fn exchange(&mut self, now: Instant) {
        for i in (0..self.links.len()).rev() {
            match exchange(&mut self.links[i], self.inbox, now) {
                Ok(false) => {}
                Ok(true) => self.welcome(i, now),
                Err(why) => self.lose(i, now, &why),
            }
        }
    }

    fn welcome(&mut self, i: usize, now: Instant) {
        self.backoff.reset();
        self.log.tell(now, &self.links[i].addr.to_string(), "connected");
        // Whatever rang while nobody listened.
        self.links[i].ring();
        if self.count_up() == 1 {
            // What a call was just putting in when the last connection broke.
            self.drop_queued();
        }
        self.inbox.set_connected(self.count_up());
    }

    fn lose(&mut self, i: usize, now: Instant, why: &str) {
        let link = self.links.swap_remove(i);
        self.log.tell(now, &link.addr.to_string(), why);
        self.inbox.count_dropped(link.waiting_events());
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
        self.links.iter().filter(|link| link.is_up()).count()
    }

    /// How long to sleep. Whoever puts something in from now on wakes the sender.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.links.iter().any(Link::has_work) || (!self.inbox.is_empty() && self.links.iter().any(Link::has_room)) {
            return Some(Duration::ZERO);
        }
        let next_ring = (self.count_up() > 0 && self.inbox.rung()).then_some(self.last_ring + self.ring_gap);
        let silences = self.links.iter().filter_map(Link::silent_until);
        let next = silences.chain(self.retry_at).chain(next_ring).min()?;
        // Rounded up by epoll to whole milliseconds, so that it never wakes just too early and spins.
        Some(next.saturating_duration_since(now))
    }
}

/// True if the daemon has just said WELCOME; an error is why the connection is over.
fn exchange(link: &mut Link, inbox: &Inbox, now: Instant) -> Result<bool, String> {
    inbox.count_sent(link.flush().map_err(|error| error.to_string())?);
    let welcome = link.read(now)?;
    match link.silent_until() {
        Some(until) if until <= now => Err("silent for too long".into()),
        _ => Ok(welcome),
    }
}

/// A random number from 0.0 up to 1.0: the standard library seeds its hashes at random.
fn chance() -> f64 {
    RandomState::new().build_hasher().finish() as f64 / u64::MAX as f64
}
