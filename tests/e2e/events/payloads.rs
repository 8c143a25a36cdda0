//! `publish`: which accounts may call it, what it refuses, and that payloads arrive byte for byte.

use mysql::{Conn, prelude::Queryable};

use resq_test_support::{Instance, Program};

use super::{next, publish, resqd, subscriber};

#[test]
fn commits_are_delivered_and_rollbacks_are_not() {
    let instance = Instance::ready("commits");
    let _resqd = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let mut conn = instance.app();
    for round in 0..20 {
        conn.query_drop("START TRANSACTION").unwrap();
        publish(&mut conn, "Phantom", "{}");
        conn.query_drop("SAVEPOINT here").unwrap();
        publish(&mut conn, "Phantom", "{}");
        conn.query_drop("ROLLBACK").unwrap();
        conn.query_drop("START TRANSACTION").unwrap();
        publish(&mut conn, "Kept", &round.to_string());
        conn.query_drop("SAVEPOINT here").unwrap();
        publish(&mut conn, "Phantom", "{}");
        conn.query_drop("ROLLBACK TO SAVEPOINT here").unwrap();
        conn.query_drop("COMMIT").unwrap();
        assert_eq!(next(&mut peer), (round + 1, "Kept".into(), round.to_string()));
    }
}

#[test]
fn trigger_in_another_database_needs_only_execute() {
    let instance = Instance::ready("granted");
    let mut conn = instance.conn();
    for statement in [
        "CREATE DATABASE granted_shop",
        "CREATE TABLE granted_shop.orders (id INT PRIMARY KEY, state VARCHAR(20))",
        "CREATE USER granted@'%' IDENTIFIED BY 'pw'",
        "GRANT SELECT, INSERT, UPDATE, TRIGGER ON granted_shop.* TO granted@'%'",
        "GRANT EXECUTE ON PROCEDURE resq_granted.publish TO granted@'%'",
    ] {
        conn.query_drop(statement).unwrap();
    }
    let opts = mysql::OptsBuilder::new().tcp_port(instance.server.port()).ip_or_hostname(Some("127.0.0.1"));
    let opts = opts.prefer_socket(false).user(Some("granted")).pass(Some("pw"));
    let mut user = instance.server.open(opts).unwrap();
    user.query_drop(
        "CREATE TRIGGER granted_shop.notify AFTER UPDATE ON granted_shop.orders FOR EACH ROW \
         CALL resq_granted.publish(NEW.state, JSON_OBJECT('id', NEW.id))",
    )
    .unwrap();
    let _resqd = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    user.query_drop("INSERT INTO granted_shop.orders VALUES (7, 'Open')").unwrap();
    user.query_drop("UPDATE granted_shop.orders SET state = 'Shipped'").unwrap();
    assert_eq!(next(&mut peer), (1, "Shipped".into(), r#"{"id": 7}"#.into()));
    for forbidden in [
        "INSERT INTO resq_granted.res_outbox (state, payload) VALUES ('A', '1')",
        "CALL resq_granted.res_number(0, 1, @x)",
    ] {
        let error = user.query_drop(forbidden).expect_err(forbidden);
        assert!(crate::privileges::is_denied(&error), "{forbidden}: {error}");
    }
    conn.query_drop("DROP DATABASE granted_shop").unwrap();
}

#[test]
fn malformed_states_and_payloads_are_refused() {
    let instance = Instance::ready("refused");
    let mut conn = instance.app();
    let refuse = |conn: &mut Conn, state: &str, payload: &str| {
        let error = conn.query_drop(format!("CALL publish({state}, {payload})")).unwrap_err();
        match error {
            mysql::Error::MySqlError(e) => assert_eq!(e.state, "45000", "{state}, {payload}: {e}"),
            other => panic!("{state}, {payload}: {other}"),
        }
    };
    for state in [
        "NULL",
        "''",
        "'A\\n'",
        "'\\nA'",
        "'A B'",
        "'*'",
        "'A*'",
        "'\u{e4}'",
        "'\u{1f600}'",
        "'A\\0'",
        "'A/b'",
        "REPEAT('A', 65)",
    ] {
        refuse(&mut conn, state, "'{}'");
    }
    let too_long = r#"CONCAT('"', REPEAT('x', 999999), '"')"#;
    for payload in [
        "NULL",
        "''",
        "'{'",
        "'{} {}'",
        "'not json'",
        "'{\"a\":}'",
        too_long,
        "CONCAT('\"', REPEAT('\u{e4}', 500000), '\"')",
    ] {
        refuse(&mut conn, "'A'", payload);
    }
    let written: u64 = instance.conn().query_first("SELECT COUNT(*) FROM res_outbox").unwrap().unwrap();
    assert_eq!(written, 0);
    for state in ["'A'", "'a_b.c:d-9'", "REPEAT('A', 64)"] {
        conn.query_drop(format!("CALL publish({state}, '1')")).unwrap();
    }
}

#[test]
fn payloads_arrive_byte_for_byte() {
    let instance = Instance::ready("bytes");
    let _resqd = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let mut conn = instance.app();
    let largest = format!("\"{}\"", "x".repeat(999_998));
    let wide = format!("\"{}\"", "\u{1f600}".repeat(249_999));
    let payloads = [
        " {\t\"b\" : 1,\r\n\"a\":[ 1.50 , -0, 1e2 ],\"a\": null } \n",
        "\"\u{1f600} \u{e4}\u{f6}\u{fc} \u{200b}\u{feff}\u{2028} \\u0000 \\\"\"",
        "  17  ",
        "null",
        &largest,
        &wide,
    ];
    for payload in payloads {
        publish(&mut conn, "A", payload);
    }
    for (seq, payload) in (1..).zip(payloads) {
        assert_eq!(next(&mut peer), (seq, "A".into(), payload.to_string()));
    }
    // In another character set the characters count, not the bytes.
    conn.query_drop("SET NAMES latin1").unwrap();
    conn.query_drop(r#"CALL publish('Latin', CONCAT('"', _latin1 x'E4F6FC', '"'))"#).unwrap();
    assert_eq!(next(&mut peer).2, "\"\u{e4}\u{f6}\u{fc}\"");
    let mut conn = instance.app();
    conn.query_drop("SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone = '+05:00'").unwrap();
    conn.query_drop(r#"CALL publish('Ansi', '"a\\b"')"#).unwrap();
    assert_eq!(next(&mut peer).2, r#""a\\b""#);
}

#[test]
fn unreadable_rows_do_not_block_the_log() {
    let instance = Instance::ready("past");
    let _resqd = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let mut conn = instance.conn();
    conn.query_drop("INSERT INTO res_outbox (state, payload) VALUES ('no state', '1'), ('B', REPEAT('x', 1000001))")
        .unwrap();
    publish(&mut conn, "C", "3");
    let states = [(); 3].map(|()| next(&mut peer));
    let unreadable = |seq| (seq, "resq.unreadable".to_string(), "null".to_string());
    assert_eq!(states, [unreadable(1), unreadable(2), (3, "C".into(), "3".into())]);
}

/// The demonstration that comes with the loadable functions, on this test's server.
#[test]
fn demonstration_delivers_to_each_client_its_states() {
    let instance = Instance::ready("demo");
    let mut conn = instance.conn();
    let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/udf/initialize.sql")).unwrap();
    // DELIMITER is the command-line client's; the server takes the whole script.
    let lines = script.lines().filter(|line| !line.starts_with("DELIMITER"));
    let script: String = lines.map(|line| format!("{}\n", line.replace("$$", ";"))).collect();
    conn.query_drop(script.replace("resq.publish", "resq_demo.publish")).unwrap();
    let _resqd = resqd(&instance);
    let client = |states: &[&str], count: &str| -> Program {
        instance.resq_client(["-v", "--count", count, "--sub"]).args(states)
    };
    let (first, second) =
        (client(&["Suspended", "Error"], "2").spawn_ready(), client(&["Completed", "Imaging"], "2").spawn_ready());
    conn.query_drop("INSERT INTO Test.runs (name) VALUES ('T7')").unwrap();
    for state in ["Suspended", "Suspended", "Completed", "Error"] {
        conn.query_drop(format!("UPDATE Test.runs SET state = '{state}' WHERE name = 'T7'")).unwrap();
    }
    let (first, second) = (first.wait(), second.wait());
    let received = |finished: &resq_test_support::Finished| -> Vec<String> {
        finished.stdout.lines().map(|line| line.split_once(' ').unwrap().1.to_string()).collect()
    };
    assert_eq!(received(&first), [r#"Suspended #2 {"test": "T7"}"#, r#"Error #4 {"test": "T7"}"#]);
    assert_eq!(received(&second), [r#"Imaging #1 {"test": "T7"}"#, r#"Completed #3 {"test": "T7"}"#]);
    conn.query_drop("DROP DATABASE Test").unwrap();
}
