//! The oracle: watches every commit, every run of a handler and every delivered event, and panics if a daemon breaks a
//! promise. Knows the true state of everything, and nothing of how the daemons arrived at it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    consumed::Consumed,
    rows::{Change, ids},
    tables::{ConsumerRow, Entry, JobRow, LogRow, WATCHED},
};
use crate::events::consumers::Taken;
use crate::queue::{
    JobError, JobResult, Status,
    outcome::{MAX_INTERRUPTIONS, Next},
};

/// How an attempt ended, without its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultKind {
    Done,
    Failed,
    Permanent,
    Interrupted,
    Postponed,
}

impl ResultKind {
    pub fn of(result: &JobResult) -> ResultKind {
        match result {
            Ok(_) => ResultKind::Done,
            Err(JobError::Failed(_)) => ResultKind::Failed,
            Err(JobError::Permanent(_)) => ResultKind::Permanent,
            Err(JobError::Interrupted(_)) => ResultKind::Interrupted,
            Err(JobError::Postponed(_)) => ResultKind::Postponed,
        }
    }
}

/// An outcome that a transaction records.
#[derive(Clone, Debug)]
pub struct Record {
    pub job: u64,
    pub claim_id: u64,
    pub kind: ResultKind,
    pub next: Next,
    /// It stands in for an outcome that the server refused.
    pub is_substitute: bool,
}

/// Why a job goes back to the queue without a record of its attempt.
#[derive(Clone, Copy, Debug)]
pub enum Return {
    /// Its daemon releases it.
    Released { claim_id: u64 },
    /// Its daemon had no lease at this time.
    Reclaimed { seen_us: u64 },
}

/// What has happened to one job.
#[derive(Debug, Default)]
struct History {
    claims: BTreeSet<u64>,
    recorded: BTreeSet<u64>,
    /// Recorded attempts that count, since an operator's last retry.
    counted: u32,
    last: Option<ResultKind>,
}

/// A committed event that has no number yet.
#[derive(Debug)]
struct CommittedEvent {
    entry: Entry,
    /// Its transaction, by the count of commits.
    began: u64,
    committed: u64,
}

impl CommittedEvent {
    /// Whether it must be numbered after `other`: the events of one transaction keep their order, and a transaction that
    /// was committed before another began comes before it.
    fn must_follow(&self, other: &CommittedEvent, is_causal: bool) -> bool {
        match self.committed == other.committed {
            true => other.entry.outbox_id < self.entry.outbox_id,
            false => is_causal && other.committed <= self.began,
        }
    }
}

/// A change that only an operator may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorAction {
    Cancel,
    Retry,
}

#[derive(Debug, Default)]
pub struct Oracle {
    jobs: BTreeMap<u64, History>,
    /// How long a lease is granted for; None: for any time.
    pub lease_us: Option<u64>,
    /// The renewals of each owner's lease: (from, until), the last one last.
    leases: BTreeMap<u64, Vec<(u64, u64)>>,
    /// How many workers each daemon has.
    pub workers: u32,
    /// How many jobs were taken for interrupted by one call that reclaims, by their daemon and the time of the call.
    interrupted: BTreeMap<(u64, u64), u32>,
    /// The daemons that have ended their leases.
    ended: BTreeSet<u64>,
    /// What the handler returned, by job and claim.
    ran: BTreeMap<(u64, u64), ResultKind>,
    /// Set if the transaction that commits next is an operator's.
    pub operator_action: Option<OperatorAction>,
    /// Committed and not numbered yet, by outbox id.
    waiting: BTreeMap<u64, CommittedEvent>,
    /// The events in the order of their numbers, from 1.
    numbered: Vec<Entry>,
    first_seq: u64,
    consumed: Consumed,
    /// Whether events must be in causal order: on one server. A cluster promises it for each node by itself.
    pub is_causal: bool,
    /// Print every change of a job: for reading a run that failed.
    pub verbose: bool,
}

impl Oracle {
    pub fn lease_changed(&mut self, owner: u64, now_us: u64, until_us: Option<u64>) {
        if let (Some(until_us), Some(lease_us)) = (until_us, self.lease_us) {
            assert_eq!(until_us, now_us + lease_us, "the lease of {owner} does not count by the server's clock");
        }
        if until_us.is_none() {
            self.ended.insert(owner);
        }
        self.leases.entry(owner).or_default().push((now_us, until_us.unwrap_or(now_us)));
    }

    fn had_lease(&self, owner: u64, at_us: u64) -> bool {
        let renewals = self.leases.get(&owner).map_or(&[][..], Vec::as_slice);
        renewals.iter().rfind(|(from_us, _)| *from_us <= at_us).is_some_and(|(_, until_us)| *until_us >= at_us)
    }

