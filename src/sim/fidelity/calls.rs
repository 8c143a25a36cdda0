//! The calls of daemons, applications and operators, each made on both servers, whose answers must be the same.

use std::time::Duration;

use mysql::prelude::Queryable;

use super::{
    super::{
        actors,
        oracle::{OperatorAction, ResultKind},
        simulation::with,
    },
    Fidelity, Open, READER, SHORT_DAYS, same, same_time, set_clock,
};
use crate::{
    events::{log::EventLog, store::Polled},
    queue::{
        JobError, Outcome, Queue, Status,
        claim_ids::ClaimIds,
        outcome::{FinishedAttempt, next},
        store::Claim,
    },
};

impl Fidelity {
    /// One call of a daemon: its name, and whether it had an effect.
    pub fn daemon_calls(&mut self) -> (&'static str, bool) {
        match self.rng.u8(0..13) {
            0 | 1 => {
                self.claims += 1;
                let (claim_id, limit) = (self.claims, self.rng.usize(1..5));
                let after = self.cursor.take().filter(|_| self.rng.bool());
                let excluded = self.free_jobs(|_| self.claims.is_multiple_of(3));
                let excluded = excluded[..excluded.len().min(2)].to_vec();
                let except = excluded.clone();
                let (memory, server) = self.on_queue(move |queue| queue.ready(limit, after, &except));
                same("ready", &memory, &server);
                let (memory, server) = match self.rng.u8(0..3) {
                    0 if !excluded.is_empty() => self.on_queue(move |queue| {
                        let jobs = queue.claim_ids(&mut ClaimIds::beginning_with(claim_id), &excluded)?;
                        Ok(Claim { jobs, cursor: None })
                    }),
                    _ => self.on_queue(move |queue| {
                        queue.claim(&mut ClaimIds::beginning_with(claim_id), limit, after, &excluded)
                    }),
                };
                same("claimed", &memory, &server);
                self.cursor = server.cursor;
                let is_new = !server.jobs.is_empty();
                self.held.extend(server.jobs);
                ("claim", is_new)
            }
            2 | 3 => {
                let outcomes = self.outcomes();
                let (memory, server) = self.on_queue(move |queue| queue.finish(&outcomes));
                same("finished", &memory, &server);
                ("finish", server > 0)
            }
            4 => {
                self.drop_locked();
                let Some(claim_id) = self.rng.choice(&self.held).map(|job| job.claim_id) else {
                    return ("release", false);
                };
                let all: Vec<u64> = (0..=self.claims).collect();
                let (memory, server) = self.on_queue(move |queue| queue.holding(&all));
                same("holding", &memory, &server);
                let some = self.held.iter().filter(|job| job.claim_id == claim_id && self.rng.bool()).map(|job| job.id);
                let ids = Some(some.collect::<Vec<_>>()).filter(|ids| !ids.is_empty());
                self.on_queue(move |queue| queue.release_claimed(claim_id, ids.as_deref()));
                ("release", true)
            }
            5 => {
                let (memory, server) = self.on_queue(|queue| queue.reclaim_expired(&[]));
                same("reclaimed", &memory.jobs, &server.jobs);
                ("reclaim", server.jobs > 0)
            }
            6 => {
                let (mut memory, mut server) = self.on_queue(|queue| queue.due(500, &[]));
                let ids = server.clone();
                memory.sort_unstable();
                server.sort_unstable();
                same("due", &memory, &server);
                if !ids.is_empty() {
                    let (memory, server) = self.on_queue(move |queue| queue.promote(&ids));
                    same("promoted", &memory, &server);
                }
                let us = |due: Option<Duration>| due.map(|due| due.as_micros() as i64);
                let (memory, server) = self.on_queue(|queue| queue.next_due(&[]));
                same_time("next due", us(memory), us(server));
                ("promote", server.is_some())
            }
            7 => {
                let lease_s = self.rng.u32(2..8);
                self.on_queue(move |queue| queue.renew_lease(lease_s));
                ("renew", true)
            }
            8 => {
                match self.rng.u8(0..4) {
                    0 => drop(self.on_queue(|queue| queue.end_lease())),
                    _ => {
                        let (memory, server) = self.on_queue(|queue| queue.is_paused());
                        same("paused", &memory, &server);
                    }
                }
                ("end the lease or read the pause", true)
            }
            9 | 10 => {
                let floor = self.floor();
                let head = with(|sim| sim.server.oracle.head_seq());
                let (after_seq, limit) = (self.rng.u64(0..=head), self.rng.usize(1..20));
                let seen = |polled: Polled| {
                    (polled.numbered_up_to, polled.events.iter().map(|event| event.seq).collect::<Vec<_>>())
                };
                let (memory, mut server) = self.on_log(
                    move |log| log.poll(floor.0, after_seq, limit).map(seen),
                    |log| log.poll(floor.1, after_seq, limit).map(seen),
                );
                server.0 = server.0.map(|id| self.ids[&id]);
                same("numbered and read", &memory, &server);
                ("number", server.0.is_some())
            }
            11 => {
                let (floor, limit) = (self.floor(), self.rng.usize(1..8));
                let (memory, server) = self
                    .on_log(move |log| log.unnumbered(floor.0, limit, &[]), |log| log.unnumbered(floor.1, limit, &[]));
                same("unnumbered", &memory, &server.iter().map(|id| self.ids[id]).collect());
                // The first ones, since the order is checked.
                let count = self.rng.usize(0..=memory.len());
                let first = |mut ids: Vec<u64>| {
                    ids.truncate(count);
                    ids
                };
                let (mut memory, mut server) = (first(memory), first(server));
                // Without these, others remain.
                let excluded = (memory.clone(), server.clone());
                let (oldest, real) =
                    self.on_log(move |log| log.oldest_unmoved(&excluded.0), |log| log.oldest_unmoved(&excluded.1));
                same("the oldest of the others", &oldest, &real.map(|id| self.ids[&id]));
                // Gone since it was read.
                memory.push(u64::MAX);
                server.push(u64::MAX);
                self.on_log(move |log| log.number(&memory), |log| log.number(&server));
                ("number chosen ones", true)
            }
            _ => {
                let limit = self.rng.usize(1..6);
                let (memory, server) =
                    self.on_log(move |log| log.old(SHORT_DAYS, limit, &[]), |log| log.old(1, limit, &[]));
                same("old", &memory, &server);
                let kept: Vec<u64> = server.iter().copied().filter(|seq| seq % 5 == 0).collect();
                let (seqs, except) = (server.clone(), kept.clone());
                self.on_log(move |log| log.delete(&seqs, &except), |log| log.delete(&server, &kept));
                ("prune", !server.is_empty())
            }
        }
    }

