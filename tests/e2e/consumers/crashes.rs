//! What a crash leaves of a position: events come again from what was stored, and none is skipped.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Server, wait_until};

use super::{BEGINNING, ack, append, next, read, resqd, settle, stored, take, wait_until_stored};

#[test]
fn kills_amid_acknowledgements_repeat_what_was_not_stored_and_skip_nothing() {
    const EVENTS: u64 = 600;
    const WINDOW: u16 = 20;
    let instance = Instance::ready("cons_kills");
    let mut conn = instance.conn();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut acked, mut position) = (0, 0);
    for round in 0..6 {
        let resqd = resqd(&instance);
        if round == 0 {
            append(&mut conn, EVENTS);
        }
        let (mut peer, seq) = take(&instance.broker_socket(), "c", BEGINNING, WINDOW);
        assert!((position..=acked).contains(&seq), "{position} was stored and {acked} acknowledged, not {seq}");
        assert_eq!(stored(&mut conn, "c"), Some(seq));
        position = seq;
        acked = seq;
        let until = (seq + 50 + random.u64(..100)).min(EVENTS);
        for seq in position + 1..=until {
            assert_eq!(next(&mut peer), seq);
            assert!(seq - acked <= u64::from(WINDOW), "{seq} was sent with {acked} acknowledged");
            if random.bool() || seq - acked == u64::from(WINDOW) {
                peer.send(&ack(seq));
                acked = seq;
            }
        }
        settle(&mut peer);
        if round % 2 == 1 {
            // At least once per round, something was stored before the crash.
            wait_until_stored(&mut conn, "c", acked);
            position = acked;
        }
        resqd.signal("KILL");
        resqd.wait();
    }
    let resqd = resqd(&instance);
    let (mut peer, seq) = take(&instance.broker_socket(), "c", BEGINNING, 1_000);
    read(&mut peer, seq + 1..=EVENTS);
    peer.send(&ack(EVENTS));
    settle(&mut peer);
    // A daemon that stops stores what is acknowledged.
    assert_eq!(resqd.stop().code(), Some(0));
    assert_eq!(stored(&mut conn, "c"), Some(EVENTS));
}

#[test]
fn positions_survive_the_server_and_are_stored_when_it_is_back() {
    let server = Server::own();
    let instance = Instance::on(&server, "cons_server");
    instance.resqctl(["init"]).ok();
    let running = resqd(&instance);
    append(&mut instance.conn(), 30);
    let (mut peer, seq) = take(&instance.broker_socket(), "c", BEGINNING, 10);
    assert_eq!(seq, 0);
    read(&mut peer, 1..=10);
    peer.send(&ack(5));
    wait_until_stored(&mut instance.conn(), "c", 5);
    server.kill9(1);
    // The connection lasts, and so does delivery of what the daemon has in memory.
    peer.send(&ack(10));
    read(&mut peer, 11..=15);
    server.restart(1);
    wait_until_stored(&mut instance.conn(), "c", 10);
    read(&mut peer, 16..=20);
    peer.send(&ack(20));
    read(&mut peer, 21..=30);
    wait_until_stored(&mut instance.conn(), "c", 20);
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn consumer_that_was_overtaken_by_pruning_gets_a_gap() {
    let instance = Instance::ready("cons_pruned");
    let mut conn = instance.conn();
    let running = resqd(&instance);
    append(&mut conn, 9);
    let (mut peer, _) = take(&instance.broker_socket(), "c", BEGINNING, 3);
    read(&mut peer, 1..=3);
    peer.send(&ack(2));
    wait_until_stored(&mut conn, "c", 2);
    assert_eq!(running.stop().code(), Some(0));
    conn.query_drop("UPDATE res_event SET numbered_at = NOW(6) - INTERVAL 8 DAY WHERE seq < 6").unwrap();
    let running = resqd(&instance);
    wait_until("pruning", || conn.query_first("SELECT first_seq FROM res_log").unwrap() == Some(6u64));
    let (mut peer, seq) = take(&instance.broker_socket(), "c", BEGINNING, 3);
    assert_eq!(seq, 2);
    assert_eq!(peer.receive_past_pings().to_string(), "GAP 1 6");
    read(&mut peer, 6..=8);
    peer.send(&ack(8));
    read(&mut peer, 9..=9);
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn another_log_is_consumed_from_its_beginning() {
    let instance = Instance::ready("cons_log");
    let mut conn = instance.conn();
    let running = resqd(&instance);
    append(&mut conn, 4);
    let (mut peer, _) = take(&instance.broker_socket(), "c", BEGINNING, 9);
    read(&mut peer, 1..=4);
    peer.send(&ack(3));
    wait_until_stored(&mut conn, "c", 3);
    assert_eq!(running.stop().code(), Some(0));
    instance.resqctl(["init", "--new-log"]).ok();
    let running = resqd(&instance);
    let (mut peer, seq) = take(&instance.broker_socket(), "c", BEGINNING, 9);
    assert_eq!(seq, 0);
    read(&mut peer, 1..=4);
    assert_eq!(running.stop().code(), Some(0));
}
