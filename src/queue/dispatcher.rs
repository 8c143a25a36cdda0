//! The dispatcher: claims what the workers can start and hands it to them, promotes delayed jobs that are due, and
//! reclaims jobs of daemons whose lease has expired. Owns a claim from the table to the channel; never runs a job. Its
//! thread only waits: every decision is made in a turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, at, never, select};

use super::{
    claim_ids::Unconfirmed,
    isolated_store::{Claims, IsolatedStore, Scan},
    job::Job,
    prefetch::Prefetch,
    probing::{Probing, Streak},
    store::{Cursor, QueueStore},
    validity::Validity,
};
use crate::{
    base::backoff::Backoff,
    base::clock::now,
    base::heartbeat,
    base::metrics::Metrics,
    base::poll_schedule::PollSchedule,
    base::wakeup::Wakeup,
    db::{BACKOFF, Error, ThrottledWarning},
};

/// A scan from the start of the queue is followed by this many times its duration without one; claims in between
/// continue at the cursor.
const FULL_SCAN_SHARE: u32 = 20;
/// Delayed jobs that come due closer together than this start together.
const DUE_GRANULARITY: Duration = Duration::from_millis(10);

/// The time between two polls, of the setting and the lease: each poll reclaims the jobs of expired leases, so there are at
/// least two in a lease.
pub fn poll_interval(poll: Duration, lease: Duration) -> Duration {
    poll.min(lease / 2)
}

/// What the thread waits for between two turns.
pub struct Inputs {
    /// There may be new jobs, now or after a commit that follows.
    pub new_jobs: Receiver<()>,
    /// A job was inserted and committed.
    pub committed: Receiver<()>,
    /// A worker has received a job.
    pub slots: Receiver<()>,
    /// Jobs were left to be retried.
    pub retried: Receiver<()>,
    /// Closed to stop.
    pub stop: Receiver<()>,
}

/// Where claimed jobs go.
pub struct Outputs {
    /// Has room for [`Prefetch::capacity`] jobs, so that a send never waits.
    pub jobs: Sender<Job>,
    /// The workers' end: what is in it after the stop is released.
    pub unstarted: Receiver<Job>,
    /// Notified after each commit that claimed jobs: there are events to number.
    pub to_sequencer: Wakeup,
    pub metrics: Arc<Metrics>,
    /// The workers'.
    pub streak: Streak,
}

/// When the next turn is.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub until: Instant,
    /// A wakeup does not bring the turn forward: the database has a problem.
    pub ignore_wakeups: bool,
}

pub struct Dispatcher {
    store: IsolatedStore,
    lease: Validity,
    outputs: Outputs,
    prefetch: Prefetch,
    probing: Probing,
    /// The time between two polls without a wakeup.
    poll_interval: Duration,
    next_poll: Instant,
    /// There may be delayed jobs that `next_poll` does not account for.
    replan_due: bool,
    /// How long the next poll for delayed jobs waits at least.
    due_pause: Duration,
    /// Grows while a poll leaves delayed jobs that are due: another session holds their rows.
    due_backoff: Backoff,
    schedule: PollSchedule,
    /// There may be more ready jobs than the last claim took.
    claim_due: bool,
    cursor: Option<Cursor>,
    next_full_scan: Instant,
    /// Claims whose COMMIT failed and may still take effect: looked for at each poll.
    unconfirmed: Unconfirmed,
    /// As last polled, for the log; each claim checks for itself.
    paused: bool,
    backoff: Backoff,
    warning: ThrottledWarning,
}

impl Dispatcher {
    pub fn new(
        store: Box<dyn QueueStore>,
        lease: &Validity,
        outputs: Outputs,
        workers: usize,
        poll_interval: Duration,
    ) -> Dispatcher {
        let now = now();
        Dispatcher {
            store: IsolatedStore::new(store),
            lease: lease.clone(),
            probing: Probing::new(workers, outputs.streak.clone()),
            outputs,
            prefetch: Prefetch::new(workers),
            poll_interval,
            next_poll: now,
            replan_due: true,
            due_pause: DUE_GRANULARITY,
            due_backoff: Backoff::new(2 * DUE_GRANULARITY, poll_interval, 0.0),
            schedule: PollSchedule::default(),
            claim_due: true,
            cursor: None,
            next_full_scan: now,
            unconfirmed: Unconfirmed::default(),
            paused: false,
            backoff: BACKOFF,
            warning: ThrottledWarning::default(),
        }
    }

