//! How long to merge calls of `resq_ring` into one RING frame. Pure: the caller supplies the time.

use std::time::Duration;

/// A higher rate of calls comes from a statement with many rows, not from single commits.
const COMMITS_PER_MS: u128 = 4;
const SHORTEST_GAP: Duration = Duration::from_millis(1);
const LONGEST_GAP: Duration = Duration::from_millis(50);

/// The shortest time until the next RING, after one that merged `rings` calls made within `elapsed` and followed a gap of
/// `gap`. Short for single commits, whose subscribers are waiting. The rows of a bulk statement are invisible before its
/// commit, so for them the gap doubles: the last RING is delayed by no more than the duration of the statement.
pub fn ring_gap(rings: u32, elapsed: Duration, gap: Duration) -> Duration {
    if u128::from(rings) > COMMITS_PER_MS * elapsed.as_millis().max(1) {
        (gap * 2).clamp(SHORTEST_GAP, LONGEST_GAP)
    } else if elapsed > gap * 2 {
        SHORTEST_GAP
    } else {
        // Calls were waiting when the gap ended: perhaps a bulk statement that was waiting for its disk.
        (gap / 2).max(SHORTEST_GAP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many RING frames are sent for `rings` calls, one every `every_us`, if the sender was idle before.
    fn frames(rings: u32, every_us: u64) -> u32 {
        let every = Duration::from_micros(every_us);
        let (mut waiting, mut frames, mut gap, mut elapsed) = (0, 0, Duration::ZERO, Duration::from_secs(60));
        for _ in 0..rings {
            elapsed += every;
            waiting += 1;
            if elapsed >= gap {
                gap = ring_gap(waiting, elapsed, gap);
                (waiting, elapsed, frames) = (0, Duration::ZERO, frames + 1);
            }
        }
        frames
    }

    #[test]
    fn ten_thousand_rows_are_a_few_frames() {
        for (every_us, most) in [(5, 8), (20, 12), (50, 20), (200, 60)] {
            let frames = frames(10_000, every_us);
            assert!((2..=most).contains(&frames), "{frames} frames for one row every {every_us} us");
        }
    }

    #[test]
    fn single_commits_are_not_delayed() {
        assert_eq!(frames(1_000, 5_000), 1_000);
        assert_eq!(frames(1_000, 500), 500);
    }

    #[test]
    fn gap_doubles_for_bulk_statements_and_shrinks_afterwards() {
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
