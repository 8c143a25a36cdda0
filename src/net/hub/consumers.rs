//! What consumers do: the hub's part for them. Which connection holds which one is in `net::consumers`, how far each has got
//! in the fan-out.

use std::time::Instant;

use super::Hub;
use crate::{
    events::consumers::{Claim, ConsumerAnswer, Loss},
    fanout::{Sinks, Subscription},
    net::{
        connection::{Protocol, Socket},
        consumers::Begin,
        rsq::refusal::Refusal,
    },
    wire::{Code, Start},
};

impl<S: Socket> Hub<S> {
    /// Begins a subscription just after a number, or from now on.
    pub(super) fn begin(&mut self, key: usize, after_seq: Option<u64>, wanted: Subscription, now: Instant) {
        if let Some(mut sink) = self.connections.sinks(now).sink(key) {
            self.fanout.subscribe(key, after_seq, wanted, &mut sink);
        }
    }

    /// Ends whatever the peer receives.
    pub(super) fn unsubscribe(&mut self, key: usize) {
        self.consumers.leave(key, self.fanout.acknowledged(key));
        self.fanout.unsubscribe(key);
    }

    /// Takes a consumer for a peer; from another peer at once, if that is connected here.
    pub(super) fn consume(&mut self, key: usize, consumer: &str, start: Start, wanted: Subscription, now: Instant) {
        if let Some(older) = self.consumers.connection(consumer) {
            self.refuse(older, &taken_over(consumer), false, now);
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Protocol::Rsq { name, .. } = &connection.protocol else { return };
        let states: Vec<String> = wanted.filter.patterns().map(|pattern| pattern.to_string()).collect();
        let claim = Claim {
            name: consumer.into(),
            start,
            head_seq: self.fanout.head().head_seq,
            client: format!("{name} at {}", connection.socket.peer()),
            states: states.join(" "),
        };
        self.consumers.take(key, claim, wanted);
    }

    /// Notes what a consumer is done with.
    pub(super) fn acknowledge(&mut self, key: usize, seq: u64, now: Instant) {
        let is_valid = match self.connections.sinks(now).sink(key) {
            Some(mut sink) => self.fanout.acknowledge(key, seq, &mut sink),
            None => false,
        };
        if is_valid {
            return self.consumers.acknowledged(key, now);
        }
        let message = format!("ACK {seq} is beyond what was delivered; acknowledge what has arrived");
        self.refuse(key, &Refusal::new(Code::Malformed, message), false, now);
    }

    /// Goes on with what the thread that keeps consumers' positions has answered.
    pub fn consumer_answered(&mut self, answer: ConsumerAnswer, now: Instant) {
        let begin = match answer {
            ConsumerAnswer::Located { ticket, after_seq } => self.consumers.located(ticket, after_seq),
            ConsumerAnswer::Taken { ticket, taken } => self.consumers.taken(ticket, taken),
            ConsumerAnswer::Failed { ticket, is_full } => {
                let refusal = match is_full {
                    true => Refusal::new(Code::TooManyConnections, "there are too many consumers; remove some"),
                    false => Refusal::new(Code::TimedOut, "the database did not say where to begin; try again"),
                };
                if let Some(key) = self.consumers.failed(ticket) {
                    self.refuse(key, &refusal, false, now);
                }
                None
            }
            ConsumerAnswer::Lost { name, holder, loss } => {
                let refusal = match loss {
                    Loss::TakenOver => taken_over(&name),
                    Loss::Moved => {
                        let message = format!("an operator has moved or removed consumer {name}; connect again");
                        Refusal::new(Code::Moved, message)
                    }
                };
                if let Some(key) = self.consumers.holder(&name, holder) {
                    self.refuse(key, &refusal, false, now);
                }
                None
            }
        };
        if let Some(Begin { key, wanted, after_seq }) = begin {
            self.begin(key, Some(after_seq), wanted, now);
        }
    }
}

fn taken_over(name: &str) -> Refusal {
    Refusal::new(Code::TakenOver, format!("a newer connection has taken consumer {name} over"))
}
