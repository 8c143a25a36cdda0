//! How far delivery to one subscriber has got: at the head of the event log, or behind it; and what it missed. Decides
//! what is pushed to its sink. Pure.

use super::{
    filter::Filter,
    outgoing::Outgoing,
    sink::{Message, Sink},
    window::Window,
};
use crate::wire::Gap;

/// One subscription and how far it is served. What each delivery reads comes first, in one cache line.
#[repr(C)]
pub struct Cursor {
    position: Position,
    /// Ephemeral events dropped since the last report of their number.
    dropped: u64,
    /// Of a consumer: what it has not acknowledged.
    window: Option<Box<Window>>,
    /// It wants no ephemeral events.
    pub durable_only: bool,
    /// Which states it wants.
    pub filter: Filter,
}

/// What a subscriber wants, wherever delivery begins.
pub struct Subscription {
    /// Which states.
    pub filter: Filter,
    /// No ephemeral events.
    pub durable_only: bool,
    /// A consumer's: at most so many events that it has not acknowledged.
    pub max_unacked: Option<u16>,
}

/// Every matching durable event up to the position was pushed to the sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the head: receives each event as it arrives.
    Live,
    /// Continues after this number. `requested`: a page of the log has been requested.
    Behind { after: u64, requested: bool },
    /// Wants what follows `after`, which lay beyond the head at the time, `head`. The page that has been requested shows
    /// whether the log reaches that far; until then the subscription is not in effect.
    Ahead { after: u64, head: u64 },
}

impl Cursor {
    /// At the head of the log.
    pub fn live(wanted: Subscription) -> Cursor {
        let Subscription { filter, durable_only, max_unacked } = wanted;
        let window = max_unacked.map(|most| Box::new(Window::new(most.into())));
        Cursor { position: Position::Live, dropped: 0, window, durable_only, filter }
    }

    /// Behind the head: complete up to `after`.
    pub fn behind(wanted: Subscription, after: u64) -> Cursor {
        Cursor { position: Position::Behind { after, requested: false }, ..Cursor::live(wanted) }
    }

    /// Beyond `head`, the head as it is now.
    pub fn ahead(wanted: Subscription, after: u64, head: u64) -> Cursor {
        Cursor { position: Position::Ahead { after, head }, ..Cursor::live(wanted) }
    }

