//! `resqctl drop --after`, `restore`, and the purge by a daemon: whole or not at all, and finished by the next try.

use std::path::Path;

use mysql::{Conn, prelude::Queryable};
use serde_json::Value as Json;

use resq_test_support::{Instance, Running, templates, wait_until};

const TABLES: (&str, &str) = (
    "res_tables/10.sql",
    "CREATE TABLE a (id INT PRIMARY KEY) ENGINE = InnoDB; CREATE TABLE m (id INT PRIMARY KEY) ENGINE = InnoDB",
);

fn resqd(instance: &Instance) -> Running {
    resqd_at(instance, "broker.sock")
}

/// With another socket than the other daemons of the test.
fn resqd_at(instance: &Instance, socket: &str) -> Running {
    let sql = instance.sql_dir(&templates::with(templates::MINIMAL, &[TABLES]));
    instance
        .resqd()
        .env("RESQ_SOCKET", instance.dir().join(socket).as_os_str())
        .arg("--sql-dir")
        .arg(sql)
        .args(["--poll-ms", "20"])
        .spawn_ready()
}

/// Adds jobs and waits until they are done; returns their ids as words.
fn done<const N: usize>(instance: &Instance, names: [&str; N]) -> [String; N] {
    let ids = names.map(|name| instance.resqctl(["add", name]).ok().trim().to_string());
    let mut conn = instance.conn();
    wait_until("the jobs to be done", || {
        let open = "SELECT COUNT(*) FROM res_queue WHERE status <> 'done'";
        conn.query_first::<u64, _>(open).unwrap() == Some(0)
    });
    ids
}

/// Of each registered database: whether it is to be dropped, whether that has begun, and what the last try met.
fn marks(conn: &mut Conn) -> Vec<(String, bool, bool, String)> {
    conn.query(
        "SELECT db_name, drop_at IS NOT NULL, dropping_at IS NOT NULL, COALESCE(drop_error, '') FROM res_database ORDER BY 1",
    )
    .unwrap()
}

/// The time of every drop is over, and no try is put off.
fn is_due(conn: &mut Conn) {
    conn.query_drop("UPDATE res_database SET drop_at = NOW(6), drop_retry_at = NULL WHERE drop_at IS NOT NULL")
        .unwrap();
}

fn tables(conn: &mut Conn, db: &str) -> Vec<String> {
    conn.exec("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? ORDER BY 1", (db,)).unwrap()
}

