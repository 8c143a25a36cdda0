//! Dumps that end and privileges that go, servers that do not log what is needed, and installations from before.

use mysql::{BinlogRequest, Conn, prelude::Queryable};
use resq_test_support::{Doctor, FaultProxy, Instance, Server, Verdict, kind_under_test, sessions, wait_until};

use super::{events, instance, resqd, server, wait_until_read};
use crate::migrations::registry;

const GRANTED: &str = "REPLICATION SLAVE, REPLICATION CLIENT";

/// The sessions in which this installation's daemon reads the log, for wakeups and for watched tables.
fn dumps(instance: &Instance, conn: &mut Conn) -> Vec<u64> {
    let user = &instance.daemon.user;
    conn.query(format!("SELECT id FROM {} WHERE user = '{user}' AND command LIKE 'Binlog Dump%'", sessions())).unwrap()
}

fn kill_dumps(instance: &Instance, conn: &mut Conn) {
    for dump in dumps(instance, conn) {
        // It may have ended by itself.
        let _ = conn.query_drop(format!("KILL {dump}"));
    }
}

#[test]
fn dumps_that_are_killed_displaced_or_refused_lose_nothing() {
    let (server, _turn) = server();
    let instance = instance(server, "wdumps");
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wdumps_db; USE wdumps_db; CREATE TABLE t (id INT PRIMARY KEY)").unwrap();
    let running = resqd(&instance, "[[watch]]\ntable = 'wdumps_db.t'\n").spawn_ready();
    wait_until_read(&instance);
    wait_until("both dumps", || dumps(&instance, &mut conn).len() == 2);

    kill_dumps(&instance, &mut conn);
    conn.query_drop("INSERT INTO t VALUES (1)").unwrap();
    events(&instance, "%", 1);

    // Other replicas under their numbers: the server ends the older dumps.
    wait_until("both dumps again", || dumps(&instance, &mut conn).len() == 2);
    let replicas = conn.query("SHOW REPLICAS").or_else(|_| conn.query("SHOW SLAVE HOSTS"));
    let ids: Vec<u32> = replicas.unwrap().iter().map(|row: &mysql::Row| row.get(0).unwrap()).collect();
    let ids: Vec<u32> = ids.into_iter().filter(|id| *id >= 1 << 31).collect();
    assert_eq!(ids.len(), 2, "{ids:?}");
    let before = dumps(&instance, &mut conn);
    let thieves: Vec<_> =
        ids.iter().map(|id| server.conn().get_binlog_stream(BinlogRequest::new(*id).with_pos(4_u64))).collect();
    wait_until("other dumps", || {
        let now = dumps(&instance, &mut conn);
        now.len() == 2 && now.iter().all(|dump| !before.contains(dump))
    });
    conn.query_drop("INSERT INTO t VALUES (2)").unwrap();
    events(&instance, "%", 2);
    drop(thieves);

    let user = &instance.daemon.user;
    conn.query_drop(format!("REVOKE {GRANTED} ON *.* FROM '{user}'@'%'")).unwrap();
    kill_dumps(&instance, &mut conn);
    wait_until("no dump", || dumps(&instance, &mut conn).is_empty());
    conn.query_drop("INSERT INTO t VALUES (3)").unwrap();
    conn.query_drop(format!("GRANT {GRANTED} ON *.* TO '{user}'@'%'")).unwrap();
    let found = events(&instance, "%", 3);
    let ids: Vec<u64> = found.iter().map(|(_, payload)| payload["after"]["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(running.stop().code(), Some(0));
}

/// A cluster reports a lost race where a node was cut off during a COMMIT that the others carried out.
#[test]
fn commit_that_is_reported_as_a_lost_race_is_not_repeated() {
    let (server, _turn) = server();
    let instance = instance(server, "wraced");
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wraced_db; USE wraced_db; CREATE TABLE t (id INT PRIMARY KEY)").unwrap();
    let proxy = FaultProxy::to(server.port());
    let program = resqd(&instance, "[[watch]]\ntable = 'wraced_db.t'\n");
    let running = program.env("MYSQL_PORT", proxy.port.to_string()).env("MYSQL_TLS", "off").spawn_ready();
    wait_until_read(&instance);
    let mut rows = 0;
    let mut insert = |count: u64| {
        let ids: Vec<String> = (rows + 1..=rows + count).map(|id| format!("({id})")).collect();
        conn.query_drop(format!("INSERT INTO t VALUES {}", ids.join(","))).unwrap();
        rows += count;
        rows
    };
    // A batch of several events, and the end of a transaction that is staged.
    for (mark, count) in [("INSERT INTO res_event (numbered_at", 3), ("+ n, bytes, state", 8_000)] {
        println!("{mark}");
        proxy.report_race_at_commit(mark);
        insert(count);
        wait_until("the answer to be replaced", || proxy.has_lost());
        let last = insert(1);
        let found = events(&instance, "t.insert", last as usize);
        let ids: Vec<u64> = found.iter().map(|(_, payload)| payload["after"]["id"].as_u64().unwrap()).collect();
        assert_eq!(ids, (1..=last).collect::<Vec<_>>());
    }
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn server_that_logs_too_little_is_refused_with_all_that_is_missing() {
    const IMAGE: (&str, &str) = ("--binlog-row-image=MINIMAL", "binlog_row_image = FULL");
    const METADATA: (&str, &str) = ("--binlog-row-metadata=MINIMAL", "binlog_row_metadata = FULL");
    const NO_LOG: (&str, &str) = ("--skip-log-bin", "log_bin is OFF");
    let kind = kind_under_test();
    let (mut own, mut _turn) = (None, None);
    let (server, mut words): (&Server, _) = match kind.as_str() {
        // As its nodes come.
        "galera" => (Server::shared(), vec!["log_bin is OFF", "wsrep_gtid_mode = ON", "log_slave_updates is OFF"]),
        // Its nodes log enough: one of them is made to log less, for the time of this test.
        "group" => {
            let (server, turn) = server();
            _turn = Some(turn);
            (server, vec![IMAGE.1, METADATA.1])
        }
        _ => {
            let server: &Server = own.insert(Server::with_options(&[IMAGE.0, METADATA.0, NO_LOG.0]));
            (server, vec![IMAGE.1, METADATA.1, NO_LOG.1])
        }
    };
    let set = |value: &str| {
        if kind == "group" {
            let sql = format!("SET GLOBAL binlog_row_image = '{value}', GLOBAL binlog_row_metadata = '{value}'");
            server.conn().query_drop(sql).unwrap();
        }
    };
    set("MINIMAL");
    let instance = instance(server, "wlittle");
    let refused = resqd(&instance, "[[watch]]\ntable = 'a.b'\n").run();
    let doctor = Doctor::of(instance.resqctl(["doctor"]).env("RESQ_CONFIG", instance.dir().join("resq.toml")).run());
    set("FULL");
    assert_eq!(refused.code(), Some(1), "{refused}");
    if kind.starts_with("mariadb") {
        words.push("binlog_format = ROW");
    }
    words.iter().for_each(|word| assert!(refused.stderr.contains(word), "{word}: {refused}"));
    assert_eq!(doctor.verdict("watched tables"), Verdict::Failed, "{}", doctor.finished);
}

#[test]
fn installation_of_an_older_version_watches_after_init() {
    let (server, _turn) = server();
    let instance = instance(server, "wolder");
    let mut conn = instance.conn();
    conn.query_drop(registry::OF_VERSION_4).unwrap();
    conn.query_drop("CREATE DATABASE wolder_db; CREATE TABLE wolder_db.t (id INT PRIMARY KEY)").unwrap();
    let watch = || resqd(&instance, "[[watch]]\ntable = 'wolder_db.t'\n");
    let refused = watch().expect_code(1);
    assert!(refused.stderr.contains("resqctl init"), "{refused}");
    instance.resqctl(["init"]).ok();
    let running = watch().spawn_ready();
    wait_until_read(&instance);
    conn.query_drop("INSERT INTO wolder_db.t VALUES (1)").unwrap();
    events(&instance, "%", 1);
    assert_eq!(instance.resqctl(["consumers"]).ok(), "no consumers\n");
    assert_eq!(running.stop().code(), Some(0));
}
