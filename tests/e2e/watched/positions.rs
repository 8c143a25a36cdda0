//! Positions from which the log cannot be read on: purged, reset, another server's; and GTIDs that are turned off and on.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Instance, Running, Server, is_cluster, kind_under_test, not_tested, wait_until};

use super::{events, instance, resqd, server, wait_until_read};
use crate::cluster;

/// Ids of the rows that became events.
fn inserted(instance: &Instance, count: usize) -> Vec<u64> {
    let found = events(instance, "t.insert", count);
    found.iter().map(|(_, payload)| payload["after"]["id"].as_u64().unwrap()).collect()
}

#[test]
fn lost_log_is_announced_and_reading_goes_on() {
    let (server, _turn) = server();
    // Nodes that come back need the logs of the others.
    let _alone = is_cluster().then(cluster::alone);
    let instance = instance(server, "wlost");
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wlost_db; USE wlost_db; CREATE TABLE t (id INT PRIMARY KEY)").unwrap();
    let start = || resqd(&instance, "[[watch]]\ntable = 'wlost_db.t'\n").spawn_ready();
    let first = start();
    wait_until_read(&instance);
    conn.query_drop("INSERT INTO t VALUES (1)").unwrap();
    events(&instance, "t.insert", 1);
    assert_eq!(first.stop().code(), Some(0));

    // Purged while no daemon read.
    conn.query_drop("INSERT INTO t VALUES (2); FLUSH BINARY LOGS; FLUSH BINARY LOGS").unwrap();
    // MariaDB keeps a file for a moment after its last commit.
    wait_until("the logs to be purged", || {
        let logs: Vec<mysql::Row> = conn.query("SHOW BINARY LOGS").unwrap();
        let last: String = logs.last().unwrap().get(0).unwrap();
        conn.query_drop(format!("PURGE BINARY LOGS TO '{last}'")).unwrap();
        conn.query::<mysql::Row, _>("SHOW BINARY LOGS").unwrap().len() == 1
    });
    let second = start();
    events(&instance, "resq.watch_gap", 1);
    wait_until_read(&instance);
    conn.query_drop("INSERT INTO t VALUES (3)").unwrap();
    assert_eq!(inserted(&instance, 2), [1, 3]);
    assert_eq!(second.stop().code(), Some(0));
    if is_cluster() {
        return not_tested("a node of a cluster is not reset");
    }

    // A position in the future, as after a reset.
    conn.query_drop("RESET BINARY LOGS AND GTIDS").or_else(|_| conn.query_drop("RESET MASTER")).unwrap();
    conn.query_drop("INSERT INTO t VALUES (4)").unwrap();
    let third = start();
    let gaps = events(&instance, "resq.watch_gap", 2);
    assert!(gaps[1].1["from"].is_string() && gaps[1].1["to"].is_string(), "{}", gaps[1].1);
    wait_until_read(&instance);
    conn.query_drop("INSERT INTO t VALUES (5)").unwrap();
    assert_eq!(inserted(&instance, 3), [1, 3, 5]);
    assert_eq!(third.stop().code(), Some(0));
}

/// What `res_watch` says after a failover to a server that does not have this log, or whose log is behind.
const FOREIGN: &[(&[&str], &str)] = &[
    (&["mysql97", "group"], "gtids = '00000000-1111-2222-3333-444444444444:1-5'"),
    (&["mysql97"], "gtids = NULL, server = '00000000-1111-2222-3333-444444444444'"),
    (&["mysql97"], "gtids = NULL, file = 'other.000001'"),
    (&["mysql97"], "gtids = NULL, pos = 4000000000"),
    (&["mariadb1011", "mariadb105"], "gtids = '0-99-4000000000'"),
    (&["galera"], "gtids = '7-99-4000000000'"),
];

