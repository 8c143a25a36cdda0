//! The handler of the simulated jobs: each takes a while and ends in one of all possible ways.

use std::panic::resume_unwind;

use super::{
    oracle::ResultKind,
    simulation::{sleep_about, with},
};
use crate::queue::{Handler, Job, JobError, JobResult, Session};

pub struct Work {
    /// The daemon, as an owner of jobs.
    pub daemon_id: u64,
}

impl Handler for Work {
    fn run(&self, job: &Job, session: &mut Session) -> JobResult {
        with(|sim| {
            sim.server.oracle.run_started(job.id, job.claim_id);
            let machine = &sim.machines[sim.current];
            let is_clock_right = machine.clock_stops == machine.renewed_after_stops;
            assert!(
                !is_clock_right || sim.server.has_lease(self.daemon_id),
                "job {} was started without a lease",
                job.id
            );
        });
        for _ in 0..with(|sim| sim.rng.u8(0..4)) {
            let us = with(|sim| [100, 20_000, 500_000, 2_000_000][sim.rng.usize(..4)]);
            sleep_about(us);
            if !session.is_lease_valid() {
                return self.end(job, ResultKind::Postponed, Err(JobError::Postponed("the lease expired".into())));
            }
        }
        match with(|sim| sim.rng.u8(0..22)) {
            0..=12 => self.end(job, ResultKind::Done, Ok(Some(format!("res_{}", job.id)))),
            13..=15 => self.end(job, ResultKind::Failed, Err(JobError::Failed("failed".into()))),
            16 => self.end(job, ResultKind::Permanent, Err(JobError::Permanent("failed for good".into()))),
            17 => self.end(job, ResultKind::Interrupted, Err(JobError::Interrupted("the server was lost".into()))),
            18 | 19 => self.end(job, ResultKind::Postponed, Err(JobError::Postponed("the server is full".into()))),
            _ => {
                with(|sim| sim.server.oracle.run_ended(job.id, job.claim_id, ResultKind::Failed));
                // Without a message on standard error.
                resume_unwind(Box::new("a handler's panic"));
            }
        }
    }

    fn abandon(&self, _job: &Job, _session: &mut Session) -> Result<(), JobError> {
        sleep_about(1_000);
        Ok(())
    }
}

impl Work {
    fn end(&self, job: &Job, kind: ResultKind, result: JobResult) -> JobResult {
        with(|sim| sim.server.oracle.run_ended(job.id, job.claim_id, kind));
        result
    }
}
