//! From an event to the outboxes of its subscribers, and from the log to those that are behind. Owns the topics and
//! the head of the log; touches no peer that an event does not concern.

use crate::events::event::{Event, LogHead, LogUpdate, PageRequest};
use crate::fanout::cursor::Cursor;
use crate::fanout::filter::Filter;
use crate::fanout::limits::{Limits, SCAN_BUDGET};
use crate::fanout::page_requests::PageRequests;
use crate::fanout::recent_window::RecentWindow;
use crate::fanout::topics::Topics;
use crate::net::connection::{Connection, Socket};
use crate::wire::{Gap, Pattern, ServerMessage, State};
use crossbeam_channel::Sender;
use slab::Slab;
use std::{sync::Arc, time::Instant};

pub struct Delivery {
    topics: Topics,
    head: LogHead,
    recent: RecentWindow,
    page_requests: PageRequests,
    queue_bytes: usize,
    /// Peers with something new to be written, each once.
    pub dirty: Vec<usize>,
}

impl Delivery {
    pub fn new(head: LogHead, reads: Sender<PageRequest>, limits: &Limits) -> Delivery {
        Delivery {
            topics: Topics::default(),
            head,
            recent: RecentWindow::new(limits),
            page_requests: PageRequests::new(reads),
            queue_bytes: limits.queue_bytes,
            dirty: Vec::new(),
        }
    }

    pub fn head(&self) -> LogHead {
        self.head
    }

    /// See [`mark_dirty`].
    pub fn mark_dirty<S>(&mut self, key: usize, conn: &mut Connection<S>) {
        mark_dirty(&mut self.dirty, key, conn);
    }

