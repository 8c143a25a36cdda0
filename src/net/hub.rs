//! All peers and what passes between them: whose turn it is to be read, written or looked after, and what their
//! frames do. Knows sockets only as [`Socket`] and time only as an argument, so that a test can be all three.

use crate::events::event::{LogHead, LogUpdate, PageRequest};
use crate::fanout::delivery::Delivery;
use crate::fanout::limits::READ_BUDGET;
use crate::net::connection::{Connection, Socket};
use crate::net::rsq::session::{Action, Due, Refusal, Rules};
use crate::net::send_queue::Flow;
use crate::{
    base::wakeup::Wakeup,
    wire::{Code, MAX_FRAME, ServerMessage, VERSION},
};
use crossbeam_channel::Sender;
use slab::Slab;
use std::{collections::BTreeSet, mem, time::Instant};

pub struct Hub<S> {
    conns: Slab<Connection<S>>,
    delivery: Delivery,
    rules: Rules,
    bells: Vec<Wakeup>,
    /// When which peer is next to be looked after. No peer is touched before its time.
    timers: BTreeSet<(Instant, usize)>,
    /// Peers that may have something to be read, each once.
    ready: Vec<usize>,
    buffer: Box<[u8]>,
}

impl<S: Socket> Hub<S> {
    pub fn new(rules: Rules, head: LogHead, reads: Sender<PageRequest>, bells: Vec<Wakeup>) -> Hub<S> {
        Hub {
            conns: Slab::new(),
            delivery: Delivery::new(head, reads, &rules.limits),
            rules,
            bells,
            timers: BTreeSet::new(),
            ready: Vec::new(),
            buffer: vec![0; READ_BUDGET].into(),
        }
    }

    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    pub fn is_full(&self) -> bool {
        self.conns.len() >= self.rules.limits.max_connections
    }

    /// The key that the next peer will have.
    pub fn next_key(&self) -> usize {
        self.conns.vacant_key()
    }

    pub fn insert(&mut self, socket: S, now: Instant) {
        let key = self.conns.insert(Connection::new(socket, now, &self.rules));
        self.queue_read(key);
        self.set_timer(key);
    }

