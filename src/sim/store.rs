//! The queue's store on the simulated server, statement by statement as `queue::sql_store` sends them.

use std::{collections::BTreeSet, time::Duration};

use super::{
    fault_schedule::{REFUSED, server_error},
    oracle::{Record, ResultKind, Return},
    reclaim::{mark_returned, reclaim_expired},
    rows::Tx,
    server::{Server, Stop},
    session::{Host, Session},
    simulation::with,
    tables::{JobRow, LeaseRow, ONE},
};
use crate::{
    db::{Error, Link, quarantine::Report},
    queue::{
        Job, JobError, Outcome, Status,
        claim_ids::ClaimIds,
        outcome::Next,
        store::{Change, Claim, Cursor, QueueStore, Reclaimed},
    },
};

pub struct SimQueueStore {
    link: Link<Host>,
    owner: u64,
    workers: u32,
    skip_locked: bool,
}

impl SimQueueStore {
    pub fn new(host: &Host, owner: u64, workers: u32, skip_locked: bool) -> SimQueueStore {
        SimQueueStore { link: Link::new(host), owner, workers, skip_locked }
    }
}

/// `uncounted`: attempts that the row did not count yet when it was read.
fn job(id: u64, row: &JobRow, claim_id: u64, uncounted: u32) -> Job {
    Job {
        id,
        name: format!("job-{id}"),
        res_type: "default".into(),
        url: None,
        attempt: row.attempts + uncounted,
        max_attempts: row.max_attempts,
        interruptions: row.interruptions,
        claim_id,
    }
}

/// Ready rows in the order of claims; none while the queue is paused.
fn ready(server: &Server, tx: Tx, which: &Which) -> Vec<u64> {
    if server.paused.get(tx, ONE).is_some() {
        return Vec::new();
    }
    let position = |id: u64, row: &JobRow| (row.priority, id);
    let mut rows: Vec<(i64, u64)> = server
        .jobs
        .seen_by(tx)
        .filter(|(_, row)| row.is_ready())
        .map(|(id, row)| position(id, row))
        .filter(|position| which.contains(*position))
        .collect();
    rows.sort_unstable();
    rows.truncate(which.limit);
    rows.into_iter().map(|(_, id)| id).collect()
}

/// Which ready rows to claim.
#[derive(Clone)]
struct Which {
    limit: usize,
    after: Option<Cursor>,
    excluded: Vec<u64>,
    /// Only these, if there are any.
    ids: Vec<u64>,
}

impl Which {
    fn contains(&self, (priority, id): (i64, u64)) -> bool {
        self.after.is_none_or(|after| (priority, id) > (after.priority, after.id))
            && !self.excluded.contains(&id)
            && (self.ids.is_empty() || self.ids.contains(&id))
    }
}

fn mark_claimed(row: &mut JobRow, owner: u64, claim_id: u64, now_us: u64) {
    row.status = Status::InProgress;
    row.attempts += 1;
    row.started_at = now_us;
    (row.owner, row.claim_id) = (Some(owner), Some(claim_id));
}

/// `lock_and_mark`.
fn claim(session: &mut Session, owner: u64, tries: &mut ClaimIds, which: &Which) -> Result<Claim, Error> {
    let claim_id = tries.draw();
    session.begin()?;
    let rows = session.within(|server, tx| {
        let mut ids = ready(server, tx, &Which { limit: usize::MAX, ..which.clone() });
        ids.retain(|id| server.jobs.is_free(tx, *id));
        ids.truncate(which.limit);
        for id in &ids {
            server.jobs.lock(tx, *id)?;
        }
        Ok(ids.iter().filter_map(|id| Some((*id, server.jobs.get(tx, *id)?.clone()))).collect::<Vec<_>>())
    })?;
    let mut ids: Vec<u64> = rows.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    let is_ours = !rows.is_empty()
        && session.within(|server, tx| {
            let (now_us, is_ready) = (server.now_us, |_, row: &JobRow| row.is_ready());
            server.change_jobs(tx, Change::Claim, &ids, is_ready, |_, row| mark_claimed(row, owner, claim_id, now_us))
        })? == rows.len();
    if !is_ours {
        session.roll_back()?;
        return Ok(Claim::default());
    }
    session.commit().inspect_err(|_| tries.commit_failed(claim_id))?;
    let cursor = rows.last().map(|(id, row)| Cursor { priority: row.priority, id: *id });
    Ok(Claim { jobs: rows.iter().map(|(id, row)| job(*id, row, claim_id, 1)).collect(), cursor })
}

