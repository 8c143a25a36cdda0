//! Bad input. Each test attacks a broker in its own process; afterwards that must serve others as before, in as much memory
//! as before.

use super::{
    child::Child,
    peer::{self, Address, Peer, Received},
};
use resq_test_support::wait_until;
use std::thread;

/// What the allocator may keep for later.
const SLACK_KIB: u64 = 6 * 1024;

/// Runs `attack` against a broker that has served before; then it must serve as before, in as much memory.
fn survive(attack: impl Fn(&Address)) {
    let child = Child::start(0);
    serves(&child.address);
    let before = child.resident_kib();
    attack(&child.address);
    serves(&child.address);
    wait_until("the memory is what it was", || child.resident_kib() <= before + SLACK_KIB);
}

/// The same over TLS.
pub fn survive_tls(attack: impl Fn(&Address)) {
    let child = Child::start(0);
    serves(&child.tls);
    let before = child.resident_kib();
    attack(&child.tls);
    serves(&child.tls);
    serves(&child.address);
    wait_until("the memory is what it was", || child.resident_kib() <= before + SLACK_KIB);
}

/// A subscriber gets what a publisher sends, in order.
pub fn serves(address: &Address) {
    let mut subscriber = Peer::subscribed(address, &["Served"]);
    let mut publisher = Peer::greeted(address, 1);
    for number in 0..100 {
        publisher.send(&peer::publish("Served", format!("{number}").as_bytes()));
    }
    publisher.sync();
    for number in 0..100 {
        assert_eq!(subscriber.receive_past_pings().to_string(), format!("EVENT 0 Served {number}"));
    }
}

fn all_frames() -> Vec<Vec<u8>> {
    vec![
        peer::hello(3, "name", "token"),
        peer::subscribe(1, 7, &["A", "B*"]),
        peer::publish("State", b"payload"),
        peer::ring(),
        peer::ping(1),
        peer::pong(2),
    ]
}

#[test]
fn every_frame_cut_at_every_byte() {
    survive(|address| {
        for frame in all_frames() {
            for cut in 0..frame.len() {
                for greeted in [false, true] {
                    let mut peer = if greeted { Peer::greeted(address, 3) } else { Peer::connect(address) };
                    peer.send(&frame[..cut]);
                    peer.shut();
                    assert_eq!(peer.receive(), Received::End);
                }
            }
        }
    });
}

#[test]
fn frames_that_come_byte_by_byte_are_frames() {
    let attack = |address: &Address| {
        let mut peer = Peer::connect(address);
        for frame in [peer::hello(3, "slow", ""), peer::subscribe(0, 0, &["*"]), peer::publish("A", b"1")] {
            frame.iter().for_each(|byte| peer.send(&[*byte]));
        }
        assert!(matches!(peer.receive(), Received::Welcome { .. }));
        assert_eq!(peer.receive(), Received::Subscribed(0));
        assert_eq!(peer.receive().to_string(), "EVENT 0 A 1");
    };
    survive(attack);
    survive_tls(attack);
}

#[test]
fn the_longest_frames_and_one_byte_more() {
    let attack = |address: &Address| {
        // 4 of the length, 1 type, 2 version and role, 2 and 2 of the strings: the token fills the rest of 4,096.
        let longest_hello = peer::hello(3, "", &"t".repeat(4_096 - 7));
        assert_eq!(longest_hello.len(), 4 + 4_096);
        let mut peer = Peer::connect(address);
        peer.send(&longest_hello);
        assert!(matches!(peer.receive(), Received::Welcome { .. }));

        peer.send(&peer::subscribe(0, 0, &["Big"]));
        assert_eq!(peer.receive(), Received::Subscribed(0));
        let payload = vec![b'x'; 1_000_000];
        peer.send(&peer::publish("Big", &payload));
        assert!(matches!(peer.receive(), Received::Event { payload: received, .. } if received == payload));
        let _ = peer.try_send(&peer::publish("Big", &vec![b'x'; 1_000_001]));
        assert!(matches!(peer.receive(), Received::Error(5, _)));
        assert_eq!(peer.receive(), Received::End);

        // The longest frame there may be holds too long a payload; it is read to its end all the same.
        let mut peer = Peer::greeted(address, 1);
        let longest = peer::publish("Big", &vec![b'x'; 1_048_576 - 6]);
        assert_eq!(longest.len(), 4 + 1_048_576);
        let _ = peer.try_send(&longest);
        assert!(matches!(peer.receive(), Received::Error(5, _)));
    };
    survive(attack);
    survive_tls(attack);
}

#[test]
fn announced_bytes_that_never_come_cost_no_memory() {
    let child = Child::start(0);
    serves(&child.address);
    let before = child.resident_kib();
    let waiting: Vec<Peer> = (0..500)
        .map(|_| {
            let mut peer = Peer::greeted(&child.address, 1);
            peer.send(&[0, 0x10, 0, 0, 3]);
            peer
        })
        .collect();
    serves(&child.address);
    assert!(child.resident_kib() <= before + SLACK_KIB, "500 announcements of 1 MiB");
    drop(waiting);
}