    /// Runs until it is stopped; then releases what no worker has started.
    pub fn run(mut self, mut inputs: Inputs) {
        loop {
            heartbeat::working();
            let Wait { until, ignore_wakeups } = self.turn();
            heartbeat::waiting();
            if ignore_wakeups {
                match inputs.stop.recv_deadline(until) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    _ => break,
                }
            }
            select! {
                recv(inputs.stop) -> _ => break,
                recv(inputs.new_jobs) -> wakeup => match wakeup {
                    Ok(()) => self.notified(),
                    // Every sender has ended.
                    Err(_) => inputs.new_jobs = never(),
                },
                recv(inputs.committed) -> wakeup => match wakeup {
                    Ok(()) => self.committed(),
                    Err(_) => inputs.committed = never(),
                },
                recv(inputs.retried) -> _ => self.retried(),
                recv(inputs.slots) -> _ => {}
                recv(at(until)) -> _ => {}
            }
        }
        self.release_unstarted();
    }

    /// There may be new jobs.
    pub fn notified(&mut self) {
        self.schedule.notified(now());
    }

    /// A job was inserted and committed.
    pub fn committed(&mut self) {
        self.schedule.committed(now());
    }

    /// Jobs were left to be retried.
    pub fn retried(&mut self) {
        self.replan_due = true;
    }

    /// Does what is due; returns when the next turn is.
    pub fn turn(&mut self) -> Wait {
        match self.run_due() {
            Ok(until) => {
                self.backoff.reset();
                Wait { until, ignore_wakeups: false }
            }
            Err(error) => {
                self.warning.warn("queue: cannot read or claim jobs", &error);
                Wait { until: now() + self.backoff.next(fastrand::f64()), ignore_wakeups: true }
            }
        }
    }

    fn run_due(&mut self) -> Result<Instant, Error> {
        if now() >= self.next_poll {
            self.poll()?;
        }
        if self.store.retry_at().is_some_and(|at| at <= now()) {
            self.retry_set_aside()?;
        }
        loop {
            let room = self.room();
            let due = self.claim_due || self.schedule.is_due(now());
            if room == 0 || !due || !self.lease.is_valid() {
                break;
            }
            self.claim(room)?;
        }
        if self.replan_due {
            self.plan_next_due()?;
        }
        // Without room the wakeup of a slot comes first, without a lease its renewal: a claim that is due waits for that.
        let can_claim = self.room() > 0 && self.lease.is_valid();
        let next_claim = self.schedule.next().filter(|_| can_claim);
        // A claim that is due and only waits for the end of a pause.
        let now = now();
        let is_due = (self.claim_due || self.schedule.is_due(now)) && self.lease.is_valid();
        let pause_ends = self.probing.pause_ends(now).filter(|_| is_due && self.outputs.jobs.is_empty());
        let others = [next_claim, pause_ends, self.store.retry_at()];
        Ok(others.into_iter().flatten().fold(self.next_poll, Instant::min))
    }

    /// How many jobs may be claimed now.
    fn room(&self) -> usize {
        self.probing.limit(self.prefetch.room(self.outputs.jobs.len()), now())
    }

    /// What happens without a wakeup: the pause flag, expired leases, delayed jobs, and jobs whose wakeup was lost.
    fn poll(&mut self) -> Result<(), Error> {
        self.release_unconfirmed()?;
        let paused = self.store.store.is_paused()?;
        if paused != self.paused {
            match paused {
                true => log::warn!("queue: paused by an operator; claiming no jobs until `resqctl resume`"),
                false => log::warn!("queue: resumed; claiming jobs again"),
            }
            self.paused = paused;
        }
        let metrics = &self.outputs.metrics;
        metrics.wakeups_by_poll.increment();
        metrics.paused.set(u64::from(paused));
        let reclaimed = self.store.reclaim()?;
        metrics.jobs_reclaimed.add(reclaimed);
        if reclaimed > 0 {
            log::warn!("queue: the lease of another daemon expired; reclaimed its jobs jobs={reclaimed}");
        }
        let has_left_some = self.store.promote()?;
        if !has_left_some {
            self.due_backoff.reset();
        }
        self.due_pause = if has_left_some { self.due_backoff.next(0.0) } else { DUE_GRANULARITY };
        self.next_poll = now() + self.poll_interval;
        self.claim_due = true;
        self.next_full_scan = now();
        self.replan_due = true;
        Ok(())
    }

    fn release_unconfirmed(&mut self) -> Result<(), Error> {
        let ids = self.unconfirmed.ids();
        if ids.is_empty() {
            return Ok(());
        }
        for claim_id in self.store.store.holding(&ids)? {
            self.store.release(claim_id)?;
        }
        self.unconfirmed.checked(now());
        Ok(())
    }

    /// Brings the next poll forward to when the next delayed job is due.
    fn plan_next_due(&mut self) -> Result<(), Error> {
        if let Some(due) = self.store.next_due()? {
            self.next_poll = self.next_poll.min(now() + due.max(self.due_pause));
        }
        self.replan_due = false;
        Ok(())
    }

    fn claim(&mut self, room: usize) -> Result<(), Error> {
        let started = now();
        let full_scan = self.cursor.is_none() || started >= self.next_full_scan;
        let after = if full_scan { None } else { self.cursor };
        let mut claims = Claims::default();
        let result = self.store.claim(room, after, &mut claims);
        let found_jobs = !claims.jobs.is_empty();
        if result.is_err() {
            // Whatever it has claimed without an answer is released before the next claim.
            self.next_poll = started;
        }
        // Of earlier claims, after the time that this one took: none left means that the workers were faster.
        let waiting = self.outputs.jobs.len();
        self.hand_over(claims);
        let Scan { is_full, cursor } = result?;
        let now = now();
        self.outputs.metrics.claim.observe(now - started);
        self.schedule.polled(now);
        if full_scan {
            self.next_full_scan = now + (now - started) * FULL_SCAN_SHARE;
        }
        self.claim_due = is_full;
        let is_probe = self.probing.is_on();
        self.probing.claimed(now, fastrand::f64());
        if self.claim_due {
            // A probe says nothing about how fast the workers are.
            if !is_probe {
                self.prefetch.record_full_claim(waiting);
            }
        } else if !full_scan {
            // Nothing is left behind the cursor; what was committed before it waits for the next full scan.
            self.schedule.poll_again_at(self.next_full_scan);
        }
        self.cursor = cursor.or(self.cursor);
        if found_jobs {
            self.schedule.found_work();
        }
        // A wakeup that led to no ready job may have been for a delayed one.
        self.replan_due |= !self.claim_due;
        Ok(())
    }

    /// Tries jobs again that the server refused to change, and whose pause is over.
    fn retry_set_aside(&mut self) -> Result<(), Error> {
        let room = if self.lease.is_valid() { self.room() } else { 0 };
        let mut claims = Claims::default();
        let result = self.store.retry(room, &mut claims);
        self.hand_over(claims);
        // What was promoted is to be claimed.
        self.claim_due = true;
        result
    }

    /// Passes claimed jobs to the workers, and remembers claims whose COMMIT failed.
    fn hand_over(&mut self, claims: Claims) {
        self.unconfirmed.extend(claims.unconfirmed);
        if !claims.jobs.is_empty() {
            self.outputs.to_sequencer.notify();
        }
        for job in claims.jobs {
            if self.outputs.jobs.send(job).is_err() {
                break;
            }
        }
    }

    /// Puts jobs that no worker has started back into the queue.
    pub fn release_unstarted(mut self) {
        let unstarted: Vec<Job> = self.outputs.unstarted.try_iter().collect();
        let mut released = 0;
        for jobs in unstarted.chunk_by(|a, b| a.claim_id == b.claim_id) {
            let ids: Vec<u64> = jobs.iter().map(|job| job.id).collect();
            let (failed, error) = match self.store.release_unstarted(jobs[0].claim_id, &ids) {
                Ok(None) => (0, None),
                Ok(Some((refused, error))) => (refused, Some(error)),
                Err(error) => (ids.len(), Some(error)),
            };
            released += ids.len() - failed;
            if let Some(error) = error {
                log::warn!(
                    "queue: claimed jobs could not be released; they will be reclaimed when the lease ends jobs={failed} error={error}"
                );
            }
        }
        if released > 0 {
            log::info!("queue: released {released} claimed jobs that were not started");
        }
    }
}

#[cfg(test)]
mod tests;
