//! What the queue's threads ask of the database: the seam between their rules and the SQL. A simulation can stand in
//! for the server behind it. Each call is one short transaction or statement; an implementation keeps no state between
//! calls but its connection.

use std::{fmt, time::Duration};

use super::{claim_ids::ClaimIds, job::Job, outcome::Outcome};
use crate::db::{Error, quarantine::Report};

/// Where the next claim continues: just behind this priority and `res_id`. Index entries of earlier claims are
/// delete-marked and stay until no snapshot needs them; starting behind them keeps a claim's time flat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The column `priority`.
    pub priority: i64,
    /// The column `res_id`.
    pub id: u64,
}

/// What a claim returns.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// In the order of (priority, id).
    pub jobs: Vec<Job>,
    /// Where the next claim may continue; None: at the start.
    pub cursor: Option<Cursor>,
}

/// What a call that reclaims jobs returns.
#[derive(Debug, Default)]
pub struct Reclaimed {
    /// How many jobs are `new` again.
    pub jobs: u64,
    /// The ids of those that the server refused to change, each with its error.
    pub refused: Vec<(u64, Error)>,
}

/// What the server refuses to do with a row of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Marking it as in progress.
    Claim,
    /// Making a delayed row ready.
    Promotion,
    /// Taking it from a daemon whose lease has expired.
    Reclaim,
    /// Putting an unstarted job back.
    Release,
    /// Recording how its attempt ended.
    Outcome,
}

impl Change {
    /// The value of the column `what` in `res_quarantine`: one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Claim => "claim",
            Change::Promotion => "promotion",
            Change::Reclaim => "reclaim",
            Change::Release => "release",
            Change::Outcome => "outcome",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thread's access to the queue's tables.
///
/// After an error nothing is half done. A call that lost a race for locks was repeated before its error was returned.
/// After an error of the class [`crate::db::ErrorClass::ConnectionLost`] it is unknown whether the call took effect.
pub trait QueueStore: Send {
    /// Whether an operator has paused the queue.
    ///
    /// # Errors
    /// As for every call: those of the database, see [`QueueStore`].
    fn is_paused(&mut self) -> Result<bool, Error>;

    /// Puts jobs of daemons whose lease has expired back to `new`, but for those with `excluded` ids.
    ///
    /// # Errors
    /// See [`QueueStore`]. A row that the server refuses to change is no error.
    fn reclaim_expired(&mut self, excluded: &[u64]) -> Result<Reclaimed, Error>;

    /// Up to `limit` delayed jobs that are due, but for those with `excluded` ids, in the order of their times.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn due(&mut self, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error>;

    /// Makes those of these jobs ready that are due; returns how many.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn promote(&mut self, ids: &[u64]) -> Result<u64, Error>;

    /// The time until the next delayed job is due, by the server's clock, but for those with `excluded` ids; None if
    /// there is none.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn next_due(&mut self, excluded: &[u64]) -> Result<Option<Duration>, Error>;

    /// Claims up to `limit` ready jobs behind `after`, in their order, but for those with `excluded` ids. `tries` learns
    /// which tries had no answer to their COMMIT, or an error, whether or not a later one succeeded.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn claim(
        &mut self,
        tries: &mut ClaimIds,
        limit: usize,
        after: Option<Cursor>,
        excluded: &[u64],
    ) -> Result<Claim, Error>;

    /// Claims those of these jobs that are ready and that no other daemon is claiming, in their order; `tries` as for
    /// [`QueueStore::claim`].
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn claim_ids(&mut self, tries: &mut ClaimIds, ids: &[u64]) -> Result<Vec<Job>, Error>;

    /// What [`QueueStore::claim`] would claim, without claiming it. Reads nothing that a row may hold wrongly.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn ready(&mut self, limit: usize, after: Option<Cursor>, excluded: &[u64]) -> Result<Vec<Cursor>, Error>;

    /// Which of these claims have jobs in progress.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn holding(&mut self, claim_ids: &[u64]) -> Result<Vec<u64>, Error>;

    /// The jobs of one claim that are in progress.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn claimed(&mut self, claim_id: u64) -> Result<Vec<u64>, Error>;

    /// Puts unstarted jobs of one claim back as if they had never been claimed: those with these ids, or all of them.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn release_claimed(&mut self, claim_id: u64, ids: Option<&[u64]>) -> Result<(), Error>;

    /// Records outcomes; returns how many. The others' attempts no longer hold their jobs.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn finish(&mut self, outcomes: &[Outcome]) -> Result<usize, Error>;

    /// Keeps the list that operators see of the rows that this daemon has set aside.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn report_set_aside(&mut self, added: &[Report<Change>], removed: &[u64]) -> Result<(), Error>;

    /// Acquires or renews this daemon's lease: its jobs stay its own for `lease_s` seconds from now, by the server's
    /// clock.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn renew_lease(&mut self, lease_s: u32) -> Result<(), Error>;

    /// Ends the lease at once.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn end_lease(&mut self) -> Result<(), Error>;

    /// Ends the sessions of the daemons whose lease has expired, each once. One that was frozen or cut off in the middle
    /// of a transaction would keep the rows locked that others are to claim, reclaim or number.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn end_expired_sessions(&mut self) -> Result<(), Error>;
}
