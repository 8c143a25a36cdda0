//! The broker: every socket, every subscription, one thread. Reading order: [`Limits`]; the rules without any socket
//! (`session`, `filter`, `topics`, `cursor`, `send_queue`, `recent`, `page_requests`); the peers and what passes between them
//! (`conn`, `delivery`, `hub`); the system's side (`listener`, `server`); and the seam to the event log (`event_log`).
//! It never touches the database, and never waits for anything but its poll.

pub(crate) mod connection;
mod event_loop;
mod hub;
mod listener;
pub(crate) mod rsq;
pub(crate) mod send_queue;

pub use listener::StartError;

use crate::{
    base::threads::{Alarm, Thread},
    base::wakeup::Wakeup,
    config,
    events::event::{LogHead, LogPublisher, PageRequest},
    fanout::Limits,
};
use crossbeam_channel::{Receiver, bounded};
use event_loop::{EventLoop, WAKER};
use hub::Hub;
use mio::{Poll, Waker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rsq::session::Rules;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// File descriptors left to the rest of the daemon: the pool, the log file, templates.
const OTHER_FILES: u64 = 128;

/// A running broker.
pub struct Broker {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Thread,
}

impl Broker {
    /// Binds all listeners and starts the thread. `head` is where the log stands now; all that comes after it is to
    /// be told by the log_publisher, and every [`Read`] to be answered by it. The `bells` ring at each RING; the alarm when
    /// the thread dies.
    pub fn start(
        config: &config::Broker,
        insecure: bool,
        head: LogHead,
        bells: Vec<Wakeup>,
        alarm: &Alarm,
    ) -> Result<(Broker, LogPublisher, Receiver<PageRequest>), StartError> {
        let limits = Limits {
            ping_interval: config.ping.max(Duration::from_secs(1)),
            max_connections: config.max_connections.min(room_for_connections(config.max_connections)),
            ..Limits::default()
        };
        Broker::start_with(config, limits, insecure, head, bells, alarm)
    }

    /// The same with limits of one's own, which stand for what `config` says of them: for tests and simulations.
    pub fn start_with(
        config: &config::Broker,
        limits: Limits,
        insecure: bool,
        head: LogHead,
        bells: Vec<Wakeup>,
        alarm: &Alarm,
    ) -> Result<(Broker, LogPublisher, Receiver<PageRequest>), StartError> {
        let listeners = listener::bind(config, insecure)?;
        let addresses: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr()).collect();
        addresses.iter().for_each(|address| log::info!("listening on {address}"));
        if let Some(path) = &config.socket {
            log::info!("listening on {}", path.display());
        }

        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (ask, reads) = bounded(limits.reads);
        let (tell, news) = bounded(limits.news);
        let token = config.token.clone().filter(|token| !token.0.is_empty());
        let rules = Rules { limits, token, states: config.states.clone() };
        let stop = Arc::new(AtomicBool::new(false));
        let server = EventLoop::new(poll, listeners, Hub::new(rules, head, ask, bells), news, stop.clone())?;
        let serve = || {
            if let Err(error) = server.run() {
                // No poll, no broker: as good as any other bug, and as loud.
                panic!("the broker cannot wait for its sockets: {error}");
            }
        };
        let thread = Thread::spawn("broker", alarm, serve)?;
        let log_publisher = LogPublisher { news: tell, waker: waker.clone() };
        Ok((Broker { addresses, stop, waker, thread }, log_publisher, reads))
    }

    /// The TCP addresses in the order of the settings, with the port that port 0 became.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Asks the broker to end: peers get what is queued and ERROR 8, for a short time. May be called again.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            log::error!("cannot wake the broker: {error}");
        }
    }

    /// Waits for the thread's end, after [`Self::stop`]. False if it panicked, which the alarm has reported.
    pub fn join(self) -> bool {
        self.thread.join()
    }
}

/// Raises the soft limit of open files as far as the hard one and `wanted` go; how many peers there is room for.
fn room_for_connections(wanted: usize) -> usize {
    let wanted = wanted as u64;
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let target = (wanted + OTHER_FILES).clamp(soft.min(hard), hard);
        setrlimit(Resource::RLIMIT_NOFILE, target, hard).map(|()| target)
    });
    match raised {
        Ok(files) if files >= wanted + OTHER_FILES => wanted as usize,
        Ok(files) => {
            let room = files.saturating_sub(OTHER_FILES).max(1);
            log::warn!("room for {room} connections only: raise the limit of open files (ulimit -Hn) above {files}");
            room as usize
        }
        Err(error) => {
            log::warn!("cannot raise the limit of open files: {error}");
            wanted as usize
        }
    }
}
