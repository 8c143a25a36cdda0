//! A failover to a replica: what was written there goes on by GTIDs, and is a gap where there are none.

use mysql::prelude::Queryable;
use resq_test_support::{Server, is_cluster, kind_under_test, not_tested, wait_until};

use super::{instance, next, resqd, subscriber, wait_until_read};

#[test]
fn failover_to_a_replica_goes_on_by_gtids_and_is_a_gap_without() {
    if is_cluster() {
        return not_tested("nodes of a cluster have the same GTIDs, and die in another test");
    }
    let has_gtids = kind_under_test() != "mysql97";
    let mut options = Server::logging_options().to_vec();
    options.extend(["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]);
    if !has_gtids {
        options.push("--gtid-mode=OFF");
    }
    let primary = Server::with_options(&options);
    let instance = instance(&primary, "wmoved");
    let table = "CREATE DATABASE wmoved_db; CREATE TABLE wmoved_db.t (id INT PRIMARY KEY)";
    primary.conn().query_drop(table).unwrap();
    let replica = primary.replicated(&options);
    let start = |server: &Server| {
        let program = resqd(&instance, "[[watch]]\ntable = 'wmoved_db.t'\n");
        program.env("MYSQL_PORT", server.port().to_string()).spawn_ready()
    };
    let insert = |server: &Server, id: u64| {
        server.conn().query_drop(format!("INSERT INTO wmoved_db.t VALUES ({id})")).unwrap();
    };
    let daemon = start(&primary);
    wait_until_read(&instance);
    let mut peer = subscriber(&instance, &["t.*", "resq.*"]);
    for id in 1..=3 {
        insert(&primary, id);
        let (seq, state, payload) = next(&mut peer);
        assert_eq!((seq, state.as_str(), payload["after"]["id"].as_u64()), (id, "t.insert", Some(id)));
    }
    let mut conn = replica.conn();
    conn.query_drop(format!("USE {}", instance.global_db)).unwrap();
    wait_until("the replica to have all", || {
        conn.query_first::<u64, _>("SELECT COUNT(*) FROM res_event").unwrap() == Some(3)
    });

    primary.kill9(1);
    drop(daemon);
    replica.promote();
    // No daemon reads when it is written.
    insert(&replica, 4);
    let (file, pos): (String, u64) = conn.query_first("SELECT file, pos FROM res_watch").unwrap().unwrap();
    let logs: Vec<mysql::Row> = conn.query("SHOW BINARY LOGS").unwrap();
    let is_there = |log: &mysql::Row| log.get::<String, _>(0) == Some(file.clone()) && log.get(1) >= Some(pos);
    // A hostile server logs more than its replica.
    assert!(
        primary.is_hostile() || logs.iter().any(is_there),
        "the replica's log has the same place, {file}:{pos}: {logs:?}"
    );
    // The lease of the daemon that was killed ends, as if the time had passed.
    conn.query_drop("UPDATE res_watch SET lease_until = NULL").unwrap();
    let daemon = start(&replica);
    let mut peer = subscriber(&instance, &["t.*", "resq.*"]);
    for id in 1..=5 {
        let (seq, state, payload) = next(&mut peer);
        if id == 4 {
            insert(&replica, 5);
        }
        assert_eq!(seq, id);
        if id == 4 && !has_gtids {
            let reason = payload["reason"].as_str().unwrap();
            assert!(state == "resq.watch_gap" && reason.contains("another server"), "{state} {payload}");
            assert!(payload["from"] == format!("{file}:{pos}") && payload["to"].is_string(), "{payload}");
        } else {
            assert_eq!((state.as_str(), payload["after"]["id"].as_u64()), ("t.insert", Some(id)), "{payload}");
        }
    }
    assert_eq!(daemon.stop().code(), Some(0));
}
