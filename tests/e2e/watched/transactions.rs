//! Transactions of any size, compressed or not: all of it, together and in order, in bounded memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{FaultProxy, is_cluster, kind_under_test, wait_at_most, wait_until};
use serde_json::json;

use super::{events, instance, next, resqd, server, subscriber, wait_until_read};

/// Resident memory of a process, now or at its highest, in MiB.
fn resident_mib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).expect(field);
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Inserts rows that are numbered from 1, each with a text of this many characters, in one transaction.
fn insert_many(conn: &mut Conn, rows: u64, characters: u64) {
    conn.query_drop(format!("SET SESSION cte_max_recursion_depth = {rows}"))
        .or_else(|_| conn.query_drop(format!("SET SESSION max_recursive_iterations = {rows}")))
        .unwrap();
    conn.query_drop(format!(
        "INSERT INTO t (id, a) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) \
         SELECT i, REPEAT('x', {characters}) FROM n"
    ))
    .unwrap();
}

/// One transaction of so many rows becomes as many events. resqd holds a part of them at a time.
fn read_many(name: &str, rows: u64, characters: u64, within: Duration) {
    /// What the daemon may grow by: pieces on their way between its threads, statements, and pages of the log.
    const MOST_MIB: u64 = 96;
    let (server, _turn) = server();
    let instance = instance(server, name);
    let mut conn = server.conn();
    conn.query_drop(format!(
        "CREATE DATABASE {name}_db; USE {name}_db; CREATE TABLE t (id BIGINT PRIMARY KEY, a TEXT)"
    ))
    .unwrap();
    let running = resqd(&instance, &format!("[[watch]]\ntable = '{name}_db.t'\n")).spawn_ready();
    wait_until_read(&instance);
    let before = resident_mib(running.pid(), "VmRSS");
    insert_many(&mut conn, rows, characters);
    let start = Instant::now();
    let mut log = instance.conn();
    wait_at_most(within, "the events", || log.query_first("SELECT head_seq FROM res_log").unwrap() == Some(rows));
    let took = start.elapsed();
    let mut peer = subscriber(&instance, &["*"]);
    for n in 1..=rows {
        let (seq, _, payload) = next(&mut peer);
        assert_eq!((seq, &payload["after"]["id"]), (n, &json!(n)));
    }
    let peak = resident_mib(running.pid(), "VmHWM");
    println!("{rows} rows in {took:.1?}; resident {before} MiB before, at most {peak} MiB");
    assert!(peak <= before + MOST_MIB, "{before} MiB grew to {peak} MiB");
    // They are deleted behind the transaction that numbers them, in batches.
    let left = "SELECT COUNT(*) FROM res_watch_row";
    wait_until("nothing to be left", || log.query_first(left).unwrap() == Some(0));
    assert_eq!(running.stop().code(), Some(0));
    conn.query_drop(format!("DROP DATABASE {name}_db")).unwrap();
}

#[test]
fn transaction_larger_than_what_is_held_of_it_is_read_whole_in_bounded_memory() {
    // 120 MB, and on a cluster, where each node keeps its copy, less.
    read_many("wlarge", if is_cluster() { 5_000 } else { 20_000 }, 6_000, Duration::from_secs(120));
}

/// `cargo test --release --test e2e -- --ignored --nocapture million_rows`
#[test]
#[ignore = "takes minutes"]
fn transaction_of_a_million_rows_is_read_whole_in_bounded_memory_in_full() {
    if kind_under_test() == "group" {
        // Its events are numbered in one transaction, of more than the 150 MB that a group allows.
        let unlimited = "SET GLOBAL group_replication_transaction_size_limit = 0";
        (1..=3).for_each(|n| server().0.conn_to(n).query_drop(unlimited).unwrap());
    }
    read_many("wmillion", 1_000_000, 10, Duration::from_secs(1_800));
}

/// How a session compresses what it writes; the last one undoes what is not a session's.
const COMPRESSED: [&str; 3] = [
    "SET SESSION binlog_transaction_compression = ON",
    "SET GLOBAL log_bin_compress = ON, GLOBAL log_bin_compress_min_len = 10",
    "SET GLOBAL log_bin_compress = OFF, GLOBAL log_bin_compress_min_len = 256",
];

