//! The dispatcher: claims what the workers can start and hands it to them; promotes delayed jobs whose time has come
//! and rescues those whose daemon is gone. Owns the claims from the table to the channel; never runs a job. Its thread
//! only waits: all that is decided is decided in a turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, at, never, select};

use super::{
    job::{Job, Prefetch},
    lease::Lease,
    sql_store::Cursor,
    store::QueueStore,
};
use crate::{
    base::backoff::Backoff,
    base::clock::now,
    base::poll_schedule::PollSchedule,
    base::wakeup::Wakeup,
    db::{self, BACKOFF, ErrorClass, ThrottledWarning},
};

/// A look at the whole queue may take at most this part of the time; between two of them claims go on from the
/// last place.
const FULL_LOOK_SHARE: u32 = 20;
/// Delayed rows that come due closer together than this start together.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

/// A COMMIT without an answer is carried out within this time or never: longer than a cluster takes to shut out a node,
/// and than a connection that has broken stays unnoticed.
const UNCONFIRMED_FOR: Duration = Duration::from_secs(60);

/// What the thread listens to between two turns.
pub struct Inputs {
    pub news: Receiver<()>,
    pub slots: Receiver<()>,
    /// Heard when jobs are left to be tried again.
    pub retried: Receiver<()>,
    pub stop: Receiver<()>,
}

/// Where claimed jobs go.
pub struct Outputs {
    /// Bounded at the largest [`Prefetch`], so that a send never waits.
    pub jobs: Sender<Job>,
    /// The workers' end: what is in it at the stop is given back.
    pub unstarted: Receiver<Job>,
    /// Rung after each commit that took jobs.
    pub changed: Wakeup,
}

/// When the next turn is.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub until: Instant,
    /// Whoever rings before does not make it come sooner: the server is in warning.
    pub ignore_wakeups: bool,
}

pub struct Dispatcher {
    store: Box<dyn QueueStore>,
    lease: Arc<Lease>,
    outputs: Outputs,
    buffer: Prefetch,
    /// How long between two looks without a wakeup.
    tick: Duration,
    next_tick: Instant,
    /// There may be delayed rows that `next_tick` was not set for.
    replan_due: bool,
    schedule: PollSchedule,
    /// There may be more rows than the last claim took.
    claim_due: bool,
    cursor: Option<Cursor>,
    next_full_look: Instant,
    /// Claims whose COMMIT got no answer, and until when they are looked after: taken or not, they are given back before
    /// the next, and then at each tick, since a node that was cut off may carry the COMMIT out later.
    unconfirmed_claims: Vec<(u64, Instant)>,
    /// As last seen, for the log; what counts is what a claim sees.
    paused: bool,
    backoff: Backoff,
    warning: ThrottledWarning,
}

impl Dispatcher {
    pub fn new(
        store: Box<dyn QueueStore>,
        lease: Arc<Lease>,
        outputs: Outputs,
        workers: usize,
        tick: Duration,
    ) -> Dispatcher {
        let now = now();
        Dispatcher {
            store,
            lease,
            outputs,
            buffer: Prefetch::new(workers),
            tick,
            next_tick: now,
            replan_due: true,
            schedule: PollSchedule::default(),
            claim_due: true,
            cursor: None,
            next_full_look: now,
            unconfirmed_claims: Vec::new(),
            paused: false,
            backoff: BACKOFF,
            warning: ThrottledWarning::default(),
        }
    }

