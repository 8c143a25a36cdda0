//! The event stream: exact over restarts of the daemon, gaps, and slow readers.

use std::collections::BTreeSet;

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{EventOracle, HttpPeer, Instance};
use serde_json::{Value as Json, json};

use super::resqd;

fn publish(conn: &mut Conn, state: &str, token: &str) {
    conn.query_drop(format!("CALL publish('{state}', '{{\"token\":\"{token}\"}}')")).unwrap();
}

/// A stream that begins as an `EventSource` does, after the last id that it has.
fn open(port: u16, query: &str, last_id: &Option<String>) -> HttpPeer {
    let mut peer = HttpPeer::connect(port);
    let fields = last_id.as_ref().map_or_else(String::new, |id| format!("Last-Event-ID: {id}\r\n"));
    peer.request(&format!("GET /api/v1/stream{query}"), &fields);
    let answer = peer.answer();
    assert_eq!((answer.status, answer.fields["content-type"].as_str()), (200, "text/event-stream"), "{answer:?}");
    peer
}

#[test]
fn stream_misses_and_repeats_nothing_over_restarts() {
    let instance = Instance::ready("http_stream");
    let (program, port) = resqd(&instance);
    let mut resqd = Some(program.spawn_ready());
    let mut conn = instance.conn();
    let tokens: Vec<String> = (0..90).map(|n| format!("t{n}")).collect();
    let mut oracle = EventOracle::new(BTreeSet::new()).with_writer("Own.http".into(), tokens.clone());
    let mut last_id = None;
    let (mut stream, mut seen) = (open(port, "?since=0", &last_id), 0);
    for (round, part) in tokens.chunks(30).enumerate() {
        part.iter().for_each(|token| publish(&mut conn, "Own.http", token));
        // Half of them before the restart, the others after it.
        while seen < 30 * round + 15 {
            let (kind, event) = stream.event(&mut last_id).expect("an event");
            assert_eq!((kind.as_str(), last_id.as_deref()), ("Own.http", Some(event["seq"].to_string().as_str())));
            oracle.observe(&event);
            seen += 1;
        }
        let daemon = resqd.take().expect("it runs");
        match round % 2 {
            0 => assert_eq!(daemon.stop().code(), Some(0)),
            _ => drop(daemon),
        }
        while let Some((_, event)) = stream.event(&mut last_id) {
            oracle.observe(&event);
            seen += 1;
        }
        resqd = Some(super::resqd_on(&instance, port).args(["--lease-s", "2"]).spawn_ready());
        stream = open(port, "?since=0", &last_id);
        while seen < 30 * (round + 1) {
            oracle.observe(&stream.event(&mut last_id).expect("an event").1);
            seen += 1;
        }
    }
    oracle.finish(&mut conn);
}

#[test]
fn stream_says_what_it_cannot_deliver_and_filters_the_rest() {
    let instance = Instance::ready("http_gaps");
    let (program, port) = resqd(&instance);
    let resqd = program.spawn_ready();
    let mut conn = instance.conn();
    let mut last_id = None;
    let mut beyond = open(port, "?sub=A&sub=B*&since=1000", &last_id);
    assert_eq!(beyond.event(&mut last_id), Some(("gap".into(), json!({ "gap": "beyond_head", "head_seq": 0 }))));
    for state in ["A", "C", "Bc", "AB", "B"] {
        publish(&mut conn, state, "x");
    }
    let states: Vec<String> = (0..3).map(|_| beyond.event(&mut last_id).expect("an event").0).collect();
    assert_eq!((states, last_id.as_deref()), (["A", "Bc", "B"].map(String::from).to_vec(), Some("5")));
    // What resq-client prints is what a stream carries.
    let printed = instance.resq_client(["--sub", "AB", "--since", "0", "--count", "1", "--json"]);
    let printed = printed.env("RESQ_SOCKET", instance.broker_socket()).ok();
    let (kind, event) = open(port, "?sub=AB&since=0", &None).event(&mut last_id).expect("an event");
    assert_eq!((kind.as_str(), event), ("AB", serde_json::from_str::<Json>(&printed).unwrap()));
    let trigger = instance.resq_trigger(["--name", "e", "--state", "Now", "--payload", "a\nb"]);
    let mut ephemeral_id = None;
    let mut stream = open(port, "?sub=Now", &None);
    trigger.ok();
    let (_, event) = stream.event(&mut ephemeral_id).expect("an event");
    assert_eq!((&event["seq"], &event["payload"], ephemeral_id.as_deref()), (&json!(0), &json!("a\nb"), Some("5")));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn reader_that_sleeps_gets_everything_later() {
    let instance = Instance::ready("http_sleeper");
    let (program, port) = resqd(&instance);
    let resqd = program.spawn_ready();
    let mut conn = instance.conn();
    let mut stream = open(port, "?sub=Big&since=0", &None);
    let payload = "x".repeat(500_000);
    for n in 0..20 {
        conn.exec_drop("CALL publish('Big', ?)", (json!({ "n": n, "fill": payload }).to_string(),)).unwrap();
    }
    let mut peer = open(port, "?sub=Big&since=0", &None);
    let mut last_id = None;
    for stream in [&mut peer, &mut stream] {
        for n in 0..20 {
            let (_, event) = stream.event(&mut last_id).expect("an event");
            assert_eq!((&event["payload"]["n"], &event["seq"]), (&json!(n), &json!(n + 1)));
        }
    }
    assert_eq!(resqd.stop().code(), Some(0));
}