#[test]
fn log_of_another_server_is_announced_and_reading_goes_on() {
    let (server, _turn) = server();
    let instance = instance(server, "wforeign");
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wforeign_db; USE wforeign_db; CREATE TABLE t (id INT PRIMARY KEY)").unwrap();
    let start = || resqd(&instance, "[[watch]]\ntable = 'wforeign_db.t'\n").spawn_ready();
    let mut daemon = start();
    let kind = kind_under_test();
    let positions = FOREIGN.iter().filter(|(kinds, _)| kinds.contains(&kind.as_str()));
    for (n, (_, position)) in (1..).zip(positions) {
        println!("{position}");
        wait_until_read(&instance);
        conn.query_drop(format!("INSERT INTO t VALUES ({n})")).unwrap();
        let expected: Vec<u64> = (1..=n).collect();
        assert_eq!(inserted(&instance, n as usize), expected);
        assert_eq!(daemon.stop().code(), Some(0));
        conn.query_drop(format!(
            "UPDATE {}.res_watch SET {position}; INSERT INTO t VALUES ({})",
            instance.global_db,
            n + 900
        ))
        .unwrap();
        daemon = start();
        let gaps = events(&instance, "resq.watch_gap", n as usize);
        assert!(gaps.last().unwrap().1["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    }
    wait_until_read(&instance);
    assert_eq!(daemon.stop().code(), Some(0));
}

fn are_gtids_on(conn: &mut Conn) -> bool {
    conn.query_first::<String, _>("SELECT @@global.gtid_mode").unwrap().unwrap() == "ON"
}

/// Turns MySQL's GTIDs on or off, unless they are, as its manual says: step by step, and before the last one all that
/// has been committed with the others has been read.
fn turn_gtids(conn: &mut Conn, on: bool, mut before_the_last: impl FnMut(&mut Conn)) {
    let mut steps = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    if !on {
        steps.reverse();
    }
    let mode: String = conn.query_first("SELECT @@global.gtid_mode").unwrap().unwrap();
    for next in steps.iter().skip_while(|step| **step != mode).skip(1) {
        if *next == steps[3] {
            before_the_last(conn);
        }
        conn.query_drop(format!("SET GLOBAL gtid_mode = {next}")).unwrap();
    }
}

/// Turns GTIDs on or off again when it is dropped.
struct GtidsAsBefore<'a> {
    server: &'a Server,
    are_on: bool,
}

impl Drop for GtidsAsBefore<'_> {
    fn drop(&mut self) {
        turn_gtids(&mut self.server.conn(), self.are_on, |_| {});
    }
}

#[test]
fn gtids_that_are_turned_off_and_on_lose_and_repeat_nothing() {
    if kind_under_test() != "mysql97" {
        return not_tested("only MySQL's can be turned off, and not in a group");
    }
    let (server, _turn) = server();
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wgtids_db; USE wgtids_db; CREATE TABLE t (id INT PRIMARY KEY)").unwrap();
    let _as_before = GtidsAsBefore { server, are_on: are_gtids_on(&mut conn) };
    for (name, on) in [("wgtids_on", true), ("wgtids_off", false)] {
        println!("{name}");
        turn_gtids(&mut conn, on, |_| {});
        conn.query_drop("TRUNCATE TABLE t").unwrap();
        let instance = instance(server, name);
        let start = || -> Running {
            let running = resqd(&instance, "[[watch]]\ntable = 'wgtids_db.t'\n").spawn_ready();
            wait_until_read(&instance);
            running
        };
        let mut rows = 0;
        let mut insert = |conn: &mut Conn, is_read: bool| {
            rows += 1;
            conn.query_drop(format!("INSERT INTO t VALUES ({rows})")).unwrap();
            if is_read {
                let expected: Vec<u64> = (1..=rows).collect();
                assert_eq!(inserted(&instance, rows as usize), expected);
            }
        };
        let mut daemon = start();
        for turned_on in [!on, on] {
            for _ in 0..2 {
                insert(&mut conn, true);
                // Started again from the position that it stored.
                assert_eq!(daemon.stop().code(), Some(0));
                insert(&mut conn, false);
                conn.query_drop("FLUSH BINARY LOGS").unwrap();
                daemon = start();
                insert(&mut conn, true);
                turn_gtids(&mut conn, turned_on, |conn| insert(conn, true));
            }
        }
        let gaps: u64 = instance
            .conn()
            .query_first("SELECT COUNT(*) FROM res_event WHERE state = 'resq.watch_gap'")
            .unwrap()
            .unwrap();
        assert_eq!(gaps, 0);
        assert_eq!(daemon.stop().code(), Some(0));
    }
}
