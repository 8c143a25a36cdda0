//! The numbers of claims, and those of which it is unknown whether they took effect. Pure.

use std::time::{Duration, Instant};

/// A COMMIT that failed takes effect within this time of a check that the database answered, or never: it is longer than a
/// cluster needs to evict a node, and longer than a broken connection stays unnoticed.
const UNCONFIRMED_FOR: Duration = Duration::from_secs(60);

/// The numbers under which one claim is tried. Each try has its own: what one has claimed is not mixed up with what another
/// has.
#[derive(Debug)]
pub struct ClaimIds {
    next: u64,
    unconfirmed: Vec<u64>,
}

impl ClaimIds {
    /// Of all claims that are ever made, only these have these numbers.
    pub fn random() -> ClaimIds {
        ClaimIds::beginning_with(fastrand::u64(1..))
    }

    /// Beginning with this number.
    pub fn beginning_with(first: u64) -> ClaimIds {
        ClaimIds { next: first, unconfirmed: Vec::new() }
    }

    /// The number of the next try.
    pub fn draw(&mut self) -> u64 {
        let id = self.next;
        self.next = id.wrapping_add(1).max(1);
        id
    }

    /// The COMMIT of this try failed, by whatever error. On a cluster it may take effect all the same: the node that
    /// was cut off from the others has rolled it back, and they have carried it out.
    pub fn commit_failed(&mut self, id: u64) {
        self.unconfirmed.push(id);
    }

    /// The tries whose COMMIT failed.
    pub fn into_unconfirmed(self) -> Vec<u64> {
        self.unconfirmed
    }
}

/// The claims of which it is unknown whether they took effect. No worker runs their jobs, so they are released should they
/// turn up.
#[derive(Debug, Default)]
pub struct Unconfirmed(Vec<(u64, Option<Instant>)>);

impl Unconfirmed {
    /// Adds claims.
    pub fn extend(&mut self, ids: Vec<u64>) {
        self.0.extend(ids.into_iter().map(|id| (id, None)));
    }

    /// What to look for.
    pub fn ids(&self) -> Vec<u64> {
        self.0.iter().map(|(id, _)| *id).collect()
    }

    /// The database has answered which of them hold jobs, and those were released. Forgets what was looked for during
    /// a minute; while no database answers, that time does not run.
    pub fn checked(&mut self, now: Instant) {
        self.0.retain_mut(|(_, until)| *until.get_or_insert(now + UNCONFIRMED_FOR) > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_try_has_a_number_of_its_own_and_none_is_0() {
        let mut ids = ClaimIds::beginning_with(u64::MAX);
        assert_eq!((ids.draw(), ids.draw(), ids.draw()), (u64::MAX, 1, 2));
        ids.commit_failed(1);
        assert_eq!(ids.into_unconfirmed(), [1]);
    }

    #[test]
    fn failed_commit_is_looked_for_during_a_minute_in_which_the_database_answers() {
        let (mut unconfirmed, start) = (Unconfirmed::default(), Instant::now());
        unconfirmed.extend(vec![7]);
        // However long it does not answer.
        let first = start + Duration::from_secs(3_600);
        for (s, is_kept) in [(0, true), (59, true), (60, false)] {
            unconfirmed.checked(first + Duration::from_secs(s));
            assert_eq!(unconfirmed.ids().contains(&7), is_kept, "{s} s");
        }
    }
}
