//! The simulated server: the tables that the daemons' statements touch, transactions on them, and the triggers. What a
//! statement does to rows follows the SQL of the store files; the fidelity test compares both.

use std::collections::BTreeMap;

use super::{
    oracle::{Oracle, Record, Return},
    rows::{Blocked, Rows, Tx},
    tables::{ConsumerRow, Entry, JobRow, LeaseRow, LogRow, ONE},
};
use crate::{
    db::codes::ER_LOCK_DEADLOCK,
    events::chosen_rows::Refused,
    queue::{Status, store::Change},
};

/// How many bad events there are for each bad job, which has several.
const BAD_EVENTS: f64 = 0.3;

/// Why a statement has no result yet, or none at all.
#[derive(Debug)]
pub enum Stop {
    /// It waits for a lock.
    Blocked,
    /// The server rolled the transaction back, with this error number.
    RolledBack(u16),
    /// A trigger or a constraint refuses the statement. The transaction goes on.
    Refused,
}

impl From<Blocked> for Stop {
    fn from(_: Blocked) -> Stop {
        Stop::Blocked
    }
}

/// An open transaction, apart from its rows.
#[derive(Debug, Default)]
pub struct Open {
    /// When it began, by the count of commits.
    pub began: u64,
    /// Another node has committed changes of rows that it had changed.
    pub lost: bool,
    /// The outcomes that it records.
    pub records: Vec<Record>,
    /// Why it puts jobs back without an outcome.
    pub returning: Option<Return>,
}

pub struct Server {
    /// The server's clock, in µs.
    pub now_us: u64,
    pub jobs: Rows<JobRow>,
    /// `res_daemon`, by owner.
    pub leases: Rows<LeaseRow>,
    pub paused: Rows<()>,
    pub outbox: Rows<Entry>,
    pub events: Rows<Entry>,
    pub log: Rows<LogRow>,
    pub consumers: Rows<ConsumerRow>,
    pub open: BTreeMap<Tx, Open>,
    pub oracle: Oracle,
    /// The share of rows that the server refuses to change in some way, from 0.0 to 1.0.
    pub bad_rows: f64,
    /// A trigger has called `resq_ring()`.
    pub notified: bool,
    commits: u64,
    next_tx: u64,
    next_id: u64,
}

impl Server {
    pub fn new() -> Server {
        let mut server = Server {
            now_us: 0,
            jobs: Rows::new(),
            leases: Rows::new(),
            paused: Rows::new(),
            outbox: Rows::new(),
            events: Rows::new(),
            log: Rows::new(),
            consumers: Rows::new(),
            open: BTreeMap::new(),
            oracle: Oracle::default(),
            bad_rows: 0.0,
            notified: false,
            commits: 0,
            next_tx: 0,
            next_id: 0,
        };
        let tx = server.begin(0);
        server.log.lock(tx, ONE).expect("no other transaction is open yet");
        server.log.set(tx, ONE, Some(LogRow { head_seq: 0, first_seq: 1, moved: None }));
        server.commit(tx).expect("no other transaction is open yet");
        server
    }

    pub fn begin(&mut self, node: usize) -> Tx {
        self.next_tx += 1;
        let tx = Tx { number: self.next_tx, node };
        self.open.insert(tx, Open { began: self.commits, ..Open::default() });
        tx
    }

    pub fn roll_back(&mut self, tx: Tx) {
        self.open.remove(&tx);
        self.jobs.roll_back(tx);
        self.leases.roll_back(tx);
        self.paused.roll_back(tx);
        self.outbox.roll_back(tx);
        self.events.roll_back(tx);
        self.log.roll_back(tx);
        self.consumers.roll_back(tx);
    }

    pub fn commit(&mut self, tx: Tx) -> Result<(), Stop> {
        let Some(open) = self.open.remove(&tx) else { return Ok(()) };
        if open.lost {
            self.roll_back(tx);
            return Err(Stop::RolledBack(ER_LOCK_DEADLOCK));
        }
        self.commits += 1;
        let mut losers = Vec::new();
        let jobs = self.jobs.commit(tx, &mut losers);
        let outbox = self.outbox.commit(tx, &mut losers);
        let events = self.events.commit(tx, &mut losers);
        let log = self.log.commit(tx, &mut losers);
        for lease in self.leases.commit(tx, &mut losers) {
            self.oracle.lease_changed(lease.id, self.now_us, lease.new.map(|lease| lease.until_us));
        }
        for change in self.consumers.commit(tx, &mut losers) {
            self.oracle.consumer_changed(&change);
        }
        self.paused.commit(tx, &mut losers);
        for loser in losers {
            if let Some(open) = self.open.get_mut(&loser) {
                open.lost = true;
            }
        }
        self.oracle.jobs_changed(&jobs, &open.records, open.returning);
        let bad_rows = self.bad_rows;
        let was_refused =
            move |id| refused_until(&mut event_rng(Refused::Numbering, id), bad_rows * BAD_EVENTS).is_some();
        self.oracle.events_changed(&outbox, &events, &log, (open.began, self.commits), &was_refused);
        Ok(())
    }

    /// Rolls `tx` back if another node's commit changed its rows.
    pub fn check(&mut self, tx: Tx) -> Result<(), Stop> {
        if self.open.get(&tx).is_some_and(|open| open.lost) {
            self.roll_back(tx);
            return Err(Stop::RolledBack(ER_LOCK_DEADLOCK));
        }
        Ok(())
    }

    /// A statement outside a transaction. It starts over after waiting for a lock.
    pub fn alone<T>(
        &mut self,
        node: usize,
        statement: impl FnOnce(&mut Server, Tx) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        let tx = self.begin(node);
        match statement(self, tx) {
            Ok(value) => self.commit(tx).map(|()| value),
            Err(stop) => {
                self.roll_back(tx);
                Err(stop)
            }
        }
    }