/// `mark_by_token`.
fn claim_by_token(session: &mut Session, owner: u64, tries: &mut ClaimIds, which: &Which) -> Result<Claim, Error> {
    let claim_id = tries.draw();
    session.begin()?;
    let count = session.within(|server, tx| {
        let mut ids = ready(server, tx, &Which { after: None, ..which.clone() });
        if !which.ids.is_empty() {
            // This UPDATE reads by the primary key, the other one by the claim's index.
            ids.sort_unstable();
        }
        let (now_us, is_ready) = (server.now_us, |_, row: &JobRow| row.is_ready());
        server.change_jobs(tx, Change::Claim, &ids, is_ready, |_, row| mark_claimed(row, owner, claim_id, now_us))
    })?;
    if count == 0 {
        session.roll_back()?;
        return Ok(Claim::default());
    }
    let jobs = session.within(|server, tx| {
        let ours = server.jobs.seen_by(tx).filter(|(_, row)| row.claim_id == Some(claim_id));
        let mut ours: Vec<_> = ours.map(|(id, row)| (row.priority, job(id, row, claim_id, 0))).collect();
        ours.sort_by_key(|(priority, job)| (*priority, job.id));
        Ok(ours.into_iter().map(|(_, job)| job).collect())
    })?;
    session.commit().inspect_err(|_| tries.commit_failed(claim_id))?;
    Ok(Claim { jobs, cursor: None })
}

fn finish(session: &mut Session, outcomes: &[Outcome]) -> Result<usize, Error> {
    session.begin()?;
    let mut held = Vec::new();
    for batch in outcomes.chunk_by(|a, b| a.attempt.job.claim_id == b.attempt.job.claim_id) {
        let claim_id = batch[0].attempt.job.claim_id;
        let ids: Vec<u64> = batch.iter().map(|outcome| outcome.attempt.job.id).collect();
        let is_held = |row: &JobRow| row.status == Status::InProgress && row.claim_id == Some(claim_id);
        let ours: Vec<u64> = session.within(|server, tx| {
            server.update_jobs(tx, &ids, |_, _| false, |_, _| {})?;
            Ok(ids.iter().copied().filter(|id| server.jobs.get(tx, *id).is_some_and(is_held)).collect())
        })?;
        held.extend(batch.iter().filter(|outcome| ours.contains(&outcome.attempt.job.id)));
    }
    held.sort_by_key(|outcome| match outcome.attempt.result {
        Ok(_) => (0, outcome.attempt.job.id),
        _ => (1, 0),
    });
    for outcome in &held {
        if !outcome.is_substitute && with(|sim| sim.chance(sim.faults.refused)) {
            return Err(server_error(REFUSED));
        }
        if session.within(|server, tx| write(server, tx, outcome))? != 1 {
            return Err(Error::RaceLost);
        }
    }
    session.commit()?;
    Ok(held.len())
}

