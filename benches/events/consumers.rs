//! One consumer that acknowledges every event of a backlog: how fast, and what its position costs the server.

use std::time::{Duration, Instant};

use mysql::{Conn, prelude::Queryable};
use resq::client::{Address, Consumer, Delivery, Peer, Start, Subscriber, Subscription};
use resq_test_support::{Instance, wait_at_most};

/// What acknowledging a backlog took.
pub struct Acknowledged {
    pub events_per_s: f64,
    /// Statements that stored positions, each of which commits.
    pub stores_per_s: f64,
}

/// Events are numbered first; then one consumer receives and acknowledges them, one by one.
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
    let stores_before = stores(&mut conn);
    let peer = Peer::new(Address::Unix(instance.broker_socket()), "bench");
    let subscription = Subscription {
        since: Start::After(before),
        consumer: Some(Consumer { max_unacked: 10_000, ..Consumer::new("bench") }),
        ..Subscription::to(["*"])
    };
    let begin = Instant::now();
    let mut subscriber = Subscriber::connect(peer, subscription).expect("the daemon is there");
    let mut seq = before;
    while seq < last {
        let Some(Delivery::Event(event)) = subscriber.recv_timeout(Duration::from_secs(60)).expect("no refusal") else {
            panic!("an event expected after {seq}")
        };
        assert_eq!(event.seq, seq + 1);
        seq = event.seq;
        subscriber.acknowledge(seq);
    }
    assert!(subscriber.finish(Duration::from_secs(60)));
    let took = begin.elapsed().as_secs_f64();
    let stores = stores(&mut conn) - stores_before;
    drop(subscriber);
    wait_at_most(Duration::from_secs(10), "the position", || {
        conn.query_first("SELECT position FROM res_consumer WHERE name = 'bench'").unwrap() == Some(last)
    });
    conn.query_drop("DELETE FROM res_consumer").unwrap();
    Acknowledged { events_per_s: (last - before) as f64 / took, stores_per_s: stores as f64 / took }
}

/// Nothing else updates several tables in one statement.
fn stores(conn: &mut Conn) -> u64 {
    let row: Option<(String, u64)> = conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_update_multi'").unwrap();
    row.expect("every server counts them").1
}
