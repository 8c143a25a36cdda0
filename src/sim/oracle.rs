//! Who watches every commit, every run and everything that is told, and holds the daemons to their promises. Knows the
//! whole truth, and nothing of how the daemons came to what they did.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    rows::Change,
    server::{Entry, JobRow, LogRow, ids},
};
use crate::queue::{JobError, JobResult, Status, outcome::Next};

/// How an attempt ended, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Done,
    Failed,
    Permanent,
    Interrupted,
}

impl Kind {
    pub fn of(result: &JobResult) -> Kind {
        match result {
            Ok(_) => Kind::Done,
            Err(JobError::Failed(_)) => Kind::Failed,
            Err(JobError::Permanent(_)) => Kind::Permanent,
            Err(JobError::Interrupted(_)) => Kind::Interrupted,
        }
    }
}

/// An attempt's end as a transaction writes it.
#[derive(Clone, Debug)]
pub struct Record {
    pub job: u64,
    pub claim_id: u64,
    pub kind: Kind,
    pub next: Next,
    /// The server had refused the attempt's own end.
    pub is_refused: bool,
}

/// Why a job is taken from whoever holds it without a record of its attempt.
#[derive(Clone, Copy, Debug)]
pub enum Taking {
    /// Its daemon gives it back.
    Released { claim_id: u64 },
    /// Its daemon had no lease at this time.
    Reclaimed { seen_us: u64 },
}

/// What is known of one job.
#[derive(Debug, Default)]
struct Story {
    claims: BTreeSet<u64>,
    recorded: BTreeSet<u64>,
    /// Ends that count as attempts, since an operator's last retry.
    counted: u32,
    last: Option<Kind>,
}

/// A committed event.
#[derive(Debug)]
struct Written {
    entry: Entry,
    /// Its transaction, by the count of commits.
    began: u64,
    committed: u64,
}

impl Written {
    /// Whether it must be numbered after `other`: a transaction's events keep their order, and what was committed before
    /// something else began comes before that.
    fn comes_after(&self, other: &Written, is_causal: bool) -> bool {
        match self.committed == other.committed {
            true => other.entry.outbox_id < self.entry.outbox_id,
            false => is_causal && other.committed <= self.began,
        }
    }
}

/// What the operators do by hand, which nobody else may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByHand {
    Cancel,
    Retry,
}

#[derive(Debug, Default)]
pub struct Oracle {
    jobs: BTreeMap<u64, Story>,
    /// From when until when each owner had a lease, the last renewal last.
    leases: BTreeMap<u64, Vec<(u64, u64)>>,
    /// How the handler ended, by job and claim.
    ran: BTreeMap<(u64, u64), Kind>,
    /// The transaction that commits next is an operator's.
    pub by_hand: Option<ByHand>,
    /// Committed and not numbered yet, by outbox id.
    waiting: BTreeMap<u64, Written>,
    /// The outbox ids of the events in the order of their numbers, from 1.
    numbered: Vec<Entry>,
    first_seq: u64,
    /// On one server; a cluster promises causal order for each node by itself.
    pub is_causal: bool,
    /// Rows that change between two looks at them, told in one word each: for actors who read a failing run.
    pub is_loud: bool,
}

impl Oracle {
    pub fn lease_changed(&mut self, owner: u64, now_us: u64, until_us: Option<u64>) {
        self.leases.entry(owner).or_default().push((now_us, until_us.unwrap_or(now_us)));
    }

    fn had_lease(&self, owner: u64, at_us: u64) -> bool {
        let renewals = self.leases.get(&owner).map_or(&[][..], Vec::as_slice);
        renewals.iter().rfind(|(from_us, _)| *from_us <= at_us).is_some_and(|(_, until_us)| *until_us >= at_us)
    }

    pub fn jobs_changed(&mut self, changes: &[Change<JobRow>], records: &[Record], taking: Option<Taking>) {
        let by_hand = self.by_hand.take();
        for change in changes {
            if self.is_loud {
                println!("    job {}: {:?} -> {:?}", change.id, change.old, change.new);
            }
            let Change { id, old, new: Some(new) } = change else { panic!("job {} was deleted", change.id) };
            let Some(old) = old else {
                assert_eq!(new.status, Status::New);
                self.jobs.insert(*id, Story::default());
                continue;
            };
            let record = records.iter().find(|record| record.job == *id);
            if old.status == Status::InProgress && record.is_none() {
                match taking {
                    Some(Taking::Released { claim_id }) => assert_eq!(old.claim_id, Some(claim_id), "job {id}"),
                    Some(Taking::Reclaimed { seen_us }) => {
                        let owner = old.owner.expect("an owner");
                        assert!(!self.had_lease(owner, seen_us), "job {id} was taken from {owner}, who had a lease");
                    }
                    None => panic!("job {id} was taken from {old:?}"),
                }
            }
            let story = self.jobs.get_mut(id).expect("a committed job");
            story.follow(*id, old, new, record, &self.ran, by_hand);
        }
    }

    /// A handler begins with a job: no run of this claim may have ended before.
    pub fn runs(&self, job: u64, claim_id: u64) {
        assert!(!self.ran.contains_key(&(job, claim_id)), "job {job} is run a second time under one claim");
        assert!(self.jobs[&job].claims.contains(&claim_id), "job {job} is run under a claim that was never committed");
    }

    pub fn ran(&mut self, job: u64, claim_id: u64, kind: Kind) {
        self.ran.insert((job, claim_id), kind);
    }

