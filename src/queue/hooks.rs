//! Code that runs inside the queue's own transactions: what must be committed together with a claim, a release or an
//! outcome. Most programs need none.

use mysql::Conn;

use super::{job::Job, outcome::Outcome};
use crate::db::Error;

/// Statements that become part of the queue's transactions. `conn` is always inside the transaction, with the global
/// database as the current one. A hook must not commit, roll back or run DDL, and it is repeated with the whole
/// transaction after a lost race for locks.
///
/// An error rolls the transaction back: the claim, release or outcome has not happened.
pub trait TransactionHooks: Send + Sync + 'static {
    /// Part of the claim of `jobs`, of which there is at least one. Runs on the dispatcher's thread.
    ///
    /// # Errors
    /// Those of its statements.
    fn reserve(&self, _conn: &mut Conn, _jobs: &[Job]) -> Result<(), Error> {
        Ok(())
    }

    /// Undoes [`TransactionHooks::reserve`] for jobs that are released unstarted: those of the claim `claim_id` whose
    /// ids are given, or all of it. Runs on the dispatcher's thread.
    ///
    /// # Errors
    /// Those of its statements.
    fn release(&self, _conn: &mut Conn, _claim_id: u64, _ids: Option<&[u64]>) -> Result<(), Error> {
        Ok(())
    }

    /// Part of recording `outcomes`, of which there is at least one; all of them still hold their jobs. Runs on the
    /// completer's thread.
    ///
    /// # Errors
    /// Those of its statements.
    fn record_outcomes(&self, _conn: &mut Conn, _outcomes: &[&Outcome]) -> Result<(), Error> {
        Ok(())
    }
}

/// Adds nothing to the queue's transactions.
#[derive(Clone, Copy, Debug)]
pub struct NoHooks;

impl TransactionHooks for NoHooks {}
