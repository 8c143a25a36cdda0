//! One peer of the simulated broker: what it received is checked as it arrives.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use super::pipe::Pipe;
use crate::{
    events::event::Event,
    wire::{Code, Gap, Pattern, ServerMessage},
};

/// A peer that subscribes, and publishes too.
pub struct Peer {
    pub key: usize,
    pub pipe: Rc<RefCell<Pipe>>,
    pub unread: Vec<u8>,
    pub filter: &'static [&'static str],
    pub durable_only: bool,
    /// What it received, checked as it arrived.
    pub complete_up_to: u64,
    pub subscribed: bool,
    pub last_ephemeral: u64,
    pub ephemeral_received: u64,
    pub ephemeral_dropped: u64,
    pub ephemeral_expected: u64,
    /// Of a consumer: what it may leave unacknowledged, and what it has.
    pub max_unacked: Option<u16>,
    pub unacked: VecDeque<u64>,
    /// Everything up to here is done, as the peer knows it.
    pub acked: u64,
    /// The code of the ERROR that it received.
    pub dismissed: Option<u16>,
}

impl Peer {
    pub fn is_over(&self) -> bool {
        self.dismissed.is_some() || self.pipe.borrow().closed
    }

    pub fn wants(&self, state: &str) -> bool {
        self.filter.iter().any(|text| Pattern::new(text).unwrap().matches(state))
    }

    /// Between what it has and `up_to` the log keeps nothing that it subscribed to.
    pub fn expect_nothing_before(&self, up_to: u64, log: &[Event<'static>]) {
        let missed =
            log.iter().find(|event| event.seq > self.complete_up_to && event.seq < up_to && self.wants(&event.state));
        assert_eq!(missed.map(|event| event.seq), None, "skipped before {up_to}");
    }

    pub fn expect_no_more(&self, log: &[Event<'static>]) {
        self.expect_nothing_before(u64::MAX, log);
    }

    pub fn check(&mut self, message: &ServerMessage<'_>, log: &[Event<'static>]) {
        assert!(self.dismissed.is_none(), "{message:?} after ERROR");
        match *message {
            ServerMessage::Welcome { .. } | ServerMessage::Pong(_) => {}
            ServerMessage::Subscribed { seq } | ServerMessage::Consuming { seq } => {
                assert!(!self.subscribed);
                assert_eq!(matches!(message, ServerMessage::Consuming { .. }), self.max_unacked.is_some());
                self.subscribed = true;
                self.acked = seq;
                self.complete_up_to = seq;
            }
            ServerMessage::Event { seq: 0, state, payload, .. } => {
                assert!(self.subscribed && !self.durable_only && self.wants(state));
                let number: u64 = str::from_utf8(payload).unwrap().parse().unwrap();
                assert!(number > self.last_ephemeral, "ephemeral {number} after {}", self.last_ephemeral);
                self.last_ephemeral = number;
                self.ephemeral_received += 1;
            }
            ServerMessage::Event { seq, state, .. } => {
                assert!(self.subscribed && self.wants(state));
                assert!(seq > self.complete_up_to, "{seq} after {}", self.complete_up_to);
                self.expect_nothing_before(seq, log);
                self.complete_up_to = seq;
                if let Some(most) = self.max_unacked {
                    self.unacked.push_back(seq);
                    assert!(self.unacked.len() <= most.into(), "more than {most} beyond {}", self.acked);
                }
            }
            ServerMessage::Gap(Gap::Dropped(events)) => {
                assert!(events > 0 && !self.durable_only);
                self.ephemeral_dropped += events;
            }
            ServerMessage::Gap(Gap::Pruned(first_seq)) => {
                assert!(first_seq > self.complete_up_to + 1, "nothing was lost");
                self.expect_nothing_before(first_seq, log);
                self.complete_up_to = first_seq - 1;
            }
            ServerMessage::Gap(Gap::BeyondHead(head_seq)) => {
                assert!(head_seq < self.complete_up_to);
                self.complete_up_to = head_seq;
            }
            ServerMessage::Ping(number) => {
                self.expect_nothing_before(number + 1, log);
                self.complete_up_to = self.complete_up_to.max(number);
            }
            ServerMessage::Error { code, .. } => {
                let taken_over = code == Code::TakenOver as u16 && self.max_unacked.is_some();
                let fair = [Code::Slow as u16, Code::TimedOut as u16].contains(&code);
                assert!(fair || taken_over, "no peer broke a rule: {code}");
                self.dismissed = Some(code);
            }
        }
    }
}
