//! From an event to the sinks of its subscribers, and from the event log to subscribers that are behind. Owns the topics,
//! the cursors and the head of the log; never touches a subscriber that an event does not concern.

use super::{
    cursor::{Cursor, Subscription},
    kept_pages::KeptPages,
    limits::{Limits, SCAN_BUDGET},
    outgoing::Outgoing,
    page_requests::PageRequests,
    recent_window::RecentWindow,
    sink::{Sink, Sinks},
    topics::Topics,
};
use crate::{
    events::{
        event::Event,
        updates::{LogHead, LogUpdate, PageRequest},
    },
    wire::{Pattern, State},
};
use crossbeam_channel::Sender;
use std::cmp::Ordering;

/// All subscriptions. A subscriber is a small number, which may be reused once it is unsubscribed.
pub struct Fanout {
    topics: Topics,
    /// By the subscriber's number.
    cursors: Vec<Option<Box<Cursor>>>,
    head: LogHead,
    recent: RecentWindow,
    pages: KeptPages,
    page_requests: PageRequests,
    /// Ephemeral events dropped since this was last asked for.
    dropped: u64,
}

impl Fanout {
    /// Begins at `head`. Pages are requested through `page_requests`, which may be bounded: the fan-out never waits for it.
    pub fn new(head: LogHead, page_requests: Sender<PageRequest>, limits: &Limits) -> Fanout {
        Fanout {
            topics: Topics::default(),
            cursors: Vec::new(),
            head,
            recent: RecentWindow::new(limits),
            pages: KeptPages::default(),
            page_requests: PageRequests::new(page_requests),
            dropped: 0,
        }
    }

    /// The head of the event log, as far as it was delivered.
    pub fn head(&self) -> LogHead {
        self.head
    }

    /// How many subscriptions there are, and by how many events the slowest of them is behind.
    pub fn lag(&self) -> (u64, u64) {
        let head = self.head.head_seq;
        let lags = self.cursors.iter().flatten().map(|cursor| head.saturating_sub(cursor.complete_up_to(head)));
        lags.fold((0, 0), |(subscriptions, most), lag| (subscriptions + 1, most.max(lag)))
    }

    /// How many ephemeral events were dropped since the last call, counted once for each subscriber.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// The patterns of this subscriber, and whether it wants no ephemeral events; None without a subscription.
    pub fn subscription(&self, subscriber: usize) -> Option<(impl Iterator<Item = Pattern<'_>>, bool)> {
        let cursor = self.cursors.get(subscriber)?.as_ref()?;
        Some((cursor.filter.patterns(), cursor.durable_only))
    }

    /// The number up to which this subscriber has received every event it wants; None without a subscription in
    /// effect.
    pub fn complete_up_to(&self, subscriber: usize) -> Option<u64> {
        let cursor = self.cursors.get(subscriber)?.as_ref().filter(|cursor| cursor.is_in_effect())?;
        Some(cursor.complete_up_to(self.head.head_seq))
    }

    /// The position of a consumer: it is done with all events up to this number. None: this is no consumer, or none in
    /// effect.
    pub fn acknowledged(&self, subscriber: usize) -> Option<u64> {
        self.cursors.get(subscriber)?.as_ref()?.acknowledged(self.head.head_seq)
    }

    /// A consumer is done with every event up to `seq`. False: it has not been sent all of them, or is no consumer.
    pub fn acknowledge(&mut self, subscriber: usize, seq: u64, sink: &mut impl Sink) -> bool {
        let Some(cursor) = cursor(&mut self.cursors, subscriber) else { return false };
        let is_valid = cursor.acknowledge(seq, self.head.head_seq);
        if cursor.needs_after().is_some() {
            sink.request_turn();
        }
        is_valid
    }

    /// Subscribes from just after `resume_after` or, if that is None, from now on. The subscriber must not have a
    /// subscription yet.
    pub fn subscribe(
        &mut self,
        subscriber: usize,
        resume_after: Option<u64>,
        wanted: Subscription,
        sink: &mut impl Sink,
    ) {
        let LogHead { head_seq, first_seq, .. } = self.head;
        self.topics.subscribe(subscriber, &wanted.filter);
        let after = resume_after.unwrap_or(head_seq);
        let mut cursor = match after.cmp(&head_seq) {
            Ordering::Less => Cursor::behind(wanted, after),
            Ordering::Equal => Cursor::live(wanted),
            Ordering::Greater => {
                // The log may end there, or another daemon be a little ahead of this one.
                self.page_requests.request(after, subscriber);
                Cursor::ahead(wanted, after, head_seq)
            }
        };
        if cursor.is_in_effect() {
            sink.push(cursor.opening(after));
            cursor.pruned(first_seq, head_seq, sink);
        }
        if self.cursors.len() <= subscriber {
            self.cursors.resize_with(subscriber + 1, || None);
        }
        self.cursors[subscriber] = Some(Box::new(cursor));
    }

