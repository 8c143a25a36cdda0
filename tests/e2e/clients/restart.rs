//! A subscriber through crashes of the real daemon: every numbered event reaches it, once.

use resq_test_support::{EventOracle, Instance, RecordingClient, wait_at_most, wait_until, wait_until_all_done};
use std::time::Duration;

const RESOURCES: u64 = 20;

#[test]
fn subscriber_resumes_without_gap_or_repeat_when_resqd_is_killed() {
    let instance = Instance::ready("client_restart");
    let start = || instance.resqd().args(["--lease-s", "2", "--poll-ms", "100"]).spawn_ready();
    let mut resqd = start();
    let client = RecordingClient::start(&instance, "client", Vec::new());
    for round in 0..4 {
        for n in 0..RESOURCES / 4 {
            instance.resqctl(["add", &format!("r{round}_{n}")]).ok();
        }
        let before = client.last_seq();
        wait_until("another event", || client.last_seq() > before);
        resqd.signal("KILL"); // with jobs in progress
        resqd.wait();
        resqd = start();
    }
    let mut conn = instance.conn();
    wait_until_all_done(&mut conn, RESOURCES, Duration::from_secs(60));
    let mut count = |sql: &str| mysql::prelude::Queryable::query_first::<u64, _>(&mut conn, sql).unwrap().unwrap();
    wait_until("the outbox to be empty", || count("SELECT COUNT(*) FROM res_outbox") == 0);
    let head = count("SELECT head_seq FROM res_log");
    wait_at_most(Duration::from_secs(60), "the last event", || client.last_seq() >= head);
    let mut oracle = EventOracle::new([].into());
    client.for_each(|event| oracle.observe(event));
    oracle.finish(&mut conn);
    assert_eq!(resqd.stop().code(), Some(0));
}
