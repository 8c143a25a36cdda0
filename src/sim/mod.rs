//! Daemons, applications and a server in one thread and in no time: the queue's and the journal's own rules, run on a
//! server in memory while everything goes wrong that can. Whatever happens, every job ends once and every event is told
//! once, in its order; a run is its seed and can be run again.

mod actors;
mod fault_schedule;
mod fidelity;
mod log;
mod oracle;
mod process;
mod rows;
mod server;
mod session;
mod store;
mod subscriber;
mod work;
mod world;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use self::{
    fault_schedule::FaultSchedule,
    process::Plan,
    world::{Actors, NOBODY, World, spawn_on, with},
};
use crate::queue::Status;

/// How long everything goes wrong, and how long it may then take until all is done, in the world's µs.
const STORM_US: u64 = 20_000_000;
const CALM_US: u64 = 900_000_000;

/// What a seed stands for.
fn draw(seed: u64, nodes: usize) -> (usize, Plan, FaultSchedule) {
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
    (rng.usize(1..4), plan, FaultSchedule::draw(&mut rng))
}

/// One run to its end, checked at every step.
fn run(seed: u64, nodes: usize, is_loud: bool) -> World {
    let (machines, plan, faults) = draw(seed, nodes);
    if is_loud {
        println!("{machines} machines, {plan:?}, {faults:?}");
    }
    world::begin(seed, machines, faults);
    with(|world| {
        world.server.oracle.is_causal = nodes == 1;
        world.server.oracle.is_loud = is_loud;
    });
    for _ in 0..2 {
        spawn_on(NOBODY, move || actors::application(nodes, STORM_US));
    }
    spawn_on(NOBODY, move || actors::fault_actor(&plan, STORM_US));
    let mut actors = Actors::default();
    while !is_over() {
        actors.take_turns();
    }
    actors.kill_all();
    world::end()
}

/// Whether all is done that there was to do.
fn is_over() -> bool {
    with(|world| {
        if world.now_us < STORM_US {
            return false;
        }
        let server = &world.server;
        let is_final = |status| matches!(status, Status::Done | Status::Error);
        let waiting: Vec<_> = server.jobs.all_committed().filter(|(_, row)| !is_final(row.status)).collect();
        let head_seq = server.oracle.head_seq();
        let all_told = world.machines.iter().all(|machine| machine.life != 0 && machine.subscriber_seq == head_seq);
        assert!(
            world.now_us < STORM_US + CALM_US,
            "after {} s: jobs {waiting:?}, {} events without a number, told up to {:?} of {head_seq}, paused: {}, open: {:?}",
            world.now_us / 1_000_000,
            server.oracle.unnumbered(),
            world.machines.iter().map(|machine| machine.subscriber_seq).collect::<Vec<_>>(),
            server.paused.committed(server::ONE).is_some(),
            server.open,
        );
        waiting.is_empty() && server.open.is_empty() && server.oracle.unnumbered() == 0 && all_told
    })
}

/// Runs seeds one after the other; the first that fails says how to see it again.
fn runs(nodes: usize, count: u64) {
    let given: Option<u64> = std::env::var("RESQ_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = given.unwrap_or_else(|| u64::from(fastrand::Rng::new().u32(..)));
    let count = if given.is_some() { 1 } else { count };
    let (mut steps, mut jobs, mut events, mut recorded, mut lost) = (0, 0, 0, 0, 0);
    for seed in first..first + count {
        match catch_unwind(AssertUnwindSafe(|| run(seed, nodes, given.is_some()))) {
            Ok(world) => {
                let attempts = world.server.oracle.attempts();
                steps += world.steps;
                jobs += world.server.oracle.jobs();
                events += world.server.oracle.head_seq();
                recorded += attempts.0;
                lost += attempts.1;
            }
            Err(panic) => {
                eprintln!(
                    "run {} failed, again by: RESQ_SEED={seed} cargo test --release --lib simulation",
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
fn every_promise_on_one_server_whatever_goes_wrong() {
    runs(1, 1_000);
}

#[test]
fn every_promise_on_a_cluster_whatever_goes_wrong() {
    runs(3, 1_000);
}
