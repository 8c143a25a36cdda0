//! Starts and stops the broker's thread. What the thread does is in `event_loop`.

use super::{
    acceptor::Acceptor,
    connection::Kind,
    event_loop::{self, EventLoop, Inbox, WAKER},
    http::{
        access::Access,
        handoff::{ApiEnd, handoff},
        site::Site,
    },
    hub::Hub,
    limits::Limits,
    listener::{self, Listener, StartError},
    reload::Reloader,
    rsq::{access::Tokens, session::Rules},
    tls::ServerTls,
};
use crate::{
    base::health::Health,
    base::history::History,
    base::metrics::Metrics,
    base::threads::{Alarm, Thread},
    base::wakeup::Wakeup,
    config,
    events::consumers::{self, ConsumersEnd},
    events::updates::{LogHead, LogPublisher, PageRequest},
};
use crossbeam_channel::{Receiver, Sender, bounded};
use mio::{Poll, Waker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// File descriptors left to the rest of the daemon: the pool of connections, the log file, templates.
const OTHER_FILES: u64 = 128;

/// How a broker works.
#[derive(Clone)]
pub struct Settings<'a> {
    /// Where it listens, and to whom.
    pub config: &'a config::Broker,
    /// Its limits, which take precedence over those in `config`.
    pub limits: Limits,
    /// Addresses that other machines can reach need no token.
    pub insecure: bool,
}

/// What a broker serves by HTTP. By default nothing.
#[derive(Default)]
pub struct Http {
    /// Where, and to whom.
    pub config: Option<config::Http>,
    /// The daemon's metrics, some of which the broker keeps.
    pub metrics: Arc<Metrics>,
    /// The last hours of them.
    pub history: Arc<History>,
    /// The daemon's health.
    pub health: Arc<Health>,
    /// Notified when the metrics are read.
    pub metrics_read: Option<Wakeup>,
}

/// A running broker.
pub struct Broker {
    addresses: Vec<SocketAddr>,
    http_addresses: Vec<SocketAddr>,
    api_end: ApiEnd,
    consumers_end: ConsumersEnd,
    overviews: Overviews,
    reloader: Reloader,
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    thread: Thread,
}

/// Where the state of the daemon at a glance is published for open pages.
#[derive(Clone)]
pub struct Overviews {
    sender: Sender<String>,
    waker: Arc<Waker>,
}

impl Overviews {
    /// Publishes one, an object of JSON in one line. It is dropped if the broker has not sent the one before.
    pub fn publish(&self, json: String) {
        if self.sender.try_send(json).is_ok() {
            wake(&self.waker);
        }
    }
}

