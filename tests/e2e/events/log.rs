//! The log itself: dense numbers in the order of commits, through restarts, kills, several daemons and pruning.

use std::{sync::Mutex, thread};

use mysql::prelude::Queryable;

use resq_test_support::{Instance, Stress, wait_until};

use super::{head_seq, next, publish, resqd, resqd_at, subscriber};
use crate::protocol::peer::Received;

#[test]
fn late_commits_get_later_numbers_and_are_not_missed() {
    let instance = Instance::ready("late");
    let _resqd = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let (mut late, mut other) = (instance.app(), instance.app());
    // More rows than the optimizer treats as a small table.
    late.query_drop("START TRANSACTION").unwrap();
    for n in 0..400 {
        publish(&mut late, "Late", &n.to_string());
    }
    for n in 1..=5 {
        publish(&mut other, "Soon", "0");
        assert_eq!(next(&mut peer), (n, "Soon".into(), "0".into()));
    }
    late.query_drop("COMMIT").unwrap();
    publish(&mut other, "Last", "1");
    for n in 0..400 {
        assert_eq!(next(&mut peer), (n + 6, "Late".into(), n.to_string()));
    }
    assert_eq!(next(&mut peer), (406, "Last".into(), "1".into()), "what was committed later comes later");
    // A later subscriber reads the same.
    let mut again = subscriber(&instance.broker_socket(), 0);
    let states: Vec<String> = (1..=406)
        .map(|seq| (next(&mut again), seq))
        .map(|(e, seq)| {
            assert_eq!(e.0, seq);
            e.1
        })
        .collect();
    assert_eq!(states.iter().filter(|state| *state == "Late").count(), 400);
}

#[test]
fn client_resumes_without_gap_or_repeat_over_restarts_and_kills() {
    let instance = Instance::ready("restarts");
    let mut running = resqd(&instance);
    let client = instance.resq_client(["-v", "--sub", "*", "--count", "40"]).spawn_ready();
    let mut conn = instance.app();
    for round in 0..4 {
        for n in 0..5 {
            publish(&mut conn, "A", &(round * 10 + n).to_string());
        }
        if round % 2 == 0 {
            assert_eq!(running.stop().code(), Some(0));
        } else {
            drop(running); // by SIGKILL
        }
        for n in 5..10 {
            publish(&mut conn, "A", &(round * 10 + n).to_string());
        }
        running = resqd(&instance);
    }
    let finished = client.wait();
    let received: Vec<&str> = finished.stdout.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let expected: Vec<String> = (0..40).map(|n| format!("A #{} {n}", n + 1)).collect();
    assert_eq!(received, expected, "{finished}");
}

#[test]
fn events_numbered_before_a_crash_are_delivered_by_the_next_daemon() {
    let instance = Instance::ready("undelivered");
    let frozen = resqd(&instance);
    let mut client = instance.resq_client(["-v", "--sub", "*", "--count", "7"]).spawn_ready();
    let mut conn = instance.conn();
    publish(&mut conn, "A", "0");
    client.wait_for_output("#1");
    frozen.signal("STOP");
    for n in 1..4 {
        publish(&mut conn, "A", &n.to_string());
    }
    wait_until("the frozen daemon to lose its turn", || {
        conn.query_drop("CALL res_number(0, 1000, @last)").unwrap();
        head_seq(&mut conn) == 4
    });
    for n in 4..6 {
        publish(&mut conn, "A", &n.to_string());
    }
    drop(frozen); // by SIGKILL
    let _resqd = resqd(&instance);
    publish(&mut conn, "A", "6");
    let finished = client.wait();
    let received: Vec<&str> = finished.stdout.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let expected: Vec<String> = (0..7).map(|n| format!("A #{} {n}", n + 1)).collect();
    assert_eq!(received, expected, "{finished}");
}

#[test]
fn client_that_moves_to_a_daemon_that_is_behind_gets_no_event_again() {
    let instance = Instance::ready("behind");
    let (first, second) = (instance.broker_socket(), instance.dir().join("second.sock"));
    let _first = resqd(&instance);
    // It does not poll by itself again.
    let _second = instance.resqd().args(["--poll-ms", "60000"]).env("RESQ_SOCKET", &second).spawn_ready();
    let mut conn = instance.app();
    let mut reader = subscriber(&first, 0);
    let mut read = |seq: u64| {
        publish(&mut conn, "A", &seq.to_string());
        assert_eq!(next(&mut reader), (seq, "A".into(), seq.to_string()));
    };
    (1..=5).for_each(&mut read);
    let mut moved = subscriber(&second, 5);
    read(6);
    let mut other = subscriber(&second, 6);
    assert_eq!(next(&mut moved), (6, "A".into(), "6".into()));
    let mut beyond = subscriber(&second, 9);
    assert_eq!(beyond.receive_past_pings(), Received::Gap(3, 6));
    read(7);
    let _notices = subscriber(&second, 7);
    for peer in [&mut moved, &mut other, &mut beyond] {
        assert_eq!(next(peer), (7, "A".into(), "7".into()));
    }
}