    pub fn jobs_changed(&mut self, changes: &[Change<JobRow>], records: &[Record], returning: Option<Return>) {
        let operator_action = self.operator_action.take();
        for change in changes {
            if self.verbose {
                println!("    job {}: {:?} -> {:?}", change.id, change.old, change.new);
            }
            let Change { id, old, new: Some(new) } = change else { panic!("job {} was deleted", change.id) };
            let Some(old) = old else {
                assert_eq!(new.status, Status::New);
                self.jobs.insert(*id, History::default());
                continue;
            };
            let record = records.iter().find(|record| record.job == *id);
            if old.status == Status::InProgress && record.is_none() {
                match returning {
                    Some(Return::Released { claim_id }) => {
                        assert_eq!(old.claim_id, Some(claim_id), "job {id}");
                        assert_eq!(old.interruptions, new.interruptions, "job {id} was released at a cost");
                    }
                    Some(Return::Reclaimed { seen_us }) => {
                        let owner = old.owner.expect("an owner");
                        assert!(
                            !self.had_lease(owner, seen_us),
                            "job {id} was reclaimed from {owner}, which had a lease"
                        );
                        // Of a daemon that has ended its lease itself, or never had one, nothing is known.
                        let is_known = self.leases.contains_key(&owner) && !self.ended.contains(&owner);
                        let workers = if is_known { self.workers } else { u32::MAX };
                        let interrupted = self.interrupted.entry((owner, seen_us)).or_default();
                        *interrupted += new.interruptions - old.interruptions;
                        assert!(
                            *interrupted <= workers,
                            "{interrupted} jobs of {owner} were interrupted, which has {workers} workers"
                        );
                    }
                    None => panic!("job {id} was neither released nor reclaimed: {old:?}"),
                }
            }
            let history = self.jobs.get_mut(id).expect("a committed job");
            let returned = old.claim_id.and_then(|claim_id| self.ran.get(&(*id, claim_id)).copied());
            history.check(Step { job: *id, old, new, record, returned, operator_action });
        }
    }

    /// A handler starts with a job: this claim must be committed, and no run of it may have ended.
    pub fn run_started(&self, job: u64, claim_id: u64) {
        assert!(!self.ran.contains_key(&(job, claim_id)), "job {job} is run twice under one claim");
        assert!(self.jobs[&job].claims.contains(&claim_id), "job {job} is run under a claim that was never committed");
    }

    /// The handler has ended.
    pub fn run_ended(&mut self, job: u64, claim_id: u64, kind: ResultKind) {
        self.ran.insert((job, claim_id), kind);
    }

    pub fn events_changed(
        &mut self,
        outbox: &[Change<Entry>],
        events: &[Change<Entry>],
        log: &[Change<LogRow>],
        (began, committed): (u64, u64),
        was_refused: &dyn Fn(u64) -> bool,
    ) {
        for Change { id, new, .. } in outbox {
            if let Some(entry) = new {
                self.waiting.insert(*id, CommittedEvent { entry: entry.clone(), began, committed });
            }
        }
        let mut batch = Vec::new();
        for Change { id: seq, old, new } in events {
            let Some(entry) = new else { continue };
            assert!(old.is_none(), "event {seq} was overwritten");
            assert_eq!(*seq, self.numbered.len() as u64 + 1, "numbers are dense and ascending");
            // Events of watched tables are written by their numbering, and follow from no other event.
            let watched =
                || CommittedEvent { entry: Entry { numbered_at: None, ..entry.clone() }, began: 0, committed };
            let written = match entry.state {
                WATCHED => Some(watched()),
                _ => self.waiting.remove(&entry.outbox_id),
            };
            let written = written.unwrap_or_else(|| panic!("event {seq} was not committed, or is numbered twice"));
            assert_eq!(written.entry, Entry { numbered_at: None, ..entry.clone() });
            assert!(entry.numbered_at >= Some(entry.at), "event {seq} was numbered before it was written");
            self.numbered.push(entry.clone());
            batch.push(written);
        }
        for (i, event) in batch.iter().enumerate() {
            let mut later = self.waiting.values().chain(&batch[i + 1..]);
            // One that the server refused to number has lost its place.
            let has_place = |event: &CommittedEvent| !was_refused(event.entry.outbox_id);
            let overtaken = later.find(|other| has_place(other) && event.must_follow(other, self.is_causal));
            assert!(overtaken.is_none(), "{event:?} was numbered before {overtaken:?}");
        }
        for id in ids(outbox, false) {
            assert!(!self.waiting.contains_key(&id), "event {id} was removed from the outbox without a number");
        }
        for Change { new, .. } in log {
            let new = new.as_ref().expect("the log's row is never deleted");
            assert_eq!(new.head_seq, self.numbered.len() as u64, "the head is not the last number");
            self.first_seq = self.first_seq.max(new.first_seq);
        }
        for seq in ids(events, false) {
            assert!(seq < self.first_seq, "event {seq} was deleted without being pruned");
        }
    }

