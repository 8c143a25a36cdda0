//! The broker's figures, and those of NATS and Redis where they are installed, from one run and one measuring client:
//! deliveries per second by fan-out and by TLS, latency at a steady rate, the cost of idle subscribers and streams, health
//! under load.
//!
//! resq is measured with RSQ/1 and, but for idle subscribers, with its event stream by HTTP (sse). Each server is a separate
//! process (for resq, this program again, called with `serve`). Turns are interleaved and medians compared, so that other load
//! on the machine affects all alike. Arguments pick figures by name.

mod dialect;
mod figures;
mod load;
mod server;

use dialect::{ALL, Dialect, FOR_MANY};
use server::ServerProcess;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [command, ports @ ..] = &arguments[..]
        && command == "serve"
        && let Ok(ports) = <&[String; 3]>::try_from(ports)
    {
        return server::serve(ports.each_ref().map(|port| port.parse().expect("a port")));
    }
    load::raise_open_files().expect("more open files");
    let wanted = |figure: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == figure);
    for subscribers in [1, 100, 1_000] {
        if wanted(&format!("fan-out-{subscribers}")) {
            let unit = format!("deliveries a second to {subscribers} subscribers");
            compare(&ALL, &unit, 5, More, |server| figures::deliveries_per_s(server, subscribers));
        }
    }
    if wanted("tls") {
        compare_tls();
    }
    if wanted("latency") {
        for percentile in [50, 99] {
            let unit = format!("p{percentile} in µs, 1,000 events a second to 10 subscribers");
            compare(&ALL, &unit, 5, Less, |server| figures::latency_us(server, percentile));
        }
    }
    if wanted("streams") {
        let unit = "resident bytes for each of 1,000 idle streams (at most 4,096)";
        compare(&[Dialect::Resq, Dialect::Sse], unit, 1, Less, |server| figures::resident_bytes(server, 1_000));
    }
    if wanted("health") {
        let server = ServerProcess::start(Dialect::Resq).expect("this program");
        let [none, many] = [0, 5_000].map(|subscribers| figures::health_p99_us(&server, subscribers));
        println!(
            "p99 in µs of /healthz: {none:.0}; while 5,000 subscribers are served: {many:.0}, {:.1} x",
            many / none
        );
    }
    if wanted("idle") {
        compare(&FOR_MANY, "resident bytes for each of 10,000 idle subscribers", 1, Less, |server| {
            figures::resident_bytes(server, 10_000)
        });
        compare(&FOR_MANY, "µs until one event is with all of 10,000 subscribers", 3, Less, figures::one_to_all_us);
        println!("  the kernel alone needs {:.0} for as many sends", figures::bare_sends_us());
        compare(&FOR_MANY, "wake-ups in 5 s with 1,000 idle subscribers", 1, Less, figures::wake_ups);
    }
}

/// What TLS costs: resq with it against resq without, and against NATS with it.
fn compare_tls() {
    const TURNS: usize = 5;
    let contestants = [(Dialect::Resq, false), (Dialect::Resq, true), (Dialect::Nats, true)];
    let started = contestants.into_iter().filter_map(|(dialect, tls)| ServerProcess::start_with(dialect, tls));
    let servers: Vec<ServerProcess> = started.collect();
    let mut results = vec![Vec::new(); servers.len()];
    for _ in 0..TURNS {
        for (server, results) in servers.iter().zip(&mut results) {
            results.push(figures::deliveries_per_s(server, 100));
        }
    }
    println!("deliveries a second to 100 subscribers, by TLS");
    let medians: Vec<f64> = servers.iter().zip(&mut results).map(|(server, turns)| print(server, turns)).collect();
    println!("  resq by TLS is {:.2} times as good as without", medians[1] / medians[0]);
    if let Some(nats) = medians.get(2) {
        println!("  resq by TLS is {:.2} times as good as NATS by TLS", medians[1] / nats);
    }
    println!("resident bytes for each of 2,000 idle subscribers by TLS");
    println!("  resq tls {:>11.0}", figures::resident_bytes(&servers[1], 2_000));
}

/// Prints the median of a server's turns with the least and the most, and returns it.
fn print(server: &ServerProcess, turns: &mut [f64]) -> f64 {
    turns.sort_by(f64::total_cmp);
    let median = turns[turns.len() / 2];
    println!("  {:8} {median:>11.0}  ({:.0} to {:.0})", server.name(), turns[0], turns[turns.len() - 1]);
    median
}

/// Which of two results is the better one.
#[derive(PartialEq, Eq)]
enum Better {
    More,
    Less,
}
use Better::{Less, More};

/// Prints the median of each server's turns with the least and the most, and the ratio of resq's to the better one of the
/// others'.
fn compare(dialects: &[Dialect], unit: &str, turns: usize, better: Better, measure: impl Fn(&ServerProcess) -> f64) {
    let servers: Vec<ServerProcess> = dialects.iter().copied().filter_map(ServerProcess::start).collect();
    let mut results = vec![Vec::new(); servers.len()];
    for _ in 0..turns {
        for (server, results) in servers.iter().zip(&mut results) {
            results.push(measure(server));
        }
    }
    println!("{unit}");
    let medians: Vec<f64> = servers.iter().zip(&mut results).map(|(server, turns)| print(server, turns)).collect();
    let ratio_to = |dialect| {
        let at = servers.iter().position(|server| server.dialect == dialect)?;
        Some(if better == More { medians[at] / medians[0] } else { medians[0] / medians[at] })
    };
    if let Some(ratio) = ratio_to(Dialect::Sse).filter(|ratio| ratio.is_finite()) {
        println!("  sse is {ratio:.2} times as good as resq");
    }
    let others =
        servers.iter().zip(&medians).filter(|(server, _)| !matches!(server.dialect, Dialect::Resq | Dialect::Sse));
    let others = others.map(|(_, median)| *median);
    let ratio = match better {
        More => others.reduce(f64::max).map(|best| medians[0] / best),
        Less => others.reduce(f64::min).map(|best| best / medians[0]),
    };
    if let Some(ratio) = ratio.filter(|ratio| ratio.is_finite()) {
        println!("  {} is {ratio:.2} times as good as the better of the others", Dialect::Resq.name());
    }
}
