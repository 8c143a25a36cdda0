//! Peers of the broker that stand still: a subscriber, whose events wait in the log and not in the daemon's memory,
//! and the daemon itself before the loadable functions, which no statement notices.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use crate::{
    instance::Instance,
    program::{wait_at_most, wait_until},
    udf::rig::{Rig, stats},
};

use super::{
    trial::{PATIENCE, Setup},
    workload::publish_large,
};

const LARGE: usize = 20_000;
const COUNT: usize = 3_000;
/// What a subscriber's queue, the latest events and a page of the log may take, with room for the allocator: half of
/// what was published.
const MOST_KIB: u64 = (LARGE * COUNT / 2 / 1024) as u64;

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("a number")
}

#[test]
fn subscriber_stands_still() {
    let instance = Instance::ready("sub_still");
    let mut published = 0;
    Setup::new(&instance, 1).rounds(|trial| {
        trial.listeners[0].signal("STOP");
        let before = resident_kib(trial.pid(0));
        let mut conn = instance.conn();
        publish_large(&mut conn, COUNT, LARGE, &mut trial.random);
        // Another one hears them all meanwhile.
        trial.listeners[1].resume(&instance);
        let numbered = "SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM res_event WHERE state = 'Own.large'";
        published += COUNT;
        let other = &trial.listeners[1];
        wait_at_most(PATIENCE, "the other subscriber to hear all", || {
            let (count, last): (usize, u64) = conn.query_first(numbered).unwrap().unwrap();
            count == published && other.last_seq() >= last
        });
        let grown = resident_kib(trial.pid(0)).saturating_sub(before);
        assert!(grown < MOST_KIB, "resqd has grown by {grown} KiB");
        trial.listeners[1].kill();
        trial.listeners[0].signal("CONT");
        ""
    });
}

#[test]
fn resqd_stands_still_before_the_loadable_functions() {
    let rig = Rig::shared();
    let instance = Instance::on(&rig.server, "sub_udf");
    instance.resqctl(["init"]).ok();
    rig.write_settings(&format!("addr = unix:{}\n", instance.broker_socket().display()), 0o640);
    let mut resqd = instance.resqd().args(["--poll-ms", "60000"]).spawn();
    resqd.wait_for_log("serving");
    let mut conn = instance.conn();
    wait_until("the functions to reach it", || stats(&mut conn).connected == 1);
    resqd.signal("STOP");
    let start = Instant::now();
    conn.query_drop("DO BENCHMARK(300000, resq_notify('A', REPEAT('x', 100)))").unwrap();
    for n in 0..100 {
        conn.query_drop(format!("INSERT INTO res_queue (res_name) VALUES ('a{n}')")).unwrap();
    }
    let took = start.elapsed();
    // Far more than it takes, far less than if one of them waited for the daemon.
    assert!(took < Duration::from_secs(20), "{took:?} with a daemon that stands still");
    let now = stats(&mut conn);
    assert!(now.dropped > 0, "its queue is bounded: {now:?}");
    resqd.signal("CONT");
    // The rings of the INSERTs get through: the poll is a minute away.
    let done = "SELECT COUNT(*) FROM res_queue WHERE status = 'done'";
    wait_until("all jobs to be done", || conn.query_first::<u64, _>(done).unwrap() == Some(100));
    assert_eq!(resqd.stop().code(), Some(0));
}
