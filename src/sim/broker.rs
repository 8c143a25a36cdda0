//! The broker without a socket and without a clock: pipes that take as many bytes as the test lets them, an event log
//! that answers when the test lets it, and any order of steps. What each subscriber received is checked against what it
//! was promised.

mod peer;
mod pipe;

use crate::{
    events::{
        consumers::{self, ConsumerAnswer, ConsumerRequest, Progress, Taken},
        event::Event,
        updates::{LogHead, LogUpdate, PageRequest},
    },
    fanout,
    net::{
        Limits, connection::Kind, http::handoff::handoff, http::site::Site, hub::Hub, rsq::access::Tokens,
        rsq::session::Rules,
    },
    wire::{ClientMessage, Code, ConsumerName, MAX_FRAME, Pattern, Role, ServerMessage, Start, State, split},
};
use crossbeam_channel::{Receiver, bounded};
use peer::Peer;
use pipe::{Pipe, PipeEnd};
use proptest::prelude::*;
use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

const STATES: [&str; 4] = ["A", "AB", "B", "BA"];
const FILTERS: [&[&str]; 5] = [&["A"], &["A*"], &["*"], &["B", "A", "A*"], &["Quiet"]];
const PAGE: usize = 3;
const QUEUE_BYTES: usize = 300;

#[derive(Clone, Debug)]
enum Step {
    Connect { filter: usize, durable_only: bool, resume: Option<u8> },
    Consume { filter: usize, max_unacked: u16 },
    Acknowledge { peer: usize, events: usize },
    Publish { peer: usize, state: usize },
    Append { state: usize, events: usize },
    Prune { to: u8 },
    Answer,
    Read { peer: usize, bytes: usize },
    Pass { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let (state, peer) = (0..STATES.len(), 0usize..4);
    prop_oneof![
        2 => (0..FILTERS.len(), any::<bool>(), prop::option::of(any::<u8>()))
            .prop_map(|(filter, durable_only, resume)| Step::Connect { filter, durable_only, resume }),
        2 => (0..FILTERS.len(), 1u16..4).prop_map(|(filter, max_unacked)| Step::Consume { filter, max_unacked }),
        4 => (peer.clone(), 1usize..4).prop_map(|(peer, events)| Step::Acknowledge { peer, events }),
        6 => (peer.clone(), state.clone()).prop_map(|(peer, state)| Step::Publish { peer, state }),
        6 => (state, 1usize..6).prop_map(|(state, events)| Step::Append { state, events }),
        1 => any::<u8>().prop_map(|to| Step::Prune { to }),
        4 => Just(Step::Answer),
        8 => (peer, 1usize..400).prop_map(|(peer, bytes)| Step::Read { peer, bytes }),
        2 => (1u64..600).prop_map(|ms| Step::Pass { ms }),
    ]
}

struct World {
    hub: Hub<PipeEnd>,
    page_requests: Receiver<PageRequest>,
    consumer_requests: Receiver<ConsumerRequest>,
    /// The last holder of the consumer and its stored position.
    stored: Option<Taken>,
    log: Vec<Event<'static>>,
    head_seq: u64,
    now: Instant,
    peers: Vec<Peer>,
    published: u64,
}

impl World {
    fn new() -> World {
        World::with_pings(Duration::from_secs(1))
    }

    fn with_pings(ping_interval: Duration) -> World {
        let fanout = fanout::Limits { recent_events: 4, page_requests: 1, ..fanout::Limits::default() };
        let limits = Limits { ping_interval, queue_bytes: QUEUE_BYTES, fanout, ..Limits::default() };
        let (sender, page_requests) = bounded(limits.fanout.page_requests);
        let (consumers, _, consumers_end) = consumers::handoff(|| {});
        let consumer_requests = consumers_end.requests.clone();
        let head = LogHead { log_id: 1, first_seq: 1, head_seq: 0 };
        let hub = Hub::new(
            Rules { limits, tokens: Tokens::default(), states: None },
            Site::default(),
            head,
            sender,
            consumers,
            handoff(|| {}).0,
            Vec::new(),
        );
        World {
            hub,
            page_requests,
            consumer_requests,
            stored: None,
            log: Vec::new(),
            head_seq: 0,
            now: Instant::now(),
            peers: Vec::new(),
            published: 0,
        }
    }

