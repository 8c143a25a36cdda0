//! Exactness through kills, other daemons, lost logs, and servers that do not log what is needed.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{
    DEADLINE, Doctor, Instance, Running, Server, Verdict, not_tested, sessions, wait_at_most, wait_until,
};
use serde_json::Value as Json;

use super::{OPTIONS, events, instance, resqd, types::server, wait_until_read};

const WRITERS: usize = 3;
/// Written in each round.
const TRANSACTIONS: u64 = 300;

/// A server that loses nothing when it is killed.
const DURABLE: [&str; 6] =
    [OPTIONS[0], OPTIONS[1], OPTIONS[2], OPTIONS[3], "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];

/// Ends the writers when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes numbered rows, several in a transaction of which some are rolled back, until `over`; a server that is gone is
/// waited for. What was committed is what the table holds.
fn write(server: &Server, writer: usize, over: &AtomicBool, allowed: &AtomicU64, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed + writer as u64);
    let mut conn: Option<Conn> = None;
    while !over.load(Ordering::Relaxed) {
        if allowed.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
            continue;
        }
        let Some(session) = &mut conn else {
            conn = server.try_conn(1).ok();
            thread::yield_now();
            continue;
        };
        let count = if random.u8(0..100) == 0 { 2500 } else { random.u64(1..5) };
        let rows: Vec<String> = (0..count).map(|_| format!("({writer})")).collect();
        let end = if random.u8(0..4) == 0 { "ROLLBACK" } else { "COMMIT" };
        let sql = format!("START TRANSACTION; INSERT INTO wexact.t (writer) VALUES {}; {end}", rows.join(","));
        match session.query_drop(sql) {
            Ok(()) => drop(allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))),
            Err(_) => conn = None,
        }
    }
}

/// Every row that the table holds is exactly one event, those of each writer in the order of their ids, and no row that it
/// does not hold is any.
fn assert_exact(instance: &Instance) {
    let mut conn = instance.server.conn();
    let rows: Vec<(u64, usize)> = conn.query("SELECT id, writer FROM wexact.t ORDER BY id").unwrap();
    let mut log = instance.conn();
    wait_at_most(DEADLINE * 2, "the last event", || {
        log.query_first::<usize, _>("SELECT COUNT(*) FROM res_event").unwrap().unwrap() >= rows.len()
    });
    let found: Vec<(u64, String, String)> =
        log.query("SELECT seq, state, payload FROM res_event ORDER BY seq").unwrap();
    let mut ids: Vec<Vec<u64>> = vec![Vec::new(); WRITERS];
    for (place, (seq, state, payload)) in found.iter().enumerate() {
        assert_eq!((*seq, state.as_str()), (place as u64 + 1, "t.insert"), "{payload}");
        let after = serde_json::from_str::<Json>(payload).unwrap()["after"].clone();
        ids[after["writer"].as_u64().unwrap() as usize].push(after["id"].as_u64().unwrap());
    }
    for (writer, ids) in ids.iter().enumerate() {
        let expected: Vec<u64> = rows.iter().filter(|(_, w)| *w == writer).map(|(id, _)| *id).collect();
        assert_eq!(*ids, expected, "writer {writer}");
    }
    println!("{} rows, each one event", rows.len());
}

/// Kills daemons and servers under load.
fn survive(server: &Server, rounds: u64, kills_server: bool, seed: u64) {
    println!("seed {seed}");
    let instance = instance(server, "wexact");
    server
        .conn()
        .query_drop("CREATE DATABASE wexact; CREATE TABLE wexact.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, writer INT)")
        .unwrap();
    let daemon = || -> Running { resqd(&instance, "[[watch]]\ntable = 'wexact.t'\n").spawn_ready() };
    let second = || -> Running {
        let path = instance.dir().join("resq.toml");
        let socket = instance.dir().join("second.sock");
        instance.resqd().env("RESQ_CONFIG", path).env("RESQ_SOCKET", socket).args(["--poll-ms", "60000"]).spawn_ready()
    };
    let mut first = Some(daemon());
    wait_until_read(&instance);
    let mut other = Some(second());
    let (over, allowed) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        // Also after a panic, since the writers are waited for.
        let _over = Over(&over);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let (over, allowed) = (&over, &allowed);
                    move || write(server, writer, over, allowed, seed)
                })
            })
            .collect();
        for round in 0..rounds {
            // The fault happens in the middle of what is written in this round.
            allowed.store(TRANSACTIONS, Ordering::Relaxed);
            wait_at_most(DEADLINE, "half of the transactions", || allowed.load(Ordering::Relaxed) <= TRANSACTIONS / 2);
            match round % 3 {
                // SIGKILL: the other daemon takes over.
                0 => {
                    drop(first.take());
                    first = Some(daemon());
                }
                1 => {
                    drop(other.take());
                    other = Some(second());
                }
                _ if kills_server => {
                    server.kill9(1);
                    server.restart_with(1, &DURABLE);
                }
                _ => {}
            }
        }
        wait_at_most(DEADLINE, "the rest of the transactions", || allowed.load(Ordering::Relaxed) == 0);
        over.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
    assert_exact(&instance);
    drop((first, other));
}

