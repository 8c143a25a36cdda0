//! What the simulated jobs do: take their time, and end in every way that there is.

use std::panic::resume_unwind;

use super::{
    oracle::Kind,
    world::{pass, with},
};
use crate::queue::{Handler, Job, JobError, JobResult, Session};

pub struct Work {
    /// The daemon, as an owner of jobs.
    pub life: u64,
}

impl Handler for Work {
    fn run(&self, job: &Job, session: &mut Session) -> JobResult {
        with(|world| {
            world.server.oracle.runs(job.id, job.claim_id);
            let is_honest = !world.machines[world.current].clock_stood;
            assert!(!is_honest || world.server.has_lease(self.life), "job {} was begun without a lease", job.id);
        });
        for _ in 0..with(|world| world.rng.u8(0..4)) {
            let us = with(|world| [100, 20_000, 500_000, 2_000_000][world.rng.usize(..4)]);
            pass(us);
            if !session.is_lease_valid() {
                return self.ends(job, Kind::Interrupted, Err(JobError::Interrupted("the lease ran out".into())));
            }
        }
        match with(|world| world.rng.u8(0..20)) {
            0..=12 => self.ends(job, Kind::Done, Ok(Some(format!("res_{}", job.id)))),
            13..=15 => self.ends(job, Kind::Failed, Err(JobError::Failed("no luck".into()))),
            16 => self.ends(job, Kind::Permanent, Err(JobError::Permanent("no hope".into()))),
            17 => self.ends(job, Kind::Interrupted, Err(JobError::Interrupted("the server was lost".into()))),
            _ => {
                with(|world| world.server.oracle.ran(job.id, job.claim_id, Kind::Failed));
                // Without a word on standard error.
                resume_unwind(Box::new("a handler's panic"));
            }
        }
    }

    fn abandon(&self, _job: &Job, _session: &mut Session) -> Result<(), JobError> {
        pass(1_000);
        Ok(())
    }
}

impl Work {
    fn ends(&self, job: &Job, kind: Kind, result: JobResult) -> JobResult {
        with(|world| world.server.oracle.ran(job.id, job.claim_id, kind));
        result
    }
}
