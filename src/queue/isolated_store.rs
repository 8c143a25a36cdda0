//! The dispatcher's changes of rows, in which a row that the server refuses holds up no other: it is found, set aside,
//! and tried again when its pause is over. Owns the rows that are set aside; decides neither when to claim nor how many.

use std::time::{Duration, Instant};

use super::{
    claim_ids::ClaimIds,
    job::Job,
    store::{Change, Claim, Cursor, QueueStore},
};
use crate::{
    base::clock::now,
    db::{
        Error, ErrorClass,
        quarantine::{Quarantine, SetAside, is_everyones, isolate},
        quarantine_report::Reporter,
    },
};

/// Delayed rows made ready in one transaction.
const PROMOTE_BATCH: usize = 500;
/// Rows of one kind that are tried again in one turn.
const RETRY_BATCH: usize = 16;
/// The least time between two turns that try rows again, unless the last one succeeded with some.
const RETRY_GAP: Duration = Duration::from_secs(1);

/// What claims have led to. Complete also if the call that filled it failed halfway.
#[derive(Default)]
pub struct Claims {
    /// The claimed jobs.
    pub jobs: Vec<Job>,
    /// Claims whose COMMIT failed.
    pub unconfirmed: Vec<u64>,
}

/// How far a claim has come.
pub struct Scan {
    /// There may be more ready jobs.
    pub is_full: bool,
    /// Where the next claim may continue.
    pub cursor: Option<Cursor>,
}

pub struct IsolatedStore {
    /// For calls that change no row of the queue.
    pub store: Box<dyn QueueStore>,
    /// With the claim that a row is to be released from, or 0.
    quarantine: Quarantine<Change, u64>,
    next_retry: Instant,
    reporter: Reporter,
}

impl IsolatedStore {
    pub fn new(store: Box<dyn QueueStore>) -> IsolatedStore {
        IsolatedStore { store, quarantine: Quarantine::new(), next_retry: now(), reporter: Reporter::new("job") }
    }

    /// Claims up to `limit` ready jobs behind `after`.
    pub fn claim(&mut self, limit: usize, after: Option<Cursor>, claims: &mut Claims) -> Result<Scan, Error> {
        let excluded = self.quarantine.ids();
        let mut tries = ClaimIds::random();
        let claimed = self.store.claim(&mut tries, limit, after, &excluded);
        claims.unconfirmed.extend(tries.into_unconfirmed());
        let error = match claimed {
            Ok(Claim { jobs, cursor }) => {
                let is_full = jobs.len() == limit;
                claims.jobs.extend(jobs);
                return Ok(Scan { is_full, cursor });
            }
            Err(error) => error,
        };
        if error.class() != ErrorClass::Permanent {
            return Err(error);
        }
        let ready = self.store.ready(limit, after, &excluded)?;
        let Some(last) = ready.last() else {
            // At the queue's end there is nothing to isolate; at its start, what failed is not a row.
            return if after.is_some() { Ok(Scan { is_full: false, cursor: None }) } else { Err(error) };
        };
        let ids: Vec<u64> = ready.iter().map(|row| row.id).collect();
        let refused = isolate(&ids, false, &mut |ids| claims.claim(&mut *self.store, ids))?;
        self.set_aside(&ids, refused, Change::Claim, 0);
        Ok(Scan { is_full: ready.len() == limit, cursor: Some(*last) })
    }

    /// Makes all delayed rows ready that are due; whether some were left, since another session holds them.
    pub fn promote(&mut self) -> Result<bool, Error> {
        loop {
            let ids = self.store.due(PROMOTE_BATCH, &self.quarantine.ids())?;
            let mut promoted = 0;
            let refused = isolate(&ids, false, &mut |ids| {
                promoted += self.store.promote(ids)?;
                Ok(())
            })?;
            let set_aside = self.set_aside(&ids, refused, Change::Promotion, 0);
            if ids.len() < PROMOTE_BATCH || promoted + set_aside == 0 {
                return Ok(promoted + set_aside < ids.len() as u64);
            }
        }
    }

    /// The time until the next delayed row is due; None if there is none.
    pub fn next_due(&mut self) -> Result<Option<Duration>, Error> {
        self.store.next_due(&self.quarantine.ids())
    }

