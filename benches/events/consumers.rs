//! One consumer that acknowledges every event of a backlog: how fast, and what its position costs the server.

use std::{
    thread,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};
use resq::client::{Address, Consumer, Delivery, Peer, Start, Subscriber, Subscription};
use resq_test_support::{Instance, wait_at_most};

/// The rate that one consumer must sustain, in events a second.
pub const PACE: u64 = 50_000;

/// What acknowledging a backlog took.
pub struct Acknowledged {
    pub events_per_s: f64,
    /// For so long a second consumer acknowledged the same events at [`PACE`].
    pub paced_s: f64,
    /// Statements that stored its positions, each of which commits; the last one at its end.
    pub stores: u64,
}

/// Events are numbered first; then one consumer receives and acknowledges them, one by one, as fast as it can, and another one
/// at a steady pace.
pub fn acknowledged(instance: &Instance, events: u64) -> Acknowledged {
    const BATCH: u64 = 2_000;
    let mut conn = instance.conn();
    let before: u64 = conn.query_first("SELECT head_seq FROM res_log").unwrap().unwrap();
    let values = vec!["('Bench', '{\"res_id\":1,\"status\":\"done\"}')"; BATCH as usize].join(",");
    let fill = format!("INSERT INTO res_outbox (state, payload) VALUES {values}");
    (0..events / BATCH).for_each(|_| conn.query_drop(&fill).unwrap());
    let _resqd = instance.resqd().spawn_ready();
    let last = before + events / BATCH * BATCH;
    wait_at_most(Duration::from_secs(300), "the events to be numbered", || {
        conn.query_first("SELECT head_seq FROM res_log").unwrap() == Some(last)
    });
    let fast_s = acknowledge(instance, "fast", before, last, None);
    let stores_before = stores(&mut conn);
    let paced_s = acknowledge(instance, "paced", before, last, Some(PACE));
    let stores = stores(&mut conn) - stores_before;
    Acknowledged { events_per_s: (last - before) as f64 / fast_s, paced_s, stores }
}

/// How long one consumer takes for the events behind `before` up to `last`, in seconds.
fn acknowledge(instance: &Instance, name: &str, before: u64, last: u64, per_s: Option<u64>) -> f64 {
    let peer = Peer::new(Address::Unix(instance.broker_socket()), "bench");
    let subscription = Subscription {
        since: Start::After(before),
        consumer: Some(Consumer { max_unacked: 10_000, ..Consumer::new(name) }),
        ..Subscription::to(["*"])
    };
    let begin = Instant::now();
    let mut subscriber = Subscriber::connect(peer, subscription).expect("the daemon is there");
    for seq in before + 1..=last {
        let Some(Delivery::Event(event)) = subscriber.recv_timeout(Duration::from_secs(60)).expect("no refusal") else {
            panic!("event {seq} expected")
        };
        assert_eq!(event.seq, seq);
        subscriber.acknowledge(seq);
        let number = seq - before;
        if let (Some(per_s), true) = (per_s, number.is_multiple_of(100)) {
            let due = begin + Duration::from_secs_f64(number as f64 / per_s as f64);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }
    assert!(subscriber.finish(Duration::from_secs(60)));
    let took = begin.elapsed().as_secs_f64();
    drop(subscriber);
    let mut conn = instance.conn();
    wait_at_most(Duration::from_secs(10), "the position", || {
        conn.exec_first("SELECT position FROM res_consumer WHERE name = ?", (name,)).unwrap() == Some(last)
    });
    took
}

/// Nothing else updates several tables in one statement.
fn stores(conn: &mut Conn) -> u64 {
    let row: Option<(String, u64)> = conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_update_multi'").unwrap();
    row.expect("every server counts them").1
}