fn write(server: &mut Server, tx: Tx, outcome: &Outcome) -> Result<usize, Stop> {
    let job = &outcome.attempt.job;
    let now_us = server.now_us;
    let is_held = |_, row: &JobRow| row.status == Status::InProgress && row.claim_id == Some(job.claim_id);
    let written = server.change_jobs(tx, Change::Outcome, &[job.id], is_held, |_, row| {
        (row.status, row.run_at) = match outcome.next {
            Next::Done => (Status::Done, None),
            Next::Retry { after } => (Status::New, Some(now_us + after.as_micros() as u64)),
            Next::Error => (Status::Error, None),
        };
        let interrupted = u32::from(matches!(outcome.attempt.result, Err(JobError::Interrupted(_))));
        let postponed = u32::from(matches!(outcome.attempt.result, Err(JobError::Postponed(_))));
        let uncounted = interrupted + postponed;
        row.attempts = row.attempts.max(uncounted) - uncounted;
        row.interruptions += interrupted;
        (row.owner, row.claim_id) = (None, None);
    })?;
    let kind = ResultKind::of(&outcome.attempt.result);
    let record =
        Record { job: job.id, claim_id: job.claim_id, kind, next: outcome.next, is_substitute: outcome.is_substitute };
    server.recording(tx, record);
    Ok(written)
}

fn is_due(server: &Server, row: &JobRow) -> bool {
    row.status == Status::New && row.run_at.is_some_and(|at| at <= server.now_us)
}

impl SimQueueStore {
    fn claim_which(&mut self, tries: &mut ClaimIds, which: &Which) -> Result<Claim, Error> {
        let (owner, skip_locked) = (self.owner, self.skip_locked);
        self.link.run(|session| match skip_locked {
            true => claim(session, owner, tries, which),
            false => claim_by_token(session, owner, tries, which),
        })
    }
}

impl QueueStore for SimQueueStore {
    fn is_paused(&mut self) -> Result<bool, Error> {
        self.link.run(|session| session.alone(|server, tx| Ok(server.paused.get(tx, ONE).is_some())))
    }

    fn reclaim_expired(&mut self, excluded: &[u64]) -> Result<Reclaimed, Error> {
        self.link.run(|session| reclaim_expired(session, excluded))
    }

    fn due(&mut self, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
        self.link.run(|session| {
            session.alone(|server, tx| {
                let jobs = server.jobs.seen_by(tx).filter(|(id, _)| !excluded.contains(id));
                let mut due: Vec<_> = jobs.filter(|(_, row)| is_due(server, row)).collect();
                due.sort_by_key(|(_, row)| row.run_at);
                Ok(due.into_iter().map(|(id, _)| id).take(limit).collect())
            })
        })
    }

    fn promote(&mut self, ids: &[u64]) -> Result<u64, Error> {
        self.link.run(|session| {
            session.begin()?;
            let ids: Vec<u64> = session.within(|server, tx| {
                let seen = server.jobs.seen_by(tx).filter(|(id, row)| ids.contains(id) && is_due(server, row));
                let mut ids: Vec<u64> = seen.map(|(id, _)| id).collect();
                ids.retain(|id| server.jobs.is_free(tx, *id));
                for id in &ids {
                    server.jobs.lock(tx, *id)?;
                }
                Ok(ids)
            })?;
            let mut promoted = 0;
            if !ids.is_empty() {
                let is_new = |_, row: &JobRow| row.status == Status::New;
                promoted = session.within(|server, tx| {
                    server.change_jobs(tx, Change::Promotion, &ids, is_new, |_, row| row.run_at = None)
                })?;
            }
            session.commit()?;
            Ok(promoted as u64)
        })
    }

    fn next_due(&mut self, excluded: &[u64]) -> Result<Option<Duration>, Error> {
        self.link.run(|session| {
            session.alone(|server, tx| {
                let jobs = server.jobs.seen_by(tx).filter(|(id, _)| !excluded.contains(id));
                let next = jobs.filter(|(_, row)| row.status == Status::New).filter_map(|(_, row)| row.run_at).min();
                Ok(next.map(|at| Duration::from_micros(at.saturating_sub(server.now_us))))
            })
        })
    }

    fn claim(
        &mut self,
        tries: &mut ClaimIds,
        limit: usize,
        after: Option<Cursor>,
        excluded: &[u64],
    ) -> Result<Claim, Error> {
        self.claim_which(tries, &Which { limit, after, excluded: excluded.to_vec(), ids: Vec::new() })
    }

