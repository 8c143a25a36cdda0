//! The queue compared with bare connections that do only the indispensable work, on a durable private server, as ratios
//! within one run: rounds alternate (A B B A), so that other load on the machine affects both.
//!
//! `cargo bench --bench queue [-- databases noop claim idle check migrate beside]`; `TEST_SERVER` chooses the kind of server,
//! `RESQ_CHECKED` the number of databases that are checked (2,000), `RESQ_MIGRATED` of those that are migrated (1,000).

mod beside;
mod check;
mod claim;
mod databases;
mod fleet;
mod idle;
mod migrate;
mod noop;
mod run;
mod statements;

use resq_test_support::Server;
use std::time::Duration;

/// The number of resq's workers, and of bare connections.
const WORKERS: usize = 5;

fn main() {
    // Cargo adds --bench.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let server = Server::own();
    println!("{}, fsync on, 5 workers", server.kind());
    if wanted("databases") {
        print_ratio("databases", 100, 0.9, databases::measure(&server, 10));
    }
    if wanted("noop") {
        print_ratio("no-op jobs", 100_000, 0.7, noop::measure(&server, 2));
    }
    if wanted("claim") {
        for (what, (large, small)) in
            ["continuing after the last", "from the first row"].iter().zip(claim::measure(&server))
        {
            let ratio = large.as_secs_f64() / small.as_secs_f64();
            println!(
                "claim of 10, {what}: {large:.2?} beside 1,100,000 rows, {small:.2?} alone, ratio {ratio:.2} (at most 1.2)"
            );
        }
    }
    if wanted("check") {
        let count = std::env::var("RESQ_CHECKED").ok().and_then(|count| count.parse().ok()).unwrap_or(2_000);
        let (ours, bare) = check::measure(&server, 2, count);
        let mean = |times: &[Duration]| times.iter().sum::<Duration>() / times.len() as u32;
        let (ours, bare) = (mean(&ours), mean(&bare));
        println!(
            "check of {count} databases: {ours:.2?} (at most 30 s for 2,000), bare read {bare:.2?}, ratio {:.2} (at most 2)",
            ours.as_secs_f64() / bare.as_secs_f64()
        );
    }
    if wanted("migrate") {
        let (plan, start) = migrate::idle(&server);
        println!("nothing to migrate in 10,000 databases: plan {plan:.2?}, start {start:.2?} (below 1 s each)");
        let count = std::env::var("RESQ_MIGRATED").ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
        print_ratio("databases migrated", count, 0.85, migrate::measure(&server, 2, count));
    }
    if wanted("beside") {
        let (mut beside, mut alone) = beside::measure(&server, 4, 40);
        let (beside, alone) = (shares(&mut beside), shares(&mut alone));
        println!("INSERT of a resource until its database is ready, one at a time; half and nine tenths of them:");
        println!(
            "  beside a rollout {:.1?} {:.1?}, without {:.1?} {:.1?}, ratio {:.2} {:.2} (at most 1.5)",
            beside.0,
            beside.1,
            alone.0,
            alone.1,
            beside.0.as_secs_f64() / alone.0.as_secs_f64(),
            beside.1.as_secs_f64() / alone.1.as_secs_f64()
        );
    }
    if wanted("idle") {
        let (share, mib) = idle::measure(&server, Duration::from_secs(20));
        println!("resqd idle: {:.2} % of a core (below 0.5), {mib:.1} MiB resident (below 20)", share * 100.0);
    }
}

/// Times of `rounds` rounds of `a` and of `b`, in the order A B B A A B B A, after one of each on a cold server that
/// does not count.
fn in_turns(
    rounds: usize,
    mut a: impl FnMut() -> Duration,
    mut b: impl FnMut() -> Duration,
) -> (Vec<Duration>, Vec<Duration>) {
    let (mut times_a, mut times_b) = (Vec::new(), Vec::new());
    let _ = (a(), b());
    for round in 0..rounds {
        if round % 2 == 0 {
            times_a.push(a());
            times_b.push(b());
        } else {
            times_b.push(b());
            times_a.push(a());
        }
    }
    (times_a, times_b)
}

/// The time in which half of them, and nine tenths of them, were done.
fn shares(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 9 / 10])
}

fn print_ratio(what: &str, in_a_round: u32, target: f64, (ours, bare): (Vec<Duration>, Vec<Duration>)) {
    let count = in_a_round * ours.len() as u32;
    let rate = |times: &[Duration]| f64::from(count) / times.iter().sum::<Duration>().as_secs_f64();
    println!(
        "{count} {what}: {:.0}/s, bare {:.0}/s, ratio {:.2} (at least {target})",
        rate(&ours),
        rate(&bare),
        rate(&ours) / rate(&bare)
    );
    println!("  rounds: {ours:.1?}\n    bare: {bare:.1?}");
}
