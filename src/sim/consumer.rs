//! Connections for one consumer, on every machine: they take it from each other, acknowledge, leave, and are killed with
//! their daemons. A daemon's shipped keeper stores what they acknowledge on the simulated server.

use std::collections::BTreeMap;

use crossbeam_channel::{Receiver, Sender};

use super::{
    session::Host,
    simulation::{sleep_about, wait, with, world_us},
    tables::{ConsumerRow, ONE},
    waits::{is_disconnected, wait_for_any},
};
use crate::{
    db::{Error, Link},
    events::consumers::{Claim, ConsumerAnswer, ConsumerRequest, ConsumerStore, Keeper, Loss, Progress, Taken},
    wire::Start,
};

/// At most so many events are not acknowledged.
const WINDOW: u64 = 5;
pub const NAME: &str = "c";

/// `events::consumers::store` on the simulated server, for the only consumer.
pub struct SimConsumers {
    link: Link<Host>,
}

impl SimConsumers {
    pub fn new(host: &Host) -> SimConsumers {
        SimConsumers { link: Link::new(host) }
    }
}

impl ConsumerStore for SimConsumers {
    fn take(&mut self, _: &Claim) -> Result<Option<Taken>, Error> {
        self.link.run(|session| {
            let holder = with(|sim| sim.server.draw_id());
            session.begin()?;
            let position = session.within(|server, tx| {
                server.consumers.lock(tx, ONE)?;
                let position = server.consumers.get(tx, ONE).map_or(0, |row| row.position);
                server.consumers.set(tx, ONE, Some(ConsumerRow { holder, position }));
                Ok(position)
            })?;
            session.commit()?;
            Ok(Some(Taken { holder, position }))
        })
    }

    fn locate(&mut self, _: u64) -> Result<u64, Error> {
        panic!("no subscription begins at a time")
    }

    fn store(&mut self, progress: &[Progress]) -> Result<(), Error> {
        self.link.run(|session| {
            session.alone(|server, tx| {
                for Progress { holder, position, .. } in progress {
                    server.consumers.lock(tx, ONE)?;
                    if server.consumers.get(tx, ONE).is_some_and(|row| row.holder == *holder) {
                        let row = ConsumerRow { holder: *holder, position: *position };
                        server.consumers.set(tx, ONE, Some(row));
                    }
                }
                Ok(())
            })
        })
    }

    fn lost(&mut self, held: &BTreeMap<Box<str>, u64>) -> Result<Vec<(Box<str>, Loss)>, Error> {
        let holder = self
            .link
            .run(|session| session.alone(|server, tx| Ok(server.consumers.get(tx, ONE).map(|row| row.holder))))?;
        let lost = held.iter().filter(|(_, held)| holder != Some(**held));
        Ok(lost.map(|(name, _)| (name.clone(), Loss::TakenOver)).collect())
    }
}

/// The keeper's thread.
pub fn keep(mut keeper: Keeper, requests: &Receiver<ConsumerRequest>, ended: &Receiver<()>) {
    loop {
        let until_us = keeper.turn().map_or(u64::MAX, world_us);
        let (waiting, stop) = (requests.clone(), ended.clone());
        wait(until_us, Some(Box::new(move || !waiting.is_empty() || is_disconnected(&stop))));
        requests.try_iter().take(requests.len()).for_each(|request| keeper.requested(request));
        if is_disconnected(ended) {
            return keeper.end();
        }
    }
}

/// One connection after the other, until the daemon stops.
pub fn connect(requests: &Sender<ConsumerRequest>, answers: &Receiver<ConsumerAnswer>, ended: &Receiver<()>) {
    for ticket in 1.. {
        sleep_about(2_000_000);
        let claim = Claim {
            name: NAME.into(),
            start: Start::Beginning,
            head_seq: 0,
            client: String::new(),
            states: String::new(),
        };
        send(requests, ConsumerRequest::Take { ticket, claim });
        let Some(taken) = answer(ticket, answers, ended) else {
            if is_disconnected(ended) {
                return;
            }
            continue;
        };
        with(|sim| sim.server.oracle.consumer_taken(taken));
        if !consume(taken, requests, answers, ended) {
            // Another one has it: it comes back later, as a person would start it again.
            sleep_about(20_000_000);
        }
        if is_disconnected(ended) {
            return;
        }
    }
}

fn answer(ticket: u64, answers: &Receiver<ConsumerAnswer>, ended: &Receiver<()>) -> Option<Taken> {
    loop {
        match answers.try_recv() {
            Ok(ConsumerAnswer::Taken { ticket: answered, taken }) if answered == ticket => return Some(taken),
            Ok(ConsumerAnswer::Failed { ticket: answered, .. }) if answered == ticket => return None,
            Ok(_) => {}
            Err(_) if is_disconnected(ended) => return None,
            Err(_) => {
                let (waiting, stop) = (answers.clone(), ended.clone());
                wait(u64::MAX, Some(Box::new(move || !waiting.is_empty() || is_disconnected(&stop))));
            }
        }
    }
}

/// Receives, acknowledges and leaves. False: the consumer was lost.
fn consume(
    Taken { holder, position }: Taken,
    requests: &Sender<ConsumerRequest>,
    answers: &Receiver<ConsumerAnswer>,
    ended: &Receiver<()>,
) -> bool {
    let (mut sent, mut acked, mut stored) = (position, position, position);
    let store = |position, is_last| {
        send(requests, ConsumerRequest::Store(vec![Progress { name: NAME.into(), holder, position, is_last }]));
    };
    loop {
        if answers
            .try_iter()
            .any(|answer| matches!(answer, ConsumerAnswer::Lost { holder: lost, .. } if lost == holder))
        {
            return false;
        }
        with(|sim| {
            // What the machine's daemon has delivered; below the log's beginning is a gap.
            let head = sim.machines[sim.current].subscriber_seq;
            if sent == acked {
                sent = sent.max(sim.server.oracle.first_seq().saturating_sub(1).min(head));
                acked = sent;
            }
            sent = sent.max((acked + sim.rng.u64(0..=WINDOW)).min(head));
            acked = sim.rng.u64(acked..=sent);
            sim.server.oracle.consumer_acknowledged(holder, acked);
        });
        let leaves = is_disconnected(ended) || with(|sim| sim.chance(0.03));
        if leaves || (acked > stored && with(|sim| sim.chance(0.4))) {
            store(acked, leaves);
            stored = acked;
        }
        if leaves {
            return true;
        }
        let until_us = with(|sim| sim.now_us + sim.rng.u64(0..600_000));
        wait_for_any(until_us, &[ended]);
    }
}

/// Waits for room, as the broker does by keeping what it cannot send.
fn send(requests: &Sender<ConsumerRequest>, request: ConsumerRequest) {
    while requests.is_full() {
        sleep_about(10_000);
    }
    let _ = requests.try_send(request);
}