    pub fn events_changed(
        &mut self,
        outbox: &[Change<Entry>],
        events: &[Change<Entry>],
        log: &[Change<LogRow>],
        (began, committed): (u64, u64),
    ) {
        for Change { id, new, .. } in outbox {
            if let Some(entry) = new {
                self.waiting.insert(*id, Written { entry: entry.clone(), began, committed });
            }
        }
        let mut batch = Vec::new();
        for Change { id: seq, old, new } in events {
            let Some(entry) = new else { continue };
            assert!(old.is_none(), "event {seq} was written over");
            assert_eq!(*seq, self.numbered.len() as u64 + 1, "the numbers have a hole or go back");
            let written = self.waiting.remove(&entry.outbox_id);
            let written = written.unwrap_or_else(|| panic!("event {seq} was never committed, or has a number already"));
            assert_eq!(written.entry, *entry);
            self.numbered.push(entry.clone());
            batch.push(written);
        }
        for (i, event) in batch.iter().enumerate() {
            let mut later = self.waiting.values().chain(&batch[i + 1..]);
            let overtaken = later.find(|other| event.comes_after(other, self.is_causal));
            assert!(overtaken.is_none(), "{event:?} was numbered before {overtaken:?}");
        }
        let gone: Vec<u64> = ids(outbox, false).collect();
        for id in gone {
            assert!(!self.waiting.contains_key(&id), "event {id} left the outbox without a number");
        }
        for Change { new, .. } in log {
            let new = new.as_ref().expect("the log's row stays");
            assert_eq!(new.head_seq, self.numbered.len() as u64, "the head is not the last number");
            self.first_seq = self.first_seq.max(new.first_seq);
        }
        for seq in ids(events, false) {
            assert!(seq < self.first_seq, "event {seq} was deleted and not pruned");
        }
    }

    /// The event with this number, as it must be told for ever.
    pub fn numbered(&self, seq: u64) -> &Entry {
        &self.numbered[seq as usize - 1]
    }

    pub fn head_seq(&self) -> u64 {
        self.numbered.len() as u64
    }

    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    pub fn unnumbered(&self) -> usize {
        self.waiting.len()
    }

    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// How often an attempt was recorded, and how often one was lost.
    pub fn attempts(&self) -> (usize, usize) {
        let recorded: usize = self.jobs.values().map(|story| story.recorded.len()).sum();
        let claims: usize = self.jobs.values().map(|story| story.claims.len()).sum();
        (recorded, claims - recorded)
    }
}

impl Story {
    /// One change of a row, by the rules of a job's life.
    fn follow(
        &mut self,
        id: u64,
        old: &JobRow,
        new: &JobRow,
        record: Option<&Record>,
        ran: &BTreeMap<(u64, u64), Kind>,
        by_hand: Option<ByHand>,
    ) {
        use Status::{Done, Error, InProgress, New};
        let what = || format!("job {id}: {old:?} -> {new:?} by {record:?}");
        match (old.status, new.status) {
            (New, New) => assert_eq!(old.attempts, new.attempts, "{}", what()),
            (New, InProgress) => {
                let claim_id = new.claim_id.expect("a claim");
                assert!(old.is_ready() && new.owner.is_some(), "{}", what());
                assert!(self.claims.insert(claim_id), "{}", what());
            }
            (InProgress, InProgress) => panic!("claimed twice: {}", what()),
            (InProgress, _) => self.end(id, old, new, record, ran),
            (New, Error) => assert_eq!(by_hand, Some(ByHand::Cancel), "{}", what()),
            (Error, New) => {
                assert_eq!(by_hand, Some(ByHand::Retry), "{}", what());
                self.counted = 0;
            }
            (Done | Error, _) | (New, Done) => panic!("{}", what()),
        }
        let running = u32::from(new.status == InProgress);
        assert_eq!(new.attempts, self.counted + running, "attempts counted wrong, {}", what());
        assert_eq!(new.claim_id.is_some(), new.status == InProgress, "{}", what());
    }

    fn end(&mut self, id: u64, old: &JobRow, new: &JobRow, record: Option<&Record>, ran: &BTreeMap<(u64, u64), Kind>) {
        let what = || format!("job {id}: {old:?} -> {new:?} by {record:?}");
        let claim_id = old.claim_id.expect("a claim");
        let Some(record) = record else {
            // Reclaimed or given back.
            return assert_eq!(new.status, Status::New, "{}", what());
        };
        assert_eq!(record.claim_id, claim_id, "another attempt's end: {}", what());
        assert!(self.recorded.insert(claim_id), "recorded twice: {}", what());
        match ran.get(&(id, claim_id)) {
            Some(kind) => {
                assert!(*kind == record.kind || record.is_refused, "the handler ended by {kind:?}: {}", what())
            }
            // The lease ran out before it was begun, or it was given up.
            None => assert!(matches!(record.kind, Kind::Interrupted | Kind::Permanent | Kind::Failed), "{}", what()),
        }
        self.counted += u32::from(record.kind != Kind::Interrupted);
        self.last = Some(record.kind);
        let expected = match record.next {
            Next::Done => Status::Done,
            Next::Retry { .. } => Status::New,
            Next::Error => Status::Error,
        };
        assert_eq!(new.status, expected, "{}", what());
        assert_eq!(new.status == Status::Done, record.kind == Kind::Done, "{}", what());
    }
}
