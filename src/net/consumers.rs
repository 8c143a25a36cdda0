//! Which connection holds which consumer, what is asked of the thread that keeps their positions, and which positions are due
//! to be stored. Owns no socket and no cursor, and never waits: what the thread has no room for is kept here, bounded by the
//! number of connections.

use crate::{
    events::consumers::{Claim, ConsumerRequest, Progress, Taken},
    fanout::Subscription,
};
use crossbeam_channel::{Sender, TrySendError};
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// Positions that connections acknowledge are stored this long after the ones before.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// Or as soon as one connection has sent so many acknowledgements.
const MOST_UNSTORED: u32 = 1_000;
/// The positions of consumers that wait for rare events advance with the log, and are stored this often.
const ADVANCE_EVERY: Duration = Duration::from_secs(10);
/// How long to wait for room in the channel.
const RETRY: Duration = Duration::from_millis(20);

/// The consumers of a broker's connections, and the connections that wait to learn where they begin.
pub struct Consumers {
    channel: Sender<ConsumerRequest>,
    /// What the channel had no room for.
    unsent: VecDeque<ConsumerRequest>,
    tickets: u64,
    /// By ticket.
    waiting: HashMap<u64, Waiting>,
    /// The tickets of the connections that wait.
    ticket_of: HashMap<usize, u64>,
    /// By the key of the connection.
    held: HashMap<usize, Held>,
    /// The connection of each consumer that is held or waited for.
    by_name: HashMap<Box<str>, usize>,
    /// The last positions of connections that have left.
    ended: Vec<Progress>,
    next_store: Option<Instant>,
    next_advance: Instant,
    /// The channel was full.
    retry_at: Option<Instant>,
}

/// A connection that waits for an answer.
struct Waiting {
    /// None: it has left.
    key: Option<usize>,
    /// None: a subscription that begins at a time.
    name: Option<Box<str>>,
    wanted: Subscription,
}

struct Held {
    name: Box<str>,
    holder: u64,
    stored: u64,
    /// Its acknowledgements since.
    acknowledged: u32,
}

/// A connection whose subscription begins after this number.
pub struct Begin {
    /// Which connection.
    pub key: usize,
    /// What it wants.
    pub wanted: Subscription,
    /// Where it begins.
    pub after_seq: u64,
}

impl Consumers {
    /// Without any. Requests go to the thread through `channel`.
    pub fn new(channel: Sender<ConsumerRequest>, now: Instant) -> Consumers {
        Consumers {
            channel,
            unsent: VecDeque::new(),
            tickets: 0,
            waiting: HashMap::new(),
            ticket_of: HashMap::new(),
            held: HashMap::new(),
            by_name: HashMap::new(),
            ended: Vec::new(),
            next_store: None,
            next_advance: now,
            retry_at: None,
        }
    }

    /// A connection subscribes from this time on.
    pub fn locate(&mut self, key: usize, unix_time_us: u64, wanted: Subscription) {
        let ticket = self.wait(key, None, wanted);
        self.send(ConsumerRequest::Locate { ticket, unix_time_us });
    }

