//! All peers: which to read, write or time out next; `rsq` and `http` have what their bytes do. Knows sockets only as
//! [`Socket`] and time only as an argument, so that a simulation can provide both. Never blocks.

mod consumers;
mod http;
mod rsq;
mod watch;

use super::{
    connection::{Connection, Kind, Protocol, Socket},
    connections::Connections,
    consumers::Consumers,
    http::{handoff::Requests, site::Site, watch::Pages},
    limits::READ_BUDGET,
    meter::Meter,
    rsq::{access::Tokens, refusal::Refusal, session::Rules},
};
use crate::{
    base::send_queue::Flow,
    base::tls::Failed,
    base::wakeup::Wakeup,
    config::Secret,
    events::{
        consumers::ConsumerRequest,
        updates::{LogHead, LogUpdate, PageRequest},
    },
    fanout::{Fanout, Sinks},
    wire::Code,
};
use crossbeam_channel::Sender;
use std::{collections::BTreeSet, mem, time::Instant};

/// Bytes read from an HTTP client at once: what it sends beyond a request is kept until its turn.
const HTTP_READ: usize = 16 << 10;

/// The peers and their subscriptions.
pub struct Hub<S> {
    pub(crate) connections: Connections<S>,
    fanout: Fanout,
    consumers: Consumers,
    rules: Rules,
    /// What is shown by HTTP, and the daemon's metrics.
    site: Site,
    /// Where requests go that only the database can answer.
    api: Requests,
    /// How many of those there were.
    asked: u64,
    /// The open pages.
    pages: Pages,
    meter: Meter,
    /// Notified at each RING.
    on_ring: Vec<Wakeup>,
    /// When each peer's timer is due: to send it a PING or to disconnect it. No peer is examined before.
    timers: BTreeSet<(Instant, usize)>,
    /// Bytes just read; shared by all peers.
    buffer: Box<[u8]>,
}

impl<S: Socket> Hub<S> {
    /// A hub without peers. Delivery begins at `head`; pages of the event log are requested through `page_requests`, and
    /// positions of consumers through `consumers`.
    pub fn new(
        rules: Rules,
        site: Site,
        head: LogHead,
        page_requests: Sender<PageRequest>,
        consumers: Sender<ConsumerRequest>,
        api: Requests,
        on_ring: Vec<Wakeup>,
    ) -> Hub<S> {
        Hub {
            connections: Connections::new(rules.limits.queue_bytes),
            fanout: Fanout::new(head, page_requests, &rules.limits.fanout),
            consumers: Consumers::new(consumers, Instant::now()),
            rules,
            site,
            api,
            asked: 0,
            pages: Pages::default(),
            meter: Meter::default(),
            on_ring,
            timers: BTreeSet::new(),
            buffer: vec![0; READ_BUDGET].into(),
        }
    }

    /// How many peers are connected.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether there are as many peers of this kind as there may be, so that the next one has to be refused.
    pub fn is_full(&self, kind: Kind) -> bool {
        let limits = &self.rules.limits;
        match kind {
            Kind::Rsq => self.len() - self.connections.http() >= limits.max_connections,
            Kind::Http => self.connections.http() >= limits.http.max_connections,
        }
    }

    /// Requires these tokens of peers that log in, and of HTTP requests, from now on.
    pub fn replace_tokens(&mut self, tokens: Tokens, http: Option<Secret>, http_read: Option<Secret>) {
        self.rules.tokens = tokens;
        (self.site.access.token, self.site.access.read_token) = (http, http_read);
    }

    /// The key that the next peer will have.
    pub fn next_key(&self) -> usize {
        self.connections.next_key()
    }

    /// Adds a peer just accepted.
    pub fn insert(&mut self, socket: S, kind: Kind, now: Instant) {
        let key = self.connections.insert(Connection::new(socket, kind, now, &self.rules));
        self.set_timer(key);
    }

