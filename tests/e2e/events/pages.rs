//! Large events are numbered in pages, so that no transaction grows beyond what a cluster takes.

use mysql::{Conn, prelude::Queryable};

use resq_test_support::Instance;

use super::{head_seq, publish};

/// What `publish` takes at most.
const LARGEST: usize = 1_000_000;

fn large(letter: char) -> String {
    format!("\"{}\"", letter.to_string().repeat(LARGEST - 2))
}

/// One page, as a daemon asks for it; how many events it was.
fn number(conn: &mut Conn) -> u64 {
    let before = head_seq(conn);
    conn.query_drop("CALL res_number(0, 2000, @last)").unwrap();
    head_seq(conn) - before
}

#[test]
fn a_hundred_large_events_are_numbered_in_transactions_of_sixteen_mebibytes() {
    let instance = Instance::ready("large_pages");
    let mut conn = instance.conn();
    for n in 0..100 {
        publish(&mut conn, &format!("L{n}"), &large('x'));
    }
    // Some more, small ones and one larger than that takes, past `publish`.
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
    // The event that reaches 16 MiB is the page's last.
    assert_eq!(pages, [17, 17, 17, 17, 17, 16, 30], "{pages:?}");
    let states: Vec<String> = conn.query("SELECT state FROM res_event ORDER BY seq").unwrap();
    let expected = (0..100).map(|n| format!("L{n}")).chain(["Huge".into()]).chain((0..30).map(|n| format!("S{n}")));
    assert_eq!(states, expected.collect::<Vec<_>>());
    let wrong = "SELECT COUNT(*) FROM res_event WHERE bytes <> LENGTH(payload)";
    assert_eq!(conn.query_first(wrong).unwrap(), Some(0));
}

#[test]
fn a_page_of_large_events_waits_for_nobodys_open_transaction() {
    let instance = Instance::ready("open_pages");
    let (mut conn, mut open) = (instance.conn(), instance.conn());
    open.query_drop("START TRANSACTION").unwrap();
    for n in 0..40 {
        publish(&mut conn, "L", &large('x'));
        if n % 8 == 0 {
            publish(&mut open, "Open", &large('z'));
        }
    }
    // As a daemon's session is.
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").unwrap();
    conn.query_drop("SET SESSION innodb_lock_wait_timeout = 1").unwrap();
    let pages: Vec<u64> = (0..4).map(|_| number(&mut conn)).collect();
    assert_eq!(pages, [17, 17, 6, 0]);
    open.query_drop("COMMIT").unwrap();
    assert_eq!(number(&mut conn), 5);
}
