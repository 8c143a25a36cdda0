//! A log that is set back to an older state: all that count on its numbers notice, even when they have been given again.

use mysql::{Conn, prelude::Queryable};

use resq_test_support::{Instance, Running, wait_until};

use super::{head_seq, next, publish, resqd, resqd_at, subscriber};
use crate::protocol::peer::Received;

fn log_id(conn: &mut Conn) -> u64 {
    conn.query_first("SELECT log_id FROM res_log").unwrap().unwrap()
}

/// Keeps a copy of the log, as a backup does.
fn back_up(conn: &mut Conn) {
    conn.query_drop("CREATE TABLE old_event LIKE res_event; INSERT INTO old_event SELECT * FROM res_event").unwrap();
    conn.query_drop("CREATE TABLE old_log LIKE res_log; INSERT INTO old_log SELECT * FROM res_log").unwrap();
}

fn restore(conn: &mut Conn) {
    for statement in [
        "START TRANSACTION",
        "DELETE FROM res_event",
        "DELETE FROM res_log",
        "INSERT INTO res_event SELECT * FROM old_event",
        "INSERT INTO res_log SELECT * FROM old_log",
        "COMMIT",
    ] {
        conn.query_drop(statement).unwrap();
    }
}

fn publish_many(conn: &mut Conn, events: std::ops::RangeInclusive<u64>) {
    events.for_each(|n| publish(conn, "A", &n.to_string()));
}

/// A daemon that has delivered ten events, of which a backup has the first four.
fn ten_events(instance: &Instance, conn: &mut Conn) -> Running {
    let running = resqd(instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    publish_many(conn, 1..=4);
    wait_until("four events", || head_seq(conn) == 4);
    back_up(conn);
    publish_many(conn, 5..=10);
    for n in 1..=10 {
        assert_eq!(next(&mut peer), (n, "A".into(), n.to_string()));
    }
    running
}

#[test]
fn running_daemon_notices_that_its_log_was_set_back() {
    let instance = Instance::ready("set_back");
    // How many events are published in the same moment: the log ends before what was delivered, at it, or behind it.
    for (n, published) in [1, 6, 20].into_iter().enumerate() {
        let mut conn = instance.conn();
        conn.query_drop("DROP TABLE IF EXISTS old_event, old_log; DELETE FROM res_event; DELETE FROM res_outbox")
            .unwrap();
        conn.query_drop("UPDATE res_log SET head_seq = 0, first_seq = 1").unwrap();
        let running = ten_events(&instance, &mut conn);
        let before = log_id(&mut conn);
        running.signal("STOP");
        restore(&mut conn);
        let mut app = instance.app();
        app.query_drop("START TRANSACTION").unwrap();
        publish_many(&mut app, 101..=100 + published);
        app.query_drop("COMMIT").unwrap();
        running.signal("CONT");
        let ended = running.wait();
        assert_eq!(ended.code(), Some(1), "{published}: {ended}");
        assert!(!ended.stderr.contains("panicked"), "{published}: {ended}");
        assert_ne!(log_id(&mut conn), before, "{published}: the log has a new identity");
        // The next daemon serves the log as it is now.
        let running = resqd(&instance);
        let mut peer = subscriber(&instance.broker_socket(), 0);
        for n in (1..=4).chain(101..=100 + published) {
            let (_, _, payload) = next(&mut peer);
            assert_eq!(payload, n.to_string());
        }
        assert_eq!(running.stop().code(), Some(0), "round {n}");
    }
}

#[test]
fn every_daemon_notices_a_new_identity_and_ends_cleanly() {
    let instance = Instance::ready("set_new");
    let mut conn = instance.conn();
    let other = instance.dir().join("other.sock");
    let daemons = [resqd(&instance), resqd_at(&instance, &other)];
    publish_many(&mut conn, 1..=3);
    wait_until("the events", || head_seq(&mut conn) == 3);
    instance.resqctl(["init", "--new-log"]).ok();
    for daemon in daemons {
        let ended = daemon.wait();
        assert_eq!(ended.code(), Some(1), "{ended}");
        assert!(!ended.stderr.contains("panicked"), "{ended}");
    }
}

#[test]
fn restored_dump_is_noticed_by_the_next_start_and_by_init() {
    let instance = Instance::ready("dumped");
    let mut conn = instance.conn();
    if instance.server.nodes().len() > 1 {
        return println!("not tested: the nodes of a cluster are made from each other");
    }
    let running = ten_events(&instance, &mut conn);
    assert_eq!(running.stop().code(), Some(0));
    let mut known = log_id(&mut conn);
    for notices in ["resqd", "resqctl init", "neither, since nothing was restored"] {
        if notices.starts_with("resq") {
            // As mysqldump does it: the table is made again, then its rows. The server counts its age in seconds.
            wait_until("another second", || {
                let old = "SELECT CREATE_TIME < NOW() - INTERVAL 1 SECOND FROM information_schema.TABLES \
                           WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'res_log'";
                conn.query_first(old).unwrap() == Some(true)
            });
            let (_, create): (String, String) = conn.query_first("SHOW CREATE TABLE res_log").unwrap().unwrap();
            conn.query_drop(
                "DROP TABLE IF EXISTS dump; CREATE TABLE dump LIKE res_log; INSERT INTO dump SELECT * FROM res_log",
            )
            .unwrap();
            conn.query_drop(format!("DROP TABLE res_log; {create}; INSERT INTO res_log SELECT * FROM dump")).unwrap();
        }
        if notices != "resqd" {
            instance.resqctl(["init"]).ok();
        }
        let now = log_id(&mut conn);
        let running = resqd(&instance);
        let (after_start, expected) = (log_id(&mut conn), notices.starts_with("resq"));
        assert_eq!((now != known, after_start != known), (notices == "resqctl init", expected), "{notices}");
        known = after_start;
        assert_eq!(running.stop().code(), Some(0));
    }
}

#[test]
fn client_reads_a_restored_log_from_its_beginning() {
    let instance = Instance::ready("restored");
    let mut conn = instance.conn();
    let running = ten_events(&instance, &mut conn);
    let mut client = instance.resq_client(["-v", "--sub", "A", "--since", "0", "--count", "22"]).spawn_ready();
    client.wait_for_output("#10");
    assert_eq!(running.stop().code(), Some(0));
    restore(&mut conn);
    let before = log_id(&mut conn);
    instance.resqctl(["init", "--new-log"]).ok();
    assert_ne!(log_id(&mut conn), before);
    publish_many(&mut conn, 101..=108);
    let running = resqd(&instance);
    let finished = client.wait();
    let received: Vec<u64> =
        finished.stdout.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    let expected: Vec<u64> = (1..=10).chain(1..=4).chain(101..=108).collect();
    assert_eq!(received, expected, "{finished}");
    // A program that keeps its number itself sees the identity in WELCOME, or a gap while the log is shorter.
    let mut beyond = subscriber(&instance.broker_socket(), 50);
    assert_eq!(beyond.receive_past_pings(), Received::Gap(3, 12));
    assert_eq!(running.stop().code(), Some(0));
}
