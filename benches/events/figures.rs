//! The figures: the load on the server, and what is measured.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mysql::prelude::Queryable;
use resq::client::{Address, Delivery, Peer, Start, Subscriber, Subscription};

use resq_test_support::{Instance, Program, Running, commit_bare, stats, wait_at_most, wait_until};

use crate::listeners::Listeners;

/// Measured times, sorted.
pub struct Times(Vec<Duration>);

impl Times {
    pub fn new(mut times: Vec<Duration>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    pub fn p50(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    pub fn p99(&self) -> Duration {
        self.0[self.0.len() * 99 / 100]
    }
}

/// A daemon that polls once a minute, to which the loadable functions have connected.
fn ready(instance: &Instance, program: Program) -> Running {
    let running = program.args(["--poll-ms", "60000"]).spawn_ready();
    let mut conn = instance.conn();
    wait_until("the functions to connect", || stats(&mut conn).connected == 1);
    running
}

fn daemon(instance: &Instance) -> Running {
    ready(instance, instance.resqd())
}

pub fn subscribe(instance: &Instance, since: Option<u64>) -> Subscriber {
    let peer = Peer::new(Address::Unix(instance.broker_socket()), "bench");
    let mut subscription = Subscription::to(["*"]);
    subscription.since = since.map_or(Start::Now, Start::After);
    Subscriber::connect(peer, subscription).expect("the daemon is there")
}

/// Bare commits, and from a COMMIT's return to the event at the client, at so many commits a second by four writers.
/// Every fourth commit is a bare one, so that both kinds run under the same conditions.
pub fn latency(instance: &Instance, commits_per_s: u64) -> (Times, Times) {
    const WRITERS: u64 = 4;
    const EACH: u64 = 750;
    let _resqd = daemon(instance);
    let mut subscriber = subscribe(instance, None);
    let returned = Mutex::new(HashMap::new());
    let bare = Mutex::new(Vec::new());
    let begin = Instant::now();
    let arrived: Vec<(String, Instant)> = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (returned, bare) = (&returned, &bare);
            scope.spawn(move || {
                let mut conn = instance.conn();
                for n in 0..EACH {
                    let at = begin + Duration::from_micros((n * WRITERS + writer) * 1_000_000 / commits_per_s);
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    if n % 4 == 0 {
                        let took = commit_bare(&mut conn);
                        bare.lock().unwrap().push(took);
                        continue;
                    }
                    let payload = format!("\"{writer}:{n}\"");
                    conn.query_drop("START TRANSACTION").unwrap();
                    conn.query_drop(format!("CALL publish('Bench', '{payload}')")).unwrap();
                    conn.query_drop("COMMIT").unwrap();
                    returned.lock().unwrap().insert(payload, Instant::now());
                }
            });
        }
        let events = WRITERS * EACH - WRITERS * EACH.div_ceil(4);
        (0..events).map(|_| event(&mut subscriber)).collect()
    });
    let returned = returned.into_inner().unwrap();
    let times = arrived.iter().map(|(payload, at)| at.saturating_duration_since(returned[payload])).collect();
    (Times::new(bare.into_inner().unwrap()), Times::new(times))
}

fn event(subscriber: &mut Subscriber) -> (String, Instant) {
    match subscriber.recv_timeout(Duration::from_secs(60)).expect("no refusal") {
        Some(Delivery::Event(event)) => (String::from_utf8(event.payload).expect("UTF-8"), Instant::now()),
        other => panic!("an event expected, not {other:?}"),
    }
}

/// Bare commits, and from the INSERT of a job to the first statement of its template.
pub fn start_of_jobs(instance: &Instance) -> (Times, Times) {
    let (bare, start) =
        resq_test_support::start_of_jobs(instance, |sql| ready(instance, instance.resqd().arg("--sql-dir").arg(sql)));
    (Times::new(bare), Times::new(start))
}

/// Rows a second of a plain INSERT … SELECT, and events a second from a full outbox to a client, from the first to
/// the last event received.
pub fn drain(instance: &Instance) -> (f64, f64) {
    const EVENTS: u64 = 200_000;
    const BATCH: u64 = 2_000;
    let mut conn = instance.conn();
    let values: Vec<String> =
        (0..BATCH).map(|n| format!("('Bench', '{{\"res_id\":{n},\"status\":\"done\"}}')")).collect();
    let fill = format!("INSERT INTO res_outbox (state, payload) VALUES {}", values.join(","));
    (0..EVENTS / BATCH).for_each(|_| conn.query_drop(&fill).unwrap());
    conn.query_drop("CREATE TABLE IF NOT EXISTS plain LIKE res_event").unwrap();
    let (first, last): (u64, u64) = conn.query_first("SELECT MIN(id), MAX(id) FROM res_outbox").unwrap().unwrap();
    let start = Instant::now();
    for from in (first..=last).step_by(BATCH as usize) {
        conn.query_drop(format!(
            "INSERT INTO plain (seq, bytes, state, payload, at) SELECT id, LENGTH(payload), state, payload, at \
             FROM res_outbox WHERE id BETWEEN {from} AND {}",
            from + BATCH - 1
        ))
        .unwrap();
    }
    let plain = EVENTS as f64 / start.elapsed().as_secs_f64();
    conn.query_drop("DROP TABLE plain").unwrap();
    let since: u64 = conn.query_first("SELECT head_seq FROM res_log").unwrap().unwrap();
    let _resqd = instance.resqd().spawn_ready();
    let mut subscriber = subscribe(instance, Some(since));
    let (_, begin) = event(&mut subscriber);
    let mut end = begin;
    for _ in 1..EVENTS {
        end = event(&mut subscriber).1;
    }
    (plain, EVENTS as f64 / (end - begin).as_secs_f64())
}

/// Transactions a second of eight writers, without and with a hundred subscribers to what they write: medians of
/// turns by turns.
pub fn commit_rate(instance: &Instance) -> [f64; 2] {
    const TURNS: usize = 5;
    let _resqd = daemon(instance);
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        for (subscribers, rates) in [0, 100].into_iter().zip(&mut rates) {
            let listeners = Listeners::subscribe(&instance.broker_socket(), (0..subscribers).map(|_| "*".into()));
            rates.push(writers_rate(instance));
            let mut conn = instance.conn();
            wait_at_most(Duration::from_secs(60), "the outbox to be empty", || {
                conn.query_first::<u8, _>("SELECT 1 FROM res_outbox LIMIT 1").unwrap().is_none()
            });
            drop(listeners);
        }
    }
    rates.map(median)
}

fn writers_rate(instance: &Instance) -> f64 {
    const WRITERS: usize = 8;
    const RUN: Duration = Duration::from_secs(3);
    let (over, commits) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut conn = instance.conn();
                while !over.load(Ordering::Relaxed) {
                    conn.query_drop("CALL publish('Bench', '{\"res_id\":1,\"status\":\"done\"}')").unwrap();
                    commits.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(RUN);
        over.store(true, Ordering::Relaxed);
    });
    commits.into_inner() as f64 / start.elapsed().as_secs_f64()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
