//! How many RING frames stand for how many calls of `resq_ring`. Pure: the caller brings the clock.

use std::time::Duration;

/// What rings more often than this for long is a statement with many rows, not commits.
const COMMITS_PER_MS: u128 = 4;
const SHORTEST_GAP: Duration = Duration::from_millis(1);
const LONGEST_GAP: Duration = Duration::from_millis(50);

/// How long no RING follows the one that stands for `rings` calls within `elapsed` and came after `gap`. Short for
/// single commits, whose subscribers wait for it. The rows of a bulk statement can be seen by nobody before its commit:
/// for them it doubles, so that the last RING comes late by no more than the statement took.
pub fn ring_gap(rings: u32, elapsed: Duration, gap: Duration) -> Duration {
    if u128::from(rings) > COMMITS_PER_MS * elapsed.as_millis().max(1) {
        (gap * 2).clamp(SHORTEST_GAP, LONGEST_GAP)
    } else if elapsed > gap * 2 {
        SHORTEST_GAP
    } else {
        // Rings still waited when the gap ended: a bulk statement that waited for its disk, it may be.
        (gap / 2).max(SHORTEST_GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many RING frames stand for `rings` calls, one each `every_us`, if the sender had been idle before.
    fn frames(rings: u32, every_us: u64) -> u32 {
        let every = Duration::from_micros(every_us);
        let (mut rung, mut frames, mut gap, mut elapsed) = (0, 0, Duration::ZERO, Duration::from_secs(60));
        for _ in 0..rings {
            elapsed += every;
            rung += 1;
            if elapsed >= gap {
                gap = ring_gap(rung, elapsed, gap);
                (rung, elapsed, frames) = (0, Duration::ZERO, frames + 1);
            }
        }
        frames
    }

    #[test]
    fn ten_thousand_rows_are_a_few_rings() {
        for (every_us, most) in [(5, 8), (20, 12), (50, 20), (200, 60)] {
            let frames = frames(10_000, every_us);
            assert!((2..=most).contains(&frames), "{frames} frames for a row each {every_us} us");
        }
    }

    #[test]
    fn commits_ring_at_once() {
        assert_eq!(frames(1_000, 5_000), 1_000);
        assert_eq!(frames(1_000, 500), 500);
    }

    #[test]
    fn gaps_double_for_bulk_and_end_with_it() {
        let ms = Duration::from_millis;
        for (rings, elapsed, gap, next) in [
            (1, ms(60_000), ms(0), ms(1)),
            (4, ms(1), ms(1), ms(1)),
            (5, ms(1), ms(1), ms(2)),
            (1_600, ms(32), ms(32), ms(50)),
            (u32::MAX, ms(50), ms(50), ms(50)),
            (200, ms(50), ms(50), ms(25)),
            (1, ms(101), ms(50), ms(1)),
        ] {
            assert_eq!(ring_gap(rings, elapsed, gap), next, "{rings} in {elapsed:?} after {gap:?}");
        }
    }
}