#[test]
fn subscriptions_to_too_many_and_to_the_same() {
    survive(|address| {
        let mut peer = Peer::greeted(address, 2);
        let _ = peer.try_send(&peer::subscribe(0, 0, &["A"; 65_535]));
        assert!(matches!(peer.receive(), Received::Error(1, _)));

        let mut peer = Peer::greeted(address, 3);
        peer.send(&peer::subscribe(0, 0, &["A"; 1_024]));
        assert_eq!(peer.receive(), Received::Subscribed(0));
        peer.send(&peer::publish("A", b"once"));
        peer.send(&peer::ping(1));
        assert_eq!(peer.receive().to_string(), "EVENT 0 A once");
        assert_eq!(peer.receive(), Received::Pong(1));
    });
}

#[test]
fn a_peer_that_resets_in_the_middle_of_a_frame() {
    survive(|address| {
        for _ in 0..200 {
            let mut peer = Peer::subscribed(address, &["*"]);
            // Closing with unread input makes the close a reset.
            peer.send(&peer::ping(1));
            peer.send(&peer::publish("A", b"x")[..9]);
        }
    });
}

#[test]
fn fifteen_hundred_connections_of_random_bytes() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    survive(|address| {
        let mut random = fastrand::Rng::with_seed(seed);
        for number in 0..1_500 {
            let mut peer = if number % 2 == 0 { Peer::connect(address) } else { Peer::greeted(address, 3) };
            for _ in 0..random.usize(1..8) {
                let mut bytes = vec![0; random.usize(0..200)];
                random.fill(&mut bytes);
                if random.bool() {
                    // A correct length, so that the body is decoded.
                    bytes = peer::frame(random.u8(0..8), &bytes);
                }
                if peer.try_send(&bytes).is_err() {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_publisher_that_floods_and_never_reads() {
    let attack = |address: &Address| {
        let mut other = Peer::subscribed(address, &["Other"]);
        let mut flood = Peer::greeted(address, 3);
        flood.send(&peer::subscribe(0, 0, &["*"]));
        let flooded = thread::scope(|scope| {
            let flooding = scope.spawn(|| {
                let frames = [peer::publish("Flood", &[b'x'; 1_000]), peer::ping(1)].concat().repeat(64);
                let mut sent = 0;
                // The broker stops reading from it once its answers are unread: then no more can be sent.
                while sent < 256 << 20 && flood.try_send_for(&frames, 300) {
                    sent += frames.len();
                }
                sent
            });
            let mut publisher = Peer::greeted(address, 1);
            for number in 0..100 {
                publisher.send(&peer::publish("Other", format!("{number}").as_bytes()));
                publisher.sync();
                assert_eq!(other.receive_past_pings().to_string(), format!("EVENT 0 Other {number}"));
            }
            flooding.join().unwrap()
        });
        assert!(flooded < 256 << 20, "it was never held back");
    };
    survive(attack);
    survive_tls(attack);
}

#[test]
fn a_subscriber_that_never_reads() {
    let attack = |address: &Address| {
        let mut idle = Peer::subscribed(address, &["*"]);
        let mut reader = Peer::subscribed(address, &["*"]);
        let mut publisher = Peer::greeted(address, 1);
        const EVENTS: usize = 40_000;
        for number in 0..EVENTS {
            publisher.send(&peer::publish("A", &[b'x'; 1_000]));
            if number % 100 == 99 {
                publisher.sync();
                (0..100).for_each(|_| assert!(matches!(reader.receive_past_pings(), Received::Event { .. })));
            }
        }
        // When it reads at last, each event is either received or counted as dropped.
        let (mut received, mut dropped) = (0, 0);
        while received + dropped < EVENTS {
            match idle.receive_past_pings() {
                Received::Event { .. } => received += 1,
                Received::Gap(2, events) => dropped += events as usize,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(received + dropped, EVENTS);
        assert!(dropped > 0, "40 MB fit nowhere");
    };
    survive(attack);
    survive_tls(attack);
}

#[test]
fn out_of_file_descriptors_new_peers_are_refused_and_come_in_later() {
    let child = Child::start(60);
    let mut friends = vec![Peer::subscribed(&child.address, &["Served"])];
    let refused = loop {
        let mut peer = Peer::connect(&child.address);
        let _ = peer.try_send(&peer::hello(2, "one of many", ""));
        match peer.receive() {
            Received::Welcome { .. } => friends.push(peer),
            other => break other,
        }
        assert!(friends.len() < 100);
    };
    assert!(matches!(refused, Received::Error(9, _)), "{refused:?}");
    assert!(friends.len() > 20);
    // Connected peers are still served.
    friends.iter_mut().for_each(Peer::sync);
    friends.truncate(1);
    wait_until("there is room again", || {
        let mut peer = Peer::connect(&child.address);
        peer.try_send(&peer::hello(2, "late", "")).is_ok() && matches!(peer.receive(), Received::Welcome { .. })
    });
    serves(&child.address);
}
