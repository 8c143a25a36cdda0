//! Several connections for one consumer, several daemons, and many consumers.

use std::fs;

use mysql::prelude::Queryable;
use resq_test_support::Instance;

use super::{
    BEGINNING, NOW, ack, append, next, read, refused, resqd, resqd_at, settle, stored, take, wait_until_stored,
};
use crate::protocol::peer::{Address, Peer, Received, consume};

#[test]
fn another_daemon_takes_a_consumer_over() {
    let instance = Instance::ready("cons_two");
    let mut conn = instance.conn();
    let sockets = ["d1.sock", "d2.sock"].map(|name| instance.dir().join(name));
    let daemons = sockets.each_ref().map(|socket| resqd_at(&instance, socket));
    append(&mut conn, 9);
    let (mut older, _) = take(&sockets[0], "c", BEGINNING, 5);
    read(&mut older, 1..=5);
    older.send(&ack(3));
    wait_until_stored(&mut conn, "c", 3);
    let (mut newer, seq) = take(&sockets[1], "c", BEGINNING, 5);
    assert_eq!(seq, 3);
    // Until it is disconnected, the older one may go on; nothing of that is stored.
    older.send(&ack(5));
    assert_eq!(refused(&mut older), 11);
    read(&mut newer, 4..=8);
    assert_eq!(stored(&mut conn, "c"), Some(3));
    newer.send(&ack(8));
    read(&mut newer, 9..=9);
    wait_until_stored(&mut conn, "c", 8);
    for finished in daemons.map(|daemon| daemon.stop()) {
        assert_eq!(finished.code(), Some(0), "{finished}");
        assert!(finished.warnings().is_empty(), "{finished}");
    }
}

#[test]
fn connections_that_take_a_consumer_from_each_other_skip_nothing() {
    const EVENTS: u64 = 40;
    let instance = Instance::ready("cons_flap");
    let mut conn = instance.conn();
    let sockets = ["d1.sock", "d2.sock"].map(|name| instance.dir().join(name));
    let daemons = sockets.each_ref().map(|socket| resqd_at(&instance, socket));
    append(&mut conn, EVENTS);
    let mut done = 0;
    let mut before: Option<Peer> = None;
    for turn in 0.. {
        // Twice at each daemon, so that it is taken over within one, too.
        let (mut peer, position) = take(&sockets[turn / 2 % 2], "c", BEGINNING, 4);
        assert!(position <= done, "{position} with {done} done");
        if turn % 2 == 1 {
            assert_eq!(position, done, "within one daemon nothing that is acknowledged comes again");
        }
        done = position;
        if done == EVENTS {
            break;
        }
        read(&mut peer, done + 1..=(done + 2).min(EVENTS));
        done = (done + 2).min(EVENTS);
        peer.send(&ack(done));
        settle(&mut peer);
        if turn % 2 == 1 {
            wait_until_stored(&mut conn, "c", done);
        }
        if let Some(mut before) = before.replace(peer) {
            assert!(matches!(refused(&mut before), 11));
        }
    }
    for finished in daemons.map(|daemon| daemon.stop()) {
        assert_eq!(finished.code(), Some(0), "{finished}");
    }
}

#[test]
fn many_consumers_are_served_and_stored() {
    many("cons_many", 300);
}

/// `ulimit -n 32768; cargo test --release --test e2e -- --ignored ten_thousand_consumers_are_served_and_stored_in_full`
#[test]
#[ignore = "takes minutes"]
fn ten_thousand_consumers_are_served_and_stored_in_full() {
    many("cons_10k", 10_000);
}

fn many(name: &str, consumers: u64) {
    let instance = Instance::ready(name);
    let mut conn = instance.conn();
    // A peer reads, and so answers PINGs, only when it is its turn.
    let settings = instance.dir().join("resq.toml");
    fs::write(&settings, "[broker]\nping_s = 600\n").unwrap();
    let resqd = instance.resqd().args(["--poll-ms", "20"]).env("RESQ_CONFIG", settings).spawn_ready();
    let socket = instance.broker_socket();
    let mut peers: Vec<Peer> = (0..consumers).map(|n| take(&socket, &format!("c{n}"), NOW, 2).0).collect();
    append(&mut conn, 4);
    for peer in &mut peers {
        read(peer, 1..=2);
        peer.send(&ack(2));
        read(peer, 3..=4);
    }
    let all_at = format!("SELECT COUNT(*) = {consumers} FROM res_consumer WHERE position = 2");
    resq_test_support::wait_until("all positions", || conn.query_first(&all_at).unwrap() == Some(true));
    // All leave at once, and each keeps what it had acknowledged.
    peers.iter_mut().for_each(|peer| peer.send(&ack(4)));
    peers.iter_mut().for_each(settle);
    drop(peers);
    assert_eq!(resqd.stop().code(), Some(0));
    let all_at = format!("SELECT COUNT(*) = {consumers} FROM res_consumer WHERE position = 4");
    assert_eq!(conn.query_first(&all_at).unwrap(), Some(true));
}

#[test]
fn there_is_an_end_to_new_consumers_and_none_to_existing_ones() {
    let instance = Instance::ready("cons_full");
    let mut conn = instance.conn();
    let resqd = resqd(&instance);
    append(&mut conn, 1);
    let socket = instance.broker_socket();
    drop(take(&socket, "mine", BEGINNING, 1));
    let rows: Vec<String> = (1..20_000).map(|n| format!("('x{n}', 1, 0, 1, '')")).collect();
    for rows in rows.chunks(2_000) {
        let rows = rows.join(",");
        conn.query_drop(format!("INSERT INTO res_consumer (name, log_id, position, holder, states) VALUES {rows}"))
            .unwrap();
    }
    let mut peer = Peer::greeted(&Address::Unix(socket.clone()), 2);
    peer.send(&consume(0, "one-more", BEGINNING, 1, &["*"]));
    assert!(matches!(peer.receive_past_pings(), Received::Error(9, _)));
    let (mut peer, _) = take(&socket, "mine", BEGINNING, 1);
    assert_eq!(next(&mut peer), 1);
    assert_eq!(resqd.stop().code(), Some(0));
}