    /// Ends the subscription, if there is one.
    pub fn unsubscribe(&mut self, subscriber: usize) {
        let Some(cursor) = self.cursors.get_mut(subscriber).and_then(Option::take) else { return };
        self.topics.unsubscribe(subscriber);
        if let Some(after_seq) = cursor.requested_after() {
            self.page_requests.withdraw(after_seq, subscriber);
        }
    }

    /// Delivers an ephemeral event to the subscribers connected now. `unix_time_us`: microseconds since 1970.
    pub fn publish(&mut self, state: State<'_>, payload: &[u8], unix_time_us: u64, sinks: &mut impl Sinks) {
        let mut event = None;
        for subscriber in self.topics.subscribers(state.as_str()) {
            let Some(cursor) = cursor(&mut self.cursors, subscriber).filter(|cursor| !cursor.durable_only) else {
                continue;
            };
            let Some(mut sink) = sinks.sink(subscriber) else { continue };
            let event =
                event.get_or_insert_with(|| Outgoing::new(Event::new(0, unix_time_us, state.as_str(), payload)));
            self.dropped += u64::from(!cursor.ephemeral(event, &mut sink));
        }
    }

    /// Delivers what the sequencer published.
    pub fn update(&mut self, update: LogUpdate, sinks: &mut impl Sinks) {
        match update {
            LogUpdate::Live(events) => events.into_iter().for_each(|event| self.live(event, sinks)),
            LogUpdate::Page { after_seq, events, first_seq } => self.page(after_seq, events, first_seq, sinks),
            LogUpdate::Pruned { first_seq } => self.pruned(first_seq),
        }
    }

    fn live(&mut self, event: Event<'static>, sinks: &mut impl Sinks) {
        if event.seq <= self.head.head_seq {
            return;
        }
        self.head.head_seq = event.seq;
        let event = Outgoing::new(event);
        for subscriber in self.topics.subscribers(&event.state) {
            let Some(cursor) = cursor(&mut self.cursors, subscriber) else { continue };
            let Some(mut sink) = sinks.sink(subscriber) else { continue };
            cursor.durable(&event, &mut sink);
        }
        self.recent.push(event);
    }

    fn pruned(&mut self, first_seq: u64) {
        self.head.first_seq = self.head.first_seq.max(first_seq.min(self.head.head_seq + 1));
    }

    /// Skips events beyond the head, which arrive as live events.
    fn page(&mut self, after_seq: u64, mut events: Vec<Event<'static>>, first_seq: u64, sinks: &mut impl Sinks) {
        self.pruned(first_seq);
        let LogHead { head_seq, first_seq, .. } = self.head;
        events.truncate(events.partition_point(|event| event.seq <= head_seq));
        let events: Vec<Outgoing<'static>> = events.into_iter().map(Outgoing::new).collect();
        let mut is_unfinished = false;
        for subscriber in self.page_requests.answered(after_seq) {
            let waiting =
                cursor(&mut self.cursors, subscriber).filter(|cursor| cursor.requested_after() == Some(after_seq));
            let Some(cursor) = waiting else { continue };
            let Some(mut sink) = sinks.sink(subscriber) else { continue };
            if cursor.is_in_effect() {
                cursor.set_requested(false);
                cursor.pruned(first_seq, head_seq, &mut sink);
                match events.is_empty() {
                    true => cursor.advance_to(head_seq, head_seq),
                    false => cursor.catch_up(events.iter(), head_seq, &mut sink),
                }
            } else {
                cursor.begin(head_seq, &mut sink);
            }
            if cursor.needs_after().is_some() {
                // The page may have contained nothing that it wants.
                sink.request_turn();
            }
            is_unfinished |= events.last().is_some_and(|last| cursor.is_held_up_before(last.seq));
        }
        if is_unfinished {
            self.pages.keep(events);
        }
    }

    /// Everything queued for this subscriber is written: reports dropped events and, if the subscriber is behind, pushes
    /// the next events from memory or requests a page of the log.
    pub fn drained(&mut self, subscriber: usize, sink: &mut impl Sink) {
        let LogHead { head_seq, first_seq, .. } = self.head;
        let Some(cursor) = cursor(&mut self.cursors, subscriber) else { return };
        cursor.report_dropped(sink);
        if let Some(after) = cursor.needs_after() {
            if let Some(events) = self.recent.after(after) {
                cursor.catch_up(events.take(SCAN_BUDGET), head_seq, sink);
            } else if let Some(events) = self.pages.after(after) {
                cursor.catch_up(events.iter().take(SCAN_BUDGET), head_seq, sink);
            } else {
                cursor.pruned(first_seq, head_seq, sink);
                if let Some(after) = cursor.needs_after() {
                    cursor.set_requested(true);
                    self.page_requests.request(after, subscriber);
                }
            }
        }
        if cursor.needs_after().is_some() {
            sink.request_turn();
        }
    }
}

fn cursor(cursors: &mut [Option<Box<Cursor>>], subscriber: usize) -> Option<&mut Cursor> {
    cursors.get_mut(subscriber)?.as_deref_mut()
}