    pub fn subscribe<S: Socket>(
        &mut self,
        key: usize,
        conn: &mut Connection<S>,
        resume_after: Option<u64>,
        durable_only: bool,
        patterns: &[Pattern<'_>],
    ) {
        let LogHead { head_seq, first_seq, .. } = self.head;
        let filter = Filter::new(patterns);
        self.topics.subscribe(key, &filter);
        conn.send_queue.push_message(&ServerMessage::Subscribed { seq: resume_after.unwrap_or(head_seq) });
        let cursor = match resume_after {
            Some(after) if after < head_seq => {
                let mut cursor = Cursor::behind(filter, durable_only, after);
                cursor.pruned(first_seq, head_seq, &mut conn.send_queue);
                cursor
            }
            Some(after) if after > head_seq => {
                conn.send_queue.push_message(&ServerMessage::Gap(Gap::BeyondHead(head_seq)));
                Cursor::live(filter, durable_only)
            }
            _ => Cursor::live(filter, durable_only),
        };
        conn.cursor = Some(Box::new(cursor));
        self.mark_dirty(key, conn);
    }

    pub fn unsubscribe<S>(&mut self, key: usize, conn: &mut Connection<S>) {
        let Some(cursor) = conn.cursor.take() else { return };
        self.topics.unsubscribe(key);
        if let Some(after_seq) = cursor.waits_for() {
            self.page_requests.withdraw(after_seq, key);
        }
    }

    /// An ephemeral event: written once, if anybody wants it.
    pub fn publish<S: Socket>(
        &mut self,
        (state, payload): (State<'_>, &[u8]),
        unix_time_us: u64,
        conns: &mut Slab<Connection<S>>,
        now: Instant,
    ) {
        let state = state.as_str();
        let mut frame: Option<Arc<[u8]>> = None;
        for key in self.topics.subscribers(state) {
            let Some(conn) = conns.get_mut(key) else { continue };
            if conn.cursor.as_ref().is_none_or(|cursor| cursor.durable_only) {
                continue;
            }
            let frame = frame.get_or_insert_with(|| {
                let mut bytes = Vec::with_capacity(payload.len() + state.len() + 32);
                ServerMessage::Event { seq: 0, unix_time_us, state, payload }.encode(&mut bytes);
                bytes.into()
            });
            conn.make_room(frame.len(), self.queue_bytes, now);
            if let Some(cursor) = &mut conn.cursor {
                cursor.ephemeral(frame, &mut conn.send_queue, self.queue_bytes);
            }
            mark_dirty(&mut self.dirty, key, conn);
        }
    }

    pub fn news<S: Socket>(&mut self, news: LogUpdate, conns: &mut Slab<Connection<S>>, now: Instant) {
        match news {
            LogUpdate::Live(events) => events.into_iter().for_each(|event| self.live(event, conns, now)),
            LogUpdate::Page { after_seq, events, first_seq } => self.page(after_seq, &events, first_seq, conns),
            LogUpdate::Pruned { first_seq } => self.pruned(first_seq),
        }
    }

    fn live<S: Socket>(&mut self, event: Arc<Event>, conns: &mut Slab<Connection<S>>, now: Instant) {
        if event.seq <= self.head.head_seq {
            return;
        }
        self.head.head_seq = event.seq;
        for key in self.topics.subscribers(&event.state) {
            let Some(conn) = conns.get_mut(key) else { continue };
            conn.make_room(event.frame.len(), self.queue_bytes, now);
            if let Some(cursor) = &mut conn.cursor {
                cursor.durable(&event, &mut conn.send_queue, self.queue_bytes);
            }
            mark_dirty(&mut self.dirty, key, conn);
        }
        self.recent.push(event);
    }

    fn pruned(&mut self, first_seq: u64) {
        self.head.first_seq = self.head.first_seq.max(first_seq.min(self.head.head_seq + 1));
    }

    /// Numbers beyond the head are left out: they come as live ones.
    fn page<S: Socket>(
        &mut self,
        after_seq: u64,
        events: &[Arc<Event>],
        first_seq: u64,
        conns: &mut Slab<Connection<S>>,
    ) {
        self.pruned(first_seq);
        let LogHead { head_seq, first_seq, .. } = self.head;
        let events = &events[..events.partition_point(|event| event.seq <= head_seq)];
        for key in self.page_requests.answered(after_seq) {
            let Some(conn) = conns.get_mut(key) else { continue };
            let Some(cursor) = conn.cursor.as_mut().filter(|cursor| cursor.waits_for() == Some(after_seq)) else {
                continue;
            };
            cursor.answered();
            cursor.pruned(first_seq, head_seq, &mut conn.send_queue);
            match events {
                [] => cursor.advance_to(head_seq, head_seq),
                _ => cursor.catch_up(events.iter(), head_seq, &mut conn.send_queue, self.queue_bytes),
            }
            mark_dirty(&mut self.dirty, key, conn);
        }
    }

    /// All that was queued for a subscriber is written: it is told what it missed, and if it is behind it gets what
    /// follows, from memory or by a question to the log.
    pub fn refill<S: Socket>(&mut self, key: usize, conn: &mut Connection<S>) {
        let LogHead { head_seq, first_seq, .. } = self.head;
        let Some(cursor) = &mut conn.cursor else { return };
        cursor.tell_dropped(&mut conn.send_queue);
        if let Some(after) = cursor.wants() {
            if let Some(events) = self.recent.after(after) {
                cursor.catch_up(events.take(SCAN_BUDGET), head_seq, &mut conn.send_queue, self.queue_bytes);
            } else {
                cursor.pruned(first_seq, head_seq, &mut conn.send_queue);
                if let Some(after) = cursor.wants() {
                    cursor.asked();
                    self.page_requests.ask(after, key);
                }
            }
        }
        let reads_on = conn.cursor.as_ref().is_some_and(|cursor| cursor.wants().is_some());
        if reads_on || !conn.send_queue.is_empty() {
            mark_dirty(&mut self.dirty, key, conn);
        }
    }
}

/// Something may be written to this peer, or read on for it: it gets its turn once.
fn mark_dirty<S>(dirty: &mut Vec<usize>, key: usize, conn: &mut Connection<S>) {
    if !conn.in_dirty && conn.writable {
        conn.in_dirty = true;
        dirty.push(key);
    }
}
