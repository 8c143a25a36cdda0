//! Large events are numbered in pages, so that no transaction exceeds what a cluster accepts.

use mysql::{Conn, prelude::Queryable};

use resq_test_support::Instance;

use super::{head_seq, publish};

/// The largest payload that `publish` accepts.
const LARGEST: usize = 1_000_000;

fn large(letter: char) -> String {
    format!("\"{}\"", letter.to_string().repeat(LARGEST - 2))
}

/// Numbers one page as a daemon does; returns how many events it had.
fn number(conn: &mut Conn) -> u64 {
    let before = head_seq(conn);
    conn.query_drop("CALL res_number(0, 2000, @last)").unwrap();
    head_seq(conn) - before
}

#[test]
fn large_events_are_numbered_in_transactions_of_sixteen_mebibytes() {
    let instance = Instance::ready("large_pages");
    let mut conn = instance.conn();
    for n in 0..100 {
        publish(&mut conn, &format!("L{n}"), &large('x'));
    }
    // Then one larger than `publish` accepts, inserted directly, and small ones.
    conn.query_drop("INSERT INTO res_outbox (state, payload) SELECT 'Huge', REPEAT('y', 5000000)").unwrap();
    for n in 0..30 {
        publish(&mut conn, &format!("S{n}"), "1");
    }
    let mut pages = Vec::new();
    loop {
        match number(&mut conn) {
            0 => break,
            page => pages.push(page),
        }
    }
    // A page ends with the event that reaches 16 MiB.
    assert_eq!(pages, [17, 17, 17, 17, 17, 16, 30], "{pages:?}");
    let states: Vec<String> = conn.query("SELECT state FROM res_event ORDER BY seq").unwrap();
    let expected = (0..100).map(|n| format!("L{n}")).chain(["Huge".into()]).chain((0..30).map(|n| format!("S{n}")));
    assert_eq!(states, expected.collect::<Vec<_>>());
    let wrong = "SELECT COUNT(*) FROM res_event WHERE bytes <> LENGTH(payload)";
    assert_eq!(conn.query_first(wrong).unwrap(), Some(0));
}

#[test]
fn pages_of_large_events_do_not_wait_for_open_transactions() {
    let instance = Instance::ready("open_pages");
    let (mut conn, mut open) = (instance.conn(), instance.conn());
    open.query_drop("START TRANSACTION").unwrap();
    for n in 0..40 {
        publish(&mut conn, "L", &large('x'));
        if n % 8 == 0 {
            publish(&mut open, "Open", &large('z'));
        }
    }
    // Like a daemon's session.
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").unwrap();
    conn.query_drop("SET SESSION innodb_lock_wait_timeout = 1").unwrap();
    let pages: Vec<u64> = (0..4).map(|_| number(&mut conn)).collect();
    assert_eq!(pages, [17, 17, 6, 0]);
    open.query_drop("COMMIT").unwrap();
    assert_eq!(number(&mut conn), 5);
}
