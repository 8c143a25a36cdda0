//! One row of the event log that the server refuses, or that cannot be read, never stops the others: it is set aside, named,
//! and goes on when the cause is gone.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Instance, Server, wait_at_most, wait_until};
use serde_json::Value as Json;
use std::time::Duration;

use super::{head_seq, next, publish, resqd, subscriber};
use crate::protocol::peer::Received;

/// Until a row that was set aside is tried again, after a test that was slow.
const PATIENCE: Duration = Duration::from_secs(180);

/// A way to refuse one row.
struct Case {
    cause: &'static [&'static str],
    /// Writes the bad row.
    row: &'static [&'static str],
    /// Part of the server's words.
    words: &'static str,
    cure: &'static [&'static str],
    /// What the bad row is in the end.
    event: (&'static str, &'static str),
    /// What is left to be restored.
    after: &'static [&'static str],
}

const BAD: &[&str] = &["INSERT INTO res_outbox (state, payload) VALUES ('Bad', '0')"];

const CASES: &[Case] = &[
    Case {
        cause: &["CREATE TRIGGER refuse BEFORE INSERT ON res_event FOR EACH ROW IF NEW.state = 'Bad' THEN \
                  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF"],
        row: BAD,
        words: "not this one",
        cure: &["DROP TRIGGER refuse"],
        event: ("Bad", "0"),
        after: &[],
    },
    Case {
        cause: &["ALTER TABLE res_event ADD CONSTRAINT forbidden CHECK (state <> 'Worse')"],
        row: &["INSERT INTO res_outbox (state, payload) VALUES ('Worse', '0')"],
        words: "forbidden",
        cure: &["ALTER TABLE res_event DROP CONSTRAINT forbidden"],
        event: ("Worse", "0"),
        after: &[],
    },
    Case {
        cause: &["CREATE TRIGGER keep BEFORE DELETE ON res_outbox FOR EACH ROW IF OLD.state = 'Bad' THEN \
                  SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it stays here'; END IF"],
        row: BAD,
        words: "it stays here",
        cure: &["DROP TRIGGER keep"],
        event: ("Bad", "0"),
        after: &[],
    },
    Case {
        cause: &["CREATE TABLE held (id BIGINT UNSIGNED PRIMARY KEY, \
                  CONSTRAINT held_row FOREIGN KEY (id) REFERENCES res_outbox (id))"],
        row: &[BAD[0], "INSERT INTO held VALUES (LAST_INSERT_ID())"],
        words: "held_row",
        cure: &["DROP TABLE held"],
        event: ("Bad", "0"),
        after: &[],
    },
    // As other tools restore or alter the tables.
    Case {
        cause: &["ALTER TABLE res_outbox MODIFY payload MEDIUMBLOB NOT NULL"],
        row: &["INSERT INTO res_outbox (state, payload) VALUES ('Bad', x'FF')"],
        words: "payload",
        cure: &["UPDATE res_outbox SET payload = '\"mended\"' WHERE state = 'Bad'"],
        event: ("Bad", "\"mended\""),
        after: &["ALTER TABLE res_outbox MODIFY payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"],
    },
    Case {
        cause: &["ALTER TABLE res_outbox MODIFY payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL"],
        row: &["INSERT INTO res_outbox (state, payload) VALUES ('Bad', NULL)"],
        words: "cannot be null",
        cure: &["UPDATE res_outbox SET payload = 'null' WHERE state = 'Bad'"],
        event: ("Bad", "null"),
        after: &["ALTER TABLE res_outbox MODIFY payload MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL"],
    },
];

fn all(conn: &mut Conn, what: &str, statements: &[&str]) {
    for sql in statements {
        conn.query_drop(sql).unwrap_or_else(|error| panic!("{what}: {error}: {sql}"));
    }
}

/// What `resqctl status` lists.
fn set_aside(instance: &Instance) -> Vec<Json> {
    let status: Json = serde_json::from_str(&instance.resqctl(["status", "--json"]).ok()).unwrap();
    status["events_set_aside"].as_array().unwrap().clone()
}

