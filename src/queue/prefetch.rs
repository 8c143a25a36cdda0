//! How many jobs to claim beyond those that run now. Pure: counts in, counts out.

/// The number of jobs that may be claimed and not yet started: two for each worker while workers are slower than
/// claims, so that a few jobs share a claim's commit; more while they are faster. It starts small, so that a drain has
/// little to release.
#[derive(Clone, Debug)]
pub struct Prefetch {
    smallest: usize,
    size: usize,
    /// Full claims in a row that found every job of the previous one started.
    starved: u32,
}

impl Prefetch {
    /// The largest number, unless two for each worker are more.
    pub const LARGEST: usize = 512;
    /// Idle workers start the first claims' jobs at once whether or not they are fast; only this many starved claims in
    /// a row show that they are.
    const STARVED_CLAIMS: u32 = 3;

    /// For a pool of `workers` threads.
    pub fn new(workers: usize) -> Prefetch {
        let smallest = workers * 2;
        Prefetch { smallest, size: smallest, starved: 0 }
    }

    /// The most jobs that can ever be waiting in a pool of `workers` threads.
    pub fn capacity(workers: usize) -> usize {
        Prefetch::LARGEST.max(workers * 2)
    }

    /// How many jobs to claim while `waiting` are claimed and unstarted: none until half of them are started.
    pub fn room(&self, waiting: usize) -> usize {
        if waiting * 2 > self.size { 0 } else { self.size - waiting }
    }

    /// Records that a claim was full and that `waiting` jobs of earlier ones were still unstarted then.
    pub fn record_full_claim(&mut self, waiting: usize) {
        self.starved = if waiting == 0 { self.starved + 1 } else { 0 };
        if self.starved >= Prefetch::STARVED_CLAIMS {
            self.size = (self.size * 2).min(Prefetch::LARGEST.max(self.smallest));
        } else if waiting * 4 > self.size {
            self.size = (self.size - self.size / 4).max(self.smallest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prefetch_grows_only_while_workers_wait_for_claims() {
        let mut prefetch = Prefetch::new(5);
        assert_eq!((prefetch.room(0), prefetch.room(6), prefetch.room(5)), (10, 0, 5));
        prefetch.record_full_claim(0);
        prefetch.record_full_claim(0);
        assert_eq!(prefetch.room(0), 10, "idle workers prove nothing");
        prefetch.record_full_claim(0);
        prefetch.record_full_claim(0);
        assert_eq!(prefetch.room(0), 40);
        prefetch.record_full_claim(12);
        assert_eq!(prefetch.room(0), 30);
    }

    proptest! {
        #[test]
        fn prefetch_stays_within_its_limits(
            workers in 1usize..1024,
            waiting in proptest::collection::vec(0usize..600, 0..40),
        ) {
            let mut prefetch = Prefetch::new(workers);
            for waiting in waiting {
                prefetch.record_full_claim(waiting);
                prop_assert!(prefetch.room(0) >= workers * 2);
                prop_assert!(prefetch.room(0) <= Prefetch::capacity(workers));
                prop_assert!(prefetch.room(waiting) + waiting <= prefetch.size.max(waiting));
            }
        }
    }
}
