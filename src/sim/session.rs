//! A connection to the simulated server. Each of its statements may be late, fail, or take effect while its answer is
//! lost.

use std::time::Duration;

use super::{
    fault_schedule::{RACES, RACES_AT_COMMIT, lost, server_error},
    rows::Tx,
    server::{Server, Stop},
    simulation::{NO_MACHINE, Simulation, is_dying, sleep, sleep_about, spawn_on, wait, with},
};
use crate::db::{
    Error, Source,
    codes::{ER_LOCK_WAIT_TIMEOUT, ER_SIGNAL_EXCEPTION},
};
/// How long a statement waits for locks, in µs.
const LOCK_WAIT_US: u64 = 10_000_000;

/// Where a link to the simulated server gets its connections.
#[derive(Clone)]
pub struct Host {
    pub nodes: usize,
}

impl Source for Host {
    type Conn = Session;
    type Session = Session;

    fn open(&self) -> Result<Session, Error> {
        sleep_about(1_000);
        if with(|sim| sim.faults.is_down) {
            sleep(Duration::from_secs(5));
            return Err(lost());
        }
        let node = with(|sim| {
            let node = sim.rng.usize(..self.nodes);
            let moves = sim.chance(0.3);
            match sim.machines.get_mut(sim.current) {
                Some(machine) if !moves => machine.node,
                Some(machine) => {
                    machine.node = node;
                    node
                }
                None => node,
            }
        });
        let number = with(|sim| sim.server.draw_id());
        Ok(Session { number, node, tx: None, is_broken: false, opened: with(|sim| sim.restarts) })
    }

    /// A daemon uses one node at a time.
    fn is_current(&self, session: &Session) -> bool {
        with(|sim| sim.machines.get(sim.current).is_none_or(|machine| machine.node == session.node))
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
    /// How often the server had been restarted when the connection was opened.
    opened: u64,
}

impl Session {
    /// START TRANSACTION.
    pub fn begin(&mut self) -> Result<(), Error> {
        self.send(&RACES[..0], |server, session| {
            // It would commit an open transaction silently.
            assert!(session.tx.is_none(), "a transaction was left open");
            session.tx = Some(server.begin(session.node));
            Ok(())
        })
    }

    /// A statement inside the transaction.
    pub fn within<T>(&mut self, mut run: impl FnMut(&mut Server, Tx) -> Result<T, Stop>) -> Result<T, Error> {
        self.send(&RACES, |server, session| {
            let tx = session.tx.expect("a transaction was begun");
            server.check(tx)?;
            run(server, tx)
        })
    }

    /// A statement outside a transaction.
    pub fn alone<T>(&mut self, mut run: impl FnMut(&mut Server, Tx) -> Result<T, Stop>) -> Result<T, Error> {
        self.send(&RACES, |server, session| server.alone(session.node, &mut run))
    }

    pub fn commit(&mut self) -> Result<(), Error> {
        if self.tx.is_some() && with(|sim| sim.chance(sim.faults.late_commit)) {
            self.is_broken = true;
            self.commit_late();
            return Err(lost());
        }
        if self.tx.is_some() && with(|sim| sim.chance(sim.faults.phantom_commit)) {
            self.commit_late();
            return Err(server_error(RACES_AT_COMMIT[with(|sim| sim.rng.usize(..RACES_AT_COMMIT.len()))]));
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

    /// The server carries the COMMIT out later.
    fn commit_late(&mut self) {
        let Some(tx) = self.tx.take() else { return };
        let until_us = with(|sim| sim.now_us + sim.rng.u64(0..8_000_000));
        spawn_on(NO_MACHINE, move || {
            wait(until_us, None);
            // A lost race is reported to no client.
            let _ = with(|sim| sim.server.commit(tx));
        });
    }

    /// Sends a statement and waits for its answer. `races` are the errors of lost races that it may end in.
    fn send<T>(
        &mut self,
        races: &[u16],
        mut run: impl FnMut(&mut Server, &mut Session) -> Result<T, Stop>,
    ) -> Result<T, Error> {
        self.cross_network();
        let is_cut = with(|sim| self.opened != sim.restarts || sim.faults.is_down || sim.chance(sim.faults.lost));
        if self.is_broken || is_cut {
            self.close();
            return Err(lost());
        }
        if !races.is_empty() && with(|sim| sim.chance(sim.faults.race)) {
            let code = races[with(|sim| sim.rng.usize(..races.len()))];
            if code != ER_LOCK_WAIT_TIMEOUT {
                self.roll_back_open();
            }
            return Err(server_error(code));
        }
        let deadline_us = with(|sim| sim.now_us) + LOCK_WAIT_US;
        let answer = loop {
            if self.opened != with(|sim| sim.restarts) {
                self.close();
                return Err(lost());
            }
            match with(|sim| run(&mut sim.server, self)) {
                Ok(value) => break Ok(value),
                Err(Stop::RolledBack(code)) => {
                    self.tx = None;
                    break Err(server_error(code));
                }
                Err(Stop::Refused) => break Err(server_error(ER_SIGNAL_EXCEPTION)),
                Err(Stop::Blocked) if with(|sim| sim.now_us) < deadline_us => sleep(Duration::from_millis(2)),
                Err(Stop::Blocked) => break Err(server_error(ER_LOCK_WAIT_TIMEOUT)),
            }
        };
        self.cross_network();
        if with(|sim| sim.chance(sim.faults.lost_reply)) {
            self.close();
            return Err(lost());
        }
        answer
    }

    /// One direction over the network. The daemon may be killed meanwhile.
    fn cross_network(&mut self) {
        ring();
        let us = with(|sim| {
            if sim.machines.len() > sim.current && sim.chance(sim.faults.killed) {
                sim.kill(sim.current);
            }
            latency_us(sim)
        });
        sleep(Duration::from_micros(us));
    }

    fn close(&mut self) {
        self.is_broken = true;
        self.roll_back_open();
    }

    fn roll_back_open(&mut self) {
        if let Some(tx) = self.tx.take() {
            with(|sim| sim.server.roll_back(tx));
        }
    }
}

/// When a process ends, its connections are closed and their transactions rolled back.
impl Drop for Session {
    fn drop(&mut self) {
        if is_dying() || self.tx.is_some() {
            self.roll_back_open();
        }
    }
}

/// Delivers the wakeup of the triggers to every daemon, unless it is lost.
pub fn ring() {
    with(|sim| {
        if !std::mem::take(&mut sim.server.notified) {
            return;
        }
        for machine in 0..sim.machines.len() {
            if !sim.chance(sim.faults.lost_wakeup) {
                sim.machines[machine].wakeups.iter().for_each(|wakeup| wakeup.notify());
            }
        }
    });
}

/// The latency of one direction of a statement, in µs.
fn latency_us(sim: &mut Simulation) -> u64 {
    if sim.chance(sim.faults.slow) { sim.rng.u64(0..20_000_000) } else { sim.rng.u64(20..800) }
}