#[test]
fn row_that_cannot_be_numbered_is_set_aside_named_and_delivered_when_it_can() {
    let instance = Instance::ready("not_numbered");
    let running = resqd(&instance);
    let mut conn = instance.conn();
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let mut seq = 0;
    for (number, case) in CASES.iter().enumerate() {
        let what = format!("case {number}, {}", case.words);
        all(&mut conn, &what, case.cause);
        all(&mut conn, &what, &["START TRANSACTION", "CALL publish('Good', '1')"]);
        all(&mut conn, &what, case.row);
        for n in 2..30 {
            publish(&mut conn, "Good", &n.to_string());
        }
        all(&mut conn, &what, &["COMMIT"]);
        for n in 1..30 {
            seq += 1;
            assert_eq!(next(&mut peer), (seq, "Good".into(), n.to_string()), "{what}");
        }
        publish(&mut conn, "Later", "1");
        seq += 1;
        assert_eq!(next(&mut peer), (seq, "Later".into(), "1".into()), "{what}");
        wait_until(&format!("{what}: the list"), || set_aside(&instance).len() == 1);
        let listed = set_aside(&instance).remove(0);
        let words = listed["error"].as_str().unwrap();
        assert!(listed["refused"] == "numbering" && words.contains(case.words), "{what}: {listed}");
        let name = format!("outbox row {}", listed["id"]);
        let text = instance.resqctl(["status"]).ok();
        assert!(text.contains(&name) && text.contains(case.words), "{what}: {text}");
        let doctor = instance.resqctl(["doctor"]).run().stdout;
        let line = doctor.lines().find(|line| line.contains(" set aside:")).expect("a check");
        assert!(line.starts_with("warning") && line.contains(&name) && line.contains(case.words), "{what}: {line}");

        all(&mut conn, &what, case.cure);
        // The pause has grown with all the time since the first refusal.
        wait_at_most(PATIENCE, &format!("{what}: an empty list"), || {
            conn.query_first("SELECT COUNT(*) FROM res_event_quarantine").unwrap() == Some(0)
        });
        seq += 1;
        assert_eq!(next(&mut peer), (seq, case.event.0.into(), case.event.1.into()), "{what}");
        all(&mut conn, &what, case.after);
    }
    let finished = running.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let named = finished.warnings().iter().filter(|line| line.contains("the server refused its numbering")).count();
    assert!((CASES.len()..=10 + CASES.len()).contains(&named), "{finished}");
}

#[test]
fn more_unnumbered_rows_than_can_be_set_aside_do_not_stop_the_others() {
    let instance = Instance::ready("many_refused");
    let mut conn = instance.conn();
    all(&mut conn, "", &[CASES[0].cause[0]]);
    let digits =
        "(SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6)";
    conn.query_drop(format!(
        "INSERT INTO res_outbox (state, payload) SELECT 'Bad', '0' FROM {digits} a, {digits} b, {digits} c, \
         (SELECT 0 n UNION SELECT 1 UNION SELECT 2) d"
    ))
    .unwrap();
    publish(&mut conn, "Good", "1");
    let running = resqd(&instance);
    wait_until("the good one", || head_seq(&mut conn) == 1);
    publish(&mut conn, "Good", "2");
    wait_until("another one", || head_seq(&mut conn) == 2);
    all(&mut conn, "", CASES[0].cure);
    wait_until("all of them", || head_seq(&mut conn) == 2 + 3 * 343);
    assert_eq!(running.stop().code(), Some(0));
}

/// Columns as another tool may have left them, which take anything.
const LOOSE: &[&str] = &[
    "ALTER TABLE res_outbox MODIFY state VARBINARY(64) NULL, MODIFY payload MEDIUMBLOB NULL",
    "ALTER TABLE res_event MODIFY state VARBINARY(64) NULL, MODIFY payload MEDIUMBLOB NULL, MODIFY bytes INT NULL",
];

#[test]
fn row_that_cannot_be_read_is_replaced_and_the_log_goes_on() {
    let instance = Instance::ready("unreadable");
    let mut conn = instance.conn();
    all(&mut conn, "", LOOSE);
    let running = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let rows = [
        "'no state', '1'",
        "'', '1'",
        "NULL, '1'",
        "x'FF', '1'",
        "'A', NULL",
        "'A', REPEAT('x', 1000001)",
        "'A', REPEAT('x', 16000000)",
    ];
    for (n, row) in (0..).zip(rows) {
        conn.query_drop(format!("INSERT INTO res_outbox (state, payload) VALUES ({row}), ('B', '{n}')")).unwrap();
        assert_eq!(next(&mut peer), (2 * n + 1, "resq.unreadable".into(), "null".into()), "{row}");
        assert_eq!(next(&mut peer), (2 * n + 2, "B".into(), n.to_string()), "{row}");
    }
    // Bytes are delivered as they are.
    conn.query_drop("INSERT INTO res_outbox (state, payload) VALUES ('Bytes', x'00FF')").unwrap();
    match peer.receive_past_pings() {
        Received::Event { state, payload, .. } => assert_eq!((state.as_str(), payload), ("Bytes", vec![0, 0xFF])),
        other => panic!("an event expected, not {other}"),
    }
    assert_eq!(running.stop().code(), Some(0));
    let printed = instance.resqctl(["events", "--since", "0", "--json"]).ok();
    assert_eq!(printed.lines().count(), 2 * rows.len() + 1, "{printed}");
}

