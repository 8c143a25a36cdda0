//! From an event to the outboxes of its subscribers, and from the log to those that are behind. Owns the topics and
//! the head of the log; touches no peer that an event does not concern.

use super::{
    conn::{Conn, Socket},
    event_log::{Event, LogHead, News, Read},
    feed::Feed,
    filter::Filter,
    limits::{Limits, SCAN_BUDGET},
    questions::Questions,
    recent::Recent,
    topics::Topics,
};
use crate::wire::{Gap, Pattern, ServerMessage, State};
use crossbeam_channel::Sender;
use slab::Slab;
use std::{sync::Arc, time::Instant};

pub struct Delivery {
    topics: Topics,
    head: LogHead,
    recent: Recent,
    questions: Questions,
    queue_bytes: usize,
    /// Peers with something new to be written, each once.
    pub dirty: Vec<usize>,
}

impl Delivery {
    pub fn new(head: LogHead, reads: Sender<Read>, limits: &Limits) -> Delivery {
        Delivery {
            topics: Topics::default(),
            head,
            recent: Recent::new(limits),
            questions: Questions::new(reads),
            queue_bytes: limits.queue_bytes,
            dirty: Vec::new(),
        }
    }

    pub fn head(&self) -> LogHead {
        self.head
    }

    /// See [`touch`].
    pub fn touch<S>(&mut self, key: usize, conn: &mut Conn<S>) {
        touch(&mut self.dirty, key, conn);
    }

    pub fn subscribe<S: Socket>(
        &mut self,
        key: usize,
        conn: &mut Conn<S>,
        resume_after: Option<u64>,
        durable_only: bool,
        patterns: &[Pattern<'_>],
    ) {
        let LogHead { head_seq, first_seq, .. } = self.head;
        let filter = Filter::new(patterns);
        self.topics.subscribe(key, &filter);
        conn.outbox.push_message(&ServerMessage::Subscribed { seq: resume_after.unwrap_or(head_seq) });
        let feed = match resume_after {
            Some(after) if after < head_seq => {
                let mut feed = Feed::behind(filter, durable_only, after);
                feed.pruned(first_seq, head_seq, &mut conn.outbox);
                feed
            }
            Some(after) if after > head_seq => {
                conn.outbox.push_message(&ServerMessage::Gap(Gap::BeyondHead(head_seq)));
                Feed::live(filter, durable_only)
            }
            _ => Feed::live(filter, durable_only),
        };
        conn.feed = Some(Box::new(feed));
        self.touch(key, conn);
    }

    pub fn unsubscribe<S>(&mut self, key: usize, conn: &mut Conn<S>) {
        let Some(feed) = conn.feed.take() else { return };
        self.topics.unsubscribe(key);
        if let Some(after_seq) = feed.waits_for() {
            self.questions.withdraw(after_seq, key);
        }
    }

    /// An ephemeral event: written once, if anybody wants it.
    pub fn publish<S: Socket>(
        &mut self,
        (state, payload): (State<'_>, &[u8]),
        unix_time_us: u64,
        conns: &mut Slab<Conn<S>>,
        now: Instant,
    ) {
        let state = state.as_str();
        let mut frame: Option<Arc<[u8]>> = None;
        for key in self.topics.subscribers(state) {
            let Some(conn) = conns.get_mut(key) else { continue };
            if conn.feed.as_ref().is_none_or(|feed| feed.durable_only) {
                continue;
            }
            let frame = frame.get_or_insert_with(|| {
                let mut bytes = Vec::with_capacity(payload.len() + state.len() + 32);
                ServerMessage::Event { seq: 0, unix_time_us, state, payload }.encode(&mut bytes);
                bytes.into()
            });
            conn.make_room(frame.len(), self.queue_bytes, now);
            if let Some(feed) = &mut conn.feed {
                feed.ephemeral(frame, &mut conn.outbox, self.queue_bytes);
            }
            touch(&mut self.dirty, key, conn);
        }
    }

    pub fn news<S: Socket>(&mut self, news: News, conns: &mut Slab<Conn<S>>, now: Instant) {
        match news {
            News::Live(events) => events.into_iter().for_each(|event| self.live(event, conns, now)),
            News::Page { after_seq, events, first_seq } => self.page(after_seq, &events, first_seq, conns),
            News::Pruned { first_seq } => self.pruned(first_seq),
        }
    }

    fn live<S: Socket>(&mut self, event: Arc<Event>, conns: &mut Slab<Conn<S>>, now: Instant) {
        if event.seq <= self.head.head_seq {
            return;
        }
        self.head.head_seq = event.seq;
        for key in self.topics.subscribers(&event.state) {
            let Some(conn) = conns.get_mut(key) else { continue };
            conn.make_room(event.frame.len(), self.queue_bytes, now);
            if let Some(feed) = &mut conn.feed {
                feed.durable(&event, &mut conn.outbox, self.queue_bytes);
            }
            touch(&mut self.dirty, key, conn);
        }
        self.recent.push(event);
    }

    fn pruned(&mut self, first_seq: u64) {
        self.head.first_seq = self.head.first_seq.max(first_seq.min(self.head.head_seq + 1));
    }

    /// Numbers beyond the head are left out: they come as live ones.
    fn page<S: Socket>(&mut self, after_seq: u64, events: &[Arc<Event>], first_seq: u64, conns: &mut Slab<Conn<S>>) {
        self.pruned(first_seq);
        let LogHead { head_seq, first_seq, .. } = self.head;
        let events = &events[..events.partition_point(|event| event.seq <= head_seq)];
        for key in self.questions.answered(after_seq) {
            let Some(conn) = conns.get_mut(key) else { continue };
            let Some(feed) = conn.feed.as_mut().filter(|feed| feed.waits_for() == Some(after_seq)) else { continue };
            feed.answered();
            feed.pruned(first_seq, head_seq, &mut conn.outbox);
            match events {
                [] => feed.advance_to(head_seq, head_seq),
                _ => feed.catch_up(events.iter(), head_seq, &mut conn.outbox, self.queue_bytes),
            }
            touch(&mut self.dirty, key, conn);
        }
    }

    /// All that was queued for a subscriber is written: it is told what it missed, and if it is behind it gets what
    /// follows, from memory or by a question to the log.
    pub fn refill<S: Socket>(&mut self, key: usize, conn: &mut Conn<S>) {
        let LogHead { head_seq, first_seq, .. } = self.head;
        let Some(feed) = &mut conn.feed else { return };
        feed.tell_dropped(&mut conn.outbox);
        if let Some(after) = feed.wants() {
            if let Some(events) = self.recent.after(after) {
                feed.catch_up(events.take(SCAN_BUDGET), head_seq, &mut conn.outbox, self.queue_bytes);
            } else {
                feed.pruned(first_seq, head_seq, &mut conn.outbox);
                if let Some(after) = feed.wants() {
                    feed.asked();
                    self.questions.ask(after, key);
                }
            }
        }
        let reads_on = conn.feed.as_ref().is_some_and(|feed| feed.wants().is_some());
        if reads_on || !conn.outbox.is_empty() {
            touch(&mut self.dirty, key, conn);
        }
    }
}

/// Something may be written to this peer, or read on for it: it gets its turn once.
fn touch<S>(dirty: &mut Vec<usize>, key: usize, conn: &mut Conn<S>) {
    if !conn.in_dirty && conn.writable {
        conn.in_dirty = true;
        dirty.push(key);
    }
}
