//! What a watch and its subscribers cost the writers: commits a second at full speed, and whether they keep a pace below it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};
use resq::client::Delivery;
use resq_test_support::Instance;

use super::{SUBSCRIBERS, WATCH, WRITERS, cpu::Cpu, daemon, subscribe};

const LASTS: Duration = Duration::from_secs(6);
/// Of the processors' times.
const NS_PER_S: f64 = 1e9;

/// One run.
struct Run {
    commits_per_s: f64,
    /// Of a processor: the server's, resqd's, its threads', the benchmark's writers and subscribers.
    server: f64,
    resqd: f64,
    threads: Vec<(String, f64)>,
    writers: f64,
    subscribers: f64,
    /// Numberings a second.
    batches: f64,
    /// Events that the subscribers received, in a second.
    received_per_s: f64,
}

/// Prints the figures.
pub fn figures(instance: &Instance) {
    let [a, b, c, d] = [false, true, true, false].map(|watched| match watched {
        true => run(instance, WATCH, SUBSCRIBERS, None),
        false => run(instance, "", 0, None),
    });
    let (without, with) = ((a.commits_per_s + d.commits_per_s) / 2.0, (b.commits_per_s + c.commits_per_s) / 2.0);
    println!(
        "  {WRITERS} writers commit                   {without:>8.0}/s; watched, {SUBSCRIBERS} subscribers {with:.0}/s: {:.2} x (0.97)",
        with / without
    );
    d.print("not watched");
    c.print("watched");
    // How much of it is the fan-out, which runs on the same processors here.
    let alone = run(instance, WATCH, 0, None);
    println!(
        "  watched, no subscriber              {:>8.0}/s: {:.2} x",
        alone.commits_per_s,
        alone.commits_per_s / without
    );
    alone.print("watched, no subscriber");
    for share in [25, 50, 75] {
        let pace = without * f64::from(share) / 100.0;
        let paced = run(instance, WATCH, SUBSCRIBERS, Some(pace));
        println!(
            "  paced at {share} %, watched             {:>8.0}/s: {:.2} x (0.97)",
            paced.commits_per_s,
            paced.commits_per_s / pace
        );
        paced.print("watched");
    }
}

impl Run {
    fn print(&self, name: &str) {
        let threads: Vec<String> = self.threads.iter().map(|(name, share)| format!("{name} {share:.2}")).collect();
        println!(
            "    {name}: of two processors the server {:.2}, resqd {:.2} ({}), writers {:.2}, subscribers {:.2}; {:.0} numberings/s, \
             {:.0} events/s received",
            self.server,
            self.resqd,
            threads.join(", "),
            self.writers,
            self.subscribers,
            self.batches,
            self.received_per_s
        );
    }
}

/// Several writers to the table, which `watches` names or not; `pace`: no more commits a second.
fn run(instance: &Instance, watches: &str, subscribers: usize, pace: Option<f64>) -> Run {
    let resqd = daemon(instance, watches);
    let (over, commits, received) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut conn = instance.conn();
    let mut numbered =
        || -> u64 { conn.query_first("SELECT COUNT(DISTINCT numbered_at) FROM res_event").unwrap().unwrap() };
    let batches = numbered();
    thread::scope(|scope| {
        for _ in 0..subscribers {
            let mut subscriber = subscribe(instance, None);
            let (over, received) = (&over, &received);
            let body = move || {
                while !over.load(Ordering::Relaxed) {
                    match subscriber.recv_timeout(Duration::from_millis(200)).expect("no refusal") {
                        Some(Delivery::Event(_)) => drop(received.fetch_add(1, Ordering::Relaxed)),
                        Some(other) => panic!("an event expected, not {other:?}"),
                        None => {}
                    }
                }
            };
            thread::Builder::new().name("subscriber".into()).spawn_scoped(scope, body).expect("a thread");
        }
        for writer in 0..WRITERS {
            let (over, commits) = (&over, &commits);
            let body = move || {
                let mut conn: Conn = instance.server.conn();
                let begin = Instant::now();
                let mut next = writer;
                while !over.load(Ordering::Relaxed) {
                    if let Some(pace) = pace {
                        let at = begin + Duration::from_secs_f64(next as f64 / pace);
                        thread::sleep(at.saturating_duration_since(Instant::now()));
                        next += WRITERS;
                    }
                    conn.query_drop("INSERT INTO bench_w.watched (payload) VALUES ('a row that is watched')").unwrap();
                    commits.fetch_add(1, Ordering::Relaxed);
                }
            };
            thread::Builder::new().name("writer".into()).spawn_scoped(scope, body).expect("a thread");
        }
        thread::sleep(Duration::from_millis(500));
        let (pid, own) = (instance.server.node(1).pid, std::process::id());
        let used = || [Cpu::of(pid), Cpu::of(resqd.pid()), Cpu::of(own)];
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (begin, committed, delivered, before) = (Instant::now(), count(&commits), count(&received), used());
        thread::sleep(LASTS);
        let (lasted_s, after) = (begin.elapsed().as_secs_f64(), used());
        let commits_per_s = (count(&commits) - committed) as f64 / lasted_s;
        let received_per_s = (count(&received) - delivered) as f64 / lasted_s;
        over.store(true, Ordering::Relaxed);
        let share =
            |process: usize, name: &str| after[process].since(&before[process], name) as f64 / NS_PER_S / lasted_s;
        let threads = after[1].each_since(&before[1]).into_iter().take(5);
        Run {
            commits_per_s,
            server: share(0, ""),
            resqd: share(1, ""),
            threads: threads.map(|(name, used)| (name, used as f64 / NS_PER_S / lasted_s)).collect(),
            writers: share(2, "writer"),
            subscribers: share(2, "subscriber"),
            batches: (numbered() - batches) as f64 / lasted_s,
            received_per_s,
        }
    })
}