    /// The poll says that this peer's socket may be read, or written, and whether the peer has hung up.
    pub fn wake(&mut self, key: usize, readable: bool, writable: bool, hung_up: bool) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if writable {
            conn.writable = true;
            self.delivery.mark_dirty(key, conn);
        }
        if readable {
            conn.readable = true;
            conn.hung_up |= hung_up;
            self.queue_read(key);
        }
    }

    pub fn news(&mut self, news: LogUpdate, now: Instant) {
        self.delivery.news(news, &mut self.conns, now);
    }

    /// One turn for every peer that has something to be read or written, and for every timer that is due.
    pub fn turn(&mut self, now: Instant, unix_time_us: u64) {
        for key in mem::take(&mut self.ready) {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.in_ready = false;
                self.read(key, now, unix_time_us);
            }
        }
        for key in mem::take(&mut self.delivery.dirty) {
            if let Some(conn) = self.conns.get_mut(key) {
                conn.in_dirty = false;
                self.write(key, now);
            }
        }
        while let Some(&(at, key)) = self.timers.first()
            && at <= now
        {
            // Looked at afresh: a pause of this process is not to be taken for silence of its peers.
            if let Some(conn) = self.conns.get_mut(key) {
                conn.readable = true;
                conn.writable = true;
            }
            self.read(key, now, unix_time_us);
            self.write(key, now);
            self.tick(key, now);
        }
    }

    /// When [`Self::turn`] is next needed though no socket and no news asks for it; a time in the past: at once.
    pub fn next_turn(&self, now: Instant) -> Option<Instant> {
        match self.ready.is_empty() && self.delivery.dirty.is_empty() {
            true => self.timers.first().map(|&(at, _)| at),
            false => Some(now),
        }
    }

    /// Sends every peer away behind what is queued for it.
    pub fn close_all(&mut self, now: Instant) {
        let refusal = Refusal::new(Code::ShuttingDown, "the server is shutting down");
        let keys: Vec<usize> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.refuse(key, &refusal, false, now);
            self.write(key, now);
        }
    }

    fn read(&mut self, key: usize, now: Instant, unix_time_us: u64) {
        let mut budget = READ_BUDGET;
        while let Some(conn) = self.conns.get_mut(key)
            && conn.readable
            // Who does not read the answers is not asked for more page_requests; writing puts it back among the ready.
            && conn.send_queue.bytes() <= self.rules.limits.queue_bytes
        {
            if budget == 0 {
                return self.queue_read(key);
            }
            let mut buffer = mem::take(&mut self.buffer);
            match conn.read(&mut buffer[..budget]) {
                Ok(None) => {}
                Ok(Some(bytes)) if bytes > 0 => {
                    budget -= bytes;
                    self.process_frames(key, &buffer[..bytes], now, unix_time_us);
                }
                Ok(Some(_)) => {
                    // The peer has finished; it may still be waiting for an answer.
                    let _ = conn.write(now);
                    self.remove(key);
                }
                Err(error) => {
                    log::debug!("{} is lost: {error}", conn.socket.peer());
                    self.remove(key);
                }
            }
            self.buffer = buffer;
        }
    }

    /// Acts on the frames that these bytes complete.
    fn process_frames(&mut self, key: usize, mut bytes: &[u8], now: Instant, unix_time_us: u64) {
        let mut splitter = mem::take(&mut self.conns[key].splitter);
        while let Some(conn) = self.conns.get_mut(key)
            && !conn.session.is_closing()
        {
            let action = match splitter.next(&mut bytes, conn.session.frame_limit()) {
                Ok(None) => {
                    conn.splitter = splitter;
                    return;
                }
                Ok(Some(frame)) => conn.session.frame(frame, &self.rules, now),
                Err(error) => Err(error.into()),
            };
            match action {
                Ok(action) => self.apply(key, action, now, unix_time_us),
                Err(refusal) => self.refuse(key, &refusal, false, now),
            }
        }
    }

    fn apply(&mut self, key: usize, action: Action<'_>, now: Instant, unix_time_us: u64) {
        let conn = &mut self.conns[key];
        match action {
            Action::Welcome { name, role } => {
                log::debug!("{} is {name:?}, {role:?}", conn.socket.peer());
                let head = self.delivery.head();
                conn.send_queue.push_message(&ServerMessage::Welcome {
                    version: VERSION,
                    head_seq: head.head_seq,
                    max_frame: MAX_FRAME as u32,
                    ping_interval_ms: self.rules.limits.ping_interval.as_millis() as u32,
                    log_id: head.log_id,
                });
                self.delivery.mark_dirty(key, conn);
                self.set_timer(key);
            }
            Action::Subscribe { resume_after, durable_only, patterns } => {
                self.delivery.subscribe(key, conn, resume_after, durable_only, &patterns);
            }
            Action::Publish { state, payload } => {
                self.delivery.publish((state, payload), unix_time_us, &mut self.conns, now);
            }
            Action::Ring => self.bells.iter().for_each(Wakeup::notify),
            Action::Pong(number) => {
                conn.send_queue.push_message(&ServerMessage::Pong(number));
                self.delivery.mark_dirty(key, conn);
            }
            Action::Nothing => {}
        }
    }

    fn write(&mut self, key: usize, now: Instant) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.writable {
            return;
        }
        let flow = conn.write(now);
        let shutdown = match &flow {
            Ok(Flow::Empty) if conn.session.is_closing() => conn.socket.shutdown_write(),
            _ => Ok(()),
        };
        match flow.and_then(|flow| shutdown.map(|()| flow)) {
            Ok(Flow::Empty) => self.delivery.refill(key, conn),
            Ok(Flow::Paused) => self.delivery.mark_dirty(key, conn),
            Ok(Flow::Blocked) => {}
            Err(error) => {
                log::debug!("{} is lost: {error}", conn.socket.peer());
                return self.remove(key);
            }
        }
        if conn.readable && conn.send_queue.bytes() <= self.rules.limits.queue_bytes {
            self.queue_read(key);
        }
        self.set_timer(key);
    }

    fn tick(&mut self, key: usize, now: Instant) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        // Whatever comes of it, it is not due at this time again.
        if let Some(at) = conn.due.take() {
            self.timers.remove(&(at, key));
        }
        match conn.session.tick(&self.rules, now) {
            Due::Nothing => {}
            Due::Ping => {
                let head_seq = self.delivery.head().head_seq;
                let complete = conn.cursor.as_ref().map_or(0, |cursor| cursor.complete_up_to(head_seq));
                conn.send_queue.push_message(&ServerMessage::Ping(complete));
                conn.session.ping_queued(conn.send_queue.end());
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
        let Some(conn) = self.conns.get_mut(key) else { return };
        if conn.session.is_closing() {
            return;
        }
        log::info!("{} is sent away: {:?}: {}", conn.socket.peer(), refusal.code, refusal.message.escape_debug());
        self.delivery.unsubscribe(key, conn);
        conn.refuse(refusal, at_once, now, &self.rules);
        self.delivery.mark_dirty(key, conn);
        self.set_timer(key);
    }

    fn remove(&mut self, key: usize) {
        let Some(mut conn) = self.conns.try_remove(key) else { return };
        self.delivery.unsubscribe(key, &mut conn);
        if let Some(at) = conn.due {
            self.timers.remove(&(at, key));
        }
    }

    fn queue_read(&mut self, key: usize) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.in_ready {
            conn.in_ready = true;
            self.ready.push(key);
        }
    }

    fn set_timer(&mut self, key: usize) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let due = conn.session.due(&self.rules);
        if due == conn.due {
            return;
        }
        if let Some(at) = mem::replace(&mut conn.due, due) {
            self.timers.remove(&(at, key));
        }
        if let Some(at) = due {
            self.timers.insert((at, key));
        }
    }
}

#[cfg(test)]
mod simulation;
