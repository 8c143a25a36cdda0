//! Many subscribers in one thread that throw away what they get: they cost the machine as little as a subscriber can.

use std::{
    io::{Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, net::UnixStream};
use resq::wire::{ClientMessage, Pattern, Role};

pub struct Listeners {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listeners {
    /// So many, to every durable event from now on.
    pub fn subscribe(socket: &Path, count: usize) -> Listeners {
        let mut hello = Vec::new();
        ClientMessage::Hello { role: Role::Subscriber, name: "listener", token: "" }.encode(&mut hello);
        let patterns = vec![Pattern::new("*").expect("a pattern")];
        ClientMessage::Subscribe { resume_after: None, durable_only: true, patterns }.encode(&mut hello);
        let mut poll = Poll::new().expect("a poll");
        let mut streams: Vec<UnixStream> = Vec::new();
        for token in 0..count {
            let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("the broker listens");
            stream.write_all(&hello).expect("it reads");
            let mut answer = [0; 1];
            stream.read_exact(&mut answer).expect("it welcomes");
            stream.set_nonblocking(true).expect("a socket");
            let mut stream = UnixStream::from_std(stream);
            poll.registry().register(&mut stream, Token(token), Interest::READABLE).expect("a place in the poll");
            streams.push(stream);
        }
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let (mut events, mut buffer) = (Events::with_capacity(1024), vec![0; 64 << 10]);
            while !ended.load(Ordering::Relaxed) {
                poll.poll(&mut events, Some(Duration::from_millis(100))).expect("a poll");
                for event in &events {
                    while let Ok(1..) = streams[event.token().0].read(&mut buffer) {}
                }
            }
        });
        Listeners { over, thread: Some(thread) }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
