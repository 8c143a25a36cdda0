//! Statements of a migration that are sent together, and the records before them. Pure.

use std::{ops::Range, time::Instant};

use super::{
    ledger::Claim,
    position::Position,
    statement::{LARGEST, MAX_BYTES, Statement, together},
};
use crate::db::{Packet, ident};

/// How long a statement of a migration waits for a lock, in seconds: while it does, later statements of the application on
/// that table wait behind it.
const LOCK_WAIT_S: u32 = 5;

/// What a statement of the packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// To record what has become of databases.
    Complete,
    /// To claim others, and to record what begins.
    Claim,
    /// To commit both.
    Commit,
    /// To lock a database's name and to make the session ready.
    Enter,
    /// To record that the statement of this number, from 0, begins, or that one and others that are recorded together.
    Record(usize),
    /// The file's own, by its number from 0.
    Statement(usize),
}

/// What a packet holds at most besides the statements themselves, in bytes.
const RECORDS: usize = 16 << 10;

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
    /// Until when the database is taken to have nothing of what they add. Otherwise each is recorded by itself.
    pub new_until: Option<Instant>,
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
        let end = if self.new_until.is_some() { together(self.statements, at).end } else { at + 1 };
        at..end
    }

    /// The statement behind those that are sent together: behind the first group, only what is recorded by itself.
    pub fn end(&self) -> usize {
        let limit = self.statements.len().min(self.at + LARGEST);
        let first = self.group(self.at).end;
        let is_last = |at: &usize| self.group(*at).len() > 1 || self.bytes(*at + 1) > MAX_BYTES;
        (first..limit).find(is_last).unwrap_or(limit.max(first))
    }

    /// The size of the statements up to `end`.
    pub fn bytes(&self, end: usize) -> usize {
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
    pub fn begins(&self) -> Position {
        Position::new(self.number, &self.statements[..self.group(self.at).end], false)
    }

    /// All of them are recorded together.
    pub fn is_whole(&self) -> bool {
        self.group(self.at) == (0..self.statements.len())
    }

    /// What is sent behind the record of the first group, in order.
    pub fn behind_record(&self, claim: &Claim) -> Vec<(Part, String)> {
        let (group, probe) = (self.group(self.at), self.probe());
        let mut parts = Vec::new();
        for at in self.at..self.end() {
            if !group.contains(&at) {
                let begins = Position::new(self.number, &self.statements[..=at], false);
                parts.push((Part::Record(at), probe.clone()));
                parts.push((Part::Record(at), claim.go_on(self.db_name, &begins)));
            }
            parts.push((Part::Statement(at), self.statements[at].text.clone()));
        }
        parts
    }

    /// Adds all records and statements, and returns the statement behind them.
    pub fn add(&self, packet: &mut Packet<Part>, claim: &Claim) -> usize {
        packet.add(Part::Record(self.at), 1, &claim.reach(self.db_name, &self.begins(), false));
        packet.require(Part::Record(self.at), "ROW_COUNT() > 0");
        self.behind_record(claim).iter().for_each(|(part, text)| packet.add(*part, 1, text));
        self.end()
    }
}
