//! Frozen peers: a subscriber, whose events wait in the log and not in the daemon's memory, and the daemon itself, which no
//! statement that calls the loadable functions notices.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use resq_test_support::{Instance, UdfServer, stats, wait_at_most, wait_until};

use super::{
    checks::Trace,
    scenario::{PATIENCE, Scenario},
    workload::publish_large,
};

const LARGE: usize = 20_000;
const COUNT: usize = 3_000;
/// Room for a subscriber's send queue, the latest events, a page of the log, and the allocator: half of what is published.
const MOST_KIB: u64 = (LARGE * COUNT / 2 / 1024) as u64;

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of the test");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn subscriber_is_frozen() {
    let instance = Instance::ready("sub_still");
    let mut published = 0;
    Scenario::new(&instance, 1).rounds(|system| {
        system.clients[0].signal("STOP");
        let before = resident_kib(system.pid(0));
        let mut conn = instance.conn();
        publish_large(&mut conn, COUNT, LARGE, &mut system.random);
        // The other client receives them all meanwhile.
        system.clients[1].resume(&instance);
        let numbered = "SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM res_event WHERE state = 'Own.large'";
        published += COUNT;
        let other = &system.clients[1];
        wait_at_most(PATIENCE, "the other client to receive all", || {
            let (count, last): (usize, u64) = conn.query_first(numbered).unwrap().unwrap();
            count == published && other.last_seq() >= last
        });
        let grown = resident_kib(system.pid(0)).saturating_sub(before);
        assert!(grown < MOST_KIB, "resqd has grown by {grown} KiB");
        system.clients[1].kill();
        system.clients[0].signal("CONT");
        Trace::Any
    });
}

#[test]
fn resqd_is_frozen_while_the_loadable_functions_call_it() {
    let udf = UdfServer::shared();
    let instance = Instance::on(&udf.server, "sub_udf");
    instance.resqctl(["init"]).ok();
    udf.write_settings(&format!("addr = unix:{}\n", instance.broker_socket().display()), 0o640);
    let resqd = instance.resqd().args(["--poll-ms", "60000"]).spawn_ready();
    let mut conn = instance.conn();
    wait_until("the functions to reach it", || stats(&mut conn).connected == 1);
    resqd.signal("STOP");
    let start = Instant::now();
    conn.query_drop("DO BENCHMARK(300000, resq_notify('A', REPEAT('x', 100)))").unwrap();
    for n in 0..100 {
        conn.query_drop(format!("INSERT INTO res_queue (res_name) VALUES ('a{n}')")).unwrap();
    }
    let took = start.elapsed();
    // Far more than the calls need, far less than if one of them waited for the daemon.
    assert!(took < Duration::from_secs(20), "{took:?} with a frozen daemon");
    let now = stats(&mut conn);
    assert!(now.dropped > 0, "its queue is bounded: {now:?}");
    resqd.signal("CONT");
    // The rings of the INSERTs arrive: the next poll is a minute away.
    let done = "SELECT COUNT(*) FROM res_queue WHERE status = 'done'";
    wait_until("all jobs to be done", || conn.query_first::<u64, _>(done).unwrap() == Some(100));
    assert_eq!(resqd.stop().code(), Some(0));
}
