//! The simulated server: the tables that the daemon's statements touch, transactions on them, the triggers, and what the
//! server's own procedure does. What a statement does to rows is written here after the SQL of the store files.

use std::collections::BTreeMap;

use super::{
    oracle::{Oracle, Record, Taking},
    rows::{Blocked, Change, Rows, Tx},
};
use crate::{db::codes::ER_LOCK_DEADLOCK, queue::Status};

/// A row of `res_queue`. Times are the server's, in µs.
#[derive(Clone, Debug, PartialEq)]
pub struct JobRow {
    pub status: Status,
    pub priority: i64,
    pub run_at: Option<u64>,
    pub attempts: u32,
    pub max_attempts: Option<u32>,
    pub interruptions: u32,
    pub owner: Option<u64>,
    pub claim_id: Option<u64>,
}

impl JobRow {
    pub fn is_ready(&self) -> bool {
        self.status == Status::New && self.run_at.is_none()
    }
}

/// A row of `res_outbox`, and later of `res_event`: which one it is stands in its payload.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub outbox_id: u64,
    pub state: &'static str,
    /// The job that changed its status.
    pub job: Option<u64>,
    pub at: u64,
}

/// The row of `res_log`.
#[derive(Clone, Debug, PartialEq)]
pub struct LogRow {
    pub head_seq: u64,
    pub first_seq: u64,
    /// The session that numbered last, and when.
    pub moved: Option<(u64, u64)>,
}

/// The only row of `res_log`, and of `res_meta` if the queue is paused.
pub const ONE: u64 = 1;
pub const LOG_ID: u64 = 7;

/// Why a statement has no answer yet, or none at all.
#[derive(Debug)]
pub enum Stop {
    Blocked,
    /// The server rolled the transaction back.
    RolledBack(u16),
}

impl From<Blocked> for Stop {
    fn from(_: Blocked) -> Stop {
        Stop::Blocked
    }
}

/// What belongs to an open transaction besides its rows.
#[derive(Debug, Default)]
pub struct Open {
    /// When it began, by the count of commits.
    pub began: u64,
    /// Another node's commit took rows that it had changed.
    pub lost: bool,
    /// The attempts' ends that it writes.
    pub records: Vec<Record>,
    /// Why it takes jobs from whoever holds them.
    pub taking: Option<Taking>,
}

pub struct Server {
    /// The server's clock, in µs.
    pub now_us: u64,
    pub jobs: Rows<JobRow>,
    /// `res_daemon`: until when, by owner.
    pub leases: Rows<u64>,
    pub paused: Rows<()>,
    pub outbox: Rows<Entry>,
    pub events: Rows<Entry>,
    pub log: Rows<LogRow>,
    pub open: BTreeMap<Tx, Open>,
    pub oracle: Oracle,
    /// Somebody's trigger called `resq_ring()`.
    pub rung: bool,
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
            open: BTreeMap::new(),
            oracle: Oracle::default(),
            rung: false,
            commits: 0,
            next_tx: 0,
            next_id: 0,
        };
        let tx = server.begin(0);
        server.log.lock(tx, ONE).expect("nobody else is here yet");
        server.log.set(tx, ONE, Some(LogRow { head_seq: 0, first_seq: 1, moved: None }));
        server.commit(tx).expect("nobody else is here yet");
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
            self.oracle.lease_changed(lease.id, self.now_us, lease.new);
        }
        self.paused.commit(tx, &mut losers);
        for loser in losers {
            if let Some(open) = self.open.get_mut(&loser) {
                open.lost = true;
            }
        }
        self.oracle.jobs_changed(&jobs, &open.records, open.taking);
        self.oracle.events_changed(&outbox, &events, &log, (open.began, self.commits));
        Ok(())
    }

    /// Ends `tx` if another node's commit took its rows.
    pub fn check(&mut self, tx: Tx) -> Result<(), Stop> {
        if self.open.get(&tx).is_some_and(|open| open.lost) {
            self.roll_back(tx);
            return Err(Stop::RolledBack(ER_LOCK_DEADLOCK));
        }
        Ok(())
    }

    /// A statement outside of a transaction. A wait for locks begins it anew.
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

    /// A number that AUTO_INCREMENT gives, whatever becomes of the row.
    pub fn draw_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// An UPDATE of these jobs by primary key where `holds`: locks first, then changes; how many rows that were.
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

    /// Writes a job's row, which is locked, and runs the triggers.
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

    /// What `publish` and the triggers do: the wakeup rings before the commit.
    pub fn publish(&mut self, tx: Tx, state: &'static str, job: Option<u64>) {
        let id = self.draw_id();
        self.write_event(tx, id, state, job);
    }

    /// The same under a number that was drawn before.
    pub fn write_event(&mut self, tx: Tx, id: u64, state: &'static str, job: Option<u64>) {
        let entry = Entry { outbox_id: id, state, job, at: self.now_us };
        self.outbox.lock(tx, id).expect("a number that nobody else has");
        self.outbox.set(tx, id, Some(entry));
        self.rung = true;
    }

    /// For the oracle: what `tx` is about to do.
    pub fn taking(&mut self, tx: Tx, taking: Taking) {
        self.open.entry(tx).or_default().taking = Some(taking);
    }

    pub fn recording(&mut self, tx: Tx, record: Record) {
        self.open.entry(tx).or_default().records.push(record);
    }

    /// Whether `owner` may hold jobs, by the server's clock.
    pub fn has_lease(&self, owner: u64) -> bool {
        self.leases.committed(owner).is_some_and(|until| *until >= self.now_us)
    }
}

/// The ids of rows that came into being or went.
pub fn ids<T>(changes: &[Change<T>], is_new: bool) -> impl Iterator<Item = u64> {
    changes.iter().filter(move |change| change.new.is_some() == is_new).map(|change| change.id)
}
