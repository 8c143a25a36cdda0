//! Everything at once for minutes: 100,000 waiting jobs, of which one per second becomes due, 2,000 databases and more
//! being built, 5,000 subscribers, 2,000 events per second. Shows whether the last minute differs from the first.

use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};
use resq::client::{Delivery, Subscriber};

use resq_test_support::{InOrder, Instance, wait_at_most};

use crate::{figures::Times, figures::subscribe, listeners::Listeners};

const WAITING: u64 = 100_000;
const DATABASES: u64 = 2_000;
const SUBSCRIBERS: u64 = 5_000;
/// Each state has ten subscribers.
const STATES: u64 = 500;
const WRITERS: u64 = 4;
const TRANSACTIONS_A_SECOND: u64 = 200;
const EVENTS_A_TRANSACTION: u64 = 10;
const LONG: Duration = Duration::from_secs(600);

/// One minute's figures.
pub struct Minute {
    pub resident_mib: f64,
    /// From a COMMIT's return to the transaction's last event at a client subscribed to all states.
    pub event: Times,
    /// From the INSERT of a job until its database is built and its outcome recorded; one per second.
    pub job: Times,
}

/// The totals at the end.
pub struct Total {
    pub events: u64,
    /// To the subscribers of single states.
    pub delivered: u64,
    /// Jobs done meanwhile, whether inserted or become due.
    pub jobs: u64,
}

/// Builds the databases, fills the queue, then runs `minutes` of load, calling `each` after every minute. Panics if an event is missed,
/// repeated or out of order, if a job is not done, or if the daemon warns of anything.
pub fn run(instance: &Instance, minutes: u64, mut each: impl FnMut(Minute)) -> Total {
    let mut conn = instance.conn();
    fill(&mut conn, "made", DATABASES, "NULL");
    let resqd = instance.resqd().spawn_ready();
    let pid = resqd.pid();
    wait_at_most(LONG, "the databases", || count(&mut conn, "status = 'done'") == DATABASES);
    fill(&mut conn, "waits", WAITING, "NOW() + INTERVAL n SECOND");

    let states = (0..SUBSCRIBERS).map(|n| format!("s{}", n % STATES));
    let listeners = Listeners::subscribe(&instance.broker_socket(), states);
    let mut checker = subscribe(instance, None);
    let transactions = minutes * 60 * TRANSACTIONS_A_SECOND;
    let returned: Vec<AtomicU64> = (0..transactions).map(|_| AtomicU64::new(0)).collect();
    let begin = Instant::now();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let returned = &returned;
            scope.spawn(move || write(&mut instance.conn(), writer, begin, returned));
        }
        let (sent, jobs) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let mut conn = instance.conn();
            (0..minutes).for_each(|minute| sent.send(work(&mut conn, minute, begin)).expect("the receiver lives"));
        });
        let mut order = InOrder::new(transactions as usize);
        for _ in 0..minutes {
            let event = check(&mut checker, &mut order, begin, &returned);
            let job = Times::new(jobs.recv_timeout(LONG).expect("every job was done"));
            each(Minute { resident_mib: resident_mib(pid), event, job });
        }
    });
    let events = transactions * EVENTS_A_TRANSACTION;
    let expected = events * (SUBSCRIBERS / STATES);
    wait_at_most(LONG, "every subscriber's last event", || listeners.delivered() >= expected);
    let delivered = listeners.delivered();
    assert_eq!(delivered, expected, "events at the subscribers of single states");
    let overdue = "status <> 'done' AND (run_at IS NULL OR run_at < NOW() - INTERVAL 10 SECOND)";
    assert_eq!(count(&mut conn, overdue), 0, "jobs that should be done");
    let jobs = count(&mut conn, "status = 'done'") - DATABASES;
    drop(listeners);
    let finished = resqd.stop();
    assert!(finished.warnings().is_empty(), "{finished}");
    Total { events, delivered, jobs }
}

/// Rows `NAME-1` to `NAME-count`; `run_at` may use the number n.
fn fill(conn: &mut Conn, name: &str, count: u64, run_at: &str) {
    conn.query_drop("SET SESSION cte_max_recursion_depth = 1000000")
        .or_else(|_| conn.query_drop("SET SESSION max_recursive_iterations = 1000000"))
        .unwrap();
    conn.query_drop(format!(
        "INSERT INTO res_queue (res_name, run_at) WITH RECURSIVE s AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM s WHERE n < {count}) \
         SELECT CONCAT('{name}-', n), {run_at} FROM s"
    ))
    .unwrap();
}

fn count(conn: &mut Conn, condition: &str) -> u64 {
    conn.query_first(format!("SELECT COUNT(*) FROM res_queue WHERE {condition}")).unwrap().unwrap()
}

/// One writer's share of the transactions, each on schedule; stores the microsecond of its COMMIT in `returned`.
fn write(conn: &mut Conn, writer: u64, begin: Instant, returned: &[AtomicU64]) {
    for transaction in (writer..returned.len() as u64).step_by(WRITERS as usize) {
        let at = begin + Duration::from_micros(transaction * 1_000_000 / TRANSACTIONS_A_SECOND);
        thread::sleep(at.saturating_duration_since(Instant::now()));
        conn.query_drop("START TRANSACTION").unwrap();
        for number in 0..EVENTS_A_TRANSACTION {
            let state = (transaction * EVENTS_A_TRANSACTION + number) % STATES;
            conn.query_drop(format!("CALL publish('s{state}', '[{transaction},{number}]')")).unwrap();
        }
        conn.query_drop("COMMIT").unwrap();
        returned[transaction as usize].store(begin.elapsed().as_micros() as u64, Ordering::Release);
    }
}

/// The jobs of one minute, one per second, each waited for.
fn work(conn: &mut Conn, minute: u64, begin: Instant) -> Vec<Duration> {
    let mut times = Vec::new();
    for second in minute * 60..(minute + 1) * 60 {
        thread::sleep((begin + Duration::from_secs(second)).saturating_duration_since(Instant::now()));
        let inserted = Instant::now();
        conn.query_drop(format!("INSERT INTO res_queue (res_name) VALUES ('fresh-{second}')")).unwrap();
        let id = conn.last_insert_id();
        wait_at_most(LONG, "a job", || count(conn, &format!("res_id = {id} AND status = 'done'")) == 1);
        times.push(inserted.elapsed());
    }
    times
}

/// Receives the events of one minute, each transaction's in order; returns how long they took.
fn check(checker: &mut Subscriber, order: &mut InOrder, begin: Instant, returned: &[AtomicU64]) -> Times {
    let mut times = Vec::new();
    while (times.len() as u64) < 60 * TRANSACTIONS_A_SECOND {
        let event = match checker.recv_timeout(LONG).expect("no refusal") {
            Some(Delivery::Event(event)) => event,
            other => panic!("an event expected, not {other:?}"),
        };
        // The queue's own events are objects.
        let Ok([transaction, number]) = serde_json::from_slice::<[u64; 2]>(&event.payload) else { continue };
        order.observe(transaction as usize, number);
        if order.count(transaction as usize) == EVENTS_A_TRANSACTION {
            // An event may overtake its COMMIT's answer.
            let now = begin.elapsed().as_micros() as u64;
            let committed = match returned[transaction as usize].load(Ordering::Acquire) {
                0 => now,
                committed => committed,
            };
            times.push(Duration::from_micros(now.saturating_sub(committed)));
        }
    }
    Times::new(times)
}

fn resident_mib(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim_end_matches("kB").trim().parse::<f64>().expect("a number") / 1024.0
}
