//! How a database is begun that no attempt has touched: claim, record, lock, check and its first statements in one packet,
//! behind the end of the database before. Pure but for what its caller sends; what cannot be begun so is begun step by step.

use std::ops::Range;

use super::{
    files::Migration,
    ledger::{Claim, Claimed, Registered},
    position::Position,
    statement::{LARGEST, MAX_BYTES, Statement, are_new, together},
    work::{Candidate, Plan},
};
use crate::{
    db::{Error, Packet, Stopped, ident},
    resources::resource_server,
};

/// How long a statement of a migration waits for a lock, in seconds: while it does, later statements of the application on
/// that table wait behind it.
const LOCK_WAIT_S: u32 = 5;

/// What a statement of the packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To record that the database before is migrated.
    Complete,
    /// To see that nothing is there of what statements add that are recorded together.
    Look,
    /// To claim this one, and to record what begins.
    Claim,
    /// To commit both.
    Commit,
    /// To lock its name and to make the session ready.
    Enter,
    /// To record that the statement of this number, from 0, begins, or that one and others that are recorded together.
    Record(usize),
    /// The file's own, by its number from 0.
    Statement(usize),
}

/// What a packet holds at most besides the statements themselves, in bytes.
const RECORDS: usize = 16 << 10;

/// What is sent for one candidate.
pub struct Opening<'a> {
    candidate: Candidate,
    file: &'a Migration,
    /// The statements of its first file.
    statements: Vec<Statement>,
}

/// Statements of a migration, of which the first ones are recorded together.
pub struct Stretch<'a> {
    /// The database, unquoted.
    pub db_name: &'a str,
    /// The migration.
    pub number: u32,
    /// All of its statements.
    pub statements: &'a [Statement],
    /// The one that comes next.
    pub at: usize,
    /// Each is recorded by itself.
    pub apart: bool,
}

/// A database that is claimed.
pub struct Begun {
    /// Its row of the rollout.
    pub database: Claimed,
    /// What came of its first statements; None: it was claimed, and nothing else.
    pub opened: Option<(Registered, First)>,
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

/// The statements that make a session ready for the statements of a migration.
pub fn settings(db_name: &str) -> [String; 2] {
    [
        format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_S}, innodb_lock_wait_timeout = {LOCK_WAIT_S}"),
        format!("USE {}", ident(db_name)),
    ]
}

impl Stretch<'_> {
    /// Those that are recorded with the one `at`.
    fn group(&self, at: usize) -> Range<usize> {
        let end = if self.apart { at + 1 } else { together(self.statements, at).end };
        at..end
    }

    /// The statement behind those that are sent together: behind the first group, only what is recorded by itself.
    fn end(&self) -> usize {
        let limit = self.statements.len().min(self.at + LARGEST);
        let first = self.group(self.at).end;
        let is_last = |at: &usize| self.group(*at).len() > 1 || self.bytes(*at + 1) > MAX_BYTES;
        (first..limit).find(is_last).unwrap_or(limit.max(first))
    }

    /// The size of the statements up to `end`.
    fn bytes(&self, end: usize) -> usize {
        self.statements[self.at..end].iter().map(|statement| statement.text.len()).sum()
    }

    /// Makes the server send what it has kept back until now: it keeps answers together while more statements follow. If the
    /// daemon was killed meanwhile, that fails, and the server stops before it records that another statement begins. Across a
    /// network it may take a statement more, until the daemon's system has refused the first of the answers.
    ///
    /// The server's buffer is as large as the packet it has read, if that is larger than it was. Twice as much, since the first
    /// write to a connection that is gone succeeds.
    fn probe(&self) -> String {
        format!("SELECT SPACE(2 * (@@net_buffer_length + {}))", RECORDS + self.bytes(self.end()))
    }

    /// Behind the first group.
    fn begins(&self) -> Position {
        Position::new(self.number, &self.statements[..self.group(self.at).end], false)
    }

    /// Adds a look at what the first group adds, if it is recorded together.
    fn add_look(&self, packet: &mut Packet<Part>) {
        let group = self.group(self.at);
        if group.len() > 1 {
            packet.require(Part::Look, &are_new(&self.statements[group], self.db_name));
        }
    }

    /// Adds the statements, of which the first group is recorded in the same packet.
    fn add_behind_record(&self, packet: &mut Packet<Part>, claim: &Claim) {
        let (group, probe) = (self.group(self.at), self.probe());
        for at in self.at..self.end() {
            if !group.contains(&at) {
                packet.add(Part::Record(at), 1, &probe);
                let begins = Position::new(self.number, &self.statements[..=at], false);
                packet.add(Part::Record(at), 1, &claim.go_on(self.db_name, &begins));
            }
            packet.add(Part::Statement(at), 1, &self.statements[at].text);
        }
    }

    /// Adds records and statements, and returns the statement behind them.
    pub fn add(&self, packet: &mut Packet<Part>, claim: &Claim) -> usize {
        self.add_look(packet);
        packet.add(Part::Record(self.at), 1, &claim.reach(self.db_name, &self.begins(), false));
        packet.require(Part::Record(self.at), "ROW_COUNT() > 0");
        self.add_behind_record(packet, claim);
        self.end()
    }
}