    /// Notes what the poll reported: whether this peer's socket may be read or written, and whether the peer has hung up.
    pub fn socket_ready(&mut self, key: usize, readable: bool, writable: bool, hung_up: bool) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.writable |= writable;
        connection.readable |= readable;
        connection.hung_up |= readable && hung_up;
        if writable {
            self.connections.queue_write(key);
        }
        if readable {
            self.connections.queue_read(key);
        }
    }

    /// Delivers what the sequencer published. `unix_time_us`: microseconds since 1970.
    pub fn update(&mut self, update: LogUpdate, now: Instant, unix_time_us: u64) {
        if let LogUpdate::Live(events) = &update {
            let Site { metrics, history, .. } = &self.site;
            self.meter.count(events, metrics, history, unix_time_us);
        }
        self.fanout.update(update, &mut self.connections.sinks(now));
    }

    /// One turn for every peer with data to read or write, and for every timer that is due.
    pub fn turn(&mut self, now: Instant, unix_time_us: u64) {
        for key in self.connections.take_to_read() {
            self.read(key, now, unix_time_us);
        }
        for key in self.connections.take_to_write() {
            self.write(key, now);
        }
        while let Some(&(at, key)) = self.timers.first()
            && at <= now
        {
            // Sockets come before timers, so that a pause of this process is not mistaken for silence of its peers.
            if let Some(connection) = self.connections.get_mut(key) {
                connection.readable = true;
                connection.writable = true;
            }
            self.read(key, now, unix_time_us);
            self.write(key, now);
            self.tick(key, now);
        }
        self.consumers.turn(now, |key| self.fanout.acknowledged(key));
        // Once per turn, since an addition that other threads may read costs as much as a small part of a delivery.
        self.site.metrics.deliveries.add(self.connections.take_delivered());
        self.site.metrics.dropped_ephemeral.add(self.fanout.take_dropped());
    }

    /// When the next turn is due unless a socket becomes ready or an update arrives earlier; None: no timer is set.
    pub fn next_turn(&self, now: Instant) -> Option<Instant> {
        match self.connections.is_idle() {
            true => self.timers.first().map(|&(at, _)| at).into_iter().chain(self.consumers.next_turn()).min(),
            false => Some(now),
        }
    }

    /// Disconnects every peer after the frames queued for it.
    pub fn close_all(&mut self, now: Instant) {
        let refusal = Refusal::new(Code::ShuttingDown, "the server is shutting down");
        for key in self.connections.keys() {
            self.refuse(key, &refusal, false, now);
            self.close_http(key, self.rules.limits.farewell, now);
            self.write(key, now);
        }
        self.consumers.turn(now, |_| None);
    }

    fn read(&mut self, key: usize, now: Instant, unix_time_us: u64) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut budget = match connection.protocol {
            Protocol::Rsq { .. } => READ_BUDGET,
            Protocol::Http(_) => {
                // Those that arrived before have their turn first.
                self.answer_requests(key, now, unix_time_us);
                HTTP_READ
            }
        };
        while let Some(connection) = self.connections.get_mut(key)
            && connection.readable
            && connection.protocol.is_reading()
            // No more is read from a peer that does not read its answers; writing to it queues the read again.
            && connection.send_queue.bytes() <= self.rules.limits.queue_bytes
        {
            if budget == 0 {
                return self.connections.queue_read(key);
            }
            let mut buffer = mem::take(&mut self.buffer);
            match connection.read(&mut buffer[..budget]) {
                Ok(None) => {}
                Ok(Some(bytes)) if bytes > 0 => {
                    budget -= bytes;
                    match connection.protocol {
                        Protocol::Rsq { .. } => self.receive_frames(key, &buffer[..bytes], now, unix_time_us),
                        Protocol::Http(_) => self.receive_requests(key, &buffer[..bytes], now, unix_time_us),
                    }
                }
                Ok(Some(_)) => {
                    // The peer sends no more; it may still be waiting for an answer.
                    let has_more = connection.write(now).is_ok_and(|flow| flow != Flow::Empty);
                    match &mut connection.protocol {
                        Protocol::Http(session) if has_more && !session.is_streaming() => {
                            session.close_after_answers(self.rules.limits.farewell, now);
                            connection.readable = false;
                            self.connections.queue_write(key);
                            self.set_timer(key);
                        }
                        _ => self.remove(key),
                    }
                }
                Err(error) => {
                    let peer = connection.socket.peer();
                    match Failed::is_in(&error) {
                        true => log::info!("refused {peer}: {error}"),
                        false => log::debug!("connection to {peer} lost: {error}"),
                    }
                    self.remove(key);
                }
            }
            self.buffer = buffer;
        }
    }

    fn write(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.writable {
            return;
        }
        let flow = connection.write(now);
        let shutdown = match &flow {
            Ok(Flow::Empty) if connection.protocol.is_closing() => connection.socket.shutdown_write(),
            _ => Ok(()),
        };
        match flow.and_then(|flow| shutdown.map(|()| flow)) {
            Ok(Flow::Empty) => self.refill(key, now),
            Ok(Flow::Paused) => self.connections.queue_write(key),
            Ok(Flow::Blocked) => {}
            Err(error) => {
                log::debug!("connection to {} lost: {error}", connection.socket.peer());
                return self.remove(key);
            }
        }
        if let Some(connection) = self.connections.get_mut(key)
            && (connection.readable || connection.protocol.has_input())
            && connection.send_queue.bytes() <= self.rules.limits.queue_bytes
        {
            self.connections.queue_read(key);
        }
        self.set_timer(key);
    }

    /// Everything queued for this peer is written; lets the fan-out push more.
    fn refill(&mut self, key: usize, now: Instant) {
        if let Some(mut sink) = self.connections.sinks(now).sink(key) {
            self.fanout.drained(key, &mut sink);
        }
    }

    fn tick(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        // The entry is used up, whatever the tick returns.
        if let Some(at) = connection.due.take() {
            self.timers.remove(&(at, key));
        }
        let limits = &self.rules.limits;
        let stays = match &mut connection.protocol {
            Protocol::Rsq { session, .. } => {
                let due = session.tick(&self.rules, now);
                self.rsq_due(key, due, now)
            }
            Protocol::Http(session) => {
                let due = session.tick(&limits.http, limits.stuck_timeout, now);
                self.http_due(key, due, now)
            }
        };
        match stays {
            true => self.set_timer(key),
            false => self.remove(key),
        }
    }

    fn remove(&mut self, key: usize) {
        let Some(connection) = self.connections.remove(key) else { return };
        self.unsubscribe(key);
        self.unwatch(key);
        if let Some(at) = connection.due {
            self.timers.remove(&(at, key));
        }
    }

    fn set_timer(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let due = connection.protocol.due(&self.rules);
        if due == connection.due {
            return;
        }
        if let Some(at) = mem::replace(&mut connection.due, due) {
            self.timers.remove(&(at, key));
        }
        if let Some(at) = due {
            self.timers.insert((at, key));
        }
    }
}
