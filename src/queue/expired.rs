//! Which jobs of a daemon that lost its lease its workers may have begun. Pure.

/// A job in progress under an expired lease; `O` identifies its daemon, `T` is what it takes to reclaim the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired<O, T> {
    /// The daemon.
    pub owner: O,
    /// How many workers it has; None: unknown.
    pub workers: Option<u32>,
    /// The job.
    pub job: T,
}

/// The order in which to reclaim these jobs, and of each whether a worker may have begun it. `jobs` are all of each daemon's
/// jobs together, in the order of its claims.
///
/// Workers begin jobs in the order of claims, so those that ran when the daemon ended are among the first, one for each
/// worker. Where more of the first had finished and were not recorded, one that ran may be missed: then it moves up before
/// the daemon is lost again, since those before it are delayed. The last jobs come first, so that whatever a call leaves to
/// the next one has the same first ones.
pub fn reclaim_order<O: PartialEq, T>(jobs: Vec<Expired<O, T>>) -> Vec<(T, bool)> {
    let mut order = Vec::with_capacity(jobs.len());
    let (mut owner, mut place) = (None, 0);
    for Expired { owner: of, workers, job } in jobs {
        place = if owner.as_ref() == Some(&of) { place + 1 } else { 0 };
        owner = Some(of);
        order.push((job, workers.is_none_or(|workers| place < workers)));
    }
    order.reverse();
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_many_jobs_as_there_are_workers_were_begun_and_they_come_last() {
        let of = |owner, workers, jobs: &[u64]| {
            jobs.iter().map(move |&job| Expired { owner, workers, job }).collect::<Vec<_>>()
        };
        let jobs = [of("a", Some(2), &[1, 2, 3]), of("b", Some(5), &[4]), of("c", None, &[5, 6])].concat();
        let expected = [(6, true), (5, true), (4, true), (3, false), (2, true), (1, true)];
        assert_eq!(reclaim_order(jobs.clone()), expected);
        // After the first three were reclaimed, the rest is judged as before.
        assert_eq!(reclaim_order(jobs[..3].to_vec()), expected[3..]);
        assert_eq!(reclaim_order(jobs[..2].to_vec()), expected[4..]);
    }
}
