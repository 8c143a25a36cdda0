//! One task of a worker: it migrates several databases of a rollout one after the other, on one session. What is done is
//! recorded in the transaction that claims what comes next. Owns the order of claim, record and statement for databases that are
//! begun together; what cannot be begun so, or stops, is an attempt's.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering,
    time::Duration,
};

use mysql::prelude::Queryable;

use super::{
    attempt::Attempt,
    completion::Completion,
    opening::{Begun, Opening, add_claims, completion},
    recorder::Recorder,
    stop::{Ended, Stop},
    stretch::Part,
    work::Candidate,
};
use crate::{
    base::clock::now,
    db::{ErrorClass, Packet},
};

/// How long a database is not begun while this daemon's workers run jobs: new resources go first, and rollouts still go on.
const JOBS_FIRST: Duration = Duration::from_millis(200);
/// So many databases are begun together at most, since a worker that is wanted elsewhere ends them first.
const TOGETHER: usize = 8;
/// They take about this long, as far as those before tell.
const TAKES: Duration = Duration::from_millis(200);

/// Attempts one after the other, on one session.
pub struct Lane<'a> {
    /// By which it holds them.
    pub recorder: Recorder<'a>,
    /// The wave.
    pub wave: u32,
    /// Those that it may begin.
    pub candidates: VecDeque<Candidate>,
}

/// What came of databases that were begun together.
enum Together {
    /// All are migrated, which is to be recorded.
    Migrated(Completion),
    /// This one is left.
    Stopped(Box<Begun>),
}

/// Migrates candidates until there is no more, a job waits for the worker, or one of them fails; without any, the next
/// database that can be claimed.
pub fn run(mut lane: Lane<'_>) -> Ended {
    lane.run().unwrap_or(Ended::Lost)
}

impl<'a> Lane<'a> {
    fn run(&mut self) -> Result<Ended, Stop> {
        let mut done = None;
        loop {
            let size = self.recorder.plan.together();
            let batch = self.turn(done.take(), size)?;
            if batch.is_empty() {
                break;
            }
            let began = now();
            done = match self.run_together(batch)? {
                Together::Migrated(completion) => Some(completion),
                Together::Stopped(begun) => match self.attempt(*begun) {
                    Ok(completion) => completion,
                    Err(ended) => return Ok(ended),
                },
            };
            self.recorder.plan.may_begin_together(next_size(size, now() - began));
        }
        if self.recorder.has_recorded {
            return Ok(Ended::Recorded);
        }
        self.recorder.session.load().wait_for_none(JOBS_FIRST);
        let (claim, wave) = (self.recorder.claim, self.wave);
        let Some(database) = claim.next(self.recorder.conn()?, wave)? else { return Ok(Ended::Nothing) };
        match self.attempt(Begun { database, opened: None, new_until: None }) {
            Ok(None) => Ok(Ended::Recorded),
            Ok(Some(completion)) => self.recorder.complete(&completion).map(|()| Ended::Recorded),
            Err(ended) => Ok(ended),
        }
    }

    /// Records what is done, and claims what comes next, up to `size` databases. An empty batch means that nothing is left.
    fn turn(&mut self, mut done: Option<Completion>, size: usize) -> Result<Vec<Opening<'a>>, Stop> {
        loop {
            let is_busy = self.recorder.session.load().is_job_running();
            let batch = if is_busy && done.is_some() { Vec::new() } else { self.next_batch(size) };
            if batch.is_empty() {
                let Some(done) = done.take() else { return Ok(batch) };
                self.recorder.complete(&done)?;
                continue;
            }
            self.recorder.session.load().wait_for_none(JOBS_FIRST);
            let mut packet = Packet::default();
            let first = if done.is_some() { Part::Complete } else { Part::Claim };
            packet.add(first, 1, "START TRANSACTION");
            done.iter().for_each(|done| done.add(&mut packet));
            add_claims(&mut packet, &batch, self.recorder.claim, self.wave);
            match packet.run(self.recorder.conn()?) {
                Ok(()) => done.take().iter().for_each(|done| self.recorder.recorded(done)),
                Err(stopped) if stopped.purpose == Part::Complete && stopped.is_unmet() => return Err(Stop::Lost),
                // What is unknown after a lost connection, the next poll finds out.
                Err(stopped) if stopped.error.class() == ErrorClass::ConnectionLost => return Err(Stop::Lost),
                Err(_) => {
                    // A race is lost, or another daemon was faster: what is done is recorded all the same.
                    self.recorder.conn()?.query_drop("ROLLBACK")?;
                    if let Some(done) = done.take() {
                        self.recorder.complete(&done)?;
                    }
                    continue;
                }
            }
            let names: Vec<&str> = batch.iter().map(Opening::db_name).collect();
            let claim = self.recorder.claim;
            let held = claim.holds(self.recorder.conn()?, &names)?;
            let batch: Vec<_> = batch.into_iter().filter(|opening| held.contains(opening.db_name())).collect();
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
    }

