//! Consumers' positions: the same calls on the simulated table and on the real one, each with what has to come of it.

use std::collections::BTreeMap;

use crossbeam_channel::bounded;
use mysql::prelude::Queryable;

use super::super::{
    consumer::{NAME, SimConsumers},
    fault_schedule::FaultSchedule,
    session::Host,
    simulation::{self, Actors, NO_MACHINE, spawn_on, with},
};
use crate::{
    db::Db,
    events::consumers::{Claim, ConsumerStore, Loss, Progress, SqlConsumers},
    wire::Start,
};

/// A call. Connections have numbers from 0, in the order in which they take the consumer.
#[derive(Clone, Copy, Debug)]
enum Call {
    Take,
    /// Positions of these connections, in one call.
    Store(&'static [(usize, u64)]),
    /// Whether this connection has lost the consumer.
    Check(usize),
}

/// What comes of a call; of storing, nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Position(u64),
    Held,
    Lost(Loss),
}

use Answer::{Held, Lost, Position};
use Call::{Check, Store, Take};

const TAKEN_OVER: Answer = Lost(Loss::TakenOver);

/// What is shown, the calls, and their answers.
const CASES: &[(&str, &[Call], &[Answer])] = &[
    ("a new consumer begins at the beginning", &[Take, Check(0)], &[Position(0), Held]),
    ("the next connection goes on from what was stored", &[Take, Store(&[(0, 5)]), Take], &[Position(0), Position(5)]),
    (
        "positions replace each other",
        &[Take, Store(&[(0, 2)]), Store(&[(0, 2)]), Store(&[(0, 7)]), Take],
        &[Position(0), Position(7)],
    ),
    ("nothing changes for whom nothing is stored", &[Take, Store(&[]), Take], &[Position(0), Position(0)]),
    (
        "a connection learns that another has taken the consumer",
        &[Take, Take, Check(0), Check(1)],
        &[Position(0), Position(0), TAKEN_OVER, Held],
    ),
    (
        "a connection that has lost the consumer stores nothing",
        &[Take, Store(&[(0, 3)]), Take, Store(&[(0, 9)]), Take, Check(0), Check(1), Check(2)],
        &[Position(0), Position(3), Position(3), TAKEN_OVER, TAKEN_OVER, Held],
    ),
    (
        "of several that store together, the holder does",
        &[Take, Take, Store(&[(0, 8), (1, 4)]), Take, Store(&[(2, 6), (0, 9), (1, 9)]), Take],
        &[Position(0), Position(0), Position(4), Position(6)],
    ),
];

/// Makes the calls; `storing` is called with each position before it is stored.
fn answers(store: &mut dyn ConsumerStore, calls: &[Call], storing: impl Fn(&Progress)) -> Vec<Answer> {
    let mut holders = Vec::new();
    let mut answers = Vec::new();
    for call in calls {
        match *call {
            Take => {
                let (name, client, states) = (NAME.into(), String::new(), String::new());
                let claim = Claim { name, start: Start::Beginning, head_seq: 0, client, states };
                let taken = store.take(&claim).unwrap().expect("room for a consumer");
                holders.push(taken.holder);
                answers.push(Position(taken.position));
            }
            Store(positions) => {
                let progress = |&(n, position): &(usize, u64)| {
                    let progress = Progress { name: NAME.into(), holder: holders[n], position, is_last: false };
                    storing(&progress);
                    progress
                };
                let all: Vec<Progress> = positions.iter().map(progress).collect();
                store.store(&all).unwrap();
            }
            Check(n) => {
                let lost = store.lost(&BTreeMap::from([(NAME.into(), holders[n])])).unwrap();
                answers.push(lost.first().map_or(Held, |(_, loss)| Lost(*loss)));
            }
        }
    }
    answers
}

fn simulated(calls: &'static [Call]) -> Vec<Answer> {
    simulation::begin(0, Vec::new(), FaultSchedule::default());
    let (sender, receiver) = bounded(1);
    spawn_on(NO_MACHINE, move || {
        // The oracle expects that what is stored was acknowledged.
        let acknowledge = |progress: &Progress| {
            with(|sim| sim.server.oracle.consumer_acknowledged(progress.holder, progress.position));
        };
        let answers = answers(&mut SimConsumers::new(&Host { nodes: 1 }), calls, acknowledge);
        sender.send(answers).unwrap();
    });
    let mut actors = Actors::default();
    while receiver.is_empty() {
        actors.run_one_turn();
    }
    actors.kill_all();
    simulation::end();
    receiver.recv().unwrap()
}

/// Runs every case on both; `real` is empty.
pub fn compare(real: &Db) {
    for (shown, calls, expected) in CASES {
        real.global().unwrap().query_drop("DELETE FROM res_consumer").unwrap();
        let real = answers(&mut SqlConsumers::new(real), calls, |_| {});
        assert_eq!((real.as_slice(), simulated(calls).as_slice()), (*expected, *expected), "{shown}");
    }
}
