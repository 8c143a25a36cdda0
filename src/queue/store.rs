//! What the queue's threads ask of the database: the seam between their rules and the SQL. A simulation can stand in
//! for the server behind it. Each call is one short transaction or statement; an implementation keeps no state between
//! calls but its connection.

use std::time::Duration;

use super::{job::Job, outcome::Outcome};
use crate::db::Error;

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

    /// Puts jobs of daemons whose lease has expired back to `new`; returns how many.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn reclaim_expired(&mut self) -> Result<u64, Error>;

    /// Makes delayed jobs that are due ready; true if there may be more of them.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn promote_delayed(&mut self) -> Result<bool, Error>;

    /// The time until the next delayed job is due, by the server's clock; None if there is none.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn next_due(&mut self) -> Result<Option<Duration>, Error>;

    /// Claims up to `limit` ready jobs behind `after`, in their order.
    ///
    /// # Errors
    /// See [`QueueStore`].
    fn claim(&mut self, claim_id: u64, limit: usize, after: Option<Cursor>) -> Result<Claim, Error>;

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
}
