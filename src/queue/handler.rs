//! What a worker does with a job: the seam between the queue and the code it runs.

use super::{
    job::Job,
    outcome::{JobError, JobResult},
    session::Session,
};

/// The code that is run for each job. All workers share one value.
///
/// Attempts may repeat: a daemon can die after an attempt has ended and before its outcome is recorded. An outcome is
/// recorded at most once, and only while its attempt still holds the job; after `done` or `error` no further attempt
/// follows. A handler with effects elsewhere should therefore be idempotent.
pub trait Handler: Send + Sync + 'static {
    /// Runs one attempt on a worker's thread and returns the job's result, if it has one.
    ///
    /// # Errors
    /// The variant of [`JobError`] decides whether another attempt follows. A panic counts as [`JobError::Failed`].
    fn run(&self, job: &Job, session: &mut Session) -> JobResult;

    /// Undoes what earlier attempts of `job` may have left behind. Called in place of [`Handler::run`] after the job has
    /// lost its worker [too many times](super::outcome::MAX_INTERRUPTIONS); the job then ends in `error`.
    ///
    /// # Errors
    /// As for [`Handler::run`]: the job stays in the queue unless the error is permanent or attempts are used up.
    fn abandon(&self, _job: &Job, _session: &mut Session) -> Result<(), JobError> {
        Ok(())
    }
}
