//! A connection to the simulated server: statements, one after the other, each of which may come too late, fail, or take
//! effect without anybody hearing of it.

use super::{
    fault_schedule::{RACES, RACES_AT_COMMIT, latency_us, lost, server_error},
    rows::Tx,
    server::{Server, Stop},
    world::{NOBODY, is_dying, pass, sleep, spawn_on, wait, with},
};
use crate::db::{Error, Source, codes::ER_LOCK_WAIT_TIMEOUT};
use std::time::Duration;

/// How long a statement waits for locks, in µs.
const LOCK_WAIT_US: u64 = 10_000_000;

/// The simulated server, as a link to it asks for connections.
#[derive(Clone)]
pub struct Host {
    pub nodes: usize,
}

impl Source for Host {
    type Conn = Session;
    type Session = Session;

    fn open(&self) -> Result<Session, Error> {
        pass(1_000);
        if with(|world| world.faults.is_down) {
            sleep(Duration::from_secs(5));
            return Err(lost());
        }
        let node = with(|world| {
            let node = world.rng.usize(..self.nodes);
            let moves = world.chance(0.3);
            match world.machines.get_mut(world.current) {
                Some(machine) if !moves => machine.node,
                Some(machine) => {
                    machine.node = node;
                    node
                }
                None => node,
            }
        });
        let number = with(|world| world.server.draw_id());
        Ok(Session { number, node, tx: None, is_broken: false, opened: with(|world| world.restarts) })
    }

    /// A daemon is on one node at a time.
    fn is_current(&self, session: &Session) -> bool {
        with(|world| world.machines.get(world.current).is_none_or(|machine| machine.node == session.node))
    }

    fn session(session: &mut Session) -> &mut Session {
        session
    }

    fn roll_back(session: &mut Session) -> Result<(), Error> {
        session.roll_back()
    }
}

pub struct Session {
    /// CONNECTION_ID.
    pub number: u64,
    node: usize,
    tx: Option<Tx>,
    is_broken: bool,
    /// After how many restarts of the server.
    opened: u64,
}

impl Session {
    /// START TRANSACTION.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.send(&RACES[..0], |server, session| {
            // What was open is committed by that; nobody leaves anything open.
            assert!(session.tx.is_none(), "a transaction was left open");
            session.tx = Some(server.begin(session.node));
            Ok(())
        })
    }

    /// A statement inside of the transaction.
    pub fn within<T>(&mut self, mut run: impl FnMut(&mut Server, Tx) -> Result<T, Stop>) -> Result<T, Error> {
        self.send(&RACES, |server, session| {
            let tx = session.tx.expect("a transaction was begun");
            server.check(tx)?;
            run(server, tx)
        })
    }

    /// A statement outside of a transaction.
    pub fn alone<T>(&mut self, mut run: impl FnMut(&mut Server, Tx) -> Result<T, Stop>) -> Result<T, Error> {
        self.send(&RACES, |server, session| server.alone(session.node, &mut run))
    }

    pub fn commit(&mut self) -> Result<(), Error> {
        if self.tx.is_some() && with(|world| world.chance(world.faults.late_commit)) {
            self.commit_late();
            return Err(lost());
        }
        self.send(&RACES_AT_COMMIT, |server, session| session.tx.take().map_or(Ok(()), |tx| server.commit(tx)))
    }

    pub fn roll_back(&mut self) -> Result<(), Error> {
        self.send(&RACES[..0], |server, session| {
            if let Some(tx) = session.tx.take() {
                server.roll_back(tx);
            }
            Ok(())
        })
    }

    /// The connection breaks while the COMMIT is under way, and the server does not know it yet.
    fn commit_late(&mut self) {
        self.is_broken = true;
        let Some(tx) = self.tx.take() else { return };
        let until_us = with(|world| world.now_us + world.rng.u64(0..8_000_000));
        spawn_on(NOBODY, move || {
            wait(until_us, None);
            // Where it loses a race nobody hears of it.
            let _ = with(|world| world.server.commit(tx));
        });
    }

    /// Sends a statement and waits for its answer; `races` are the lost races that it may end in.
    fn send<T>(
        &mut self,
        races: &[u16],
        mut run: impl FnMut(&mut Server, &mut Session) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        self.travel();
        let is_cut =
            with(|world| self.opened != world.restarts || world.faults.is_down || world.chance(world.faults.lost));
        if self.is_broken || is_cut {
            self.close();
            return Err(lost());
        }
        if !races.is_empty() && with(|world| world.chance(world.faults.race)) {
            let code = races[with(|world| world.rng.usize(..races.len()))];
            if code != ER_LOCK_WAIT_TIMEOUT {
                self.undo();
            }
            return Err(server_error(code));
        }
        let deadline_us = with(|world| world.now_us) + LOCK_WAIT_US;
        let answer = loop {
            if self.opened != with(|world| world.restarts) {
                self.close();
                return Err(lost());
            }
            match with(|world| run(&mut world.server, self)) {
                Ok(value) => break Ok(value),
                Err(Stop::RolledBack(code)) => {
                    self.tx = None;
                    break Err(server_error(code));
                }
                Err(Stop::Blocked) if with(|world| world.now_us) < deadline_us => sleep(Duration::from_millis(2)),
                Err(Stop::Blocked) => break Err(server_error(ER_LOCK_WAIT_TIMEOUT)),
            }
        };
        self.travel();
        if with(|world| world.chance(world.faults.lost_reply)) {
            self.close();
            return Err(lost());
        }
        answer
    }

    /// A way over the network; the daemon may be killed on it.
    fn travel(&mut self) {
        ring();
        let us = with(|world| {
            if world.machines.len() > world.current && world.chance(world.faults.killed) {
                world.kill(world.current);
            }
            latency_us(world)
        });
        sleep(Duration::from_micros(us));
    }

    fn close(&mut self) {
        self.is_broken = true;
        self.undo();
    }

    fn undo(&mut self) {
        if let Some(tx) = self.tx.take() {
            with(|world| world.server.roll_back(tx));
        }
    }
}

/// A connection whose process has ended is closed, and what was open on it undone.
impl Drop for Session {
    fn drop(&mut self) {
        if is_dying() || self.tx.is_some() {
            self.undo();
        }
    }
}

/// What the triggers rang for goes to every daemon, or gets lost on the way.
pub fn ring() {
    with(|world| {
        if !std::mem::take(&mut world.server.rung) {
            return;
        }
        for machine in 0..world.machines.len() {
            if !world.chance(world.faults.lost_wakeup) {
                world.machines[machine].bells.iter().for_each(|wakeup| wakeup.notify());
            }
        }
    });
}