    /// Runs until it is told to stop; then gives back what no worker has started.
    pub fn run(mut self, mut inputs: Inputs) {
        loop {
            let Wait { until, ignore_wakeups } = self.turn();
            if ignore_wakeups {
                match inputs.stop.recv_deadline(until) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    _ => break,
                }
            }
            select! {
                recv(inputs.stop) -> _ => break,
                recv(inputs.news) -> rung => match rung {
                    Ok(()) => self.notified(),
                    // Whoever rang has ended.
                    Err(_) => inputs.news = never(),
                },
                recv(inputs.retried) -> _ => self.retried(),
                recv(inputs.slots) -> _ => {}
                recv(at(until)) -> _ => {}
            }
        }
        self.release_claimed();
    }

    /// There may be new jobs.
    pub fn notified(&mut self) {
        self.schedule.notified(now());
    }

    /// Jobs were left to be tried again.
    pub fn retried(&mut self) {
        self.replan_due = true;
    }

    /// Does what is due; returns when to come again.
    pub fn turn(&mut self) -> Wait {
        match self.do_what_is_due() {
            Ok(until) => {
                self.backoff.reset();
                Wait { until, ignore_wakeups: false }
            }
            Err(error) => {
                self.warning.warn("the queue can't be read or claimed from", &error);
                Wait { until: now() + self.backoff.next(fastrand::f64()), ignore_wakeups: true }
            }
        }
    }

    fn do_what_is_due(&mut self) -> Result<Instant, db::Error> {
        if now() >= self.next_tick {
            self.tick()?;
        }
        loop {
            let room = self.buffer.room(self.outputs.jobs.len());
            let due = self.claim_due || self.schedule.is_due(now());
            if room == 0 || !due || !self.lease.is_valid() {
                break;
            }
            self.look(room)?;
        }
        if self.replan_due {
            self.plan()?;
        }
        // With no room the slots' wakeup comes first, without a lease its renewal: the look that is due waits for them.
        let may_look = self.buffer.room(self.outputs.jobs.len()) > 0 && self.lease.is_valid();
        let schedule = self.schedule.next().filter(|_| may_look);
        Ok(schedule.map_or(self.next_tick, |schedule| schedule.min(self.next_tick)))
    }

    /// What is looked after without a wakeup: the pause switch, lost jobs, delayed ones, and rows nobody rang for.
    fn tick(&mut self) -> Result<(), db::Error> {
        self.release_unconfirmed()?;
        let paused = self.store.is_paused()?;
        if paused != self.paused {
            log::warn!("the queue is {}", if paused { "paused: no new claims" } else { "resumed" });
            self.paused = paused;
        }
        let reclaimed = self.store.reclaim_expired()?;
        if reclaimed > 0 {
            log::warn!("{reclaimed} jobs of a daemon whose lease ran out are back in the queue");
        }
        while self.store.promote_delayed()? {}
        self.next_tick = now() + self.tick;
        self.claim_due = true;
        self.next_full_look = now();
        self.replan_due = true;
        Ok(())
    }

    fn release_unconfirmed(&mut self) -> Result<(), db::Error> {
        for (claim_id, _) in &self.unconfirmed_claims {
            self.store.release_claimed(*claim_id, None)?;
        }
        let now = now();
        self.unconfirmed_claims.retain(|(_, until)| *until > now);
        Ok(())
    }

    /// The next tick comes no later than the next delayed row is due.
    fn plan(&mut self) -> Result<(), db::Error> {
        if let Some(due) = self.store.next_due()? {
            self.next_tick = self.next_tick.min(now() + due.max(SHORTEST_TICK));
        }
        self.replan_due = false;
        Ok(())
    }

    fn look(&mut self, room: usize) -> Result<(), db::Error> {
        let started = now();
        let full = self.cursor.is_none() || started >= self.next_full_look;
        let from = if full { None } else { self.cursor };
        let claim_id = fastrand::u64(1..);
        let (jobs, last) = self.store.claim(claim_id, room, from).inspect_err(|error| {
            if error.class() == ErrorClass::ConnectionLost {
                self.unconfirmed_claims.push((claim_id, now() + UNCONFIRMED_FOR));
                self.next_tick = now();
            }
        })?;
        let now = now();
        self.schedule.polled(now);
        if full {
            self.next_full_look = now + (now - started) * FULL_LOOK_SHARE;
        }
        self.claim_due = jobs.len() == room;
        if self.claim_due {
            self.buffer.claimed(self.outputs.jobs.len());
        } else if !full {
            // Behind the last place there is no more; what came in before it is for the next full look.
            self.schedule.poll_again_at(self.next_full_look);
        }
        self.cursor = last.or(self.cursor);
        if !jobs.is_empty() {
            self.schedule.found_work();
            self.outputs.changed.notify();
        }
        for job in jobs {
            if self.outputs.jobs.send(job).is_err() {
                break;
            }
        }
        // What was rung for and is not here may be a delayed row.
        self.replan_due |= !self.claim_due;
        Ok(())
    }

    /// What no worker has started goes back to the queue.
    pub fn release_claimed(mut self) {
        let unstarted: Vec<Job> = self.outputs.unstarted.try_iter().collect();
        let mut given = 0;
        for jobs in unstarted.chunk_by(|a, b| a.claim_id == b.claim_id) {
            let ids: Vec<u64> = jobs.iter().map(|job| job.id).collect();
            match self.store.release_claimed(jobs[0].claim_id, Some(&ids)) {
                Ok(()) => given += ids.len(),
                Err(error) => {
                    log::warn!("{} claimed jobs come back when the lease ends: {error}", ids.len());
                }
            }
        }
        if given > 0 {
            log::info!("{given} claimed jobs that were not started are back in the queue");
        }
    }
}