    /// Reclaims the jobs of daemons whose lease has expired; returns how many.
    pub fn reclaim(&mut self) -> Result<u64, Error> {
        let mut again = self.quarantine.take_due(Change::Reclaim, usize::MAX, now());
        let reclaimed = match self.store.reclaim_expired(&self.quarantine.ids()) {
            Ok(reclaimed) if !is_everyones(reclaimed.jobs > 0 || !again.is_empty(), &reclaimed.refused) => reclaimed,
            failed => {
                self.quarantine.put_back(again);
                return failed.and_then(|mut reclaimed| Err(reclaimed.refused.swap_remove(0).1));
            }
        };
        let now = now();
        for (id, error) in &reclaimed.refused {
            match again.iter().position(|row| row.id == *id) {
                Some(at) => self.quarantine.set_aside_again(again.swap_remove(at), error, now),
                None => drop(self.quarantine.set_aside(*id, Change::Reclaim, 0, error, now)),
            }
        }
        again.iter().for_each(|row| self.quarantine.passed(row, now));
        self.report();
        Ok(reclaimed.jobs)
    }

    /// Puts every job of a claim back, as if it had never been claimed.
    pub fn release(&mut self, claim_id: u64) -> Result<(), Error> {
        match self.store.release_claimed(claim_id, None) {
            Err(error) if error.class() == ErrorClass::Permanent => {
                let mut ids = self.store.claimed(claim_id)?;
                ids.retain(|id| !self.quarantine.contains(*id));
                let refused = isolate(&ids, false, &mut |ids| self.store.release_claimed(claim_id, Some(ids)))?;
                self.set_aside(&ids, refused, Change::Release, claim_id);
                Ok(())
            }
            other => other,
        }
    }

    /// Puts these unstarted jobs of a claim back; returns how many the server refuses, with the first of its errors.
    pub fn release_unstarted(&mut self, claim_id: u64, ids: &[u64]) -> Result<Option<(usize, Error)>, Error> {
        let mut refused = isolate(ids, false, &mut |ids| self.store.release_claimed(claim_id, Some(ids)))?;
        let count = refused.len();
        Ok(if count > 0 { Some((count, refused.swap_remove(0).1)) } else { None })
    }

    /// When rows are to be tried again, by [`IsolatedStore::retry`] or, those to be reclaimed, by a poll.
    pub fn retry_at(&self) -> Option<Instant> {
        self.quarantine.retry_at().map(|at| at.max(self.next_retry))
    }

    /// Tries rows again whose pause is over, and claims at most `room` of them.
    pub fn retry(&mut self, room: usize, claims: &mut Claims) -> Result<(), Error> {
        let started = now();
        self.next_retry = started + RETRY_GAP;
        let mut passed = 0;
        let due = self.quarantine.take_due(Change::Claim, room.min(RETRY_BATCH), started);
        passed += self.try_again(due, |store, ids, _| claims.claim(store, ids))?;
        let due = self.quarantine.take_due(Change::Promotion, RETRY_BATCH, started);
        passed += self.try_again(due, |store, ids, _| store.promote(ids).map(drop))?;
        for row in self.quarantine.take_due(Change::Release, RETRY_BATCH, started) {
            passed += self.try_again(vec![row], |store, ids, claim_id| store.release_claimed(claim_id, Some(ids)))?;
        }
        if passed > 0 {
            self.next_retry = started;
        }
        Ok(())
    }

    /// Returns how many rows went through, or were gone.
    fn try_again(
        &mut self,
        rows: Vec<SetAside<Change, u64>>,
        mut call: impl FnMut(&mut dyn QueueStore, &[u64], u64) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
        let item = rows.first().map_or(0, |row| row.item);
        match isolate(&ids, true, &mut |ids| call(&mut *self.store, ids, item)) {
            Ok(refused) => {
                let passed = self.quarantine.tried(rows, refused, now());
                self.report();
                Ok(passed)
            }
            Err(error) => {
                self.quarantine.put_back(rows);
                Err(error)
            }
        }
    }

    /// Returns how many found a place.
    fn set_aside(&mut self, ids: &[u64], refused: Vec<(usize, Error)>, change: Change, item: u64) -> u64 {
        let now = now();
        let kept = refused.iter().filter(|(at, error)| self.quarantine.set_aside(ids[*at], change, item, error, now));
        let kept = kept.count() as u64;
        self.report();
        kept
    }

    fn report(&mut self) {
        let store = &mut self.store;
        self.reporter.report(&mut self.quarantine, |added, removed| store.report_set_aside(added, removed));
    }
}

impl Claims {
    fn claim(&mut self, store: &mut dyn QueueStore, ids: &[u64]) -> Result<(), Error> {
        let mut tries = ClaimIds::random();
        let claimed = store.claim_ids(&mut tries, ids);
        self.unconfirmed.extend(tries.into_unconfirmed());
        self.jobs.extend(claimed?);
        Ok(())
    }
}