    /// The message that it is in effect from just after `seq`.
    pub fn opening(&self, seq: u64) -> Message<'static> {
        if self.window.is_some() { Message::Consuming { seq } } else { Message::Subscribed { seq } }
    }

    /// False until the log has been found to reach, or not to reach, as far as the subscriber has read.
    pub fn is_in_effect(&self) -> bool {
        !matches!(self.position, Position::Ahead { .. })
    }

    /// The number up to which delivery is complete.
    pub fn complete_up_to(&self, head_seq: u64) -> u64 {
        match self.position {
            Position::Live | Position::Ahead { .. } => head_seq,
            Position::Behind { after, .. } => after,
        }
    }

    /// A consumer's position: it is done with all events up to this number. None: it is no consumer, or not in effect yet.
    pub fn acknowledged(&self, head_seq: u64) -> Option<u64> {
        let window = self.window.as_ref().filter(|_| self.is_in_effect())?;
        Some(window.first_unacked().map_or(self.complete_up_to(head_seq), |first| first - 1))
    }

    /// A consumer is done with every event up to `seq`. False: it has not been sent all of them, or is no consumer.
    pub fn acknowledge(&mut self, seq: u64, head_seq: u64) -> bool {
        let may = self.is_in_effect() && seq <= self.complete_up_to(head_seq);
        match &mut self.window {
            Some(window) if may => {
                window.acknowledge(seq);
                true
            }
            _ => false,
        }
    }

    /// Whether another event may be sent, as far as acknowledgements are concerned.
    #[inline(always)]
    fn may_send(&self) -> bool {
        self.window.as_ref().is_none_or(|window| !window.is_full())
    }

    #[inline(always)]
    fn send(&mut self, event: &Outgoing<'_>, sink: &mut impl Sink) {
        sink.push(Message::Event(event));
        if let Some(window) = &mut self.window {
            window.sent(event.seq);
        }
    }

    /// Whether it waits for acknowledgements within these events, which continue it.
    pub fn is_held_up_before(&self, seq: u64) -> bool {
        matches!(self.position, Position::Behind { after, .. } if after < seq) && self.window.is_some()
    }

    /// The number after which it needs events, if it is behind, may be sent some, and has not requested a page.
    pub fn needs_after(&self) -> Option<u64> {
        match self.position {
            Position::Behind { after, requested: false } if self.may_send() => Some(after),
            _ => None,
        }
    }

    /// The number after which the requested page begins.
    pub fn requested_after(&self) -> Option<u64> {
        match self.position {
            Position::Behind { after, requested: true } | Position::Ahead { after, .. } => Some(after),
            _ => None,
        }
    }

    /// The log was read up to its end, `head_seq`: one that was ahead of it begins now.
    pub fn begin(&mut self, head_seq: u64, sink: &mut impl Sink) {
        let Position::Ahead { after, head } = self.position else { return };
        sink.push(self.opening(after));
        let from = if after <= head_seq { after } else { head };
        if from < after {
            sink.push(Message::Gap(Gap::BeyondHead(from)));
        }
        self.position = Position::Behind { after: from, requested: false };
        self.advance_to(from, head_seq);
    }

    /// Sets whether a page has been requested.
    pub fn set_requested(&mut self, is_requested: bool) {
        if let Position::Behind { requested, .. } = &mut self.position {
            *requested = is_requested;
        }
    }

    /// The log begins at `first_seq`: if that leaves a gap for this subscriber, reports it and continues there.
    pub fn pruned(&mut self, first_seq: u64, head_seq: u64, sink: &mut impl Sink) {
        if let Position::Behind { after, .. } = self.position
            && after.saturating_add(1) < first_seq
        {
            sink.push(Message::Gap(Gap::Pruned(first_seq)));
            self.advance_to(first_seq - 1, head_seq);
        }
    }

    /// A new event that matches. Without room for it the subscriber falls behind; so does a consumer that has too many
    /// events to acknowledge.
    #[inline]
    pub fn durable(&mut self, event: &Outgoing<'_>, sink: &mut impl Sink) {
        if self.position != Position::Live {
            return;
        }
        match self.may_send() && sink.make_room(event) {
            true => self.send(event, sink),
            false => self.position = Position::Behind { after: event.seq - 1, requested: false },
        }
    }

    /// An ephemeral event that matches. Without room, or before the subscription is in effect, it is dropped and counted: false.
    #[inline(always)]
    pub fn ephemeral(&mut self, event: &Outgoing<'_>, sink: &mut impl Sink) -> bool {
        if !self.is_in_effect() || !sink.make_room(event) {
            self.dropped += 1;
            return false;
        }
        self.report_dropped(sink);
        sink.push(Message::Event(event));
        true
    }

    /// Reports how many ephemeral events were dropped, if any were.
    #[inline(always)]
    pub fn report_dropped(&mut self, sink: &mut impl Sink) {
        if self.dropped > 0 && self.is_in_effect() {
            sink.push(Message::Gap(Gap::Dropped(self.dropped)));
            self.dropped = 0;
        }
    }

    /// Continues with the next events of the log in order, matching or not; skips those before the position. Stops when
    /// there is no room or too much to acknowledge, or at the head, where the subscriber is live again.
    pub fn catch_up<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Outgoing<'static>>,
        head_seq: u64,
        sink: &mut impl Sink,
    ) {
        for event in events {
            let Position::Behind { after, .. } = self.position else { return };
            if event.seq <= after {
                continue;
            }
            if self.filter.matches(&event.state) {
                // No flush here: other subscribers have their turn before more is written to this one.
                if !self.may_send() || !sink.has_room(event) {
                    return;
                }
                self.send(event, sink);
            }
            self.advance_to(event.seq, head_seq);
        }
    }

    /// No event up to `seq` is missing.
    pub fn advance_to(&mut self, seq: u64, head_seq: u64) {
        if let Position::Behind { requested, .. } = self.position {
            self.position = match seq < head_seq {
                true => Position::Behind { after: seq, requested },
                false => Position::Live,
            };
        }
    }
}
