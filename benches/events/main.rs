//! The event log's figures on a durable server of its own (`TEST_SERVER`, see `scripts/testdb.sh`) with the loadable
//! functions in it, and PostgreSQL's LISTEN and NOTIFY beside it where that is installed. Absolute times are the
//! machine's; what counts are the ratios to bare statements of the same run. Arguments pick figures by name: latency,
//! start, drain, consumer, subscribers, stress; and load, by name alone, since it takes ten minutes (MINUTES).

mod consumers;
mod figures;
mod listeners;
mod load;
mod postgres;

use std::time::Duration;

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Stress, UdfServer};

/// A steady load well below what the server can commit.
const COMMITS_PER_S: u64 = 200;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |figure: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == figure);
    let udf = UdfServer::own();
    let instance = Instance::on(&udf.server, "bench");
    udf.write_settings(&format!("addr = unix:{}\n", instance.broker_socket().display()), 0o640);
    instance.resqctl(["init"]).ok();
    let mut conn = instance.conn();
    conn.query_drop("CREATE TABLE bare (id BIGINT AUTO_INCREMENT PRIMARY KEY, payload VARCHAR(200))").unwrap();
    println!("events on {}", udf.server.kind());

    if wanted("latency") {
        let (bare, event) = figures::latency(&instance, COMMITS_PER_S);
        println!("  one row committed, {COMMITS_PER_S}/s      p50 {:>8.2?}  p99 {:>8.2?}", bare.p50(), bare.p99());
        println!(
            "  COMMIT returned -> client      p50 {:>8.2?}  p99 {:>8.2?} (at most 10 ms)",
            event.p50(),
            event.p99()
        );
        println!("  p50 to p50                     {:.2} x (at most 2)", ratio(event.p50(), bare.p50()));
    }
    if wanted("start") {
        let (bare, start) = figures::start_of_jobs(&instance);
        println!(
            "  INSERT of a job -> it starts   p50 {:>8.2?}  p99 {:>8.2?} (p50 at most 5 ms; polls a minute apart)",
            start.p50(),
            start.p99()
        );
        println!("  p50 to one row committed       {:.2} x (it is two, and a claim)", ratio(start.p50(), bare.p50()));
    }
    if wanted("drain") {
        let (plain, drained) = figures::drain(&instance);
        println!("  full outbox -> one client      {drained:>8.0} events/s (at least 20,000)");
        println!(
            "  plain INSERT ... SELECT        {plain:>8.0} rows/s of the same, 2,000 a transaction: {:.2} x",
            drained / plain
        );
    }
    if wanted("consumer") {
        let events = std::env::var("EVENTS").ok().and_then(|events| events.parse().ok()).unwrap_or(600_000);
        let measured = consumers::acknowledged(&instance, events);
        println!("  acknowledged by one consumer   {:>8.0} events/s (at least 50,000)", measured.events_per_s);
        println!(
            "  its position is stored         {:>8} times in {:.1} s at {} events/s (at most once a second, and at its end)",
            measured.stores,
            measured.paced_s,
            consumers::PACE
        );
    }
    if wanted("subscribers") {
        let [none, hundred] = figures::commit_rate(&instance);
        println!(
            "  8 writers commit               {none:>8.0}/s; with 100 subscribers {hundred:.0}/s: {:.2} x (1)",
            hundred / none
        );
        match postgres::commit_rate() {
            Some([none, hundred]) => println!(
                "  PostgreSQL, NOTIFY             {none:>8.0}/s; with 100 listeners {hundred:.0}/s: {:.2} x",
                hundred / none
            ),
            None => println!("  PostgreSQL is not installed here"),
        }
    }
    if wanted("stress") {
        let transactions = std::env::var("STRESS").map_or(100_000, |number| number.parse().expect("a number"));
        let stress = Stress { transactions, held_one_in: 2_000, kills: 10, seed: fastrand::u64(..) };
        let start = std::time::Instant::now();
        // An event log of its own: the oracle knows every event in it.
        let instance = Instance::on(&udf.server, "stress");
        instance.resqctl(["init"]).ok();
        let summary = stress.run(&instance);
        println!(
            "  {transactions} transactions, {} events committed, 10 kills, {} resumptions, in {:.0?}: none missed, repeated or invented",
            summary.committed,
            summary.resumed,
            start.elapsed()
        );
    }
    if arguments.iter().any(|argument| argument == "load") {
        let minutes = std::env::var("MINUTES").map_or(10, |number| number.parse().expect("a number"));
        println!("  2,000 events/s, 5,000 subscribers of ten a state, 100,000 jobs waiting, 2,000 databases and more:");
        println!("  minute  resident   event p50       p99   job p50       p99");
        let mut minute = 0;
        let total = load::run(&instance, minutes, |load::Minute { resident_mib, event, job }| {
            minute += 1;
            println!(
                "  {minute:>6}  {resident_mib:>4.1} MiB  {:>8.2?}  {:>8.2?}  {:>8.2?}  {:>8.2?}",
                event.p50(),
                event.p99(),
                job.p50(),
                job.p99()
            );
        });
        println!(
            "  {} events to one subscriber, {} to the others, {} jobs: none missed, none twice, no warning",
            total.events, total.delivered, total.jobs
        );
    }
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