#[test]
fn marked_databases_are_restored_or_dropped_when_their_time_is_over() {
    let instance = Instance::ready("later");
    let resqd = resqd(&instance);
    let [kept, gone, other] = done(&instance, ["kept", "gone", "other"]);
    let mut conn = instance.conn();
    let waiting = instance.resqctl(["add", "waiting", "--delay", "3600"]).ok().trim().to_string();
    for (args, code, why) in [
        (vec!["drop", &kept, "--after", "7d"], 2, "--yes"),
        (vec!["drop", &kept, "--after", "7", "--yes"], 2, "expected a number"),
        (vec!["drop", &kept, "--after", "20000d", "--yes"], 2, "ten years"),
        (vec!["drop", &waiting, &kept, "--after", "7d", "--yes"], 1, "nothing was marked"),
        (vec!["restore", &kept], 1, "none is marked"),
    ] {
        let refused = instance.resqctl([]).args(&args).expect_code(code);
        assert!(refused.stderr.contains(why), "{args:?}: {refused}");
    }
    assert!(marks(&mut conn).iter().all(|(_, to_be_dropped, ..)| !to_be_dropped));
    let printed = instance.resqctl(["drop", &kept, &gone, "--after", "1h", "--yes", "--reason", "unpaid"]).ok();
    assert!(printed.contains("2 databases will be dropped in 1h") && printed.contains("resqctl restore"), "{printed}");
    assert_eq!(instance.resqctl(["restore", &kept]).ok(), "1 database restored\n");
    let to_be_dropped: Vec<bool> = marks(&mut conn).into_iter().map(|(_, to_be_dropped, ..)| to_be_dropped).collect();
    assert_eq!(to_be_dropped, [true, false, false]);
    is_due(&mut conn);
    wait_until("the purge", || marks(&mut conn).len() == 2);
    assert_eq!((tables(&mut conn, "later_gone").len(), tables(&mut conn, "later_kept").len()), (0, 2));
    let rows: Vec<u64> = conn.query("SELECT res_id FROM res_queue ORDER BY 1").unwrap();
    assert_eq!(rows.iter().map(u64::to_string).collect::<Vec<_>>(), [&kept, &other, &waiting].map(String::clone));
    instance.resqctl(["restore", &gone]).expect_code(1);
    wait_until("the event", || {
        let sql = "SELECT payload FROM res_event WHERE state = 'Dropped'";
        let payloads: Vec<String> = conn.query(sql).unwrap();
        let payloads: Vec<Json> = payloads.iter().map(|payload| serde_json::from_str(payload).unwrap()).collect();
        payloads.len() == 1 && payloads[0]["db_name"] == "later_gone" && payloads[0]["res_name"] == "gone"
    });
    let audited: Vec<(String, u64)> = conn
        .query("SELECT action, count FROM res_audit WHERE action IN ('drop-later', 'restore', 'purge') ORDER BY id")
        .unwrap();
    assert_eq!(audited, [("drop-later".into(), 2), ("restore".into(), 1), ("purge".into(), 1)]);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn what_cannot_be_dropped_now_stays_whole_or_is_finished_later() {
    let instance = Instance::ready("laterfails");
    let resqd = resqd(&instance);
    let [key, file, transaction, good] = done(&instance, ["key", "file", "transaction", "good"]);
    let mut conn = instance.conn();
    conn.query_drop("DROP DATABASE IF EXISTS laterapp; CREATE DATABASE laterapp").unwrap();
    let refer = "CREATE TABLE laterapp.c (id INT, FOREIGN KEY (id) REFERENCES laterfails_key.m (id)) ENGINE = InnoDB";
    conn.query_drop(format!("{refer}; GRANT SELECT ON laterapp.* TO '{}'@'%'", instance.daemon.user)).unwrap();
    let ids = [&key, &file, &transaction, &good].map(String::as_str);
    let refused = instance.resqctl(["drop"]).args(ids).args(["--after", "1h", "--yes"]).expect_code(1);
    assert!(refused.stderr.contains("foreign keys of other databases"), "{refused}");
    conn.query_drop("DROP TABLE laterapp.c").unwrap();
    instance.resqctl(["drop"]).args(ids).args(["--after", "1h", "--yes"]).ok();
    // After the marks: a foreign key, a stray file, and a transaction that has read a table.
    conn.query_drop(refer).unwrap();
    let datadir: String = conn.query_first("SELECT @@datadir").unwrap().unwrap();
    let stray = Path::new(&datadir).join("laterfails_file").join("notes.txt");
    std::fs::write(&stray, "").unwrap();
    let mut reader = instance.conn();
    reader.query_drop("START TRANSACTION; SELECT * FROM laterfails_transaction.m").unwrap();
    is_due(&mut conn);
    // On Galera the DDL ends transactions that are in its way.
    let stay = if instance.server.kind() == "galera" { &["key", "file"][..] } else { &["key", "file", "transaction"] };
    let of = |conn: &mut Conn, db: &str| {
        let all = marks(conn).into_iter().find(|(name, ..)| name == db);
        all.map(|(_, _, has_begun, error)| (has_begun, error))
    };
    wait_until("the other one to go, and a try at each", || {
        let is_tried = |one: &&str| of(&mut conn, &format!("laterfails_{one}")).is_some_and(|(_, e)| !e.is_empty());
        stay.iter().all(is_tried) && marks(&mut conn).len() == stay.len()
    });
    for (db, begun, why) in [("key", false, "foreign key"), ("file", true, "notes"), ("transaction", false, "1205")] {
        if !stay.contains(&db) {
            continue;
        }
        let (has_begun, error) = of(&mut conn, &format!("laterfails_{db}")).unwrap();
        assert!(has_begun == begun && (error.contains(why) || db == "file"), "{db}: {has_begun} {error}");
    }
    for db in stay.iter().filter(|db| **db != "file") {
        assert_eq!(tables(&mut conn, &format!("laterfails_{db}")), ["a", "m"], "{db}");
    }
    // What is whole can be restored; what has begun cannot.
    assert_eq!(instance.resqctl(["restore", &key]).ok(), "1 database restored\n");
    instance.resqctl(["restore", &file]).expect_code(1);
    std::fs::remove_file(&stray).unwrap();
    drop(reader);
    is_due(&mut conn);
    wait_until("the next try", || marks(&mut conn) == [("laterfails_key".to_string(), false, false, String::new())]);
    conn.query_drop("DROP DATABASE laterapp").unwrap();
    assert_eq!(resqd.stop().code(), Some(0));
}

/// A daemon that is killed in the middle leaves a mark, by which another finishes; two daemons do not hinder each other.
/// More rounds: `RESQ_ROUNDS=20`.
#[test]
fn purge_goes_on_after_daemons_were_killed() {
    let instance = Instance::ready("laterkill");
    let rounds = std::env::var("RESQ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(2);
    let mut conn = instance.conn();
    for round in 0..rounds {
        let daemons = [resqd(&instance), resqd_at(&instance, "second.sock")];
        conn.query_drop(
            "INSERT INTO res_queue (res_name) VALUES ".to_string()
                + &(0..40).map(|n| format!("('r{round}n{n}')")).collect::<Vec<_>>().join(", "),
        )
        .unwrap();
        let count = |conn: &mut Conn, sql: &str| conn.query_first::<u64, _>(sql).unwrap().unwrap();
        wait_until("the databases", || {
            count(&mut conn, "SELECT COUNT(*) FROM res_database WHERE state = 'ready'") == 40
        });
        wait_until("their jobs", || count(&mut conn, "SELECT COUNT(*) FROM res_queue WHERE status = 'done'") == 40);
        conn.query_drop("UPDATE res_database SET drop_at = NOW(6)").unwrap();
        wait_until("the first to go", || count(&mut conn, "SELECT COUNT(*) FROM res_database") < 38);
        daemons.iter().for_each(|daemon| daemon.signal("KILL"));
        daemons.into_iter().for_each(|daemon| drop(daemon.wait()));
        let last = resqd(&instance);
        wait_until("the others to go", || count(&mut conn, "SELECT COUNT(*) FROM res_database") == 0);
        assert_eq!(count(&mut conn, "SELECT COUNT(*) FROM res_queue"), 0);
        let left: Vec<String> = conn
            .query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'laterkill\\_%'")
            .unwrap();
        assert_eq!(left, Vec::<String>::new());
        let events = "SELECT (SELECT COUNT(*) FROM res_event WHERE state = 'Dropped') \
                      + (SELECT COUNT(*) FROM res_outbox WHERE state = 'Dropped')";
        wait_until("one event for each", || count(&mut conn, events) == 40 * (round + 1));
        assert_eq!(last.stop().code(), Some(0));
    }
}

#[test]
fn purge_is_recorded_with_the_rows_that_it_deletes() {
    let instance = Instance::ready("laterrecord");
    let resqd = resqd(&instance);
    let [id] = done(&instance, ["a"]);
    let mut conn = instance.conn();
    instance.resqctl(["drop", &id, "--after", "1h", "--yes"]).ok();
    let refuse = "CREATE TRIGGER keep BEFORE DELETE ON res_database FOR EACH ROW SIGNAL SQLSTATE '45000'";
    conn.query_drop(refuse).unwrap();
    is_due(&mut conn);
    wait_until("a try to fail", || !marks(&mut conn)[0].3.is_empty());
    let recorded = "SELECT COUNT(*) FROM res_audit WHERE action = 'purge'";
    assert_eq!(conn.query_first(recorded).unwrap(), Some(0));
    conn.query_drop("DROP TRIGGER keep").unwrap();
    is_due(&mut conn);
    wait_until("the purge", || marks(&mut conn).is_empty());
    assert_eq!(conn.query_first(recorded).unwrap(), Some(1));
    assert_eq!(resqd.stop().code(), Some(0));
}
