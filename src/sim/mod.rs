//! The seeded simulation: the shipped rules of the queue and the event log run against a server in memory, on one thread
//! and in virtual time, while faults are injected. Whatever happens, every job ends once, and every event is delivered
//! once and in order. A seed determines a run completely, so that a failing one can be repeated.

mod actors;
mod broker;
mod consumed;
mod consumer;
mod fault_schedule;
mod fidelity;
mod log;
mod oracle;
mod process;
mod reclaim;
mod rows;
mod server;
mod session;
mod simulation;
mod store;
mod subscriber;
mod tables;
mod waits;
mod watcher;
mod work;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use self::{
    fault_schedule::{FAULTY_US, FaultSchedule},
    process::Plan,
    simulation::{Actors, Machine, NO_MACHINE, Simulation, spawn_on, with},
    tables::JobRow,
};
use crate::queue::Status;

/// How long it may take after the faults until all work is done, in µs of virtual time.
const CALM_US: u64 = 900_000_000;

/// How far the clock of a machine may drift from the server's, in millionths: what a lease allows for.
const MOST_DRIFT_PPM: i64 = 9_000;

/// The machines, the daemons' settings, the faults and the share of bad rows that a seed stands for.
fn draw(seed: u64, nodes: usize) -> (Vec<Machine>, Plan, FaultSchedule, f64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let plan = Plan {
        nodes,
        skip_locked: rng.u8(0..4) > 0,
        workers: rng.usize(1..4),
        poll: Duration::from_millis([250, 1_000, 5_000][rng.usize(..3)]),
        lease_s: rng.u32(2..8),
        max_attempts: rng.u32(1..4),
        retention_days: 1,
    };
    let (machines, faults) = (rng.usize(1..4), FaultSchedule::draw(&mut rng, nodes));
    let most_ppm = [0, 500, MOST_DRIFT_PPM][rng.usize(..3)];
    let machines = (0..machines).map(|_| Machine::with_drift(rng.i64(-most_ppm..=most_ppm))).collect();
    let bad_rows = if rng.bool() { 0.0 } else { rng.f64() * 0.5 };
    (machines, plan, faults, bad_rows)
}

/// One run to its end, checked by the oracle at every commit.
fn run(seed: u64, nodes: usize, verbose: bool) -> Simulation {
    let (machines, plan, faults, bad_rows) = draw(seed, nodes);
    if verbose {
        println!("{machines:?}, {plan:?}, {faults:?}, bad rows {bad_rows:.2}");
    }
    process::nowhere();
    simulation::begin(seed, machines, faults);
    with(|sim| {
        sim.server.bad_rows = bad_rows;
        sim.server.oracle.workers = plan.workers as u32;
        sim.server.oracle.lease_us = Some(u64::from(plan.lease_s) * 1_000_000);
        sim.server.oracle.is_causal = nodes == 1;
        sim.server.oracle.verbose = verbose;
    });
    for _ in 0..2 {
        spawn_on(NO_MACHINE, move || actors::application(nodes, FAULTY_US));
    }
    spawn_on(NO_MACHINE, move || actors::fault_actor(&plan, FAULTY_US));
    let mut actors = Actors::default();
    while !is_over() {
        actors.run_one_turn();
    }
    actors.kill_all();
    simulation::end()
}

/// Whether every job has ended and every event is delivered.
fn is_over() -> bool {
    with(|sim| {
        if sim.now_us < FAULTY_US {
            return false;
        }
        let server = &sim.server;
        let is_final = |status| matches!(status, Status::Done | Status::Error);
        let may_wait = |id, row: &JobRow| is_final(row.status) || server.is_stuck(id);
        let waiting: Vec<_> = server.jobs.all_committed().filter(|(id, row)| !may_wait(*id, row)).collect();
        let unnumbered = server.oracle.unnumbered().filter(|id| !server.is_event_stuck(*id)).count();
        let head_seq = server.oracle.head_seq();
        let all_delivered =
            sim.machines.iter().all(|machine| machine.daemon_id != 0 && machine.subscriber_seq == head_seq);
        assert!(
            sim.now_us < FAULTY_US + CALM_US,
            "after {} s: unfinished jobs {waiting:?}, {} events not numbered, \
             delivered up to {:?} and consumed up to {} of {head_seq}, paused: {}, open transactions: {:?}",
            sim.now_us / 1_000_000,
            unnumbered,
            sim.machines.iter().map(|machine| machine.subscriber_seq).collect::<Vec<_>>(),
            server.oracle.consumed(),
            server.paused.committed(tables::ONE).is_some(),
            server.open,
        );
        let is_consumed = server.oracle.consumed() == head_seq;
        waiting.is_empty() && server.open.is_empty() && unnumbered == 0 && all_delivered && is_consumed
    })
}

/// Runs `count` seeds one after the other. The first that fails prints how to repeat it.
fn runs(nodes: usize, count: u64) {
    let given: Option<u64> = std::env::var("RESQ_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = given.unwrap_or_else(|| u64::from(fastrand::Rng::new().u32(..)));
    let count = if given.is_some() { 1 } else { count };
    let (mut steps, mut jobs, mut events, mut recorded, mut lost) = (0, 0, 0, 0, 0);
    for seed in first..first + count {
        match catch_unwind(AssertUnwindSafe(|| run(seed, nodes, given.is_some()))) {
            Ok(sim) => {
                let attempts = sim.server.oracle.attempts();
                steps += sim.steps;
                jobs += sim.server.oracle.jobs();
                events += sim.server.oracle.head_seq();
                recorded += attempts.0;
                lost += attempts.1;
            }
            Err(panic) => {
                eprintln!(
                    "run {} failed; repeat it with RESQ_SEED={seed} cargo test --release --lib sim::",
                    seed - first + 1
                );
                resume_unwind(panic);
            }
        }
    }
    println!(
        "{count} runs from seed {first}: {steps} steps, {jobs} jobs, {recorded} attempts recorded and {lost} lost, {events} events"
    );
}

#[test]
fn every_promise_holds_on_one_server_under_faults() {
    runs(1, 1_000);
}

#[test]
fn every_promise_holds_on_a_cluster_under_faults() {
    runs(3, 1_000);
}