    /// The connection that holds or waits for this consumer: to be ended before another one takes it.
    pub fn connection(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// A connection takes a consumer, which no other connection here has.
    pub fn take(&mut self, key: usize, claim: Claim, wanted: Subscription) {
        self.by_name.insert(claim.name.clone(), key);
        let ticket = self.wait(key, Some(claim.name.clone()), wanted);
        self.store_ended();
        self.send(ConsumerRequest::Take { ticket, claim });
    }

    fn wait(&mut self, key: usize, name: Option<Box<str>>, wanted: Subscription) -> u64 {
        self.tickets += 1;
        self.waiting.insert(self.tickets, Waiting { key: Some(key), name, wanted });
        self.ticket_of.insert(key, self.tickets);
        self.tickets
    }

    fn answered(&mut self, ticket: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        if let Some(key) = waiting.key {
            self.ticket_of.remove(&key);
        }
        Some(waiting)
    }

    /// The start of a subscription was found. None: its connection has left.
    pub fn located(&mut self, ticket: u64, after_seq: u64) -> Option<Begin> {
        let Waiting { key, wanted, .. } = self.answered(ticket)?;
        Some(Begin { key: key?, wanted, after_seq })
    }

    /// A consumer was taken. None: its connection has left.
    pub fn taken(&mut self, ticket: u64, taken: Taken) -> Option<Begin> {
        let Waiting { key, name, wanted } = self.answered(ticket)?;
        let (name, Taken { holder, position }) = (name?, taken);
        let Some(key) = key else {
            self.ended.push(Progress { name, holder, position, is_last: true });
            return None;
        };
        self.held.insert(key, Held { name, holder, stored: position, acknowledged: 0 });
        Some(Begin { key, wanted, after_seq: position })
    }

    /// The connection that waits for this, which cannot be had. None: it has left.
    pub fn failed(&mut self, ticket: u64) -> Option<usize> {
        let Waiting { key, name, .. } = self.answered(ticket)?;
        if let (Some(_), Some(name)) = (key, name) {
            self.by_name.remove(&name);
        }
        key
    }

    /// The connection that is this holder.
    pub fn holder(&self, name: &str, holder: u64) -> Option<usize> {
        let key = self.by_name.get(name)?;
        self.held.get(key).filter(|held| held.holder == holder).map(|_| *key)
    }

    /// A connection has acknowledged events.
    #[inline]
    pub fn acknowledged(&mut self, key: usize, now: Instant) {
        if let Some(held) = self.held.get_mut(&key) {
            held.acknowledged += 1;
            let next = self.next_store.get_or_insert(now + STORE_EVERY);
            if held.acknowledged == MOST_UNSTORED {
                *next = now;
            }
        }
    }

    /// A connection leaves. `position`: what it has acknowledged, if it holds a consumer.
    pub fn leave(&mut self, key: usize, position: Option<u64>) {
        if let Some(Held { name, holder, stored, .. }) = self.held.remove(&key) {
            self.by_name.remove(&name);
            let position = position.unwrap_or(stored);
            self.ended.push(Progress { name, holder, position, is_last: true });
        } else if let Some(ticket) = self.ticket_of.remove(&key)
            && let Some(waiting) = self.waiting.get_mut(&ticket)
        {
            waiting.key = None;
            if let Some(name) = &waiting.name {
                self.by_name.remove(name);
            }
        }
    }

    /// Sends what is due. `position`: what the connection with a key has acknowledged.
    pub fn turn(&mut self, now: Instant, position: impl Fn(usize) -> Option<u64>) {
        let advances = !self.held.is_empty() && self.next_advance <= now;
        if advances {
            self.next_advance = now + ADVANCE_EVERY;
        }
        if advances || self.next_store.is_some_and(|at| at <= now) {
            self.next_store = None;
            let mut progress = Vec::new();
            for (key, held) in &mut self.held {
                if std::mem::take(&mut held.acknowledged) == 0 && !advances {
                    continue;
                }
                let Some(position) = position(*key).filter(|position| *position != held.stored) else { continue };
                held.stored = position;
                let name = held.name.clone();
                progress.push(Progress { name, holder: held.holder, position, is_last: false });
            }
            if !progress.is_empty() {
                self.send(ConsumerRequest::Store(progress));
            }
        }
        self.store_ended();
        self.retry_at = if self.flush() { None } else { Some(now + RETRY) };
    }

    /// When the next turn is due.
    pub fn next_turn(&self) -> Option<Instant> {
        let advance = (!self.held.is_empty()).then_some(self.next_advance);
        [self.next_store, advance, self.retry_at].into_iter().flatten().min()
    }

    fn store_ended(&mut self) {
        if !self.ended.is_empty() {
            let ended = std::mem::take(&mut self.ended);
            self.send(ConsumerRequest::Store(ended));
        }
    }

    fn send(&mut self, request: ConsumerRequest) {
        match (self.unsent.back_mut(), request) {
            (Some(ConsumerRequest::Store(last)), ConsumerRequest::Store(progress)) => last.extend(progress),
            (_, request) => self.unsent.push_back(request),
        }
    }

    /// False: there was no room for all.
    fn flush(&mut self) -> bool {
        while let Some(request) = self.unsent.pop_front() {
            if let ConsumerRequest::Locate { ticket, .. } | ConsumerRequest::Take { ticket, .. } = request
                && self.waiting.get(&ticket).is_none_or(|waiting| waiting.key.is_none())
            {
                // One that has left takes nothing from another.
                self.waiting.remove(&ticket);
                continue;
            }
            match self.channel.try_send(request) {
                Ok(()) => {}
                Err(TrySendError::Full(request)) => {
                    self.unsent.push_front(request);
                    return false;
                }
                Err(TrySendError::Disconnected(_)) => self.unsent.clear(),
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fanout::Filter, wire::Start};
    use crossbeam_channel::bounded;

    #[test]
    fn position_is_due_after_a_second_or_a_thousand_acknowledgements() {
        let (channel, requests) = bounded(8);
        let now = Instant::now();
        let mut consumers = Consumers::new(channel, now + ADVANCE_EVERY);
        let (client, states) = (String::new(), String::new());
        let claim = Claim { name: "a".into(), start: Start::Now, head_seq: 0, client, states };
        consumers.take(1, claim, Subscription { filter: Filter::new(&[]), durable_only: true, max_unacked: None });
        consumers.turn(now, |_| None);
        consumers.taken(1, Taken { holder: 5, position: 0 }).unwrap();
        let _taken = requests.try_recv();
        for seq in 1..1_000 {
            consumers.acknowledged(1, now);
            consumers.turn(now, |_| Some(seq));
            assert_eq!(consumers.next_turn(), Some(now + STORE_EVERY), "{seq}");
        }
        consumers.acknowledged(1, now);
        assert_eq!(consumers.next_turn(), Some(now));
        consumers.turn(now, |_| Some(1_000));
        assert!(matches!(requests.try_recv(), Ok(ConsumerRequest::Store(stored)) if stored[0].position == 1_000));
        consumers.acknowledged(1, now);
        assert_eq!(consumers.next_turn(), Some(now + STORE_EVERY));
    }
}
