//! The last hours of the queue as series, and rates and percentiles of the last seconds. What happens is noted when it
//! happens, so that nothing has to run in between and no hour is missing; levels, such as the queue's depth, are noted when
//! someone reads them, and are unknown for other times. Bounded: a point each 10 s, the last six hours. Reads no clock and
//! no database.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::{Map, Value as Json, json};

use super::metrics::{Gauge, Metrics, TURNAROUND_US};

/// The time between two points, in seconds.
pub const INTERVAL_S: u64 = 10;

/// Points kept: six hours.
const POINTS: u64 = 6 * 3_600 / INTERVAL_S;

/// Rates are of the last whole seconds, percentiles of the last minute.
const RATE_S: u64 = 10;
const PERCENTILE_S: u64 = 60;

/// A clock that goes back by no more than so many spans is taken to have stood still.
const SMALL_STEP: u64 = 2;

/// The columns of a series beside `time`, in the order of a point's values: levels, then what happened.
const COLUMNS: [&str; 11] = [
    "new",
    "in_progress",
    "error",
    "oldest_waiting_s",
    "workers_busy",
    "done_per_s",
    "error_per_s",
    "events_per_s",
    "p50_s",
    "p95_s",
    "p99_s",
];
const LEVELS: usize = 5;

/// The ranges of durations that are counted apart: one up to each bound, one beyond.
const RANGES: usize = TURNAROUND_US.len() + 1;

/// What happened in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Jobs that ended with success.
    pub done: u32,
    /// Jobs that ended in error.
    pub failed: u32,
    /// Durable events.
    pub events: u32,
    /// Jobs by how long they took from enqueued to done: one count for each range of [`TURNAROUND_US`]; see [`Tally::took`].
    pub took: [u32; RANGES],
}

impl Tally {
    /// Counts a job that took so long from enqueued to done.
    pub fn took(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.took[TURNAROUND_US.partition_point(|bound| *bound < us)] += 1;
    }

    fn add(&mut self, other: &Tally) {
        self.done = self.done.saturating_add(other.done);
        self.failed = self.failed.saturating_add(other.failed);
        self.events = self.events.saturating_add(other.events);
        self.took.iter_mut().zip(&other.took).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
    }

    /// p50, p95 and p99, in seconds.
    fn percentiles(&self) -> [Option<f64>; 3] {
        let bounds = TURNAROUND_US.iter().map(|us| Some(*us as f64 / 1e6)).chain([None]);
        let mut total = 0;
        let cumulative: Vec<(Option<f64>, u64)> = bounds
            .zip(&self.took)
            .map(|(bound, count)| {
                total += u64::from(*count);
                (bound, total)
            })
            .collect();
        [0.5, 0.95, 0.99].map(|share| percentile(&cumulative, share))
    }
}

/// What has happened lately. None: not known yet, or there was nothing to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Jobs that ended with success per second.
    pub done_per_s: Option<f64>,
    /// Those that ended in error.
    pub error_per_s: Option<f64>,
    /// Durable events per second.
    pub events_per_s: Option<f64>,
    /// Half of the jobs took at most so many seconds from enqueued to done.
    pub p50_s: Option<f64>,
    /// 95 % of them.
    pub p95_s: Option<f64>,
    /// 99 % of them.
    pub p99_s: Option<f64>,
}

/// All series, and how many pages show them.
#[derive(Default)]
pub struct History {
    /// Streams that want an overview each second.
    pub watchers: Gauge,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    began_ms: u64,
    /// Of the last minute.
    seconds: Ring<1_000, { PERCENTILE_S + 1 }>,
    /// Of the last hours, and one that is not over yet.
    points: Ring<{ INTERVAL_S * 1_000 }, { POINTS + 1 }>,
    /// The last point that [`History::look`] returned.
    returned: u64,
}

/// What happened in each span of `MS` milliseconds in which anything did, or levels were read: oldest first, and none older
/// than the last `LENGTH` spans.
#[derive(Default)]
struct Ring<const MS: u64, const LENGTH: u64>(VecDeque<Slot>);

#[derive(Default)]
struct Slot {
    /// Which span: its beginning since 1970, counted in spans.
    at: u64,
    tally: Tally,
    levels: [Option<u32>; LEVELS],
}

