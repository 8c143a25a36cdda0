//! The loadable functions inside a real server, with a daemon that freezes, dies and comes back: the server and its
//! statements must not notice any of it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use resq::{
    client::{Address, Delivery, Peer, Subscriber, Subscription},
    events::updates::LogHead,
    net::Limits,
};
use resq_test_support::{
    Certificates, DEADLINE, HELLO, MemoryBroker, MemoryConsumers, PONG, PUBLISH, RING, UdfPeer, UdfServer,
    panicking_library, signal, stats, wait_at_most, wait_until,
};

/// How a trigger rings: a missing function delays until the next poll, and never fails an INSERT.
const RINGING: &str = "BEGIN BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; DO resq_ring(); END; END";

/// Far more than any call needs, far less than one that waits for the peer.
const AT_ONCE: Duration = Duration::from_secs(5);

fn publish(state: &str, payload: &[u8]) -> Vec<u8> {
    [&(state.len() as u16).to_be_bytes()[..], state.as_bytes(), payload].concat()
}

#[test]
fn udf_takes_any_arguments() {
    let udf = UdfServer::shared();
    let peer = udf.peer(0);
    let mut conn = udf.server.conn();
    conn.query_drop("SET SESSION sql_mode = ''").unwrap();
    let before = stats(&mut conn);
    let large = vec![b'x'; 1_000_000];
    let mut expected = Vec::new();
    for (call, sent) in [
        (r#"resq_notify('Suspended', '{"test":"T7"}')"#, Some(publish("Suspended", br#"{"test":"T7"}"#))),
        ("resq_notify('A', '')", Some(publish("A", b""))),
        ("resq_notify('A', x'fffe00')", Some(publish("A", b"\xff\xfe\0"))),
        ("resq_notify(42, 17.5)", Some(publish("42", b"17.5"))),
        ("resq_notify('A', REPEAT('x', 1000000))", Some(publish("A", &large))),
        ("resq_notify('A', REPEAT('x', 1000001))", None),
        ("resq_notify('A', REPEAT('x', 16 << 20))", None),
        ("resq_notify(REPEAT('A', 16000000), '{}')", None),
        ("resq_notify(NULL, '{}')", None),
        ("resq_notify('A', NULL)", None),
        ("resq_notify(NULL, NULL)", None),
        ("resq_notify('', '{}')", None),
        ("resq_notify('A B', '{}')", None),
        ("resq_notify(x'fffe', '{}')", None),
        ("resq_notify(-0.5e-300, '{}')", Some(publish("-5e-301", b"{}"))),
        ("resq_notify(POINT(1, 2), '{}')", None),
    ] {
        let result: Option<i64> = conn.query_first(format!("SELECT {call}")).unwrap().unwrap();
        assert_eq!(result, Some(sent.is_some().into()), "{call}");
        expected.extend(sent);
    }
    wait_until("the events", || peer.count(PUBLISH) == expected.len());
    assert_eq!(peer.received(PUBLISH), expected);
    wait_until("the counters", || stats(&mut conn).sent == before.sent + expected.len() as u64);
    assert_eq!(stats(&mut conn).dropped, before.dropped + 16 - expected.len() as u64);

    for call in ["resq_notify()", "resq_notify('A')", "resq_notify('A','B','C')", "resq_ring(1)", "resq_stats(NULL)"] {
        let error = conn.query_drop(format!("SELECT {call}")).unwrap_err().to_string();
        assert!(error.contains("1123") && error.contains("argument"), "{call}: {error}");
    }
    // Text, not bytes, to the server too.
    let sent: Option<u64> = conn.query_first("SELECT JSON_EXTRACT(resq_stats(), '$.sent')").unwrap();
    assert_eq!(sent, Some(stats(&mut conn).sent));

    // It is called for each row and returns a value for each.
    let results: Vec<i64> = conn.query("SELECT resq_ring() FROM (SELECT 1 UNION ALL SELECT 2) x").unwrap();
    assert_eq!(results, [1, 1]);
}

#[test]
fn udf_panic_ends_in_the_function() {
    let udf = UdfServer::shared();
    let pid = udf.server.node(1).pid;
    std::fs::copy(panicking_library(), udf.server.plugin_dir().join("panicking.so")).unwrap();
    let mut conn = udf.server.conn();
    conn.query_drop("CREATE FUNCTION resq_panic RETURNS INTEGER SONAME 'panicking.so'").unwrap();
    for _ in 0..100 {
        assert_eq!(conn.query_first("SELECT resq_panic()").unwrap(), Some(0));
    }
    conn.query_drop("DROP FUNCTION resq_panic").unwrap();
    assert_eq!(udf.server.node(1).pid, pid);
    let lines = udf.server.log(1).matches("on purpose").count();
    assert!((1..=10).contains(&lines), "{lines} lines in the server's log");
}

#[test]
fn udf_daemon_freezes_dies_and_comes_back() {
    let udf = UdfServer::shared();
    let mut conn = udf.server.conn();
    let notify = |conn: &mut mysql::Conn, payload: &str| -> i64 {
        conn.query_first(format!("SELECT resq_notify('A', '{payload}')")).unwrap().unwrap()
    };
    assert_eq!(notify(&mut conn, "no daemon"), 0);
    let before = stats(&mut conn);

    let peer = udf.peer(0);
    assert_eq!(notify(&mut conn, "there"), 1);
    wait_until("the event", || peer.received(PUBLISH) == [publish("A", b"there")]);

    peer.freeze();
    let start = Instant::now();
    let calls = 300_000;
    conn.query_drop(format!("DO BENCHMARK({calls}, resq_notify('A', REPEAT('x', 100)))")).unwrap();
    assert!(start.elapsed() < AT_ONCE, "{:?} with a frozen daemon", start.elapsed());
    assert_eq!(notify(&mut conn, "full"), 0);
    assert_eq!(stats(&mut conn).connected, 1);

    peer.thaw();
    wait_until("room again", || notify(&mut conn, "thawed") == 1);
    wait_until("the last event", || peer.received(PUBLISH).last() == Some(&publish("A", b"thawed")));
    let now = stats(&mut conn);
    assert_eq!(peer.count(PUBLISH) as u64, now.sent - before.sent, "what counts as sent has come");

    peer.freeze();
    conn.query_drop(format!("DO BENCHMARK({calls}, resq_notify('Late', REPEAT('x', 100)))")).unwrap();
    drop(peer);
    wait_until("the end of the connection", || stats(&mut conn).connected == 0);
    assert_eq!(notify(&mut conn, "no daemon"), 0);
    conn.query_drop("DO resq_ring()").unwrap();

    // What was queued is gone, and counted; a ring is delivered later, without another call.
    let peer = udf.peer(0);
    wait_until("a ring", || peer.count(RING) > 0);
    assert_eq!(notify(&mut conn, "new"), 1);
    wait_until("the event", || peer.count(PUBLISH) > 0);
    assert_eq!(peer.received(PUBLISH), [publish("A", b"new")]);
}

#[test]
fn udf_counts_every_call_as_sent_or_dropped() {
    let udf = UdfServer::shared();
    let mut conn = udf.server.conn();
    let peer = udf.peer(0);
    let before = stats(&mut conn);
    conn.query_drop("DO BENCHMARK(100000, resq_notify('A', '{}'))").unwrap();
    peer.freeze();
    conn.query_drop("DO BENCHMARK(100000, resq_notify('A', REPEAT('x', 100)))").unwrap();
    drop(peer);
    conn.query_drop("DO BENCHMARK(100000, resq_notify('A', '{}'))").unwrap();
    // What a call was putting into the queue when the daemon died is counted when the next daemon connects.
    let _next = udf.peer(0);
    wait_until("all calls to be counted", || {
        let now = stats(&mut conn);
        now.sent + now.dropped == before.sent + before.dropped + 300_000
    });
}

#[test]
fn udf_ten_thousand_rows_are_a_few_rings() {
    let udf = UdfServer::shared();
    let mut conn = udf.server.conn();
    conn.query_drop("CREATE DATABASE rings").unwrap();
    conn.query_drop("CREATE TABLE rings.t (id INT)").unwrap();
    conn.query_drop(format!("CREATE TRIGGER rings.ring AFTER INSERT ON rings.t FOR EACH ROW {RINGING}")).unwrap();
    let peer = udf.peer(0);
    wait_until("the ring of the connection", || peer.count(RING) == 1);

    let start = Instant::now();
    conn.query_drop("INSERT INTO rings.t VALUES (1)").unwrap();
    wait_at_most(Duration::from_secs(1), "the ring of one row", || peer.count(RING) == 2);
    println!("one row rang after {:?}", start.elapsed());

    let start = Instant::now();
    conn.query_drop(format!("INSERT INTO rings.t VALUES {}", vec!["(1)"; 10_000].join(","))).unwrap();
    let took = start.elapsed();
    let seen = peer.count(RING) - 2;
    println!("10,000 rows in {took:?}: {seen} rings");
    // A few at the start and one each 50 ms, or each 16 if the disk holds up the rows; on a machine where a row takes
    // longer than a commit, one a millisecond.
    let most = if took < Duration::from_secs(2) { 8 + took.as_millis() / 16 } else { took.as_millis() };
    assert!(seen >= 1 && seen as u128 <= most, "{seen} rings in {took:?}");
    conn.query_drop("DROP DATABASE rings").unwrap();
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn udf_functions_come_and_go_under_load() {
    let udf = UdfServer::shared();
    let sql = udf.install();
    let mut conn = udf.server.conn();
    conn.query_drop("CREATE DATABASE come_and_go").unwrap();
    conn.query_drop("CREATE TABLE come_and_go.t (id INT)").unwrap();
    conn.query_drop(format!("CREATE TRIGGER come_and_go.r AFTER INSERT ON come_and_go.t FOR EACH ROW {RINGING}"))
        .unwrap();
    let peer = udf.peer(0);

    let done = AtomicBool::new(false);
    let inserted = std::thread::scope(|scope| {
        // A failure here must end the other threads too, or the test would never end.
        let end = EndOnDrop(&done);
        let insert = scope.spawn(|| {
            let mut conn = udf.server.conn();
            let mut inserted = 0;
            while !done.load(Ordering::Relaxed) {
                udf.call(|| conn.query_drop("INSERT INTO come_and_go.t VALUES (1), (2), (3)"))
                    .expect("an INSERT never fails");
                inserted += 3;
            }
            inserted
        });
        scope.spawn(|| {
            let mut conn = udf.server.conn();
            while !done.load(Ordering::Relaxed) {
                // 1305, 1122, 1128, …: the function is not there at the moment.
                let _ = udf.call(|| conn.query_drop("DO BENCHMARK(100, resq_notify('A', '{}'))"));
            }
        });
        for _ in 0..100 {
            udf.register(&sql);
        }
        drop(end);
        insert.join().expect("no INSERT failed")
    });
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM come_and_go.t").unwrap(), Some(inserted));
    peer.forget();
    assert_eq!(udf.server.conn().query_first("SELECT resq_notify('A', 'still here')").unwrap(), Some(1));
    wait_until("the event", || peer.received(PUBLISH).contains(&publish("A", b"still here")));
    conn.query_drop("DROP DATABASE come_and_go").unwrap();
}

#[test]
fn udf_reaches_every_daemon_of_its_settings() {
    let udf = UdfServer::shared();
    let mut conn = udf.server.conn();
    udf.configure(&[0, 1]);
    let (first, second) = (udf.peer(0), udf.peer(1));
    first.freeze();
    conn.query_drop("DO resq_ring()").unwrap();
    wait_until("a ring beside that of the connection", || second.count(RING) == 2);

    // The frozen daemon loses what it has no room for, the other one nothing.
    for sent in 1..=200 {
        let queued = conn.query_first("SELECT resq_notify('A', REPEAT('x', 100000))").unwrap();
        assert_eq!(queued, Some(1), "the message {sent}");
        wait_until("the other daemon to have it", || second.count(PUBLISH) == sent);
    }
    first.thaw();
    let before = stats(&mut conn);
    drop(second);
    wait_until("one connection less", || stats(&mut conn).connected == 1);
    assert_eq!(conn.query_first("SELECT resq_notify('A', 'one is enough')").unwrap(), Some(1));
    wait_until("the event", || first.received(PUBLISH).contains(&publish("A", b"one is enough")));
    assert!(first.count(PUBLISH) < 200, "the frozen daemon cannot have received all");
    assert!(before.dropped > 0);
}

#[test]
fn udf_answers_pings_and_reads_its_settings_again() {
    let udf = UdfServer::shared();
    let mut conn = udf.server.conn();
    let addr = format!("addr = unix:{}\n", udf.peer_path(0).display());
    let with_token = format!("{addr}token = s3cret\n");
    udf.write_settings(&with_token, 0o644);
    let peer = UdfPeer::listen(&udf.peer_path(0));
    assert_eq!(stats(&mut conn).connected, 0, "settings with a token that others may read are not used");
    udf.write_settings(&with_token, 0o640);
    wait_until("a connection", || stats(&mut conn).connected == 1);
    assert_eq!(peer.count(HELLO), 1);
    assert!(peer.received(HELLO)[0].ends_with(b"\0\x06s3cret"), "{:?}", peer.received(HELLO));
    assert!(!udf.server.log(1).contains("s3cret"));

    peer.send(0x05, &77u64.to_be_bytes());
    wait_until("a PONG", || peer.received(PONG) == [77u64.to_be_bytes()]);
    // Unknown frames are ignored; after an ERROR it reconnects.
    peer.send(0x7f, b"whatever");
    peer.send(0x85, b"\0\x08\0\x05going");
    wait_until("a second connection", || peer.count(HELLO) >= 2);
    udf.write_settings(&format!("{addr}host = here\n"), 0o640);
    drop(peer);
    // The unknown key is named in the server's log.
    wait_until("the key in the log", || udf.server.log(1).contains("\"host\""));
}

#[test]
fn udf_server_stops_with_a_full_queue() {
    let udf = UdfServer::own();
    let peer = udf.peer(0);
    peer.freeze();
    let mut conn = udf.server.conn();
    conn.query_drop("DO BENCHMARK(100000, resq_notify('A', REPEAT('x', 100)))").unwrap();
    assert_eq!(conn.query_first("SELECT resq_notify('A', '')").unwrap(), Some(0));
    drop(conn);
    let pid = udf.server.node(1).pid;
    signal(pid, "TERM");
    wait_until("the server's end", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    let log = udf.server.log(1);
    assert!(log.contains("hutdown complete") && !log.contains("signal 11"), "{log}");
}

#[test]
fn udf_installer_overwrites_nothing_and_sees_an_old_c_library() {
    let udf = UdfServer::own();
    let (plugins, library) = (udf.server.plugin_dir(), udf.dir.join("library.so"));
    let installed = || -> Vec<String> {
        let names = std::fs::read_dir(&plugins).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("libresq_udf")).collect()
    };
    let first = installed();
    assert!(first.len() == 1 && first[0].starts_with("libresq_udf-0."), "{first:?}");
    let changed = || std::fs::metadata(plugins.join(&first[0])).unwrap().modified().unwrap();
    let (settings, before) = (std::fs::read(plugins.join("resq_udf.conf")).unwrap(), changed());

    assert!(udf.install().contains(&first[0]));
    assert_eq!((installed(), changed()), (first.clone(), before));
    assert_eq!(std::fs::read(plugins.join("resq_udf.conf")).unwrap(), settings);

    let mut newer = std::fs::read(plugins.join(&first[0])).unwrap();
    newer.extend(b"another build");
    std::fs::write(&library, &newer).unwrap();
    let sql = udf.installer().env("RESQ_UDF_LIB", &library).arg(&plugins).ok();
    assert_eq!(installed().len(), 2);
    udf.register(&sql);
    assert_eq!(udf.server.conn().query_first("SELECT resq_ring()").unwrap(), Some(1));

    newer.extend(b"\0GLIBC_2.99\0");
    std::fs::write(&library, &newer).unwrap();
    let refused = udf.installer().env("RESQ_UDF_LIB", &library).arg(&plugins).expect_code(1);
    assert!(refused.stderr.contains("needs GLIBC_2.99"), "{refused}");
    assert_eq!(installed().len(), 2);
}

#[test]
fn events_and_rings_reach_a_daemon_by_tls_and_one_that_speaks_none_costs_no_statement() {
    let udf = UdfServer::shared();
    let certificates = Certificates::new(&["127.0.0.1"]);
    let head = LogHead { log_id: 1, first_seq: 1, head_seq: 0 };
    let config = certificates.broker(&["tls://127.0.0.1:0"]);
    let broker =
        MemoryBroker::start(&config, Limits::default(), head, Vec::new(), &MemoryConsumers::default()).unwrap();
    let port = broker.broker().local_addrs()[0].port();
    let settings = |port: u16| {
        let ca = certificates.file("ca.pem");
        udf.write_settings(&format!("addr = 127.0.0.1:{port}\ntls = verify\ntls_ca = {}\n", ca.display()), 0o640);
    };
    settings(port);
    wait_until("the sender to connect", || udf.stats().connected == 1);
    let address = Address::Tcp { host: "127.0.0.1".into(), port };
    let peer = Peer { tls: Some(certificates.client()), ..Peer::new(address, "t") };
    let mut subscriber = Subscriber::connect(peer, Subscription::to(["A"])).unwrap();
    let mut conn = udf.server.conn();
    for bytes in [1, 1_000_000, 3] {
        let sent: Option<i64> = conn.query_first(format!("SELECT resq_notify('A', REPEAT('x', {bytes}))")).unwrap();
        assert_eq!(sent, Some(1));
        match subscriber.recv_timeout(DEADLINE).unwrap() {
            Some(Delivery::Event(event)) => assert_eq!(event.payload, vec![b'x'; bytes]),
            other => panic!("{other:?}"),
        }
    }
    broker.wakeups.try_iter().for_each(drop);
    conn.query_drop("DO resq_ring()").unwrap();
    broker.wakeups.recv_timeout(DEADLINE).expect("a RING");

    // Something else answers there: it is tried again and again, and no statement fails or waits.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    settings(other.local_addr().unwrap().port());
    drop(broker);
    for _ in 0..3 {
        let (mut stream, _) = other.accept().unwrap();
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        assert_eq!(first, [0x16], "a handshake of TLS");
        let began = Instant::now();
        let sent: Option<i64> = conn.query_first("SELECT resq_notify('A', 'lost')").unwrap();
        assert_eq!(sent, Some(0));
        assert!(began.elapsed() < AT_ONCE);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }
    udf.configure(&[0]);
    drop(other);
}