#[test]
fn event_larger_than_any_answer_of_the_server_does_not_stop_the_log() {
    let server = Server::own();
    let instance = Instance::on(&server, "larger");
    instance.resqctl(["init"]).ok();
    instance.conn().query_drop("SET GLOBAL max_allowed_packet = 16777216").unwrap();
    let mut writer = instance.conn();
    writer.query_drop("SET GLOBAL max_allowed_packet = 1048576").unwrap();
    writer
        .query_drop("INSERT INTO res_outbox (state, payload) VALUES ('A', REPEAT('x', 9000000)), ('B', '1')")
        .unwrap();
    let running = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    assert_eq!(next(&mut peer), (1, "resq.unreadable".into(), "null".into()));
    assert_eq!(next(&mut peer), (2, "B".into(), "1".into()));
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn numbering_goes_on_behind_events_that_another_hand_wrote() {
    let instance = Instance::ready("taken");
    let mut conn = instance.conn();
    publish(&mut conn, "A", "1");
    let running = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    assert_eq!(next(&mut peer), (1, "A".into(), "1".into()));
    conn.query_drop(
        "INSERT INTO res_event (seq, bytes, state, payload) VALUES (2, 1, 'Hand', '2'), (3, 1, 'Hand', '3')",
    )
    .unwrap();
    publish(&mut conn, "A", "4");
    for event in [(2, "Hand", "2"), (3, "Hand", "3"), (4, "A", "4")] {
        assert_eq!(next(&mut peer), (event.0, event.1.into(), event.2.into()));
    }
    let finished = running.stop();
    assert!(finished.code() == Some(0) && set_aside(&instance).is_empty(), "{finished}");
    assert!(finished.warnings().iter().any(|line| line.contains("beyond its head")), "{finished}");
}

#[test]
fn old_event_that_cannot_be_deleted_keeps_no_other_and_delays_none() {
    let table: [(&str, &[&str], &str, &str); 2] = [
        (
            "undeleted",
            &["CREATE TRIGGER keep BEFORE DELETE ON res_event FOR EACH ROW IF OLD.seq = 3 THEN \
               SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'it stays here'; END IF"],
            "it stays here",
            "DROP TRIGGER keep",
        ),
        (
            "referenced",
            &[
                "CREATE TABLE held (seq BIGINT UNSIGNED PRIMARY KEY, \
                 CONSTRAINT held_row FOREIGN KEY (seq) REFERENCES res_event (seq))",
                "INSERT INTO held VALUES (3)",
            ],
            "held_row",
            "DROP TABLE held",
        ),
    ];
    for (name, cause, words, cure) in table {
        let instance = Instance::ready(name);
        let mut conn = instance.conn();
        for n in 1..=6 {
            publish(&mut conn, "A", &n.to_string());
        }
        let running = resqd(&instance);
        wait_until("all to be numbered", || head_seq(&mut conn) == 6);
        assert_eq!(running.stop().code(), Some(0));
        conn.query_drop("UPDATE res_event SET numbered_at = NOW(6) - INTERVAL 9 DAY WHERE seq < 6").unwrap();
        all(&mut conn, name, cause);
        let running = resqd(&instance);
        let kept = |conn: &mut Conn| conn.query::<u64, _>("SELECT seq FROM res_event ORDER BY seq").unwrap();
        wait_until("the others to be deleted", || kept(&mut conn) == [3, 6]);
        wait_until("the list", || set_aside(&instance).len() == 1);
        let listed = set_aside(&instance).remove(0);
        assert!(listed["refused"] == "deletion" && listed["id"] == 3, "{listed}");
        assert!(listed["error"].as_str().unwrap().contains(words), "{listed}");
        // The log begins behind it, and delivers.
        publish(&mut conn, "A", "7");
        let mut peer = subscriber(&instance.broker_socket(), 0);
        assert_eq!(peer.receive_past_pings(), Received::Gap(1, 6));
        assert_eq!(next(&mut peer), (6, "A".into(), "6".into()));
        assert_eq!(next(&mut peer), (7, "A".into(), "7".into()));
        all(&mut conn, name, &[cure]);
        wait_at_most(PATIENCE, "the last one to be deleted", || kept(&mut conn) == [6, 7]);
        wait_until("an empty list", || set_aside(&instance).is_empty());
        assert_eq!(running.stop().code(), Some(0), "{name}");
    }
}