#[test]
fn two_daemons_deliver_the_same_events_in_one_order() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 100;
    let instance = Instance::ready("two_daemons");
    let (first, second) = (instance.broker_socket(), instance.dir().join("second.sock"));
    let _daemons = [resqd(&instance), resqd_at(&instance, &second)];
    let sockets = [&first, &second, &first, &second];
    let seen = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for socket in sockets {
            let mut peer = subscriber(socket, 0);
            let seen = &seen;
            scope.spawn(move || {
                let events: Vec<_> = (1..=WRITERS * EACH)
                    .map(|seq| {
                        let event = next(&mut peer);
                        assert_eq!(event.0, seq);
                        event
                    })
                    .collect();
                seen.lock().unwrap().push(events);
            });
        }
        for writer in 0..WRITERS {
            let mut conn = instance.app();
            scope.spawn(move || (0..EACH).for_each(|n| publish(&mut conn, &format!("W{writer}"), &n.to_string())));
        }
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.len(), sockets.len());
    assert!(seen.iter().all(|events| events == &seen[0]));
    for writer in 0..WRITERS {
        let own = seen[0].iter().filter(|event| event.1 == format!("W{writer}")).map(|event| event.2.clone());
        let expected: Vec<String> = (0..EACH).map(|n| n.to_string()).collect();
        assert_eq!(own.collect::<Vec<_>>(), expected, "a writer's own order");
    }
}

#[test]
fn old_events_are_pruned_in_batches_and_late_subscribers_get_a_gap() {
    const ALL: u64 = 5_500;
    const OLD: u64 = 5_200;
    let instance = Instance::ready("pruned");
    let running = resqd(&instance);
    let mut conn = instance.conn();
    let values = vec!["('A', '1')"; ALL as usize].join(",");
    conn.query_drop(format!("INSERT INTO res_outbox (state, payload) VALUES {values}")).unwrap();
    wait_until("all to be numbered", || head_seq(&mut conn) == ALL);
    assert_eq!(running.stop().code(), Some(0));
    conn.query_drop(format!("UPDATE res_event SET numbered_at = NOW(6) - INTERVAL 169 HOUR WHERE seq <= {OLD}"))
        .unwrap();
    // Pruning stops at the first event that is young enough, whatever comes later.
    conn.query_drop("UPDATE res_event SET numbered_at = NOW(6) - INTERVAL 300 HOUR WHERE seq = 5300").unwrap();

    let running = resqd(&instance);
    let mut first_seqs = vec![1];
    wait_until("the old ones to be gone", || {
        let first: u64 = conn.query_first("SELECT first_seq FROM res_log").unwrap().unwrap();
        if first_seqs.last() != Some(&first) {
            first_seqs.push(first);
        }
        first == OLD + 1
    });
    assert!(first_seqs.iter().all(|first| (first - 1) % 1000 == 0 || *first == OLD + 1), "{first_seqs:?}");
    let left: (u64, u64) = conn.query_first("SELECT MIN(seq), COUNT(*) FROM res_event").unwrap().unwrap();
    assert_eq!(left, (OLD + 1, ALL - OLD));

    for since in [0, 17, OLD - 1] {
        let mut peer = subscriber(&instance.broker_socket(), since);
        // The daemon may report the last batch separately: then there are two gaps.
        let mut lost_below = 0;
        let first = loop {
            match peer.receive_past_pings() {
                Received::Gap(1, value) if value > lost_below => lost_below = value,
                Received::Event { seq, .. } => break seq,
                other => panic!("after {since}: {other}"),
            }
        };
        assert_eq!((lost_below, first), (OLD + 1, OLD + 1), "after {since}");
    }
    for since in [OLD, OLD + 1] {
        assert_eq!(next(&mut subscriber(&instance.broker_socket(), since)).0, since + 1);
    }
    let mut beyond = subscriber(&instance.broker_socket(), ALL + 9);
    assert_eq!(beyond.receive_past_pings(), Received::Gap(3, ALL));
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn stress_delivers_exactly_the_committed_events() {
    let instance = Instance::ready("stress");
    let stress = Stress { transactions: 3_000, held_one_in: 300, kills: 5, seed: fastrand::u64(..) };
    let summary = stress.run(&instance);
    println!("{} events committed, the third client resumed {} times", summary.committed, summary.resumed);
    assert!(summary.committed > 3_000 && summary.resumed > 1);
}