#[test]
fn compressed_transactions_are_read_as_others() {
    const LARGE: u64 = 2_500;
    let (server, _turn) = server();
    let instance = instance(server, "wpacked");
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wpacked_db; USE wpacked_db; CREATE TABLE t (id BIGINT PRIMARY KEY, a TEXT)")
        .unwrap();
    let running = resqd(&instance, "[[watch]]\ntable = 'wpacked_db.t'\n").spawn_ready();
    wait_until_read(&instance);
    let set = COMPRESSED[..2].iter().find(|set| conn.query_drop(set).is_ok());
    println!("{}", set.expect("every server can compress"));
    // What MariaDB's sessions log is decided when they begin.
    let mut session = server.conn();
    session.query_drop("USE wpacked_db").unwrap();
    if set == Some(&COMPRESSED[0]) {
        session.query_drop(COMPRESSED[0]).unwrap();
    }
    session
        .query_drop(
            "START TRANSACTION; INSERT INTO t VALUES (-1, REPEAT('a', 500)), (-2, NULL); \
             UPDATE t SET a = REPEAT('ö', 300) WHERE id = -2; COMMIT; DELETE FROM t WHERE id = -1; \
             START TRANSACTION; INSERT INTO t VALUES (-3, REPEAT('b', 500)); ROLLBACK; TRUNCATE TABLE t",
        )
        .unwrap();
    insert_many(&mut session, LARGE, 200);
    session.query_drop("UPDATE t SET a = 'end' WHERE id = 7").unwrap();
    let _ = conn.query_drop(COMPRESSED[2]);
    let found = events(&instance, "%", LARGE as usize + 5);
    let shown = |n: usize| {
        let (state, payload) = &found[n];
        (state.as_str(), payload["before"]["a"].clone(), payload["after"]["a"].clone())
    };
    let (a, o) = ("a".repeat(500), "ö".repeat(300));
    assert_eq!(shown(0), ("t.insert", json!(null), json!(a)));
    assert_eq!(shown(1), ("t.insert", json!(null), json!(null)));
    assert_eq!(shown(2), ("t.update", json!(null), json!(o)));
    assert_eq!(shown(3), ("t.delete", json!(a), json!(null)));
    for n in 1..=LARGE {
        assert_eq!(found[3 + n as usize].1["after"]["id"], json!(n));
    }
    let x = "x".repeat(200);
    assert_eq!(shown(LARGE as usize + 4), ("t.update", json!(x), json!("end")));
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn lease_is_kept_while_a_long_transaction_of_other_tables_is_read() {
    let (server, _turn) = server();
    let instance = instance(server, "wlong");
    let mut conn = server.conn();
    conn.query_drop(
        "CREATE DATABASE wlong_db; USE wlong_db; CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE o (x LONGTEXT)",
    )
    .unwrap();
    let proxy = FaultProxy::to(server.port());
    let program = resqd(&instance, "[[watch]]\ntable = 'wlong_db.t'\n");
    let running = program.env("MYSQL_PORT", proxy.port.to_string()).spawn_ready();
    wait_until_read(&instance);
    // It takes longer than some renewals are apart.
    proxy.slow(Duration::ZERO, 80_000);
    conn.query_drop("INSERT INTO o VALUES (REPEAT('x', 500000)); INSERT INTO t VALUES (1)").unwrap();
    // Each renewal stores the position and is itself in the log, so that the next one stores another position, unless what
    // lies in between is still being read.
    let mut stored = instance.conn();
    let mut last = (String::new(), String::new());
    wait_until("a renewal without a step", || {
        let read = "SELECT CONCAT_WS(' ', file, pos, gtids), CAST(lease_until AS CHAR) FROM res_watch WHERE lease_until > NOW(6)";
        let Some(now) = stored.query_first::<(String, String), _>(read).unwrap() else { return false };
        let is_renewed = now.0 == last.0 && now.1 != last.1;
        last = now;
        is_renewed
    });
    proxy.restore();
    assert_eq!(events(&instance, "t.insert", 1).len(), 1);
    assert_eq!(running.stop().code(), Some(0));
}