    /// The next AUTO_INCREMENT number; used up even if the row is rolled back.
    pub fn draw_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// An UPDATE of these jobs by primary key where `holds`: locks all of them, then changes; returns how many changed.
    pub fn update_jobs(
        &mut self,
        tx: Tx,
        ids: &[u64],
        holds: impl Fn(u64, &JobRow) -> bool,
        change: impl Fn(u64, &mut JobRow),
    ) -> Result<usize, Stop> {
        let mut found = Vec::new();
        for &id in ids {
            if self.jobs.is_there(tx, id) {
                self.jobs.lock(tx, id)?;
                found.extend(self.jobs.get(tx, id).filter(|row| holds(id, row)).cloned().map(|row| (id, row)));
            }
        }
        for (id, old) in &found {
            let mut new = old.clone();
            change(*id, &mut new);
            self.set_job(tx, *id, new);
        }
        Ok(found.len())
    }

    /// As [`Server::update_jobs`], by a daemon: refused whole if one of the rows may not be changed this way.
    pub fn change_jobs(
        &mut self,
        tx: Tx,
        change: Change,
        ids: &[u64],
        holds: impl Fn(u64, &JobRow) -> bool,
        apply: impl Fn(u64, &mut JobRow),
    ) -> Result<usize, Stop> {
        self.update_jobs(tx, ids, |_, _| false, |_, _| {})?;
        let is_met = |id: &&u64| self.jobs.get(tx, **id).is_some_and(|row| holds(**id, row));
        if ids.iter().filter(is_met).any(|id| self.refuses(*id, change)) {
            return Err(Stop::Refused);
        }
        self.update_jobs(tx, ids, holds, apply)
    }

    fn refuses(&self, id: u64, change: Change) -> bool {
        self.refusal(id).is_some_and(|(refused, until_us)| refused == change && self.now_us < until_us)
    }

    /// Whether the server never lets this row go on.
    pub fn is_stuck(&self, id: u64) -> bool {
        self.refusal(id).is_some_and(|(_, until_us)| until_us == u64::MAX)
    }

    /// Which change of this row is refused, and until when.
    fn refusal(&self, id: u64) -> Option<(Change, u64)> {
        const CHANGES: [Change; 5] =
            [Change::Claim, Change::Promotion, Change::Reclaim, Change::Release, Change::Outcome];
        let mut rng = fastrand::Rng::with_seed(id);
        let until_us = refused_until(&mut rng, self.bad_rows);
        let change = CHANGES[rng.usize(..CHANGES.len())];
        until_us.map(|until_us| (change, until_us))
    }

    /// Whether the server refuses to do this with a row of the event log: an outbox id, or a number.
    pub fn refuses_event(&self, what: Refused, id: u64) -> bool {
        self.event_refused_until(what, id).is_some_and(|until_us| self.now_us < until_us)
    }

    /// Whether the server never lets this event be numbered.
    pub fn is_event_stuck(&self, id: u64) -> bool {
        self.event_refused_until(Refused::Numbering, id) == Some(u64::MAX)
    }

    fn event_refused_until(&self, what: Refused, id: u64) -> Option<u64> {
        refused_until(&mut event_rng(what, id), self.bad_rows * BAD_EVENTS)
    }

    /// Writes a job's row, which `tx` has locked, and runs the triggers.
    pub fn set_job(&mut self, tx: Tx, id: u64, row: JobRow) {
        let old = self.jobs.get(tx, id).map(|old| old.status);
        let status = row.status;
        self.jobs.set(tx, id, Some(row));
        if old != Some(status) {
            let state = match status {
                Status::New => "New",
                Status::InProgress => "InProgress",
                Status::Done => "Completed",
                Status::Error => "Error",
            };
            self.publish(tx, state, Some(id));
        }
    }

    /// What `publish` and the triggers do: the wakeup is sent before the commit.
    pub fn publish(&mut self, tx: Tx, state: &'static str, job: Option<u64>) {
        let id = self.draw_id();
        self.write_event(tx, id, state, job);
    }

    /// As [`Server::publish`], with an id that was drawn before.
    pub fn write_event(&mut self, tx: Tx, id: u64, state: &'static str, job: Option<u64>) {
        let entry = Entry { outbox_id: id, state, job, at: self.now_us, numbered_at: None };
        self.outbox.lock(tx, id).expect("a new id");
        self.outbox.set(tx, id, Some(entry));
        self.notified = true;
    }

    /// Tells the oracle why `tx` puts jobs back.
    pub fn returning(&mut self, tx: Tx, returning: Return) {
        self.open.entry(tx).or_default().returning = Some(returning);
    }

    /// Tells the oracle which outcome `tx` records.
    pub fn recording(&mut self, tx: Tx, record: Record) {
        self.open.entry(tx).or_default().records.push(record);
    }

    /// Whether `owner`'s lease is valid, by the server's clock.
    pub fn has_lease(&self, owner: u64) -> bool {
        self.leases.committed(owner).is_some_and(|lease| lease.until_us >= self.now_us)
    }
}

fn event_rng(what: Refused, id: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(!id ^ what as u64)
}

/// Until when a row is refused; None: it is not. `bad_rows`: the share of such rows.
fn refused_until(rng: &mut fastrand::Rng, bad_rows: f64) -> Option<u64> {
    let is_bad = rng.f64() < bad_rows;
    let until_us = if rng.u8(0..4) == 0 { u64::MAX } else { rng.u64(0..60_000_000) };
    is_bad.then_some(until_us)
}
