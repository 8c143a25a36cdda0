//! How a rollout goes on: which wave is next, and when it halts, waits for an operator or ends. Pure: counts in, decisions
//! out.

use std::collections::BTreeMap;

/// The column `state` of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Daemons work on it.
    Running,
    /// The canaries are migrated, and an operator is to confirm that the others may follow.
    Unconfirmed,
    /// An operator has paused it.
    Paused,
    /// Too many databases have failed.
    Halted,
    /// An operator has ended it.
    Aborted,
    /// Every database is migrated, failed or skipped.
    Finished,
}

impl State {
    /// Every state.
    pub const ALL: [State; 6] =
        [State::Running, State::Unconfirmed, State::Paused, State::Halted, State::Aborted, State::Finished];

    /// The column's value.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Unconfirmed => "unconfirmed",
            State::Paused => "paused",
            State::Halted => "halted",
            State::Aborted => "aborted",
            State::Finished => "finished",
        }
    }

    /// The state with this column value, if there is one.
    pub fn parse(text: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// No database of it changes any more, unless an operator asks for that.
    pub fn has_ended(self) -> bool {
        matches!(self, State::Aborted | State::Finished)
    }
}

/// How many databases of one wave are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wave {
    /// Not begun, or to be tried again.
    pub waiting: u64,
    /// In a worker's hands.
    pub running: u64,
}

/// What follows when a worker finds no database to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There are databases in this wave that are not done: later.
    Wait,
    /// This wave is done, and this one is next.
    Advance(u32),
    /// The canaries are done; an operator decides about the others.
    AskForConfirmation,
    /// Nothing is left.
    Finish,
}

/// What follows in a running rollout that is at `wave`. Wave 0 are the canaries.
pub fn next_step(wave: u32, confirm_canary: bool, waves: &BTreeMap<u32, Wave>) -> Step {
    let is_open = |counts: &Wave| counts.waiting + counts.running > 0;
    // Also an earlier wave: its failed databases may have been put back.
    match waves.iter().find(|(_, counts)| is_open(counts)) {
        None => Step::Finish,
        Some((next, _)) if *next == wave => Step::Wait,
        Some((next, _)) if wave == 0 && *next > 0 && confirm_canary => Step::AskForConfirmation,
        Some((next, _)) => Step::Advance(*next),
    }
}

/// Whether a rollout in which so many databases have failed goes no further.
pub fn halts(failed: u32, max_failures: u32) -> bool {
    failed > max_failures
}

/// How many workers of a daemon change databases at the same time: half of them, at least one, so that new resources never
/// wait for a rollout.
pub fn share(workers: usize) -> usize {
    (workers / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waves_follow_each_other() {
        let wave = |waiting, running| Wave { waiting, running };
        for (at, confirm, waves, expected) in [
            (0, false, vec![(0, wave(1, 0)), (1, wave(5, 0))], Step::Wait),
            (0, false, vec![(0, wave(0, 1)), (1, wave(5, 0))], Step::Wait),
            (0, false, vec![(0, wave(0, 0)), (1, wave(5, 0))], Step::Advance(1)),
            (0, true, vec![(0, wave(0, 0)), (1, wave(5, 0))], Step::AskForConfirmation),
            (0, true, vec![(0, wave(0, 0))], Step::Finish),
            (1, true, vec![(1, wave(0, 0)), (2, wave(5, 0))], Step::Advance(2)),
            (1, false, vec![(1, wave(0, 2)), (2, wave(5, 0))], Step::Wait),
            (3, false, vec![(1, wave(1, 0)), (3, wave(0, 0))], Step::Advance(1)),
            (2, false, vec![], Step::Finish),
        ] {
            assert_eq!(next_step(at, confirm, &waves.iter().copied().collect()), expected, "{at} {waves:?}");
        }
    }

    #[test]
    fn rollouts_take_half_of_the_workers_and_at_least_one() {
        assert_eq!([1, 2, 3, 4, 5, 16].map(share), [1, 1, 1, 2, 2, 8]);
    }

    #[derive(Clone, Debug)]
    enum Fate {
        Migrated,
        Failed,
        Lost,
    }

    fn fate() -> impl Strategy<Value = Fate> {
        prop_oneof![6 => Just(Fate::Migrated), 2 => Just(Fate::Failed), 2 => Just(Fate::Lost)]
    }

    proptest! {
        /// Several workers, whose attempts migrate a database, fail or are lost, in any order: no database of a wave begins
        /// before those of all waves before it have ended; at most what is under way fails beyond the limit; and a
        /// rollout that does not halt ends with every database migrated or failed.
        #[test]
        fn waves_never_overlap_and_failures_are_limited(
            sizes in proptest::collection::vec(1u64..4, 1..5),
            fates in proptest::collection::vec(fate(), 0..60),
            workers in 1usize..5,
            max_failures in 0u32..3,
        ) {
            let mut waves: BTreeMap<u32, Wave> =
                (0..).zip(&sizes).map(|(n, size)| (n, Wave { waiting: *size, running: 0 })).collect();
            let (mut at, mut failed, mut migrated, mut is_finished) = (0, 0, 0, false);
            let mut hands: Vec<u32> = Vec::new();
            let mut fates = fates.into_iter().chain(std::iter::repeat(Fate::Migrated));
            while !(is_finished || halts(failed, max_failures) && hands.is_empty()) {
                let may_begin = hands.len() < workers && !halts(failed, max_failures);
                let counts = waves.get_mut(&at).unwrap();
                if may_begin && counts.waiting > 0 {
                    prop_assert!(hands.iter().all(|wave| *wave == at), "an earlier wave is under way");
                    counts.waiting -= 1;
                    counts.running += 1;
                    hands.push(at);
                    continue;
                }
                if may_begin && hands.is_empty() {
                    match next_step(at, false, &waves) {
                        Step::Advance(next) => at = next,
                        Step::Finish => is_finished = true,
                        other => prop_assert!(false, "{other:?} with nothing under way"),
                    }
                    continue;
                }
                let wave = hands.remove(0);
                let counts = waves.get_mut(&wave).unwrap();
                counts.running -= 1;
                match fates.next() {
                    Some(Fate::Failed) => failed += 1,
                    Some(Fate::Lost) => counts.waiting += 1,
                    _ => migrated += 1,
                }
            }
            prop_assert!(failed as usize <= max_failures as usize + workers);
            if is_finished {
                prop_assert_eq!(migrated + u64::from(failed), sizes.iter().sum::<u64>());
            }
        }
    }
}
