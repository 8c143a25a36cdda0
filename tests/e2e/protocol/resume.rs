//! The transition from the log to live events: a subscriber that resumes while events are published gets each one once.

use super::{
    fixture::{Fixture, Settings},
    peer::{self, Peer, Received},
};
use resq::{fanout, net::Limits};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

/// Appends as fast as possible while `visit` runs.
fn while_publishing(fixture: &Fixture, visit: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                (0..20).for_each(|_| fixture.append("Busy", "{\"some\":\"payload\"}"));
                thread::yield_now();
            }
        });
        visit();
        stop.store(true, Ordering::Relaxed);
    });
}

/// So little memory that nearly all events are read from the log.
fn forgetful() -> Settings {
    let fanout = fanout::Limits { recent_events: 16, page_requests: 2, ..fanout::Limits::default() };
    let limits = Limits { queue_bytes: 4_096, fanout, ..Limits::default() };
    Settings { limits, old_events: 3_000, ..Settings::default() }
}

#[test]
fn no_gap_and_no_repeat_while_publishing_goes_on() {
    for settings in [forgetful(), Settings { old_events: 3_000, ..Settings::default() }] {
        let fixture = Fixture::start(settings);
        while_publishing(&fixture, || {
            let mut last = 100;
            // Disconnects and resumes behind the last number, again and again.
            for stay in [1, 10, 500, 3_000, 2_000] {
                let mut peer = Peer::greeted(&fixture.tcp, 2);
                peer.send(&peer::subscribe(1, last, &["*"]));
                assert_eq!(peer.receive(), Received::Subscribed(last));
                for _ in 0..stay {
                    let received = peer.receive_past_pings();
                    assert!(
                        matches!(received, Received::Event { seq, .. } if seq == last + 1),
                        "{received:?} after {last}"
                    );
                    last += 1;
                }
            }
        });
    }
}

#[test]
fn many_subscribers_at_one_position_all_get_everything() {
    let fixture = Fixture::start(forgetful());
    while_publishing(&fixture, || {
        let mut peers: Vec<Peer> = (0..50)
            .map(|_| {
                let mut peer = Peer::greeted(&fixture.unix, 2);
                peer.send(&peer::subscribe(1, 0, &["Old", "Bu*"]));
                assert_eq!(peer.receive(), Received::Subscribed(0));
                peer
            })
            .collect();
        for expected in 1..=3_200 {
            for peer in &mut peers {
                let received = peer.receive_past_pings();
                assert!(
                    matches!(received, Received::Event { seq, .. } if seq == expected),
                    "{received:?} for {expected}"
                );
            }
        }
    });
}

#[test]
fn slow_subscriber_gets_every_durable_event_in_the_end() {
    let fixture = Fixture::with_defaults();
    let mut slow = Peer::subscribed(&fixture.tcp, &["Big"]);
    let payload = "x".repeat(100_000);
    (0..200).for_each(|_| fixture.append("Big", &payload));
    for expected in 1..=200 {
        let received = slow.receive_past_pings();
        assert!(matches!(received, Received::Event { seq, .. } if seq == expected), "not {expected}");
    }
}

#[test]
fn pruning_that_overtakes_a_slow_subscriber_is_a_gap() {
    let fanout = fanout::Limits { recent_events: 1, ..fanout::Limits::default() };
    let limits = Limits { fanout, ..Limits::default() };
    let fixture = Fixture::start(Settings { limits, ..Settings::default() });
    let mut slow = Peer::subscribed(&fixture.tcp, &["Big"]);
    let payload = "x".repeat(100_000);
    (0..300).for_each(|_| fixture.append("Big", &payload));
    fixture.running.log.prune(250);
    let (mut last, mut gaps) = (0, 0);
    while last < 300 {
        match slow.receive_past_pings() {
            Received::Event { seq, .. } => {
                assert_eq!(seq, last + 1);
                last = seq;
            }
            Received::Gap(1, first) => {
                assert_eq!(first, 250);
                last = first - 1;
                gaps += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(gaps, 1);
}
