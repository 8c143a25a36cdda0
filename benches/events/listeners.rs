//! Many subscribers on one thread that only count events, which costs the machine as little as possible.

use std::{
    io::{Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, net::UnixStream};
use resq::wire::{ClientMessage, MAX_FRAME, Pattern, Role, ServerMessage, Splitter, Start};
use resq_test_support::wait_until;

pub struct Listeners {
    over: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    subscribed: AtomicU64,
    delivered: AtomicU64,
}

struct RecordingClient {
    stream: UnixStream,
    splitter: Splitter,
}

impl Listeners {
    /// One for each of `patterns`, to its durable events from now on.
    pub fn subscribe(socket: &Path, patterns: impl Iterator<Item = String>) -> Listeners {
        let poll = Poll::new().expect("a poll");
        let mut listeners: Vec<RecordingClient> = Vec::new();
        for (token, pattern) in patterns.enumerate() {
            let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("the broker listens");
            stream.write_all(&hello(&pattern)).expect("it reads");
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = UnixStream::from_std(stream);
            poll.registry().register(&mut stream, Token(token), Interest::READABLE).expect("a place in the poll");
            listeners.push(RecordingClient { stream, splitter: Splitter::default() });
        }
        let count = listeners.len() as u64;
        let (over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let (ended, counted) = (over.clone(), counts.clone());
        let thread = std::thread::spawn(move || listen(poll, listeners, &ended, &counted));
        wait_until("all subscriptions", || counts.subscribed.load(Ordering::Relaxed) == count);
        Listeners { over, counts, thread: Some(thread) }
    }

    /// Events received by all of them together.
    pub fn delivered(&self) -> u64 {
        self.counts.delivered.load(Ordering::Relaxed)
    }
}

fn hello(pattern: &str) -> Vec<u8> {
    let mut hello = Vec::new();
    ClientMessage::Hello { role: Role::Subscriber, name: "listener", token: "" }.encode(&mut hello);
    let patterns = vec![Pattern::new(pattern).expect("a pattern")];
    ClientMessage::Subscribe { start: Start::Now, durable_only: true, patterns }.encode(&mut hello);
    hello
}

fn listen(mut poll: Poll, mut listeners: Vec<RecordingClient>, ended: &AtomicBool, counts: &Counts) {
    let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 64 << 10]);
    while !ended.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(Duration::from_millis(100))).expect("a poll");
        for event in &events {
            let RecordingClient { stream, splitter } = &mut listeners[event.token().0];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                let mut piece = &buffer[..read];
                while let Some(frame) = splitter.next(&mut piece, MAX_FRAME).expect("frames") {
                    match ServerMessage::decode(frame).expect("a message") {
                        Some(ServerMessage::Event { .. }) => counts.delivered.fetch_add(1, Ordering::Relaxed),
                        Some(ServerMessage::Subscribed { .. }) => counts.subscribed.fetch_add(1, Ordering::Relaxed),
                        Some(ServerMessage::Ping(number)) => {
                            let mut pong = Vec::new();
                            ClientMessage::Pong(number).encode(&mut pong);
                            stream.write_all(&pong).expect("room for a PONG");
                            0
                        }
                        _ => 0,
                    };
                }
            }
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
