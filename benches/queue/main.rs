//! What the queue costs beside bare connections that do only what can't be left out, on a durable private server, as
//! ratios of one run: two rounds of each, in the order A B B A, so that a drift of the machine cancels out.
//!
//! `cargo bench --bench queue [-- databases noop claim idle]`; `TEST_SERVER` chooses the kind of server.

mod bed;
mod claim;
mod databases;
mod idle;
#[path = "../../tests/e2e/instance.rs"]
#[allow(dead_code)]
mod instance;
mod noop;
#[path = "../../tests/e2e/program.rs"]
#[allow(dead_code)]
mod program;
mod run;
#[path = "../../tests/e2e/server.rs"]
#[allow(dead_code)]
mod server;

use std::time::Duration;

use server::Server;

fn main() {
    // Cargo adds --bench.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let server = Server::own();
    println!("{}, fsync on, 5 workers", server.kind());
    if wanted("databases") {
        compare("databases", 1_000, 0.9, || databases::ours(&server), || databases::bare(&server));
    }
    if wanted("noop") {
        compare("no-op jobs", 100_000, 0.7, || noop::ours(&server), || noop::bare(&server));
    }
    if wanted("claim") {
        for (what, (large, small)) in ["goes on", "whole queue"].iter().zip(claim::measure(&server)) {
            let ratio = large.as_secs_f64() / small.as_secs_f64();
            println!(
                "claim of 10, {what:11}  {large:>9.1?} beside 1,100,000 rows  {small:>9.1?} alone  ratio {ratio:.2} (at most 1.2)"
            );
        }
    }
    if wanted("idle") {
        let (share, mib) = idle::measure(&server, Duration::from_secs(20));
        println!("resqd idle  {:.2} % of a core (below 0.5)  {mib:.1} MiB resident (below 20)", share * 100.0);
    }
}

fn compare(what: &str, count: u32, target: f64, ours: impl Fn() -> Duration, bare: impl Fn() -> Duration) {
    let rounds = [ours(), bare(), bare(), ours()];
    let rate = |times: [Duration; 2]| f64::from(2 * count) / (times[0] + times[1]).as_secs_f64();
    let (ours, bare) = (rate([rounds[0], rounds[3]]), rate([rounds[1], rounds[2]]));
    println!(
        "{count:>7} {what:11}  {ours:>7.0}/s  bare {bare:>7.0}/s  ratio {:.2} (at least {target})  rounds {rounds:.1?}",
        ours / bare
    );
}