#[test]
fn events_are_exact_through_the_death_of_daemons_and_of_the_server() {
    if matches!(Server::shared().kind(), "galera" | "group") {
        return not_tested("a cluster loses a node, not its data: see the tests of clusters");
    }
    let server = Server::with_options(&DURABLE);
    survive(&server, 3, true, fastrand::u64(..));
}

/// `TEST_SERVER=mysql97 cargo test --release --test e2e -- --ignored twenty_deaths`
#[test]
#[ignore = "minutes of kills"]
fn events_are_exact_through_twenty_deaths() {
    let server = Server::with_options(&DURABLE);
    survive(&server, 20, true, fastrand::u64(..));
}

#[test]
fn lost_log_is_announced_and_reading_goes_on() {
    let (server, _turn) = server();
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
    events(&instance, "t.insert", 2);
    assert_eq!(second.stop().code(), Some(0));

    // A position in the future, as after a reset or on another server.
    conn.query_drop("RESET BINARY LOGS AND GTIDS").or_else(|_| conn.query_drop("RESET MASTER")).unwrap();
    conn.query_drop("INSERT INTO t VALUES (4)").unwrap();
    let third = start();
    let gaps = events(&instance, "resq.watch_gap", 2);
    assert!(gaps[1].1["from"].is_string() && gaps[1].1["to"].is_string(), "{}", gaps[1].1);
    wait_until_read(&instance);
    conn.query_drop("INSERT INTO t VALUES (5)").unwrap();
    let found = events(&instance, "t.insert", 3);
    assert_eq!(found[2].1["after"]["id"], 5);
    assert_eq!(third.stop().code(), Some(0));
}

#[test]
fn server_that_logs_too_little_is_refused_with_all_that_is_missing() {
    let kind = Server::shared().kind().to_string();
    let server = Server::with_options(&[
        "--log-bin",
        "--server-id=1",
        "--binlog-row-image=MINIMAL",
        "--binlog-row-metadata=MINIMAL",
    ]);
    let instance = instance(&server, "wlittle");
    let refused = resqd(&instance, "[[watch]]\ntable = 'a.b'\n").run();
    assert_eq!(refused.code(), Some(1), "{refused}");
    let mut words = vec!["binlog_row_image = FULL", "binlog_row_metadata = FULL"];
    if kind.starts_with("mariadb") {
        words.push("binlog_format = ROW");
    }
    words.iter().for_each(|word| assert!(refused.stderr.contains(word), "{word}: {refused}"));
    let doctor = Doctor::of(instance.resqctl(["doctor"]).env("RESQ_CONFIG", instance.dir().join("resq.toml")).run());
    assert_eq!(doctor.verdict("watched tables"), Verdict::Failed, "{}", doctor.finished);
}

#[test]
fn privilege_that_is_revoked_stops_nothing_and_loses_nothing() {
    let (server, _turn) = server();
    let instance = instance(server, "wrevoke");
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wrevoke_db; USE wrevoke_db; CREATE TABLE t (id INT PRIMARY KEY)").unwrap();
    let running = resqd(&instance, "[[watch]]\ntable = 'wrevoke_db.t'\n").spawn_ready();
    wait_until_read(&instance);
    let user = instance.daemon.user.clone();
    let dumps = format!("SELECT id FROM {} WHERE user = '{user}' AND command LIKE 'Binlog Dump%'", sessions());
    conn.query_drop(format!("REVOKE REPLICATION SLAVE, REPLICATION CLIENT ON *.* FROM '{user}'@'%'")).unwrap();
    for dump in conn.query::<u64, _>(&dumps).unwrap() {
        conn.query_drop(format!("KILL {dump}")).unwrap();
    }
    wait_until("no dump", || conn.query::<u64, _>(&dumps).unwrap().is_empty());
    conn.query_drop("INSERT INTO t VALUES (1)").unwrap();
    conn.query_drop(format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{user}'@'%'")).unwrap();
    events(&instance, "t.insert", 1);
    assert_eq!(running.stop().code(), Some(0));
}