impl<'a> Opening<'a> {
    /// None: the candidate is begun step by step.
    pub fn of(plan: &'a Plan, candidate: Candidate) -> Option<Opening<'a>> {
        let Candidate { database, registered, .. } = &candidate;
        let file = *plan.due(database, registered.version).first().filter(|file| file.is_plain)?;
        let statements = file.statements(&plan.values(database, registered));
        // What was interrupted before is looked at first.
        (!statements.is_empty() && database.interrupted == 0).then_some(Opening { candidate, file, statements })
    }

    fn stretch(&self) -> Stretch<'_> {
        let Candidate { database, has_some, .. } = &self.candidate;
        let (db_name, number) = (database.db_name.as_str(), self.file.number);
        Stretch { db_name, number, statements: &self.statements, at: 0, apart: *has_some }
    }

    /// The candidate again, which was found to have something of what its statements add.
    pub fn apart(self) -> Candidate {
        Candidate { has_some: true, ..self.candidate }
    }

    /// Adds the claim, in a transaction that is open, and its commit.
    pub fn add_claim(&self, packet: &mut Packet<Part>, claim: &Claim, wave: u32) {
        let stretch = self.stretch();
        stretch.add_look(packet);
        packet.add(Part::Claim, 1, &claim.take(stretch.db_name, wave));
        packet.require(Part::Claim, "ROW_COUNT() = 1");
        packet.add(Part::Claim, 1, &claim.begin(stretch.db_name, &stretch.begins()));
        packet.add(Part::Commit, 1, "COMMIT");
    }

    /// Adds what follows the commit. The session holds the lock of the name `held`.
    pub fn add_entry(&self, packet: &mut Packet<Part>, claim: &Claim, held: Option<&str>) {
        let Candidate { database, registered, .. } = &self.candidate;
        let db_name = &database.db_name;
        if let Some(held) = held {
            packet.add(Part::Enter, 1, &resource_server::release_lock(held));
        }
        packet.add(Part::Enter, 1, &resource_server::take_lock(db_name));
        let (is_locked, is_unchanged) = (resource_server::holds_lock(db_name), claim.is_unchanged(db_name, registered));
        packet.require(Part::Enter, &format!("{is_locked} AND {is_unchanged}"));
        let [limits, choice] = settings(db_name);
        if held.is_none() {
            packet.add(Part::Enter, 1, &limits);
        }
        packet.add(Part::Enter, 1, &choice);
        self.stretch().add_behind_record(packet, claim);
    }

    /// What has begun behind the commit.
    pub fn begun(self, ended: Result<(), Stopped<Part>>) -> Begun {
        let first = match ended {
            Ok(()) => First::Done(self.stretch().end()),
            Err(Stopped { purpose: Part::Statement(at), error, .. }) => First::Failed(at, error),
            Err(Stopped { purpose: Part::Record(at), error, .. }) if error.is_lost_race() => First::Done(at),
            Err(stopped) if matches!(stopped.purpose, Part::Record(_)) => First::Unrecorded(stopped),
            Err(_) => First::NotEntered,
        };
        let Candidate { database, registered, .. } = self.candidate;
        Begun { database, opened: Some((registered, first)) }
    }
}
