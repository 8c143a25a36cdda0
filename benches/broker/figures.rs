//! The figures: the load on a server, and what is measured.

use crate::{load::Subscribers, server::ServerProcess};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Events in flight: so few that no server treats a reading subscriber as slow.
const WINDOW: u64 = 2_048;

/// Events in one write of the publisher.
const BATCH: u64 = 64;

const RUN: Duration = Duration::from_secs(2);

/// Deliveries per second, counted on arrival, while the publisher keeps the window full.
pub fn deliveries_per_s(server: &ServerProcess, subscribers: usize) -> f64 {
    let mut subscribers = Subscribers::connect(server, subscribers);
    let mut publisher = subscribers.publisher(server);
    let start = Instant::now();
    while start.elapsed() < RUN {
        let under_way = publisher.published - subscribers.delivered / subscribers.len();
        publisher.publish(if under_way + BATCH <= WINDOW { BATCH } else { 0 });
        subscribers.receive(Some(Duration::from_millis(1)), |_| {});
    }
    let rate = subscribers.delivered as f64 / start.elapsed().as_secs_f64();
    while subscribers.delivered < publisher.published * subscribers.len() {
        publisher.publish(0);
        subscribers.receive(Some(Duration::from_millis(1)), |_| {});
        assert!(start.elapsed() < RUN * 10, "events were lost");
    }
    rate
}

/// The given percentile of the time from publishing to decoding, in µs.
pub fn latency_us(server: &ServerProcess, percentile: usize) -> f64 {
    let mut subscribers = Subscribers::connect(server, 10);
    let mut publisher = subscribers.publisher(server);
    let mut times = Vec::new();
    let start = Instant::now();
    for tick in 1..=2_000 {
        publisher.publish(1);
        let next = start + Duration::from_millis(tick);
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            // The poll counts whole milliseconds and must not sleep past the next event.
            let wait = if left > Duration::from_millis(1) { left } else { Duration::ZERO };
            subscribers.receive(Some(wait), |time| times.push(time));
        }
    }
    times.sort_unstable();
    times[times.len() * percentile / 100].as_secs_f64() * 1e6
}

/// How much memory each of so many idle subscribers costs the server.
pub fn resident_bytes(server: &ServerProcess, idle: usize) -> f64 {
    let before = server.resident_bytes();
    let _subscribers = Subscribers::connect(server, idle);
    (server.resident_bytes() - before) / idle as f64
}

/// The time in µs that 99 % of the requests for `/healthz` take at most, one at a time, while so many subscribers receive 20
/// events a second each.
pub fn health_p99_us(server: &ServerProcess, subscribers: usize) -> f64 {
    let mut subscribers = Subscribers::connect(server, subscribers);
    let mut publisher = subscribers.publisher(server);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut stream = TcpStream::connect(server.http).expect("it listens");
            let mut times = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let start = Instant::now();
                stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("it reads");
                let mut answer = [0; 1_024];
                let read = stream.read(&mut answer).expect("an answer");
                assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..read]));
                times.push(start.elapsed());
                thread::sleep(Duration::from_millis(1));
            }
            times
        });
        let start = Instant::now();
        for tick in 1..=60 {
            publisher.publish(1);
            let next = start + Duration::from_millis(50 * tick);
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                subscribers.receive(Some(left), |_| {});
            }
        }
        is_over.store(true, Ordering::Relaxed);
        let mut times = asking.join().expect("answers");
        times.sort_unstable();
        times[times.len() * 99 / 100].as_secs_f64() * 1e6
    })
}

/// The time from publishing one event until the last of many subscribers has received it, in µs.
pub fn one_to_all_us(server: &ServerProcess) -> f64 {
    let mut subscribers = Subscribers::connect(server, 10_000);
    let mut publisher = subscribers.publisher(server);
    let mut worst = Duration::ZERO;
    for event in 1..=3 {
        let start = Instant::now();
        publisher.publish(1);
        while subscribers.delivered < event * subscribers.len() {
            subscribers.receive(Some(Duration::from_secs(1)), |_| {});
            assert!(start.elapsed() < Duration::from_secs(10), "events were lost");
        }
        worst = worst.max(start.elapsed());
    }
    worst.as_secs_f64() * 1e6
}

/// The time in µs that the kernel alone needs to send such an event on 10,000 sockets, one call each. No server with one
/// socket per subscriber can be faster.
pub fn bare_sends_us() -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    // This process has both ends, so two halves in turn keep it below its limit of open files.
    let half = |_| {
        let pairs: Vec<(TcpStream, TcpStream)> = (0..5_000)
            .map(|_| (TcpStream::connect(address).expect("it listens"), listener.accept().expect("a peer").0))
            .collect();
        let start = Instant::now();
        pairs.iter().for_each(|(_, peer)| assert_eq!((&mut &*peer).write(&[0; 155]).expect("room"), 155));
        start.elapsed().as_secs_f64() * 1e6
    };
    (0..2).map(half).sum()
}

/// How often the server's threads woke up in five idle seconds.
pub fn wake_ups(server: &ServerProcess) -> f64 {
    let _subscribers = Subscribers::connect(server, 1_000);
    let before = server.sleeps();
    std::thread::sleep(Duration::from_secs(5));
    server.sleeps() - before
}
