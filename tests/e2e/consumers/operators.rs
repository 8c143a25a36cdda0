//! Consumers as operators see and move them, and reading the log from a time on.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, http, own_port, wait_until};
use serde_json::Value as Json;

use super::{BEGINNING, ack, append, read, refused, resqd, stored, take, wait_until_stored};

#[test]
fn consumers_are_listed_moved_and_removed() {
    let instance = Instance::ready("cons_ops");
    let mut conn = instance.conn();
    assert_eq!(instance.resqctl(["consumers"]).ok(), "no consumers\n");
    let resqd = resqd(&instance);
    append(&mut conn, 10);
    let socket = instance.broker_socket();
    let (mut peer, _) = take(&socket, "billing", BEGINNING, 4);
    read(&mut peer, 1..=4);
    peer.send(&ack(3));
    wait_until_stored(&mut conn, "billing", 3);

    let listed: Json = serde_json::from_str(&instance.resqctl(["consumers", "--json"]).ok()).unwrap();
    let one = &listed[0];
    assert_eq!((&one["name"], &one["position"], &one["lag"]), (&"billing".into(), &3.into(), &7.into()), "{one}");
    assert!(
        one["states"] == serde_json::json!(["*"]) && one["client"].as_str().unwrap().starts_with("peer at "),
        "{one}"
    );
    let table = instance.resqctl(["consumers"]).ok();
    assert!(table.contains("billing") && table.contains("peer at"), "{table}");
    let status = instance.resqctl(["status"]).ok();
    assert!(status.contains("consumers    1, at most 7 events behind (billing)\n"), "{status}");

    // Moved: the connection ends, and the next one begins there.
    let moved = instance.resqctl(["consumer", "billing", "--set", "1", "--reason", "again"]).ok();
    assert_eq!(moved, "consumer billing is at event 1; 9 events to come\n");
    peer.send(&ack(4));
    assert_eq!(refused(&mut peer), 12);
    assert_eq!(stored(&mut conn, "billing"), Some(1), "what came after the move is not stored");
    let table = instance.resqctl(["consumers"]).ok();
    assert!(table.contains("(none since an operator moved it)"), "{table}");
    let (mut peer, seq) = take(&socket, "billing", BEGINNING, 4);
    assert_eq!(seq, 1);
    read(&mut peer, 2..=5);
    for (place, position) in [("start", 0), ("now", 10), ("7", 7)] {
        instance.resqctl(["consumer", "billing", "--set", place]).ok();
        assert_eq!(stored(&mut conn, "billing"), Some(position), "{place}");
    }
    assert_eq!(refused(&mut peer), 12);

    // Removed: it begins anew.
    let (mut peer, _) = take(&socket, "billing", BEGINNING, 4);
    instance.resqctl(["consumer", "billing", "--remove"]).ok();
    assert_eq!(refused(&mut peer), 12);
    assert_eq!(stored(&mut conn, "billing"), None);
    let (_peer, seq) = take(&socket, "billing", BEGINNING, 4);
    assert_eq!(seq, 0);

    for (args, code) in [
        (["consumer", "none", "--remove", "-v"], 1),
        (["consumer", "billing", "--set", "11"], 2),
        (["consumer", "billing", "--set", "-1"], 2),
        (["consumer", "billing", "--set", "later"], 2),
        (["consumer", "billing", "-v", "-v"], 2),
    ] {
        instance.resqctl(args).expect_code(code);
    }
    let audit = instance.resqctl(["audit"]).ok();
    assert_eq!(audit.matches("consumer-set").count(), 4, "{audit}");
    assert!(audit.contains("consumer-remove  consumer billing") && audit.contains("reason=again"), "{audit}");
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn lag_of_consumers_is_a_metric_and_they_are_listed_by_http() {
    let instance = Instance::ready("cons_http");
    let mut conn = instance.conn();
    let port = own_port();
    let resqd = instance.resqd().args(["--poll-ms", "20"]).env("RESQ_HTTP", format!("127.0.0.1:{port}")).spawn_ready();
    append(&mut conn, 10);
    let (mut peer, _) = take(&instance.broker_socket(), "billing", BEGINNING, 4);
    read(&mut peer, 1..=4);
    peer.send(&ack(4));
    wait_until_stored(&mut conn, "billing", 4);
    let get = |path: &str| http(port, &format!("GET {path}"), "");
    let listed = get("/api/v1/consumers?limit=1").json();
    assert_eq!((&listed["consumers"][0]["lag"], &listed["next"]), (&6.into(), &"billing".into()), "{listed}");
    assert_eq!(get("/api/v1/consumers?after=billing").json()["consumers"], serde_json::json!([]));
    wait_until("the metric", || get("/metrics").body.contains("resq_consumer_lag{consumer=\"billing\"} 6\n"));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn reading_begins_at_a_time_or_an_age() {
    let instance = Instance::ready("cons_time");
    let mut conn = instance.conn();
    let resqd = resqd(&instance);
    append(&mut conn, 6);
    // Numbered an hour apart, the last one now; written in another order.
    conn.query_drop(
        "UPDATE res_event SET numbered_at = NOW(6) - INTERVAL (6 - seq) HOUR, \
         at = NOW(6) - INTERVAL IF(seq = 3, 10, 6 - seq) HOUR WHERE seq < 6",
    )
    .unwrap();
    let seqs = |text: String| -> Vec<u64> {
        text.lines().map(|line| line.split(['#', ' ']).nth(3).unwrap().parse().unwrap()).collect()
    };
    for (since, expected) in [
        ("90m", vec![5, 6]),
        ("150m", vec![4, 5, 6]),
        // It was committed later than it was written.
        ("210m", vec![3, 4, 5, 6]),
        ("30d", vec![1, 2, 3, 4, 5, 6]),
        ("1970-01-01T00:00:00Z", vec![1, 2, 3, 4, 5, 6]),
        ("9999-01-01T00:00:00Z", vec![]),
        ("4", vec![5, 6]),
    ] {
        assert_eq!(seqs(instance.resqctl(["events", "--since", since]).ok()), expected, "{since}");
        if !expected.is_empty() {
            let count = expected.len().to_string();
            let client = instance.resq_client(["--sub", "*", "--durable", "--since", since, "--count", &count]);
            assert_eq!(seqs(client.ok()), expected, "{since}");
        }
    }
    let exact: String = conn
        .query_first("SELECT DATE_FORMAT(numbered_at, '%Y-%m-%dT%H:%i:%s.%fZ') FROM res_event WHERE seq = 5")
        .unwrap()
        .unwrap();
    assert_eq!(seqs(instance.resqctl(["events", "--since", &exact]).ok()), [5, 6], "{exact}");
    instance.resqctl(["events", "--since", "soon"]).expect_code(2);
    assert_eq!(resqd.stop().code(), Some(0));
}
