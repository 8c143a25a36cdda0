//! Retention counts from the moment when an event could be delivered first, not from when it was written.

use mysql::prelude::Queryable;

use resq_test_support::{Instance, wait_until};

use super::{head_seq, next, publish, resqd, subscriber};
use crate::protocol::peer::Received;

fn first_seq(instance: &Instance) -> u64 {
    instance.conn().query_first("SELECT first_seq FROM res_log").unwrap().unwrap()
}

#[test]
fn events_written_during_a_long_standstill_are_kept_and_delivered() {
    let instance = Instance::ready("standstill");
    let mut conn = instance.conn();
    // No daemon runs for 30 days. The first ids have holes, so both ways of numbering are taken.
    for (n, days) in [30, 8, 7, 1, 0].into_iter().enumerate() {
        publish(&mut conn, "A", &n.to_string());
        conn.query_drop("START TRANSACTION; INSERT INTO res_outbox (state, payload) VALUES ('B', '1'); ROLLBACK")
            .unwrap();
        conn.query_drop(format!("UPDATE res_outbox SET at = NOW(6) - INTERVAL {days} DAY WHERE payload = '{n}'"))
            .unwrap();
    }
    let running = resqd(&instance);
    wait_until("all to be numbered", || head_seq(&mut conn) == 5);
    publish(&mut conn, "A", "5");
    let mut peer = subscriber(&instance.broker_socket(), 0);
    for n in 0..6 {
        match peer.receive_past_pings() {
            Received::Event { seq, payload, unix_time_us, .. } => {
                assert_eq!((seq, payload), (n + 1, n.to_string().into_bytes()));
                let written =
                    format!("SELECT CAST(UNIX_TIMESTAMP(at) * 1000000 AS UNSIGNED) FROM res_event WHERE seq = {seq}");
                assert_eq!(conn.query_first(written).unwrap(), Some(unix_time_us), "the event's time stays");
            }
            other => panic!("event {} expected, not {other}", n + 1),
        }
    }
    assert_eq!(running.stop().code(), Some(0));
    // The next start prunes at once what is old: nothing is.
    let running = resqd(&instance);
    publish(&mut conn, "A", "6");
    wait_until("a turn", || head_seq(&mut conn) == 7);
    assert_eq!(running.stop().code(), Some(0));
    assert_eq!(first_seq(&instance), 1);
}

#[test]
fn age_is_counted_from_the_number() {
    let instance = Instance::ready("age");
    let mut conn = instance.conn();
    // When it was numbered (None: by a version that did not record it) and written, in hours; whether it is pruned.
    let table: &[(Option<u32>, u32, bool)] = &[
        (None, 169, true),
        (None, 167, false),
        (Some(169), 1000, true),
        (Some(169), 0, true),
        (Some(167), 1000, false),
        (Some(0), 1000, false),
    ];
    for (numbered, written, is_pruned) in table {
        let case = format!("numbered {numbered:?}, written {written}");
        let numbered = numbered.map_or("NULL".into(), |hours| format!("NOW(6) - INTERVAL {hours} HOUR"));
        conn.query_drop(format!(
            "DELETE FROM res_event; UPDATE res_log SET head_seq = 1, first_seq = 1, moved_at = NOW(6); \
             INSERT INTO res_event (seq, bytes, state, payload, at, numbered_at) \
             VALUES (1, 1, 'A', '1', NOW(6) - INTERVAL {written} HOUR, {numbered})"
        ))
        .unwrap();
        let running = resqd(&instance);
        publish(&mut conn, "A", "2");
        wait_until("a turn", || head_seq(&mut conn) == 2);
        // The sequencer prunes in the turn in which it numbers, or in the next.
        if *is_pruned {
            wait_until(&case, || first_seq(&instance) == 2);
        }
        assert_eq!(running.stop().code(), Some(0), "{case}");
        assert_eq!(first_seq(&instance), if *is_pruned { 2 } else { 1 }, "{case}");
    }
}

#[test]
fn clients_that_waited_for_a_daemon_resume_before_old_events_are_pruned() {
    let instance = Instance::ready("waited");
    let mut conn = instance.conn();
    let running = resqd(&instance);
    for n in 0..3 {
        publish(&mut conn, "A", &n.to_string());
    }
    wait_until("all to be numbered", || head_seq(&mut conn) == 3);
    assert_eq!(running.stop().code(), Some(0));
    // Then no daemon ran for nine days.
    conn.query_drop("UPDATE res_event SET numbered_at = NOW(6) - INTERVAL 9 DAY").unwrap();
    conn.query_drop("UPDATE res_log SET moved_at = NOW(6) - INTERVAL 9 DAY").unwrap();
    let running = resqd(&instance);
    publish(&mut conn, "A", "3");
    wait_until("a turn", || head_seq(&mut conn) == 4);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    for n in 0..4 {
        assert_eq!(next(&mut peer), (n + 1, "A".into(), n.to_string()));
    }
    assert_eq!(running.stop().code(), Some(0));
}
