//! How databases are begun that no attempt has touched: several are claimed and recorded in one transaction, then each is locked,
//! looked at and run in one packet for all of them. What cannot be begun so is begun step by step. Sends nothing itself.

use std::time::Instant;

use super::{
    completion::Completion,
    files::Migration,
    ledger::{Claim, Claimed, Migrated, Registered},
    statement::{MAX_BYTES, Statement},
    stretch::{Part, Stretch, settings},
    work::{Candidate, Plan},
};
use crate::{
    base::clock::now,
    db::{Error, Packet, Stopped},
    resources::resource_server,
};

/// A candidate, and what is sent for it.
pub struct Opening<'a> {
    candidate: Candidate,
    file: &'a Migration,
    /// The statements of its first file.
    statements: Vec<Statement>,
    /// It lacks no other file.
    is_last: bool,
}

/// A database that is claimed.
pub struct Begun {
    /// Its row of the rollout.
    pub database: Claimed,
    /// What came of its first statements; None: it was claimed, and nothing else.
    pub opened: Option<(Registered, First)>,
    /// As the candidate's.
    pub new_until: Option<Instant>,
}

/// What came of the first statements of the first file.
pub enum First {
    /// They are done, so many of them.
    Done(usize),
    /// They were recorded as begun, and none was.
    NotEntered,
    /// All before this one are done, counted from 0, and it failed.
    Failed(usize, Error),
    /// The claim could not be confirmed before one of them, or was lost.
    Unrecorded(Stopped<Part>),
}

impl<'a> Opening<'a> {
    /// None: the candidate is begun step by step.
    pub fn of(plan: &'a Plan, mut candidate: Candidate) -> Option<Opening<'a>> {
        candidate.new_until = candidate.new_until.filter(|until| now() < *until);
        let Candidate { database, registered, .. } = &candidate;
        let due = plan.due(database, registered.version);
        let file = *due.first().filter(|file| file.is_plain)?;
        let statements = file.statements(&plan.values(database, registered));
        // What was interrupted before is looked at first.
        let is_untouched = !statements.is_empty() && database.interrupted == 0;
        let is_last = due.len() == 1;
        is_untouched.then_some(Opening { candidate, file, statements, is_last })
    }

    fn stretch(&self) -> Stretch<'_> {
        let Candidate { database, new_until, .. } = &self.candidate;
        let (db_name, number) = (database.db_name.as_str(), self.file.number);
        Stretch { db_name, number, statements: &self.statements, at: 0, new_until: *new_until }
    }

    /// It is migrated when what is sent is done, and all of that is recorded before.
    pub fn is_whole(&self) -> bool {
        self.is_last && self.stretch().is_whole()
    }

    /// Whether another one may follow these.
    pub fn may_follow(&self, others: &[Opening<'_>]) -> bool {
        let bytes = |opening: &Opening<'_>| opening.stretch().bytes(opening.statements.len());
        let is_alike = |other: &Opening<'_>| other.is_whole() && other.file.number == self.file.number;
        others.is_empty()
            || self.is_whole()
                && others.iter().all(is_alike)
                && bytes(self) + others.iter().map(bytes).sum::<usize>() <= MAX_BYTES
    }

    /// The candidate that it was made of.
    pub fn into_candidate(self) -> Candidate {
        self.candidate
    }

    /// The database's name.
    pub fn db_name(&self) -> &str {
        &self.candidate.database.db_name
    }

    /// The migration's number.
    pub fn number(&self) -> u32 {
        self.file.number
    }

    /// Adds what follows the claim. The session holds the lock of the name `held`.
    pub fn add_entry(&self, packet: &mut Packet<(usize, Part)>, at: usize, claim: &Claim, held: Option<&str>) {
        let Candidate { database, registered, .. } = &self.candidate;
        let db_name = &database.db_name;
        let mut enter = |statement: &str| packet.add((at, Part::Enter), 1, statement);
        enter(&resource_server::change_lock(held, db_name, &claim.may_enter(db_name, registered)));
        let [limits, choice] = settings(db_name);
        if held.is_none() {
            enter(&limits);
        }
        enter(&choice);
        self.stretch().behind_record(claim).iter().for_each(|(part, text)| packet.add((at, *part), 1, text));
    }

    /// Behind its part of the packet, which may have stopped there.
    pub fn begun(self, stopped: Option<Stopped<Part>>) -> Begun {
        let first = match stopped {
            None => First::Done(self.stretch().end()),
            Some(Stopped { purpose: Part::Statement(at), error, .. }) => First::Failed(at, error),
            Some(Stopped { purpose: Part::Record(at), error, .. }) if error.is_lost_race() => First::Done(at),
            Some(stopped) if matches!(stopped.purpose, Part::Record(_)) => First::Unrecorded(stopped),
            Some(_) => First::NotEntered,
        };
        let Candidate { database, registered, new_until } = self.candidate;
        Begun { database, opened: Some((registered, first)), new_until }
    }
}

/// Adds the claim of those of these that are still to be had, in a transaction that is open, and its commit.
pub fn add_claims(packet: &mut Packet<Part>, openings: &[Opening<'_>], claim: &Claim, wave: u32) {
    let names: Vec<&str> = openings.iter().map(Opening::db_name).collect();
    let begins: Vec<_> = openings.iter().map(|opening| (opening.db_name(), opening.stretch().begins())).collect();
    packet.add(Part::Claim, 1, &claim.take(&names, wave));
    packet.add(Part::Claim, 1, &claim.begin(&begins));
    packet.add(Part::Commit, 1, "COMMIT");
}

/// What records that these are migrated, which were whole.
pub fn completion(openings: &[Opening<'_>], claim: &Claim, plan: &Plan) -> Completion {
    let migrated = openings.iter().map(|Opening { candidate, .. }| Migrated {
        database: &candidate.database,
        from: candidate.registered.version,
    });
    let migrated: Vec<_> = migrated.collect();
    Completion::of_begun(claim, plan, openings[0].file.number, &migrated)
}
