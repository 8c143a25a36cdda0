//! All peers: which to read, write or time out next, and what their frames do. Knows sockets only as [`Socket`] and
//! time only as an argument, so that a simulation can provide both. Never blocks.

use super::{
    connection::{Connection, Socket},
    connections::Connections,
    limits::READ_BUDGET,
    rsq::{
        encode,
        session::{Action, Due, Refusal, Rules},
    },
};
use crate::{
    base::send_queue::Flow,
    base::wakeup::Wakeup,
    events::updates::{LogHead, LogUpdate, PageRequest},
    fanout::{Fanout, Sinks},
    wire::{Code, MAX_FRAME, ServerMessage, VERSION},
};
use crossbeam_channel::Sender;
use std::{collections::BTreeSet, mem, time::Instant};

/// The peers and their subscriptions.
pub struct Hub<S> {
    pub(crate) connections: Connections<S>,
    fanout: Fanout,
    rules: Rules,
    /// Notified at each RING.
    on_ring: Vec<Wakeup>,
    /// When each peer's timer is due: to send it a PING or to disconnect it. No peer is examined before.
    timers: BTreeSet<(Instant, usize)>,
    /// Bytes just read; shared by all peers.
    buffer: Box<[u8]>,
}

impl<S: Socket> Hub<S> {
    /// A hub without peers. Delivery begins at `head`; pages of the event log are requested through `page_requests`.
    pub fn new(rules: Rules, head: LogHead, page_requests: Sender<PageRequest>, on_ring: Vec<Wakeup>) -> Hub<S> {
        Hub {
            connections: Connections::new(rules.limits.queue_bytes),
            fanout: Fanout::new(head, page_requests, &rules.limits.fanout),
            rules,
            on_ring,
            timers: BTreeSet::new(),
            buffer: vec![0; READ_BUDGET].into(),
        }
    }

    /// How many peers are connected.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether `max_connections` is reached, so that the next peer has to be refused.
    pub fn is_full(&self) -> bool {
        self.len() >= self.rules.limits.max_connections
    }

    /// The key that the next peer will have.
    pub fn next_key(&self) -> usize {
        self.connections.next_key()
    }

    /// Adds a peer just accepted.
    pub fn insert(&mut self, socket: S, now: Instant) {
        let key = self.connections.insert(Connection::new(socket, now, &self.rules));
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

    /// Delivers what the sequencer published.
    pub fn update(&mut self, update: LogUpdate, now: Instant) {
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
    }

    /// When the next turn is due unless a socket becomes ready or an update arrives earlier; None: no timer is set.
    pub fn next_turn(&self, now: Instant) -> Option<Instant> {
        match self.connections.is_idle() {
            true => self.timers.first().map(|&(at, _)| at),
            false => Some(now),
        }
    }

    /// Disconnects every peer after the frames queued for it.
    pub fn close_all(&mut self, now: Instant) {
        let refusal = Refusal::new(Code::ShuttingDown, "the server is shutting down");
        for key in self.connections.keys() {
            self.refuse(key, &refusal, false, now);
            self.write(key, now);
        }
    }

    fn read(&mut self, key: usize, now: Instant, unix_time_us: u64) {
        let mut budget = READ_BUDGET;
        while let Some(connection) = self.connections.get_mut(key)
            && connection.readable
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
                    self.process_frames(key, &buffer[..bytes], now, unix_time_us);
                }
                Ok(Some(_)) => {
                    // The peer sends no more; it may still be waiting for an answer.
                    let _ = connection.write(now);
                    self.remove(key);
                }
                Err(error) => {
                    log::debug!("connection to {} lost: {error}", connection.socket.peer());
                    self.remove(key);
                }
            }
            self.buffer = buffer;
        }
    }

    /// Acts on the frames that these bytes complete.
    fn process_frames(&mut self, key: usize, mut bytes: &[u8], now: Instant, unix_time_us: u64) {
        // The splitter is moved out while a frame borrows its bytes; a connection that closes keeps a new, empty one.
        let Some(connection) = self.connections.get_mut(key) else { return };
        let mut splitter = mem::take(&mut connection.splitter);
        while let Some(connection) = self.connections.get_mut(key)
            && !connection.session.is_closing()
        {
            let action = match splitter.next(&mut bytes, connection.session.frame_limit()) {
                Ok(None) => {
                    connection.splitter = splitter;
                    return;
                }
                Ok(Some(frame)) => connection.session.frame(frame, &self.rules, now),
                Err(error) => Err(error.into()),
            };
            match action {
                Ok(action) => self.apply(key, action, now, unix_time_us),
                Err(refusal) => self.refuse(key, &refusal, false, now),
            }
        }
    }

    fn apply(&mut self, key: usize, action: Action<'_>, now: Instant, unix_time_us: u64) {
        match action {
            Action::Welcome { name, role } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    log::debug!("{} is {name:?}, {role:?}", connection.socket.peer());
                }
                let head = self.fanout.head();
                let welcome = ServerMessage::Welcome {
                    version: VERSION,
                    head_seq: head.head_seq,
                    max_frame: MAX_FRAME as u32,
                    ping_interval_ms: self.rules.limits.ping_interval.as_millis() as u32,
                    log_id: head.log_id,
                };
                self.send(key, &welcome);
                self.set_timer(key);
            }
            Action::Subscribe { resume_after, durable_only, patterns } => {
                if let Some(mut sink) = self.connections.sinks(now).sink(key) {
                    self.fanout.subscribe(key, resume_after, durable_only, &patterns, &mut sink);
                }
            }
            Action::Publish { state, payload } => {
                self.fanout.publish(state, payload, unix_time_us, &mut self.connections.sinks(now));
            }
            Action::Ring => self.on_ring.iter().for_each(Wakeup::notify),
            Action::Pong(number) => self.send(key, &ServerMessage::Pong(number)),
            Action::Nothing => {}
        }
    }

    fn send(&mut self, key: usize, message: &ServerMessage<'_>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.send_queue.push(encode::frame(message), ());
        self.connections.queue_write(key);
    }

    fn write(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.writable {
            return;
        }
        let flow = connection.write(now);
        let shutdown = match &flow {
            Ok(Flow::Empty) if connection.session.is_closing() => connection.socket.shutdown_write(),
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
            && connection.readable
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
        match connection.session.tick(&self.rules, now) {
            Due::Nothing => {}
            Due::Ping => {
                let complete_up_to = self.fanout.complete_up_to(key).unwrap_or(0);
                connection.send_queue.push(encode::frame(&ServerMessage::Ping(complete_up_to)), ());
                connection.session.ping_queued(connection.send_queue.end());
                self.write(key, now);
            }
            Due::Refuse(refusal) => {
                let at_once = refusal.code == Code::Slow;
                self.refuse(key, &refusal, at_once, now);
                self.write(key, now);
            }
            Due::Close => return self.remove(key),
        }
        self.set_timer(key);
    }

    fn refuse(&mut self, key: usize, refusal: &Refusal, at_once: bool, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.session.is_closing() {
            return;
        }
        let message = refusal.message.escape_debug();
        log::info!("disconnected {}: {:?}: {message}", connection.socket.peer(), refusal.code);
        connection.refuse(refusal, at_once, now, &self.rules);
        self.fanout.unsubscribe(key);
        self.connections.queue_write(key);
        self.set_timer(key);
    }

    fn remove(&mut self, key: usize) {
        let Some(connection) = self.connections.remove(key) else { return };
        self.fanout.unsubscribe(key);
        if let Some(at) = connection.due {
            self.timers.remove(&(at, key));
        }
    }

    fn set_timer(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let due = connection.session.due(&self.rules);
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
