//! How a database is begun that no attempt has touched: claim, record, lock, check and its first statements in one packet,
//! behind the end of the database before. Pure but for what its caller sends; what cannot be begun so is begun step by step.

use super::{
    files::Migration,
    ledger::{Claim, Claimed, Registered},
    position::Position,
    statement::Statement,
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
    /// To claim this one, and to record what begins.
    Claim,
    /// To commit both.
    Commit,
    /// To lock its name and to make the session ready.
    Enter,
    /// To record that the statement of this number, from 0, begins.
    Record(usize),
    /// The file's own, by its number from 0.
    Statement(usize),
}

/// So many statements are sent together at most: an attempt stops behind them.
const LARGEST: usize = 8;

/// Makes the server send what it has kept back until now: it keeps answers together while more statements follow. If the daemon
/// was killed meanwhile, that fails, and the server stops before it records that another statement begins. Across a network it
/// may take a statement more, until the daemon's system has refused the first of the answers.
const PROBE: &str = "SELECT SPACE(@@net_buffer_length)";

/// What is sent for one candidate.
pub struct Opening<'a> {
    candidate: Candidate,
    file: &'a Migration,
    /// The first statements of its first file.
    first: Vec<Statement>,
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

impl<'a> Opening<'a> {
    /// None: the candidate is begun step by step.
    pub fn of(plan: &'a Plan, candidate: Candidate) -> Option<Opening<'a>> {
        let Candidate { database, registered } = &candidate;
        let file = *plan.due(database, registered.version).first().filter(|file| file.is_plain)?;
        let mut first = file.statements(&plan.values(database, registered));
        first.truncate(LARGEST);
        // What was interrupted before is looked at first.
        (!first.is_empty() && database.interrupted == 0).then_some(Opening { candidate, file, first })
    }

    /// Adds the claim, in a transaction that is open, and its commit.
    pub fn add_claim(&self, packet: &mut Packet<Part>, claim: &Claim, wave: u32) {
        let db_name = &self.candidate.database.db_name;
        packet.add(Part::Claim, 1, &claim.take(db_name, wave));
        packet.require(Part::Claim, "ROW_COUNT() = 1");
        packet.add(Part::Claim, 1, &claim.begin(db_name, &Position::new(self.file.number, &self.first[..1], false)));
        packet.add(Part::Commit, 1, "COMMIT");
    }

    /// Adds what follows the commit. The session holds the lock of the name `held`.
    pub fn add_entry(&self, packet: &mut Packet<Part>, claim: &Claim, held: Option<&str>) {
        let Candidate { database, registered } = &self.candidate;
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
        packet.add(Part::Statement(0), 1, &self.first[0].text);
        add_behind(packet, claim, db_name, self.file.number, &self.first, 1);
    }

    /// What has begun behind the commit.
    pub fn begun(self, ended: Result<(), Stopped<Part>>) -> Begun {
        let first = match ended {
            Ok(()) => First::Done(self.first.len()),
            Err(Stopped { purpose: Part::Statement(at), error, .. }) => First::Failed(at, error),
            Err(Stopped { purpose: Part::Record(at), error, .. }) if error.is_lost_race() => First::Done(at),
            Err(stopped) if matches!(stopped.purpose, Part::Record(_)) => First::Unrecorded(stopped),
            Err(_) => First::NotEntered,
        };
        let Candidate { database, registered } = self.candidate;
        Begun { database, opened: Some((registered, first)) }
    }
}

/// Adds the `statements` of a migration from the one `at`, each behind its record, and returns the one behind the last: not
/// more than are sent together.
pub fn add_statements(
    packet: &mut Packet<Part>,
    claim: &Claim,
    db_name: &str,
    number: u32,
    statements: &[Statement],
    at: usize,
) -> usize {
    let end = statements.len().min(at + LARGEST);
    let begins = Position::new(number, &statements[..=at], false);
    packet.add(Part::Record(at), 1, &claim.reach(db_name, &begins, false));
    packet.require(Part::Record(at), "ROW_COUNT() > 0");
    packet.add(Part::Statement(at), 1, &statements[at].text);
    add_behind(packet, claim, db_name, number, &statements[..end], at + 1);
    end
}

/// Adds these `statements` from the one `at`, of which an earlier one is recorded in the same packet.
fn add_behind(
    packet: &mut Packet<Part>,
    claim: &Claim,
    db_name: &str,
    number: u32,
    statements: &[Statement],
    at: usize,
) {
    for at in at..statements.len() {
        packet.add(Part::Record(at), 1, PROBE);
        let begins = Position::new(number, &statements[..=at], false);
        packet.add(Part::Record(at), 1, &claim.go_on(db_name, &begins));
        packet.add(Part::Statement(at), 1, &statements[at].text);
    }
}
