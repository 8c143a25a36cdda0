//! The sequencer's changes of the event log, in which a row that the server refuses holds up no other: it is found, set
//! aside, and tried again when its pause is over. Owns the rows that are set aside; decides not when to number or prune.

use std::time::{Duration, Instant};

use super::{
    chosen_rows::{MOST, Refused},
    log::EventLog,
    store::Polled,
};
use crate::{
    base::clock::now,
    db::{
        Error, ErrorClass,
        codes::ER_DUP_ENTRY,
        quarantine::{Quarantine, isolate},
        quarantine_report::Reporter,
    },
};

/// Rows of one kind that are tried again in one turn.
const RETRY_BATCH: usize = 16;
/// The least time between two turns that try rows again, unless the last one succeeded with some.
const RETRY_GAP: Duration = Duration::from_secs(1);
/// Above every outbox id: numbers nothing.
const NOTHING: u64 = u64::MAX;

/// The rows of one kind that are set aside, and how they are made known.
struct SetAside {
    what: Refused,
    rows: Quarantine<Refused, ()>,
    reporter: Reporter,
}

pub struct IsolatedLog {
    /// For calls that change no row of an event.
    pub log: Box<dyn EventLog>,
    unnumbered: SetAside,
    undeleted: SetAside,
    next_retry: Instant,
}

impl IsolatedLog {
    pub fn new(log: Box<dyn EventLog>) -> IsolatedLog {
        let none = |what, subject| SetAside { what, rows: Quarantine::new(), reporter: Reporter::new(subject) };
        IsolatedLog {
            log,
            unnumbered: none(Refused::Numbering, "outbox row"),
            undeleted: none(Refused::Deletion, "event"),
            next_retry: now(),
        }
    }

    /// As [`EventLog::poll`]. Rows that are refused by themselves are no error.
    pub fn poll(&mut self, floor: u64, after_seq: u64, limit: usize) -> Result<Polled, Error> {
        if self.unnumbered.rows.is_empty() {
            match self.log.poll(floor, after_seq, limit) {
                Err(error) if error.class() == ErrorClass::Permanent => {
                    self.number(floor, limit)?;
                    if self.unnumbered.rows.is_empty() {
                        // No row's fault, or it is gone by now.
                        return Err(error);
                    }
                    return self.log.poll(NOTHING, after_seq, limit);
                }
                polled => return polled,
            }
        }
        let numbered_up_to = self.number(floor, limit)?;
        Ok(Polled { numbered_up_to, ..self.log.poll(NOTHING, after_seq, limit)? })
    }

    /// Numbers about `limit` events whose outbox id is above `floor`, and sets aside those that the server refuses. Returns
    /// the greatest id that it tried.
    fn number(&mut self, floor: u64, mut limit: usize) -> Result<Option<u64>, Error> {
        let mut last = None;
        let mut excluded = self.unnumbered.rows.ids();
        while limit > 0 {
            let most = limit.min(MOST);
            // Always from the floor: what commits meanwhile must not be overtaken by what it causes.
            let ids = self.log.unnumbered(floor, most, &excluded)?;
            let Some(greatest) = ids.last() else { break };
            last = last.max(Some(*greatest));
            let refused = isolate(&ids, false, &mut |ids| number(&mut *self.log, ids))?;
            // Rows that are refused do not count, so that they hold up no row behind them, however many they are.
            limit -= (ids.len() - refused.len()).min(limit);
            excluded.extend(refused.iter().map(|(at, _)| ids[*at]));
            self.unnumbered.add(&ids, refused, &mut *self.log);
            if ids.len() < most {
                break;
            }
        }
        Ok(last)
    }

    /// As [`EventLog::oldest_unmoved`], but for rows that are set aside.
    pub fn oldest_unmoved(&mut self) -> Result<Option<u64>, Error> {
        self.log.oldest_unmoved(&self.unnumbered.rows.ids())
    }

    /// Deletes at most `limit` of the oldest events, those numbered more than `days` days ago. The log begins behind those
    /// that the server refuses to delete. Returns its new first number if there were old events.
    pub fn prune(&mut self, days: u32, limit: usize) -> Result<Option<u64>, Error> {
        let excluded = self.undeleted.rows.ids();
        let seqs = self.log.old(days, limit, &excluded)?;
        let Some(last) = seqs.last() else { return Ok(None) };
        let refused = isolate(&seqs, false, &mut |seqs| self.log.delete(seqs, &excluded))?;
        if !refused.is_empty() {
            let refused: Vec<u64> = refused.iter().map(|(at, _)| seqs[*at]).collect();
            // Deletes nothing; the log begins behind the last one even if that is refused.
            self.log.delete(&seqs, &[excluded, refused].concat())?;
        }
        self.undeleted.add(&seqs, refused, &mut *self.log);
        Ok(Some(last + 1))
    }

    /// When rows are to be tried again, by [`IsolatedLog::retry`].
    pub fn retry_at(&self) -> Option<Instant> {
        let due = self.unnumbered.rows.retry_at().into_iter().chain(self.undeleted.rows.retry_at()).min();
        due.map(|at| at.max(self.next_retry))
    }

    /// Tries rows again whose pause is over. True: some were numbered, or are gone.
    pub fn retry(&mut self) -> Result<bool, Error> {
        let started = now();
        self.next_retry = started + RETRY_GAP;
        let numbered = self.unnumbered.retry(started, &mut *self.log, number)?;
        let excluded = self.undeleted.rows.ids();
        let deleted = self.undeleted.retry(started, &mut *self.log, |log, seqs| {
            // They are not next to each other.
            seqs.iter().try_for_each(|seq| {
                let others: Vec<u64> = excluded.iter().copied().filter(|other| other != seq).collect();
                log.delete(&[*seq], &others)
            })
        })?;
        if numbered || deleted {
            self.next_retry = started;
        }
        Ok(numbered)
    }
}

impl SetAside {
    fn add(&mut self, ids: &[u64], refused: Vec<(usize, Error)>, log: &mut dyn EventLog) {
        let now = now();
        for (at, error) in refused {
            self.rows.set_aside(ids[at], self.what, (), &error, now);
        }
        self.report(log);
    }

    /// True: some went through.
    fn retry(
        &mut self,
        now: Instant,
        log: &mut dyn EventLog,
        mut call: impl FnMut(&mut dyn EventLog, &[u64]) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let rows = self.rows.take_due(self.what, RETRY_BATCH, now);
        let ids: Vec<u64> = rows.iter().map(|row| row.id).collect();
        match isolate(&ids, true, &mut |ids| call(log, ids)) {
            Ok(refused) => {
                let passed = self.rows.tried(rows, refused, now);
                self.report(log);
                Ok(passed > 0)
            }
            Err(error) => {
                self.rows.put_back(rows);
                Err(error)
            }
        }
    }

    fn report(&mut self, log: &mut dyn EventLog) {
        let what = self.what;
        self.reporter.report(&mut self.rows, |added, removed| log.report_set_aside(what, added, removed));
    }
}

/// Numbers these rows. Events beyond the head, which only another hand can have written, are taken as numbered.
fn number(log: &mut dyn EventLog, ids: &[u64]) -> Result<(), Error> {
    match log.number(ids) {
        Err(error) if error.code() == Some(ER_DUP_ENTRY) && log.skip_taken()? => {
            log::warn!(
                "event log: res_event holds events beyond its head, which resq did not write; numbering goes on behind them"
            );
            log.number(ids)
        }
        numbered => numbered,
    }
}
