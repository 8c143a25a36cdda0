//! Where one subscriber stands in the stream of events: live, or behind in the log; and what it missed. Decides what
//! goes into its send_queue. Pure.

use crate::events::event::Event;
use crate::fanout::filter::Filter;
use crate::net::send_queue::SendQueue;
use crate::wire::{Gap, ServerMessage};
use std::sync::Arc;

pub struct Cursor {
    pub filter: Filter,
    pub durable_only: bool,
    position: Position,
    /// Ephemeral events dropped since it was last told.
    dropped: u64,
}

/// Every matching durable event up to the position is in the send_queue or beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At the head: gets each event as it comes.
    Live,
    /// Reads on after this number. `asked`: a page of the log is on its way.
    Behind { after: u64, asked: bool },
}

impl Cursor {
    pub fn live(filter: Filter, durable_only: bool) -> Cursor {
        Cursor { filter, durable_only, position: Position::Live, dropped: 0 }
    }

    pub fn behind(filter: Filter, durable_only: bool, after: u64) -> Cursor {
        Cursor { position: Position::Behind { after, asked: false }, ..Cursor::live(filter, durable_only) }
    }

    /// The number up to which delivery is complete.
    pub fn complete_up_to(&self, head_seq: u64) -> u64 {
        match self.position {
            Position::Live => head_seq,
            Position::Behind { after, .. } => after,
        }
    }

    /// After which number it wants to read, if it is behind and no page is on its way.
    pub fn wants(&self) -> Option<u64> {
        match self.position {
            Position::Behind { after, asked: false } => Some(after),
            _ => None,
        }
    }

    /// After which number the page begins that is on its way.
    pub fn waits_for(&self) -> Option<u64> {
        match self.position {
            Position::Behind { after, asked: true } => Some(after),
            _ => None,
        }
    }

    pub fn answered(&mut self) {
        if let Position::Behind { asked, .. } = &mut self.position {
            *asked = false;
        }
    }

    pub fn asked(&mut self) {
        if let Position::Behind { asked, .. } = &mut self.position {
            *asked = true;
        }
    }

    /// The log keeps nothing below `first_seq`: says so if that concerns this subscriber, and goes on from there.
    pub fn pruned(&mut self, first_seq: u64, head_seq: u64, send_queue: &mut SendQueue) {
        if let Position::Behind { after, .. } = self.position
            && after.saturating_add(1) < first_seq
        {
            send_queue.push_message(&ServerMessage::Gap(Gap::Pruned(first_seq)));
            self.advance_to(first_seq - 1, head_seq);
        }
    }

    /// A new event that matches. Falls behind where there is no room for it.
    pub fn durable(&mut self, event: &Event, send_queue: &mut SendQueue, limit: usize) {
        if self.position != Position::Live {
            return;
        }
        match send_queue.has_room(event.frame.len(), limit) {
            true => send_queue.push(event.frame.clone(), ()),
            false => self.position = Position::Behind { after: event.seq - 1, asked: false },
        }
    }

    /// An ephemeral event that matches. Where there is no room for it, it is counted and gone.
    pub fn ephemeral(&mut self, frame: &Arc<[u8]>, send_queue: &mut SendQueue, limit: usize) {
        if !send_queue.has_room(frame.len(), limit) {
            self.dropped += 1;
            return;
        }
        self.tell_dropped(send_queue);
        send_queue.push(frame.clone(), ());
    }

    /// Says how many ephemeral events were dropped, if any were.
    pub fn tell_dropped(&mut self, send_queue: &mut SendQueue) {
        if self.dropped > 0 {
            send_queue.push_message(&ServerMessage::Gap(Gap::Dropped(self.dropped)));
            self.dropped = 0;
        }
    }

    /// Reads on: the next events of the log in order, matching or not; those it stands behind are passed over. Stops
    /// where there is no room. At the head it is live again.
    pub fn catch_up<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Arc<Event>>,
        head_seq: u64,
        send_queue: &mut SendQueue,
        limit: usize,
    ) {
        for event in events {
            let Position::Behind { after, .. } = self.position else { return };
            if event.seq <= after {
                continue;
            }
            if self.filter.matches(&event.state) {
                if !send_queue.has_room(event.frame.len(), limit) {
                    return;
                }
                send_queue.push(event.frame.clone(), ());
            }
            self.advance_to(event.seq, head_seq);
        }
    }

    /// Nothing that matters lies between here and `seq`.
    pub fn advance_to(&mut self, seq: u64, head_seq: u64) {
        if let Position::Behind { asked, .. } = self.position {
            self.position = match seq < head_seq {
                true => Position::Behind { after: seq, asked },
                false => Position::Live,
            };
        }
    }
}