    fn run(&mut self) {
        while self.hub.next_turn(self.now).is_some_and(|at| at <= self.now) {
            self.hub.turn(self.now, 0);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Connect { filter, durable_only, resume } if self.peers.len() < 4 => {
                self.connect(FILTERS[filter], durable_only, resume.map(|seq| u64::from(seq) % (self.head_seq + 2)));
            }
            Step::Consume { filter, max_unacked } if self.peers.len() < 4 => {
                self.add_peer(FILTERS[filter], true, Some(max_unacked));
                self.store();
            }
            Step::Acknowledge { peer, events } if peer < self.peers.len() => self.acknowledge(peer, events),
            Step::Publish { peer, state } if peer < self.peers.len() => self.publish(peer, STATES[state]),
            Step::Append { state, events } => self.append(STATES[state], events),
            Step::Prune { to } => {
                let first_seq = u64::from(to) % (self.head_seq + 1) + 1;
                self.log.retain(|event| event.seq >= first_seq);
                let first_seq = self.first_seq();
                self.hub.update(LogUpdate::Pruned { first_seq }, self.now, 0);
            }
            Step::Answer => self.answer(),
            Step::Read { peer, bytes } if peer < self.peers.len() => self.read(peer, bytes),
            Step::Pass { ms } => self.now += Duration::from_millis(ms),
            _ => {}
        }
        self.store();
    }

    fn connect(&mut self, filter: &'static [&'static str], durable_only: bool, resume_after: Option<u64>) {
        let peer = self.add_peer(filter, durable_only, None);
        let patterns = filter.iter().map(|text| Pattern::new(text).unwrap()).collect();
        let start = resume_after.map_or(Start::Now, Start::After);
        self.send(peer, &ClientMessage::Subscribe { start, durable_only, patterns });
    }

