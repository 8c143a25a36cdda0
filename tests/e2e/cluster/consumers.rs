//! A consumer whose daemon and node die is taken over at another node, and skips nothing.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Server, wait_until};

use super::{alone, daemon};
use crate::{
    consumers::{BEGINNING, read, refused, settle, take},
    protocol::peer::ack,
};

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn consumer_is_taken_over_on_another_node() {
    let _alone = alone();
    let instance = Instance::ready("cons_nodes");
    let server = Server::shared();
    let sockets = [1, 2].map(|n| instance.dir().join(format!("d{n}.sock")));
    let first = daemon(&instance, &[1, 2, 3], &sockets[0]);
    let second = daemon(&instance, &[2, 3, 1], &sockets[1]);
    let mut conn = server.conn_to(3);
    conn.select_db(&instance.global_db).unwrap();
    let mut sql = |sql: &str| conn.query_first::<u64, _>(sql).unwrap();
    (0..20).for_each(|_| _ = sql("INSERT INTO res_outbox (state, payload) VALUES ('A', '1')"));
    wait_until("the events", || sql("SELECT head_seq FROM res_log") == Some(20));
    let (mut older, _) = take(&sockets[0], "c", BEGINNING, 10);
    read(&mut older, 1..=10);
    older.send(&ack(4));
    wait_until("the position", || sql("SELECT position FROM res_consumer") == Some(4));
    // From one node to another, and back.
    let (mut newer, seq) = take(&sockets[1], "c", BEGINNING, 10);
    assert_eq!(seq, 4);
    read(&mut newer, 5..=14);
    older.send(&ack(10));
    assert_eq!(refused(&mut older), 11);
    newer.send(&ack(8));
    wait_until("the position", || sql("SELECT position FROM res_consumer") == Some(8));
    // The node and its daemon die with an acknowledgement on its way.
    newer.send(&ack(12));
    settle(&mut newer);
    server.kill9(2);
    drop(second); // SIGKILL
    let (mut last, seq) = take(&sockets[0], "c", BEGINNING, 100);
    assert!((8..=12).contains(&seq), "{seq}");
    read(&mut last, seq + 1..=20);
    last.send(&ack(20));
    wait_until("the position", || sql("SELECT position FROM res_consumer") == Some(20));
    server.restart(2);
    assert_eq!(first.stop().code(), Some(0));
}