    fn next_batch(&mut self, size: usize) -> Vec<Opening<'a>> {
        if self.recorder.stopping.load(Ordering::Relaxed) || self.recorder.session.load().is_job_waiting() {
            self.candidates.clear();
        }
        let mut batch = Vec::new();
        while batch.len() < size
            && let Some(candidate) = self.candidates.pop_front()
        {
            let Some(opening) = Opening::of(self.recorder.plan, candidate) else { continue };
            if !opening.may_follow(&batch) {
                self.candidates.push_front(opening.into_candidate());
                break;
            }
            batch.push(opening);
        }
        batch
    }

    /// Runs the first statements of these databases, which are claimed.
    fn run_together(&mut self, mut batch: Vec<Opening<'a>>) -> Result<Together, Stop> {
        let (mut packet, mut held) = (Packet::default(), self.recorder.held.as_deref());
        for (at, opening) in batch.iter().enumerate() {
            opening.add_entry(&mut packet, at, self.recorder.claim, held);
            held = Some(opening.db_name());
        }
        let (last, stopped) = match packet.run(self.recorder.conn()?) {
            Ok(()) => (batch.len() - 1, None),
            Err(stopped) if stopped.error.class() == ErrorClass::ConnectionLost => return Err(Stop::Lost),
            Err(stopped) => (stopped.purpose.0, Some(stopped.map(|(_, part)| part))),
        };
        let behind = batch.split_off(last + 1);
        if stopped.is_none() && batch[last].is_whole() {
            self.recorder.held = Some(batch[last].db_name().to_owned());
            return Ok(Together::Migrated(completion(&batch, self.recorder.claim, self.recorder.plan)));
        }
        let last = batch.remove(last);
        self.recorder.held = Some(last.db_name().to_owned());
        self.settle(&batch, &behind)?;
        Ok(Together::Stopped(last.begun(stopped).into()))
    }

    /// Records that these databases are migrated, and that none of the others was entered.
    fn settle(&mut self, done: &[Opening<'_>], behind: &[Opening<'_>]) -> Result<(), Stop> {
        let (claim, plan) = (self.recorder.claim, self.recorder.plan);
        let done = (!done.is_empty()).then(|| completion(done, claim, plan));
        let names: Vec<&str> = behind.iter().map(Opening::db_name).collect();
        let left = behind.first().map(|first| claim.leave(&names, first.number()));
        if done.is_none() && left.is_none() {
            return Ok(());
        }
        self.recorder.record(done.as_ref(), left.iter().flatten())
    }

    /// Migrates one database, from where it was left. Returns what is left to be recorded, or how the lane ends.
    fn attempt(&mut self, begun: Begun) -> Result<Option<Completion>, Ended> {
        let Begun { database, opened, new_until } = begun;
        let files = opened.as_ref().map(|(registered, _)| self.recorder.plan.due(&database, registered.version));
        if !files.iter().flatten().all(|file| file.is_plain) {
            // What they leave in the session is none of the next database's.
            self.candidates.clear();
        }
        let mut attempt = Attempt { recorder: &mut self.recorder, claimed: &database, new_until };
        let result = catch_unwind(AssertUnwindSafe(|| attempt.migrate(opened)));
        let result = result.unwrap_or_else(|_| {
            let message = format!("database `{}`: the migration panicked; see resqd's log", database.db_name);
            Err(Stop::Failed { file: String::new(), statement: 0, message, back_to: None })
        });
        result.map_err(|stop| attempt.give_up(stop))
    }
}

/// How many databases are begun together behind so many that took this long.
fn next_size(size: usize, took: Duration) -> usize {
    match took {
        took if 2 * took <= TAKES => (2 * size).min(TOGETHER),
        took if took > TAKES => (size / 2).max(1),
        _ => size,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_begun_together_as_take_a_moment() {
        for (size, took_ms, expected) in
            [(1, 30, 2), (4, 100, 8), (8, 90, 8), (4, 101, 4), (4, 200, 4), (8, 201, 4), (1, 60_000, 1)]
        {
            assert_eq!(next_size(size, Duration::from_millis(took_ms)), expected, "{size} {took_ms}");
        }
    }
}
