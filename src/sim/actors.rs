//! The actors that are not daemons: applications that enqueue and publish in their own transactions, operators that
//! cancel, retry and pause, and the one that injects faults into machines and the server.

use std::ops::Range;

use super::{
    oracle::OperatorAction,
    process::{self, Plan},
    rows::Tx,
    server::{Server, Stop},
    session::{Host, Session},
    simulation::{sleep_about, with},
    tables::{JobRow, ONE},
};
use crate::{
    db::{Error, Source},
    queue::Status,
};

fn draw(range: Range<u64>) -> u64 {
    with(|sim| sim.rng.u64(range))
}

/// One application and operator, until `until_us`. It does not retry what fails.
pub fn application(nodes: usize, until_us: u64) {
    let host = Host { nodes };
    while with(|sim| sim.now_us < until_us) {
        sleep_about(600_000);
        let Ok(mut session) = host.open() else { continue };
        let _ = match draw(0..10) {
            0..=4 => transaction(&mut session),
            5 => chain(&mut session),
            6 => operate(&mut session, OperatorAction::Cancel),
            7 => operate(&mut session, OperatorAction::Retry),
            8 => pause(&mut session, true),
            _ => pause(&mut session, false),
        };
    }
    resume(&host);
}

/// Jobs and events in one transaction, which may stay open for a long time and may be rolled back.
fn transaction(session: &mut Session) -> Result<(), Error> {
    session.begin()?;
    for _ in 0..draw(1..4) {
        match draw(0..3) {
            0 => publish(session)?,
            _ => enqueue(session)?,
        }
        let is_long = with(|sim| sim.chance(sim.faults.open_writers));
        sleep_about(if is_long { 3_000_000 } else { [0, 0, 10_000][draw(0..3) as usize] });
    }
    if draw(0..4) == 0 { session.roll_back() } else { session.commit() }
}

/// Transactions each of which follows from the one before: their events must keep this order.
fn chain(session: &mut Session) -> Result<(), Error> {
    for _ in 0..draw(2..12) {
        session.begin()?;
        publish(session)?;
        session.commit()?;
    }
    Ok(())
}

/// Draws an outbox id, and writes the row a moment later.
fn publish(session: &mut Session) -> Result<(), Error> {
    let delay_us = [0, 0, 10_000, 100_000][draw(0..4) as usize];
    let mut drawn = None;
    session.within(|server, tx| {
        let (id, at_us) = *drawn.get_or_insert_with(|| (server.draw_id(), server.now_us + delay_us));
        if server.now_us < at_us {
            return Err(Stop::Blocked);
        }
        server.write_event(tx, id, "Custom", None);
        Ok(())
    })
}

fn enqueue(session: &mut Session) -> Result<(), Error> {
    let delay_us = [None, None, None, Some(draw(0..4_000_000))][draw(0..4) as usize];
    let max_attempts = [None, Some(1), Some(3)][draw(0..3) as usize];
    let priority = draw(0..3) as i64;
    session.within(|server, tx| insert(server, tx, delay_us, max_attempts, priority).map(drop))
}

/// `INSERT INTO res_queue`; returns the new row's id.
pub fn insert(
    server: &mut Server,
    tx: Tx,
    delay_us: Option<u64>,
    max_attempts: Option<u32>,
    priority: i64,
) -> Result<u64, Stop> {
    let id = server.draw_id();
    server.jobs.lock(tx, id)?;
    let row = JobRow {
        status: Status::New,
        priority,
        run_at: delay_us.map(|us| server.now_us + us),
        attempts: 0,
        max_attempts,
        interruptions: 0,
        owner: None,
        claim_id: None,
        started_at: 0,
    };
    server.set_job(tx, id, row);
    Ok(id)
}

/// `resqctl cancel` or `resqctl retry` of one job.
fn operate(session: &mut Session, action: OperatorAction) -> Result<(), Error> {
    let ids: Vec<u64> = with(|sim| sim.server.jobs.all_committed().map(|(id, _)| id).collect());
    if ids.is_empty() {
        return Ok(());
    }
    let id = ids[draw(0..ids.len() as u64) as usize];
    session.alone(|server, tx| change(server, tx, id, action).map(drop))
}

/// Applies `action` to a job; returns how many jobs changed.
pub fn change(server: &mut Server, tx: Tx, id: u64, action: OperatorAction) -> Result<usize, Stop> {
    let from = if action == OperatorAction::Cancel { Status::New } else { Status::Error };
    let is_from = |_, row: &JobRow| row.status == from;
    let changed = server.update_jobs(tx, &[id], is_from, |_, row| match action {
        OperatorAction::Cancel => (row.status, row.run_at) = (Status::Error, None),
        OperatorAction::Retry => {
            (row.status, row.run_at) = (Status::New, None);
            (row.attempts, row.interruptions) = (0, 0);
        }
    })?;
    server.oracle.operator_action = Some(action);
    Ok(changed)
}

fn pause(session: &mut Session, is_paused: bool) -> Result<(), Error> {
    session.alone(|server, tx| set_paused(server, tx, is_paused))
}

pub fn set_paused(server: &mut Server, tx: Tx, is_paused: bool) -> Result<(), Stop> {
    server.paused.lock(tx, ONE)?;
    server.paused.set(tx, ONE, is_paused.then_some(()));
    Ok(())
}

/// The queue must not stay paused at the end.
fn resume(host: &Host) {
    while host.open().and_then(|mut session| pause(&mut session, false)).is_err() {}
}

/// Starts, kills, stops and freezes daemons and restarts the server until `until_us`. After that it injects no faults and
/// keeps a daemon running on every machine.
pub fn fault_actor(plan: &Plan, until_us: u64) {
    let machines = with(|sim| sim.machines.len() as u64);
    while with(|sim| sim.now_us < until_us) {
        sleep_about(800_000);
        let machine = draw(0..machines) as usize;
        let lease_us = u64::from(plan.lease_s) * 1_000_000;
        match draw(0..14) {
            0..=4 if !process::is_running(machine) => process::boot(machine, plan),
            5 => with(|sim| sim.kill(machine)),
            6 => process::stop(machine),
            7 | 8 => with(|sim| {
                let us = sim.rng.u64(0..lease_us * 3);
                let with_clock = sim.rng.bool();
                sim.freeze(machine, us, with_clock);
            }),
            9 => with(|sim| {
                let us = sim.rng.u64(0..lease_us * 2);
                sim.jump(machine, us);
            }),
            10 => {
                with(|sim| {
                    sim.restart_server();
                    sim.faults.is_down = true;
                });
                sleep_about(1_000_000);
                with(|sim| sim.faults.is_down = false);
            }
            _ => {}
        }
    }
    with(|sim| sim.faults = Default::default());
    loop {
        for machine in 0..machines as usize {
            if !process::is_running(machine) {
                process::boot(machine, plan);
            }
        }
        sleep_about(1_000_000);
    }
}