    /// The event with this number, which never changes.
    pub fn numbered(&self, seq: u64) -> &Entry {
        &self.numbered[seq as usize - 1]
    }

    pub fn head_seq(&self) -> u64 {
        self.numbered.len() as u64
    }

    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The outbox ids of committed events without a number.
    pub fn unnumbered(&self) -> impl Iterator<Item = u64> {
        self.waiting.keys().copied()
    }

    /// A connection has the consumer and begins after its position.
    pub fn consumer_taken(&self, taken: Taken) {
        self.consumed.taken(taken, self.first_seq);
    }

    /// A holder of the consumer has acknowledged all events up to this one.
    pub fn consumer_acknowledged(&mut self, holder: u64, seq: u64) {
        self.consumed.acknowledged(holder, seq);
    }

    pub fn consumer_changed(&mut self, change: &Change<ConsumerRow>) {
        self.consumed.changed(change);
    }

    /// Every event up to this one was acknowledged, or pruned before.
    pub fn consumed(&self) -> u64 {
        self.consumed.up_to()
    }

    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// How many attempts were recorded, and how many were lost.
    pub fn attempts(&self) -> (usize, usize) {
        let recorded: usize = self.jobs.values().map(|history| history.recorded.len()).sum();
        let claims: usize = self.jobs.values().map(|history| history.claims.len()).sum();
        (recorded, claims - recorded)
    }
}

/// One change of a row.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    job: u64,
    old: &'a JobRow,
    new: &'a JobRow,
    record: Option<&'a Record>,
    /// What the handler returned under the claim that the row had.
    returned: Option<ResultKind>,
    operator_action: Option<OperatorAction>,
}

impl History {
    /// Checks one change of a row against the rules of a job's life.
    fn check(&mut self, step: Step<'_>) {
        use Status::{Done, Error, InProgress, New};
        let Step { old, new, operator_action, .. } = step;
        match (old.status, new.status) {
            (New, New) => assert_eq!(old.attempts, new.attempts, "{step:?}"),
            (New, InProgress) => {
                let claim_id = new.claim_id.expect("a claim");
                assert!(old.is_ready() && new.owner.is_some(), "{step:?}");
                assert!(self.claims.insert(claim_id), "{step:?}");
            }
            (InProgress, InProgress) => panic!("job {} was claimed twice: {step:?}", step.job),
            (InProgress, _) => self.end(step),
            (New, Error) => assert_eq!(operator_action, Some(OperatorAction::Cancel), "{step:?}"),
            (Error, New) => {
                assert_eq!(operator_action, Some(OperatorAction::Retry), "{step:?}");
                self.counted = 0;
            }
            (Done | Error, _) | (New, Done) => panic!("{step:?}"),
        }
        let running = u32::from(new.status == InProgress);
        assert_eq!(new.attempts, self.counted + running, "attempts miscounted: {step:?}");
        assert_eq!(new.claim_id.is_some(), new.status == InProgress, "{step:?}");
    }

    fn end(&mut self, step: Step<'_>) {
        let Step { old, new, .. } = step;
        let claim_id = old.claim_id.expect("a claim");
        let Some(record) = step.record else {
            // Reclaimed or released.
            return assert_eq!(new.status, Status::New, "{step:?}");
        };
        assert_eq!(record.claim_id, claim_id, "another attempt's outcome: {step:?}");
        assert!(self.recorded.insert(claim_id), "recorded twice: {step:?}");
        match (step.returned, record.kind) {
            (Some(kind), recorded) => assert!(kind == recorded || record.is_substitute, "{step:?}"),
            // The lease expired before the handler started.
            (None, ResultKind::Postponed) => {}
            (None, ResultKind::Permanent) => {
                let is_abandoned = old.interruptions >= MAX_INTERRUPTIONS || record.is_substitute;
                assert!(is_abandoned, "given up before its time: {step:?}");
            }
            (None, _) => panic!("never run: {step:?}"),
        }
        let interrupted = u32::from(record.kind == ResultKind::Interrupted);
        assert_eq!(new.interruptions, old.interruptions + interrupted, "{step:?}");
        assert!(record.kind != ResultKind::Postponed || new.status == Status::New, "{step:?}");
        self.counted += u32::from(!matches!(record.kind, ResultKind::Interrupted | ResultKind::Postponed));
        self.last = Some(record.kind);
        let expected = match record.next {
            Next::Done => Status::Done,
            Next::Retry { .. } => Status::New,
            Next::Error => Status::Error,
        };
        assert_eq!(new.status, expected, "{step:?}");
        assert_eq!(new.status == Status::Done, record.kind == ResultKind::Done, "{step:?}");
    }
}