    fn claim_ids(&mut self, tries: &mut ClaimIds, ids: &[u64]) -> Result<Vec<Job>, Error> {
        let which = Which { limit: usize::MAX, after: None, excluded: Vec::new(), ids: ids.to_vec() };
        Ok(self.claim_which(tries, &which)?.jobs)
    }

    fn ready(&mut self, limit: usize, after: Option<Cursor>, excluded: &[u64]) -> Result<Vec<Cursor>, Error> {
        let which = Which { limit, after, excluded: excluded.to_vec(), ids: Vec::new() };
        self.link.run(|session| {
            session.alone(|server, tx| {
                let ids = ready(server, tx, &which);
                let place = |id| server.jobs.get(tx, id).map(|row| Cursor { priority: row.priority, id });
                Ok(ids.into_iter().filter_map(place).collect())
            })
        })
    }

    fn holding(&mut self, claim_ids: &[u64]) -> Result<Vec<u64>, Error> {
        self.link.run(|session| {
            session.alone(|server, tx| {
                let running = server.jobs.seen_by(tx).filter(|(_, row)| row.status == Status::InProgress);
                let held: BTreeSet<u64> = running.filter_map(|(_, row)| row.claim_id).collect();
                Ok(held.into_iter().filter(|id| claim_ids.contains(id)).collect())
            })
        })
    }

    fn claimed(&mut self, claim_id: u64) -> Result<Vec<u64>, Error> {
        self.link.run(|session| {
            session.alone(|server, tx| {
                let held = server.jobs.seen_by(tx).filter(|(_, row)| row.claim_id == Some(claim_id));
                Ok(held.map(|(id, _)| id).collect())
            })
        })
    }

    fn release_claimed(&mut self, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error> {
        self.link.run(|session| {
            session.begin()?;
            session.within(|server, tx| {
                server.returning(tx, Return::Released { claim_id });
                // In the order of the index that the UPDATE uses.
                let ids = match ids {
                    Some(ids) => BTreeSet::from_iter(ids.iter().copied()).into_iter().collect(),
                    // The claim's index contains other transactions' uncommitted changes, and the UPDATE waits for those.
                    None => {
                        let mut ids = server.jobs.touched(tx, |row| row.claim_id == Some(claim_id));
                        ids.sort_by_key(|id| server.jobs.get(tx, *id).map(|row| row.priority));
                        ids
                    }
                };
                let is_held = |_, row: &JobRow| row.status == Status::InProgress && row.claim_id == Some(claim_id);
                server.change_jobs(tx, Change::Release, &ids, is_held, |_, row| mark_returned(row))
            })?;
            session.commit()
        })
    }

    fn finish(&mut self, outcomes: &[Outcome]) -> Result<usize, Error> {
        self.link.run(|session| finish(session, outcomes))
    }

    /// The list is for operators.
    fn report_set_aside(&mut self, _: &[Report<Change>], _: &[u64]) -> Result<(), Error> {
        Ok(())
    }

    // Not simulated: a frozen machine keeps its locks until it goes on or dies.
    fn end_expired_sessions(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn renew_lease(&mut self, lease_s: u32) -> Result<(), Error> {
        let (owner, workers) = (self.owner, self.workers);
        let stops = with(|sim| sim.machines.get(sim.current).map(|machine| machine.clock_stops));
        self.link.run(|session| {
            session.alone(|server, tx| {
                server.leases.lock(tx, owner)?;
                let until_us = server.now_us + u64::from(lease_s) * 1_000_000;
                server.leases.set(tx, owner, Some(LeaseRow { until_us, workers }));
                Ok(())
            })
        })?;
        if let Some(stops) = stops {
            with(|sim| sim.machines[sim.current].renewed_after_stops = stops);
        }
        Ok(())
    }

    fn end_lease(&mut self) -> Result<(), Error> {
        let owner = self.owner;
        self.link.run(|session| {
            session.alone(|server, tx| {
                server.leases.lock(tx, owner)?;
                server.leases.set(tx, owner, None);
                Ok(())
            })
        })
    }
}