impl Broker {
    /// Binds all listeners and starts the thread. `head` is the current head of the event log: the [`LogPublisher`] has to
    /// publish every later event and to answer every [`PageRequest`]. Each RING notifies `on_ring`. `http`: what it serves
    /// besides RSQ/1.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        config: &config::Broker,
        insecure: bool,
        head: LogHead,
        on_ring: Vec<Wakeup>,
        http: Http,
        alarm: &Alarm,
    ) -> Result<(Broker, LogPublisher, Receiver<PageRequest>), StartError> {
        let limits = Limits {
            ping_interval: config.ping.max(Duration::from_secs(1)),
            max_connections: config.max_connections.min(room_for_connections(config.max_connections)),
            ..Limits::default()
        };
        Broker::start_with(Settings { config, limits, insecure }, head, on_ring, http, alarm)
    }

    /// The same with any limits.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_with(
        settings: Settings<'_>,
        head: LogHead,
        on_ring: Vec<Wakeup>,
        http: Http,
        alarm: &Alarm,
    ) -> Result<(Broker, LogPublisher, Receiver<PageRequest>), StartError> {
        let Settings { config, limits, insecure } = settings;
        let bound = |listeners: &[Listener]| -> Vec<SocketAddr> {
            listeners.iter().filter_map(|listener| listener.local_addr()).collect()
        };
        let tls = ServerTls::load(config)?;
        let listeners = listener::bind(config, insecure)?;
        let http_listeners = match &http.config {
            Some(config) => listener::bind_http(config, insecure)?,
            None => Vec::new(),
        };
        let (addresses, http_addresses) = (bound(&listeners), bound(&http_listeners));
        for listener in &http_listeners {
            let (scheme, address) = (if listener.is_tls() { "https" } else { "http" }, listener.local_addr());
            address.iter().for_each(|address| log::info!("http: listening on {scheme}://{address}"));
        }
        for listener in &listeners {
            log::info!("broker: listening on {listener}");
        }
        let brokers = listeners.iter().map(ToString::to_string).collect();

        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (page_request_sender, page_requests) = bounded(limits.fanout.page_requests);
        let (updates, log_updates) = bounded(limits.log_updates);
        let (overview_sender, overviews) = bounded(1);
        let overview_sender = Overviews { sender: overview_sender, waker: waker.clone() };
        let (reload_sender, reloads) = bounded(1);
        let http_listen = http.config.as_ref().map_or_else(Vec::new, |config| config.listen.clone());
        let listen = config.listen.clone();
        let reloader = Reloader { sender: reload_sender, waker: waker.clone(), listen, http_listen, insecure };
        let rules = Rules { limits, tokens: Tokens::new(config), states: config.states.clone() };
        let stop = Arc::new(AtomicBool::new(false));
        let (api_requests, api_end, api_answers) = handoff({
            let waker = waker.clone();
            move || wake(&waker)
        });
        let (consumers, consumer_answers, consumers_end) = consumers::handoff({
            let waker = waker.clone();
            move || wake(&waker)
        });
        let listeners = listeners.into_iter().map(|listener| (Kind::Rsq, listener));
        let http_listeners = http_listeners.into_iter().map(|listener| (Kind::Http, listener));
        let mut listeners = listeners.chain(http_listeners).collect::<Vec<_>>();
        event_loop::register(&poll, &mut listeners)?;
        let acceptor = Acceptor::new()?;
        let inbox = Inbox { log_updates, api_answers, overviews, consumer_answers, reloads };
        let (site, stopping) = (http.site(brokers), stop.clone());
        // What it owns never leaves its thread.
        let serve = move || {
            let hub = Hub::new(rules, site, head, page_request_sender, consumers, api_requests, on_ring);
            if let Err(error) = EventLoop::new(poll, listeners, acceptor, hub, inbox, tls, stopping).run() {
                // Without its poll there is no broker: the daemon ends as at any other thread's panic.
                panic!("the broker cannot wait for its sockets: {error}");
            }
        };
        let thread = Thread::spawn("broker", alarm, serve)?;
        let log_publisher = LogPublisher::new(updates, {
            let waker = waker.clone();
            move || wake(&waker)
        });
        let overviews = overview_sender;
        let broker =
            Broker { addresses, http_addresses, api_end, consumers_end, overviews, reloader, stop, waker, thread };
        Ok((broker, log_publisher, page_requests))
    }

    /// The TCP addresses in the order of the settings, with the actual port where port 0 was set.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses for HTTP, likewise.
    pub fn http_addrs(&self) -> &[SocketAddr] {
        &self.http_addresses
    }

    /// Where requests arrive that only the database can answer. Each has to be answered; where none is, clients get 503.
    pub fn api_end(&self) -> &ApiEnd {
        &self.api_end
    }

    /// Where requests about consumers' positions arrive. Each has to be answered.
    pub fn consumers_end(&self) -> &ConsumersEnd {
        &self.consumers_end
    }

    /// Where to publish what open pages show.
    pub fn overviews(&self) -> Overviews {
        self.overviews.clone()
    }

    /// Where to hand certificates and tokens that were read again.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Asks the broker to stop: for up to 2 seconds peers receive what is queued for them and ERROR 8. May be called again.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        wake(&self.waker);
    }

    /// Waits for the thread's end, after [`Self::stop`]. False if it panicked, which the alarm has reported.
    pub fn join(self) -> bool {
        self.thread.join()
    }
}

impl Http {
    fn site(self, brokers: Vec<String>) -> Site {
        let Http { config, metrics, history, health, metrics_read } = self;
        let access = config.map_or_else(Access::default, |config| Access {
            token: config.token,
            read_token: config.read_token,
            hosts: config.hosts,
            ..Access::default()
        });
        Site { access, brokers, metrics, history, health, metrics_read }
    }
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        log::error!("broker: cannot be woken, {error}; events are delivered late");
    }
}

/// Raises the soft limit of open files towards the hard limit, as far as `wanted` connections require. Returns how many
/// connections fit.
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
            log::warn!(
                "broker: max_connections limited to {room} by the open-file limit of {files}; raise it (ulimit -Hn)"
            );
            room as usize
        }
        Err(error) => {
            log::warn!("broker: cannot raise the limit of open files, {error}; keeping the current limit");
            wanted as usize
        }
    }
}