    /// A peer that has said HELLO and, with `max_unacked`, that it consumes.
    fn add_peer(&mut self, filter: &'static [&'static str], durable_only: bool, max_unacked: Option<u16>) -> usize {
        let pipe = Rc::new(RefCell::new(Pipe::default()));
        let key = self.hub.next_key();
        self.hub.insert(PipeEnd(pipe.clone()), Kind::Rsq, self.now);
        self.peers.push(Peer {
            key,
            pipe,
            unread: Vec::new(),
            filter,
            durable_only,
            complete_up_to: 0,
            subscribed: false,
            last_ephemeral: 0,
            ephemeral_received: 0,
            ephemeral_dropped: 0,
            ephemeral_expected: 0,
            max_unacked,
            unacked: VecDeque::new(),
            acked: 0,
            dismissed: None,
        });
        let peer = self.peers.len() - 1;
        self.send(peer, &ClientMessage::Hello { role: Role::Both, name: "", token: "" });
        if let Some(max_unacked) = max_unacked {
            let patterns = filter.iter().map(|text| Pattern::new(text).unwrap()).collect();
            let consumer = ConsumerName::new("c").unwrap();
            self.send(peer, &ClientMessage::Consume { consumer, start: Start::Now, max_unacked, patterns });
        }
        peer
    }

    /// The thread that keeps positions carries out what the broker has asked for.
    fn store(&mut self) {
        self.run();
        while let Ok(request) = self.consumer_requests.try_recv() {
            match request {
                ConsumerRequest::Take { ticket, claim } => {
                    let before = self.stored.unwrap_or(Taken { holder: 0, position: claim.head_seq });
                    let taken = Taken { holder: before.holder + 1, ..before };
                    self.stored = Some(taken);
                    self.holder(taken.holder).acked = taken.position;
                    self.hub.consumer_answered(ConsumerAnswer::Taken { ticket, taken }, self.now);
                }
                ConsumerRequest::Store(progress) => {
                    progress.into_iter().for_each(|progress| self.check_stored(&progress))
                }
                ConsumerRequest::Locate { .. } => panic!("no peer begins at a time"),
            }
            self.run();
        }
    }

    /// A position never goes back, and never passes an event that its holder has not acknowledged.
    fn check_stored(&mut self, Progress { holder, position, .. }: &Progress) {
        let Some(stored) = self.stored.as_mut().filter(|stored| stored.holder == *holder) else { return };
        assert!(stored.position <= *position, "the position went back");
        stored.position = *position;
        let peer = &*self.holder(*holder);
        let (acked, wants) = (peer.acked, peer.filter);
        let wants = |state: &str| wants.iter().any(|text| Pattern::new(text).unwrap().matches(state));
        let open = self.log.iter().find(|event| event.seq > acked && wants(&event.state));
        assert!(open.is_none_or(|event| event.seq > *position), "stored {position}, not acknowledged: {open:?}");
    }

    /// Peers take the consumer in their order.
    fn holder(&mut self, holder: u64) -> &mut Peer {
        let mut consumers = self.peers.iter_mut().filter(|peer| peer.max_unacked.is_some());
        consumers.nth(holder as usize - 1).expect("a holder")
    }

    fn acknowledge(&mut self, peer: usize, events: usize) {
        let one = &mut self.peers[peer];
        let Some(seq) = one.unacked.get(events.min(one.unacked.len()).wrapping_sub(1)).copied() else { return };
        if one.is_over() {
            return;
        }
        one.unacked.retain(|sent| *sent > seq);
        one.acked = seq;
        self.send(peer, &ClientMessage::Ack(seq));
        self.store();
    }

    fn send(&mut self, peer: usize, message: &ClientMessage<'_>) {
        let Peer { key, pipe, .. } = &self.peers[peer];
        if pipe.borrow().closed {
            return;
        }
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        pipe.borrow_mut().to_broker.extend(bytes);
        self.hub.socket_ready(*key, true, false, false);
        self.run();
    }

    fn publish(&mut self, peer: usize, state: &'static str) {
        // Not where the broker does not read, for a while or for ever: then it is unknown when it will be delivered.
        let connection = self.hub.connections.get(self.peers[peer].key);
        let is_unread = connection
            .is_none_or(|connection| connection.protocol.is_closing() || connection.send_queue.bytes() > QUEUE_BYTES);
        if self.peers[peer].is_over() || is_unread {
            return;
        }
        self.published += 1;
        let number = self.published.to_string();
        for peer in &mut self.peers {
            peer.ephemeral_expected += u64::from(!peer.durable_only && peer.wants(state));
        }
        self.send(peer, &ClientMessage::Publish { state: State::new(state).unwrap(), payload: number.as_bytes() });
    }

    fn append(&mut self, state: &str, events: usize) {
        let fresh: Vec<Event<'static>> =
            (1..=events as u64).map(|i| Event::new(self.head_seq + i, 0, state.to_string(), vec![b'x'; 40])).collect();
        self.head_seq += events as u64;
        self.log.extend(fresh.iter().cloned());
        self.hub.update(LogUpdate::Live(fresh), self.now, 0);
    }

    fn first_seq(&self) -> u64 {
        self.log.first().map_or(self.head_seq + 1, |event| event.seq)
    }

    fn answer(&mut self) {
        if let Ok(PageRequest { after_seq }) = self.page_requests.try_recv() {
            let events = self.log.iter().filter(|event| event.seq > after_seq).take(PAGE).cloned().collect();
            let first_seq = self.first_seq();
            self.hub.update(LogUpdate::Page { after_seq, events, first_seq }, self.now, 0);
        }
    }

    /// The peer reads up to so many bytes; whole frames are checked, and PINGs answered.
    fn read(&mut self, peer: usize, bytes: usize) {
        let Peer { key, pipe, unread, .. } = &mut self.peers[peer];
        let was_blocked = {
            let mut pipe = pipe.borrow_mut();
            pipe.room += bytes;
            std::mem::take(&mut pipe.blocked)
        };
        if was_blocked {
            self.hub.socket_ready(*key, false, true, false);
        }
        unread.extend(pipe.borrow_mut().to_peer.drain(..));
        self.run();
        let Peer { pipe, unread, .. } = &mut self.peers[peer];
        unread.extend(pipe.borrow_mut().to_peer.drain(..));
        let stream = std::mem::take(unread);
        let mut rest = &stream[..];
        while let Some((frame, used)) = split(rest, MAX_FRAME).unwrap() {
            rest = &rest[used..];
            let message = ServerMessage::decode(frame).unwrap().expect("a known message");
            if let ServerMessage::Ping(number) = message {
                self.send(peer, &ClientMessage::Pong(number));
            }
            self.peers[peer].check(&message, &self.log);
        }
        self.peers[peer].unread = rest.to_vec();
    }

    /// Every peer reads everything, and the log answers everything; then nothing may be missing.
    fn finish(&mut self) {
        // At worst each peer reads the whole log alone, one event per page.
        for _ in 0..self.peers.len() * (2 + self.head_seq as usize) {
            (0..self.peers.len()).for_each(|peer| {
                self.read(peer, 100_000);
                self.acknowledge(peer, usize::MAX);
            });
            self.answer();
            self.run();
        }
        for peer in self.peers.iter().filter(|peer| !peer.is_over()) {
            peer.expect_no_more(&self.log);
            let accounted_for = peer.ephemeral_received + peer.ephemeral_dropped;
            assert_eq!(accounted_for, peer.ephemeral_expected, "ephemeral events received or counted as dropped");
        }
        self.hub.close_all(self.now);
        self.now += Duration::from_secs(3);
        self.run();
        assert_eq!((self.hub.len(), self.hub.next_turn(self.now)), (0, None), "no timer, nothing to read or write");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn subscribers_get_what_was_promised_in_any_order_of_steps(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
    }
}