    /// Outcomes of some attempts, some of which have lost their job.
    fn outcomes(&mut self) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        self.drop_locked();
        for _ in 0..self.rng.usize(1..4).min(self.held.len()) {
            let n = self.rng.usize(..self.held.len());
            let job = if self.rng.u8(0..5) > 0 { self.held.swap_remove(n) } else { self.held[n].clone() };
            let error = "no luck".to_string();
            let result = match self.rng.u8(0..7) {
                0..3 => Ok(None),
                3 => Err(JobError::Failed(error)),
                4 => Err(JobError::Permanent(error)),
                5 => Err(JobError::Interrupted(error)),
                _ => Err(JobError::Postponed(error)),
            };
            let attempt = FinishedAttempt { job, result };
            let next = next(&attempt, 3, self.rng.u32(0..9), self.rng.f64());
            if outcomes.iter().all(|outcome| outcome.attempt.job.id != attempt.job.id) {
                let (job, kind) = (&attempt.job, ResultKind::of(&attempt.result));
                with(|sim| sim.server.oracle.run_ended(job.id, job.claim_id, kind));
                outcomes.push(Outcome::new(attempt, next));
            }
            if self.held.is_empty() {
                break;
            }
        }
        outcomes
    }

    /// Forgets attempts whose jobs an application has locked since they were lost: a call for them would wait.
    fn drop_locked(&mut self) {
        let free = self.free_jobs(|_| true);
        self.held.retain(|job| free.contains(&job.id));
    }

    /// An outbox id below every event without a number, simulated and real.
    fn floor(&mut self) -> (u64, u64) {
        let (memory, server) = self.on_log(|log| log.oldest_unmoved(&[]), |log| log.oldest_unmoved(&[]));
        same("the oldest without a number", &memory, &server.map(|id| self.ids[&id]));
        let below = self.ids.iter().rfind(|(id, _)| server.is_none_or(|oldest| **id < oldest));
        below.filter(|_| self.rng.bool()).map_or((0, 0), |(server, memory)| (*memory, *server))
    }

    /// One call of an application or an operator: its name, and whether it had an effect.
    pub fn other_calls(&mut self) -> (&'static str, bool) {
        match self.rng.u8(0..10) {
            0..5 => {
                self.write();
                ("write", true)
            }
            5 => {
                let what = if self.rng.bool() { OperatorAction::Cancel } else { OperatorAction::Retry };
                let ids: Vec<u64> = self.free_jobs(|_| true);
                let Some(&id) = self.rng.choice(&ids) else { return ("by hand", false) };
                let memory =
                    with(|sim| sim.server.alone(0, |server, tx| actors::change(server, tx, id, what))).unwrap();
                let mut queue = Queue::on(&self.db);
                queue.link.run(|conn| set_clock(conn, self.now_us)).unwrap();
                let server = if what == OperatorAction::Cancel { queue.cancel(&[id]) } else { queue.retry(&[id]) };
                same("changed by hand", &(memory as u64), &server.unwrap());
                ("by hand", memory > 0)
            }
            6 => {
                let is_paused = self.rng.u8(0..3) == 0;
                with(|sim| sim.server.alone(0, |server, tx| actors::set_paused(server, tx, is_paused))).unwrap();
                let mut queue = Queue::on(&self.db);
                if is_paused { queue.pause() } else { queue.resume() }.unwrap();
                ("pause", is_paused)
            }
            _ => (if self.open.is_some() { "end" } else { "open" }, self.open_or_end()),
        }
    }

    /// Writes a job or an event, in the open transaction or in one of its own.
    fn write(&mut self) {
        let Fidelity { rng, open, conn, now_us, .. } = self;
        let open = open.as_mut().filter(|_| rng.bool());
        let own = open.is_none();
        let tx = open.as_ref().map_or_else(|| with(|sim| sim.server.begin(0)), |open| open.tx);
        let conn = open.map_or(conn, |open| &mut open.conn);
        set_clock(conn, *now_us).unwrap();
        if rng.u8(0..3) == 0 {
            with(|sim| sim.server.publish(tx, "Custom", None));
            conn.query_drop("CALL publish('Custom', '1')").unwrap();
        } else {
            let delay_us = Some(rng.u64(0..4_000_000)).filter(|_| rng.u8(0..4) == 0);
            let max_attempts = *rng.choice(&[None, Some(1), Some(3)]).expect("one of them");
            let priority = rng.i64(0..3);
            let id = with(|sim| actors::insert(&mut sim.server, tx, delay_us, max_attempts, priority)).unwrap();
            conn.exec_drop(
                "INSERT INTO res_queue (res_id, res_name, priority, run_at, max_attempts) \
                 VALUES (?, ?, ?, NOW(6) + INTERVAL ? MICROSECOND, ?)",
                (id, format!("job-{id}"), priority, delay_us, max_attempts),
            )
            .unwrap();
        }
        if own {
            with(|sim| sim.server.commit(tx)).unwrap();
        }
    }

    /// Committed jobs that no transaction has locked.
    fn free_jobs(&self, is_wanted: impl Fn(Status) -> bool) -> Vec<u64> {
        with(|sim| {
            let jobs = &sim.server.jobs;
            let free = jobs.all_committed().filter(|(id, row)| is_wanted(row.status) && jobs.is_free(READER, *id));
            free.map(|(id, _)| id).collect()
        })
    }

    /// Begins a transaction that locks a job and stays open, or ends it. Only with SKIP LOCKED: a claim would wait for it
    /// otherwise.
    fn open_or_end(&mut self) -> bool {
        if let Some(Open { tx, mut conn }) = self.open.take() {
            let commits = self.rng.bool();
            with(|sim| match commits {
                true => sim.server.commit(tx).unwrap(),
                false => sim.server.roll_back(tx),
            });
            conn.query_drop(if commits { "COMMIT" } else { "ROLLBACK" }).unwrap();
            return commits;
        }
        if self.skip_locked {
            let mut conn = self.db.global().unwrap();
            conn.query_drop("START TRANSACTION").unwrap();
            let tx = with(|sim| sim.server.begin(0));
            let ids = self.free_jobs(|status| status == Status::New);
            if let Some(&id) = self.rng.choice(&ids) {
                with(|sim| sim.server.jobs.lock(tx, id)).unwrap();
                let lock = "SELECT res_id FROM res_queue FORCE INDEX (PRIMARY) WHERE res_id = ? FOR UPDATE";
                conn.exec_drop(lock, (id,)).unwrap();
            }
            self.open = Some(Open { tx, conn });
        }
        self.skip_locked
    }
}
