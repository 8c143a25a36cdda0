//! Works off a batch, step by step. Owns what happens to jobs that the server refuses to change, and what is left to do when
//! the last job is changed. Any process may run it: the one that was asked, or a daemon that goes on after a crash.

use super::batch::{Batches, Progress, STEP, is_about_a_job};
use crate::{
    db::{Db, Error, ErrorClass},
    queue::change::Change,
    resources::{drop::Dropper, drop_error::DropError},
};

/// How a call of [`run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// The batch has ended.
    ToTheEnd,
    /// Another process has ended it or works on it.
    Elsewhere,
    /// `may_go_on` said no.
    Stopped,
}

/// Works on a batch until its end, or as long as `may_go_on`, which is asked after each step.
///
/// # Errors
/// Those of the database that are no single job's. The call may be repeated.
pub fn run(
    batches: &mut Batches,
    id: u64,
    control: &Db,
    resources: &Db,
    mut may_go_on: impl FnMut(&Progress) -> bool,
) -> Result<Ran, Error> {
    let mut limit = STEP;
    let change = loop {
        match batches.step(id, limit) {
            Ok(None) => return Ok(Ran::Elsewhere),
            Ok(Some(progress)) if progress.is_exhausted => break progress.change,
            Ok(Some(progress)) => {
                if !may_go_on(&progress) {
                    return Ok(Ran::Stopped);
                }
                limit = (limit * 2).min(STEP);
            }
            // One of these jobs cannot be changed: it is found by halves.
            Err(error) if limit > 1 && is_about_a_job(&error) => limit /= 2,
            Err(error) => return Err(error),
        }
    };
    let failed = match change {
        Change::Retry => None,
        Change::Cancel => match Dropper::new(control, resources).drop_partly_built_of_cancelled() {
            Ok(()) => None,
            Err(DropError::Queue(error)) if error.class() != ErrorClass::Permanent => return Err(error),
            Err(error) => Some(error.to_string()),
        },
    };
    batches.end(id, change, failed.as_deref())?;
    Ok(Ran::ToTheEnd)
}