/// A publisher that never reads its answers is no longer read, instead of being answered without end.
#[test]
fn peer_that_reads_no_answers_is_not_read() {
    let mut world = World::new();
    world.connect(&["A"], false, None);
    for number in 0..10_000 {
        world.send(0, &ClientMessage::Ping(number));
    }
    assert!(world.hub.connections.get(world.peers[0].key).unwrap().send_queue.bytes() < QUEUE_BYTES + 100);
    let waiting = world.peers[0].pipe.borrow().to_broker.len();
    assert!(waiting > 100_000);
    world.read(0, 1_000_000);
    assert_eq!(world.peers[0].pipe.borrow().to_broker.len(), 0, "read again once the answers were read");
}

#[test]
fn stuck_subscriber_is_disconnected_without_effect_on_others() {
    let mut world = World::with_pings(Duration::from_secs(600));
    world.connect(&["*"], false, None);
    world.connect(&["*"], false, None);
    for _ in 0..70 {
        world.step(Step::Append { state: 0, events: 1 });
        world.step(Step::Publish { peer: 1, state: 1 });
        world.step(Step::Read { peer: 1, bytes: 1_000 });
        world.step(Step::Answer);
        world.step(Step::Pass { ms: 1_000 });
    }
    assert!(world.peers[0].pipe.borrow().closed, "60 s without a byte, then the farewell");
    assert!(!world.peers[1].is_over());
    assert_eq!((world.peers[1].complete_up_to, world.peers[1].ephemeral_received), (70, 70));
    world.finish();
}

#[test]
fn stuck_subscriber_gets_its_error_after_the_half_written_frame() {
    let mut world = World::with_pings(Duration::from_secs(600));
    world.connect(&["*"], false, None);
    world.step(Step::Append { state: 0, events: 3 });
    // WELCOME and SUBSCRIBED are 43 bytes: the first event is cut.
    world.read(0, 60);
    world.step(Step::Pass { ms: 60_000 });
    world.read(0, 1_000);
    assert_eq!((world.peers[0].complete_up_to, world.peers[0].dismissed), (1, Some(Code::Slow as u16)));
}

#[test]
fn subscribers_at_the_same_number_share_a_page() {
    let mut world = World::new();
    world.step(Step::Append { state: 0, events: 10 });
    for _ in 0..4 {
        world.step(Step::Connect { filter: 2, durable_only: true, resume: Some(2) });
    }
    (0..4).for_each(|peer| world.read(peer, 100_000));
    assert_eq!(world.page_requests.try_iter().collect::<Vec<_>>(), [PageRequest { after_seq: 2 }]);
}
