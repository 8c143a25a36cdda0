//! What is an event and what is not, and what it says.

use mysql::prelude::Queryable;
use resq_test_support::is_cluster;
use serde_json::json;

use super::{events, instance, next, resqd, server, settings, subscriber, wait_until_read};

const WATCHES: &str = r#"
[[watch]]
table = "wrules_db.orders"
ops = ["insert", "update"]
state = "orders.{op}"
columns = ["id", "state"]
only_changed = ["state"]
[[watch]]
table = "wrules_r*.reviews"
state = "review:{op}"
[[watch]]
table = "wrules_db.orders"
ops = ["delete"]
state = "gone"
[[watch]]
table = "wrules_db.many"
"#;

#[test]
fn rows_become_events_by_the_rules_of_their_watch() {
    let (server, _turn) = server();
    let instance = instance(server, "wrules");
    let mut conn = server.conn();
    conn.query_drop(
        "CREATE DATABASE wrules_db; USE wrules_db; \
         CREATE TABLE orders (id INT PRIMARY KEY, state VARCHAR(10), note LONGTEXT); CREATE TABLE other (id INT PRIMARY KEY); \
         CREATE TABLE many (id BIGINT PRIMARY KEY, a VARCHAR(100))",
    )
    .unwrap();
    let running = resqd(&instance, WATCHES).spawn_ready();
    wait_until_read(&instance);
    let mut peer = subscriber(&instance, &["*"]);

    conn.query_drop("INSERT INTO orders VALUES (1, 'new', 'x')").unwrap();
    let (_, state, payload) = next(&mut peer);
    assert_eq!((state.as_str(), &payload["after"]), ("orders.insert", &json!({"id": 1, "state": "new"})));
    assert!(payload["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{payload}");
    // Not one of the decisive columns, another table, rolled back, an update of nothing.
    conn.query_drop("UPDATE orders SET note = 'y'; INSERT INTO other VALUES (1)").unwrap();
    conn.query_drop("START TRANSACTION; INSERT INTO orders VALUES (9, 'new', 'x'); ROLLBACK").unwrap();
    conn.query_drop("UPDATE orders SET state = 'paid'").unwrap();
    let (_, state, payload) = next(&mut peer);
    assert_eq!(
        (state.as_str(), &payload["before"]["state"], &payload["after"]["state"]),
        ("orders.update", &json!("new"), &json!("paid"))
    );

    // A transaction over several tables stays together, in the order of its statements; a database made later is watched.
    conn.query_drop("CREATE DATABASE wrules_r7; CREATE TABLE wrules_r7.reviews (r INT PRIMARY KEY, u VARCHAR(5))")
        .unwrap();
    conn.query_drop(
        "START TRANSACTION; INSERT INTO wrules_r7.reviews VALUES (1, 'a'), (2, NULL); DELETE FROM orders; \
         UPDATE wrules_r7.reviews SET u = 'b' WHERE r = 2; COMMIT",
    )
    .unwrap();
    let found: Vec<_> = (0..4).map(|_| next(&mut peer)).collect();
    let states: Vec<&str> = found.iter().map(|(_, state, _)| state.as_str()).collect();
    assert_eq!(states, ["review:insert", "review:insert", "gone", "review:update"]);
    assert_eq!(found[3].2["before"], json!({"r": 2, "u": null}));
    assert_eq!(found[2].2["before"], json!({"id": 1, "state": "paid", "note": "y"}));
    assert_eq!(found[2].2["after"], json!(null));
    let gtids: Vec<_> = found.iter().map(|(_, _, payload)| payload["gtid"].clone()).collect();
    assert!(gtids.iter().all(|gtid| *gtid == gtids[0]), "{gtids:?}");

    // Columns as they were when the row was written, whatever ALTER came since.
    conn.query_drop(
        "INSERT INTO many VALUES (1, '1'); ALTER TABLE many ADD COLUMN b INT FIRST; INSERT INTO many VALUES (5, 2, '2'); \
         ALTER TABLE many CHANGE a z VARCHAR(100); INSERT INTO many VALUES (NULL, 3, '3'); ALTER TABLE many DROP COLUMN b; \
         INSERT INTO many VALUES (4, '4'); RENAME TABLE many TO few; INSERT INTO few VALUES (5, '5'); \
         RENAME TABLE few TO many; INSERT INTO many VALUES (6, '6'); TRUNCATE TABLE many",
    )
    .unwrap();
    let found: Vec<_> = (0..5).map(|_| next(&mut peer).2["after"].clone()).collect();
    assert_eq!(
        found,
        [
            json!({"id": 1, "a": "1"}),
            json!({"b": 5, "id": 2, "a": "2"}),
            json!({"b": null, "id": 3, "z": "3"}),
            json!({"id": 4, "z": "4"}),
            json!({"id": 6, "z": "6"})
        ]
    );

    // Too large: the key alone.
    conn.query_drop("INSERT INTO wrules_r7.reviews VALUES (5, 'z'); SET SESSION max_error_count = 0").unwrap();
    assert_eq!(next(&mut peer).1, "review:insert");
    conn.query_drop("CREATE TABLE wrules_r7.blank (a INT); DROP TABLE wrules_r7.reviews").unwrap();
    conn.query_drop(
        "CREATE TABLE wrules_r7.reviews (a INT, b VARCHAR(3), c LONGTEXT, PRIMARY KEY (b, a)); \
         INSERT INTO wrules_r7.reviews VALUES (1, 'k', REPEAT('x', 1000000))",
    )
    .unwrap();
    let (_, _, payload) = next(&mut peer);
    assert_eq!((&payload["after"], &payload["truncated"]), (&json!({"a": 1, "b": "k"}).clone(), &json!(true)));
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn changes_that_the_log_does_not_have_are_announced() {
    let (server, _turn) = server();
    let instance = instance(server, "wgaps");
    let mut conn = server.conn();
    conn.query_drop("CREATE DATABASE wgaps_db; USE wgaps_db; CREATE TABLE t (id INT PRIMARY KEY, j JSON, a INT)")
        .unwrap();
    let _running = resqd(&instance, "[[watch]]\ntable = 'wgaps_db.t'\n").spawn_ready();
    wait_until_read(&instance);
    conn.query_drop(r#"INSERT INTO t VALUES (1, '{"a": 1, "b": "long enough to be worth it"}', 1)"#).unwrap();
    let mut gaps = 0;
    for (setting, change) in [
        ("binlog_row_image = MINIMAL", "UPDATE t SET a = 2"),
        ("binlog_format = STATEMENT", "UPDATE t SET a = 3"),
        ("binlog_row_value_options = PARTIAL_JSON", "UPDATE t SET j = JSON_SET(j, '$.a', 2)"),
    ] {
        let mut session = server.conn();
        // The tests' sessions have READ COMMITTED on a hostile server, with which InnoDB refuses statements as a log (1665).
        session.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; USE wgaps_db").unwrap();
        // A MySQL group refuses such a change, a server another setting.
        if session.query_drop(format!("SET SESSION {setting}")).and_then(|()| session.query_drop(change)).is_ok() {
            println!("{setting}");
            gaps += 1;
        }
    }
    assert!(gaps >= if is_cluster() { 1 } else { 2 }, "{gaps}");
    conn.query_drop("UPDATE t SET a = 9").unwrap();
    let found = events(&instance, "%", gaps + 2);
    for (state, payload) in &found[1..=gaps] {
        assert_eq!(state, "resq.watch_gap", "{payload}");
        let reason = payload["reason"].as_str().unwrap();
        assert!(reason.contains("binlog_row") || reason.contains("binlog_format"), "{reason}");
    }
    assert_eq!((found[gaps + 1].0.as_str(), &found[gaps + 1].1["after"]["a"]), ("t.update", &json!(9)));
}

#[test]
fn settings_that_cannot_be_meant_are_refused_with_their_line() {
    let (server, _turn) = server();
    let instance = instance(server, "wbad");
    for (watches, words) in [
        ("[[watch]]\ntable = 'a.b'\ncolum = ['x']\n", ":3: watch: unknown key colum; did you mean columns?"),
        ("[[watch]]\ntable = 'ab'\n", ":2: watch: expected table = \"database.table\""),
        ("[[watch]]\ntable = 'a*b.c'\n", ":2: watch: expected table"),
        ("[[watch]]\nops = ['insert']\n", "watch: table is missing"),
        ("[[watch]]\ntable = 'a.b'\nops = ['upsert']\n", ":3: watch: ops has `upsert`"),
        ("[[watch]]\ntable = 'a.b'\nstate = 'a b'\n", "watch: state `a b` is none"),
        ("[[watch]]\ntable = 'a.b'\nstate = '{tabel}'\n", "watch: state `{tabel}` is none"),
        ("[[watch]]\ntable = 'a.b'\nops = ['insert']\nonly_changed = ['x']\n", "only_changed has no effect"),
        ("[[watch]]\ntable = 'a.b'\n[[watch]]\ntable = 'c.b'\n", "would have the state `b.insert`"),
        ("[[watch]]\ntable = 'mysql.user'\n", "belongs to the server"),
        ("[watch]\ntable = 'a.b'\n", "double brackets"),
        ("[[wach]]\ntable = 'a.b'\n", "did you mean [watch]?"),
    ] {
        let path = settings(&instance, watches);
        let refused = instance.resqd().env("RESQ_CONFIG", path).expect_code(2);
        assert!(refused.stderr.contains(words), "{watches}: {refused}");
    }
    let own = format!("[[watch]]\ntable = '{}.res_queue'\n", instance.global_db);
    let refused = resqd(&instance, &own).expect_code(2);
    assert!(refused.stderr.contains("holds the events themselves"), "{refused}");
}