impl<const MS: u64, const LENGTH: u64> Ring<MS, LENGTH> {
    /// The one of this time.
    fn now(&mut self, now_ms: u64) -> &mut Slot {
        let mut at = now_ms / MS;
        match self.0.back() {
            Some(last) if last.at > at && last.at - at <= SMALL_STEP => at = last.at,
            _ => {}
        }
        // After a greater step, what lies in the future would be taken for the past.
        while self.0.back().is_some_and(|last| last.at > at) {
            self.0.pop_back();
        }
        if self.0.back().is_none_or(|last| last.at < at) {
            self.0.push_back(Slot { at, ..Slot::default() });
        }
        while self.0.front().is_some_and(|first| first.at + LENGTH <= at) {
            self.0.pop_front();
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// All that happened in the spans from `from` up to and without `to`.
    fn sum(&self, from: u64, to: u64) -> Tally {
        let mut sum = Tally::default();
        self.0.iter().filter(|slot| (from..to).contains(&slot.at)).for_each(|slot| sum.add(&slot.tally));
        sum
    }
}

impl Slot {
    /// The values of a point that covers so many seconds.
    fn values(&self) -> [Option<f64>; COLUMNS.len()] {
        let mut values = [None; COLUMNS.len()];
        for (value, level) in values.iter_mut().zip(self.levels) {
            *value = level.map(f64::from);
        }
        let rate = |count: u32| Some(f64::from(count) / INTERVAL_S as f64);
        let Tally { done, failed, events, .. } = self.tally;
        values[LEVELS..LEVELS + 3].copy_from_slice(&[rate(done), rate(failed), rate(events)]);
        values[LEVELS + 3..].copy_from_slice(&self.tally.percentiles());
        values
    }

    fn time_s(&self) -> u64 {
        self.at * INTERVAL_S
    }
}

impl History {
    /// Of a daemon that starts now, in milliseconds since 1970.
    pub fn new(now_ms: u64) -> History {
        let kept = Kept { began_ms: now_ms, ..Kept::default() };
        History { watchers: Gauge::default(), kept: Mutex::new(kept) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what happened at this time, in milliseconds since 1970.
    pub fn note(&self, tally: &Tally, now_ms: u64) {
        let mut kept = self.kept();
        kept.seconds.now(now_ms).tally.add(tally);
        kept.points.now(now_ms).tally.add(tally);
    }

    /// Notes the levels, which someone has just read. Returns what has happened lately, and the last point of the series as
    /// an object if it was not returned before.
    pub fn look(&self, metrics: &Metrics, now_ms: u64) -> (Figures, Option<Json>) {
        let mut kept = self.kept();
        let level = |gauge: &Gauge| gauge.get().map(|value| u32::try_from(value).unwrap_or(u32::MAX));
        kept.points.now(now_ms).levels = [
            level(&metrics.jobs_new),
            level(&metrics.jobs_in_progress),
            level(&metrics.jobs_error),
            level(&metrics.oldest_waiting),
            level(&metrics.workers_busy),
        ];
        let last = (now_ms / 1_000 / INTERVAL_S).saturating_sub(1);
        let is_new = last != kept.returned && last * INTERVAL_S * 1_000 >= kept.began_ms;
        let point = is_new.then(|| kept.point(last));
        if is_new {
            kept.returned = last;
        }
        (kept.figures(now_ms), point)
    }

    /// `{"interval_s":10,"columns":{"time":[…],"new":[…],…}}`, oldest first; times in seconds since 1970, null where a value
    /// is not known.
    pub fn to_json(&self, now_ms: u64) -> Json {
        let kept = self.kept();
        let to = now_ms / 1_000 / INTERVAL_S;
        let from = (kept.began_ms / 1_000).div_ceil(INTERVAL_S).max(to.saturating_sub(POINTS));
        let mut there = kept.points.0.iter().skip_while(|slot| slot.at < from).peekable();
        let points = (from..to).map(|at| {
            let slot = there.next_if(|slot| slot.at == at);
            (at, slot.map_or_else(|| Slot::default().values(), Slot::values))
        });
        let points: Vec<(u64, [Option<f64>; COLUMNS.len()])> = points.collect();
        let column = |at: usize| -> Json { points.iter().map(|(_, values)| values[at]).collect() };
        let columns = COLUMNS.into_iter().enumerate().map(|(at, name)| (name.to_string(), column(at)));
        let time: Json = points.iter().map(|(at, _)| at * INTERVAL_S).collect();
        let columns: Map<_, _> = columns.chain([("time".to_string(), time)]).collect();
        json!({ "interval_s": INTERVAL_S, "columns": columns })
    }
}

impl Kept {
    fn point(&self, at: u64) -> Json {
        let none = Slot { at, ..Slot::default() };
        let slot = self.points.0.iter().rev().find(|slot| slot.at == at).unwrap_or(&none);
        let named = COLUMNS.into_iter().zip(slot.values()).map(|(name, value)| (name.to_string(), value.into()));
        Json::Object(named.chain([("time".to_string(), slot.time_s().into())]).collect())
    }

    fn figures(&self, now_ms: u64) -> Figures {
        let now_s = now_ms / 1_000;
        let [p50_s, p95_s, p99_s] = self.seconds.sum(now_s.saturating_sub(PERCENTILE_S), now_s + 1).percentiles();
        // Whole seconds, and none before the start.
        let from = now_s.saturating_sub(RATE_S).max(self.began_ms.div_ceil(1_000));
        let lately = self.seconds.sum(from, now_s);
        let rate = |count: u32| (from < now_s).then(|| f64::from(count) / (now_s - from) as f64);
        Figures {
            done_per_s: rate(lately.done),
            error_per_s: rate(lately.failed),
            events_per_s: rate(lately.events),
            p50_s,
            p95_s,
            p99_s,
        }
    }
}

/// The duration in seconds that this share does not exceed, assuming an even spread within each range. What exceeds the
/// last bound counts as that bound.
fn percentile(cumulative: &[(Option<f64>, u64)], share: f64) -> Option<f64> {
    let total = cumulative.last()?.1;
    if total == 0 {
        return None;
    }
    let rank = share * total as f64;
    let (mut lower, mut below) = (0.0, 0);
    for (bound, count) in cumulative {
        let Some(bound) = *bound else { break };
        if *count as f64 >= rank {
            let within = (rank - below as f64) / (count - below).max(1) as f64;
            return Some(lower + (bound - lower) * within.clamp(0.0, 1.0));
        }
        (lower, below) = (bound, *count);
    }
    Some(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_within_their_range() {
        let ranges =
            |counts: [u64; 4]| -> Vec<_> { [Some(0.1), Some(1.0), Some(10.0), None].into_iter().zip(counts).collect() };
        for (counts, share, expected) in [
            ([0, 0, 0, 0], 0.5, None),
            ([10, 10, 10, 10], 0.5, Some(0.05)),
            ([0, 10, 10, 10], 0.5, Some(0.55)),
            ([90, 100, 100, 100], 0.95, Some(0.55)),
            ([0, 0, 0, 4], 0.99, Some(10.0)),
        ] {
            let found = percentile(&ranges(counts), share);
            let is_equal = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(is_equal, "{counts:?} {share}: {found:?}");
        }
    }

    const START: u64 = 1_800_000_000_000;

    fn tally(done: u32, events: u32) -> Tally {
        Tally { done, events, ..Tally::default() }
    }

    #[test]
    fn rates_are_of_the_last_seconds_and_percentiles_of_the_last_minute() {
        let (metrics, history) = (Metrics::default(), History::new(START));
        assert_eq!(history.look(&metrics, START).0, Figures::default());
        for second in 0..100 {
            let mut happened = tally(if second < 50 { 10 } else { 2 }, 3);
            if second == 0 {
                happened.took(Duration::from_millis(40));
            }
            let now = START + second * 1_000;
            history.note(&happened, now + 500);
            let (figures, _) = history.look(&metrics, now + 999);
            let expected = match second {
                0 => None,
                1..=50 => Some(10.0),
                60.. => Some(2.0),
                _ => continue,
            };
            assert_eq!((figures.done_per_s, figures.events_per_s), (expected, expected.map(|_| 3.0)), "{second}");
            assert_eq!(figures.p50_s.is_some(), second <= 60, "{second}");
        }
        assert!(history.kept().seconds.0.len() <= 61);
        let quiet = history.look(&metrics, START + 500_000).0;
        assert_eq!((quiet.done_per_s, quiet.p50_s), (Some(0.0), None));
    }

    #[test]
    fn what_happened_is_known_for_all_times_and_levels_for_those_when_someone_looked() {
        let (metrics, history) = (Metrics::default(), History::new(START));
        metrics.jobs_new.set(7);
        // Something happens in the first minute and an hour later, and once someone looks.
        (0..6).for_each(|at| history.note(&tally(20, 0), START + at * 10_000));
        history.note(&tally(50, 0), START + 3_600_000);
        let point = history.look(&metrics, START + 3_605_000).1.unwrap();
        assert_eq!(
            (&point["time"], &point["done_per_s"], &point["new"]),
            (&json!(1_800_003_590), &json!(0.0), &Json::Null)
        );
        assert_eq!(history.look(&metrics, START + 3_609_000).1, None, "each point is returned once");
        let point = history.look(&metrics, START + 3_611_000).1.unwrap();
        assert_eq!((&point["done_per_s"], &point["new"]), (&json!(5.0), &json!(7.0)));
        let series = history.to_json(START + 3_620_000);
        let column = |name: &str| series["columns"][name].as_array().unwrap().clone();
        assert_eq!((column("time").len(), &column("time")[0]), (362, &json!(1_800_000_000)));
        for name in COLUMNS {
            assert_eq!(column(name).len(), 362, "{name}");
        }
        assert_eq!((&column("done_per_s")[5], &column("done_per_s")[6]), (&json!(2.0), &json!(0.0)));
        assert_eq!(column("new").iter().filter(|value| !value.is_null()).count(), 2, "{:?}", column("new"));
        // Six hours, however long the daemon runs and whatever happens.
        (0..30_000).for_each(|second| history.note(&tally(1, 1), START + second * 1_000));
        let times = history.to_json(START + 30_000_000)["columns"]["time"].as_array().unwrap().len();
        assert_eq!((times as u64, history.kept().points.0.len() as u64), (POINTS, POINTS + 1));
    }

    #[test]
    fn clock_that_is_set_back_loses_no_count_and_keeps_no_future() {
        let history = History::new(START);
        history.note(&tally(1, 0), START + 60_000);
        history.note(&tally(1, 0), START + 59_999);
        assert_eq!(history.kept().seconds.0.iter().map(|slot| slot.tally.done).collect::<Vec<_>>(), [2]);
        history.note(&tally(1, 0), START);
        assert_eq!(history.kept().seconds.0.iter().map(|slot| slot.at).collect::<Vec<_>>(), [START / 1_000]);
        history.look(&Metrics::default(), START - 100_000);
        history.to_json(START - 100_000);
    }
}
