//! How long to wait: between two RING frames, and between two attempts to connect. Pure rules; the clock and the
//! dice are the caller's.

use std::time::Duration;

/// Commits do not come faster than this; what rings more often is one statement with many rows.
const COMMITS_PER_MS: u128 = 16;
const GAP_COMMITS: Duration = Duration::from_millis(1);
const GAP_BULK: Duration = Duration::from_millis(25);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(1_000);

/// How long no RING follows the one that stands for `rings` calls within `elapsed`. Short for single commits, whose
/// subscribers wait for it; long for the rows of a bulk statement, of which nobody can see any before its commit.
pub fn ring_gap(rings: u32, elapsed: Duration) -> Duration {
    match u128::from(rings) > COMMITS_PER_MS * elapsed.as_millis().max(1) {
        true => GAP_BULK,
        false => GAP_COMMITS,
    }
}

/// The pauses between attempts to connect: they double up to a second, each cut by up to a half, so that the servers
/// of a cluster do not all come back to a restarted daemon in the same moment.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Backoff {
    pub const fn new() -> Backoff {
        Backoff(FIRST_PAUSE)
    }

    /// `dice`: any number, equally likely.
    pub fn next(&mut self, dice: u64) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause - pause / 2 * (dice % 1_000) as u32 / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_rows_are_a_few_rings() {
        // 10,000 rows, one each 20 us, as the sender meets them.
        let (mut rung, mut sent, mut now, mut gap) = (0, 0, 0, Duration::from_secs(60).as_micros());
        let mut last = 0;
        for _ in 0..10_000 {
            now += 20;
            rung += 1;
            if sent == 0 || now - last >= gap {
                let elapsed = if sent == 0 { 60_000_000 } else { now - last };
                gap = ring_gap(rung, Duration::from_micros(elapsed as u64)).as_micros();
                (rung, last, sent) = (0, now, sent + 1);
            }
        }
        assert!((2..=12).contains(&sent), "{sent} frames");
    }

    #[test]
    fn commits_ring_at_once() {
        for (rings, elapsed_ms, gap) in [
            (1, 60_000, GAP_COMMITS),
            (1, 0, GAP_COMMITS),
            (16, 1, GAP_COMMITS),
            (17, 1, GAP_BULK),
            (400, 25, GAP_COMMITS),
            (1_250, 25, GAP_BULK),
            (u32::MAX, 25, GAP_BULK),
        ] {
            assert_eq!(ring_gap(rings, Duration::from_millis(elapsed_ms)), gap, "{rings} in {elapsed_ms} ms");
        }
    }

    #[test]
    fn pauses_grow_and_end_at_a_second() {
        let mut backoff = Backoff::new();
        let pauses: Vec<u128> = (0..7).map(|_| backoff.next(0).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1_000, 1_000]);
        for dice in [1, 499, 999, u64::MAX] {
            let pause = backoff.next(dice);
            assert!((Duration::from_millis(500)..=LONGEST_PAUSE).contains(&pause), "{pause:?}");
        }
    }
}
