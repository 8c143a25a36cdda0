//! How often each job has been postponed in a row, as far as this daemon knows, so that the pauses between its attempts
//! grow. Kept in memory: what is forgotten is tried again sooner, and no row grows by it. Pure.

use std::collections::BTreeMap;

use super::{job::Job, outcome::JobError, outcome::JobResult};

/// How many jobs are remembered.
const LIMIT: usize = 10_000;

#[derive(Default)]
pub struct Postponed(BTreeMap<u64, u32>);

impl Postponed {
    /// Notes how an attempt has ended; returns how often the job was postponed just before.
    pub fn record(&mut self, job: &Job, result: &JobResult) -> u32 {
        let before = self.0.remove(&job.id).unwrap_or(0);
        if matches!(result, Err(JobError::Postponed(_))) {
            if self.0.len() >= LIMIT {
                // Those with the smallest numbers are tried first anyway.
                self.0.pop_first();
            }
            self.0.insert(job.id, before.saturating_add(1));
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64) -> Job {
        let (name, res_type) = ("a".into(), "default".into());
        Job { id, name, res_type, url: None, attempt: 1, max_attempts: None, interruptions: 0, claim_id: 7 }
    }

    #[test]
    fn postponements_in_a_row_are_counted_until_the_job_ends_otherwise() {
        let (mut postponed, waits) = (Postponed::default(), Err(JobError::Postponed("x".into())));
        let counts: Vec<u32> = (0..3).map(|_| postponed.record(&job(1), &waits)).collect();
        assert_eq!(counts, [0, 1, 2]);
        assert_eq!(postponed.record(&job(2), &waits), 0);
        assert_eq!(postponed.record(&job(1), &Err(JobError::Failed("x".into()))), 3);
        assert_eq!(postponed.record(&job(1), &waits), 0);
        assert_eq!(postponed.record(&job(2), &Ok(None)), 1);
        assert_eq!(postponed.0.len(), 1);
    }

    #[test]
    fn number_of_jobs_is_bounded() {
        let mut postponed = Postponed::default();
        for id in 0..LIMIT as u64 + 5 {
            postponed.record(&job(id), &Err(JobError::Postponed("x".into())));
        }
        assert_eq!(postponed.0.len(), LIMIT);
    }
}
