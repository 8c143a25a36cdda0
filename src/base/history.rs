//! The last hours of a daemon as series, and rates and percentiles of the last seconds, both made from metrics. Bounded:
//! a point each 10 s, the last six hours. Reads no clock and no database.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::{Map, Value as Json, json};

use super::metrics::{Gauge, Metrics};

/// The time between two points, in seconds.
pub const INTERVAL_S: u64 = 10;

/// Points kept: six hours.
const POINTS: usize = 6 * 3_600 / INTERVAL_S as usize;

/// Rates are of the last seconds, percentiles of the last minute.
const RATE_MS: u64 = 10_000;
const PERCENTILE_MS: u64 = 60_000;

/// The columns of a series beside `time`, in the order of a point's values.
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

/// What has happened lately. None: not known, or there was nothing to measure.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Jobs that this daemon finished per second.
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
    /// Oldest first; those of the last minute, and one that is older.
    snapshots: VecDeque<Snapshot>,
    /// The times of the points, in seconds since 1970, and their values.
    points: VecDeque<(u64, [Option<f64>; COLUMNS.len()])>,
}

/// The counters at one time.
struct Snapshot {
    at_ms: u64,
    done: u64,
    failed: u64,
    events: u64,
    /// How many jobs took at most as long as each bound.
    turnaround: Vec<(Option<f64>, u64)>,
}

impl History {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the metrics of this time, in milliseconds since 1970. Returns what has happened lately, and the point of the
    /// series as an object if one was due.
    pub fn observe(&self, metrics: &Metrics, now_ms: u64) -> (Figures, Option<Json>) {
        let mut kept = self.kept();
        kept.snapshots.push_back(Snapshot {
            at_ms: now_ms,
            done: metrics.jobs_done.get(),
            failed: metrics.jobs_failed.get(),
            events: metrics.events.members().iter().map(|(_, counter)| counter.get()).sum(),
            turnaround: metrics.job_turnaround.cumulative().0,
        });
        // A clock that was set back would keep all of them.
        kept.snapshots.retain(|snapshot| snapshot.at_ms <= now_ms);
        while kept.snapshots.get(1).is_some_and(|second| now_ms - second.at_ms >= PERCENTILE_MS) {
            kept.snapshots.pop_front();
        }
        let figures = kept.figures(now_ms);
        let is_due = kept.points.back().is_none_or(|(at, _)| now_ms / 1_000 >= at + INTERVAL_S || now_ms / 1_000 < *at);
        let point = is_due.then(|| {
            let gauge = |gauge: &Gauge| gauge.get().map(|value| value as f64);
            let values = [
                gauge(&metrics.jobs_new),
                gauge(&metrics.jobs_in_progress),
                gauge(&metrics.jobs_error),
                gauge(&metrics.oldest_waiting),
                gauge(&metrics.workers_busy),
                figures.done_per_s,
                figures.error_per_s,
                figures.events_per_s,
                figures.p50_s,
                figures.p95_s,
                figures.p99_s,
            ];
            let time = now_ms / 1_000 / INTERVAL_S * INTERVAL_S;
            kept.points.push_back((time, values));
            if kept.points.len() > POINTS {
                kept.points.pop_front();
            }
            let named = COLUMNS.into_iter().zip(values).map(|(name, value)| (name.to_string(), value.into()));
            Json::Object(named.chain([("time".to_string(), time.into())]).collect::<Map<_, _>>())
        });
        (figures, point)
    }

    /// `{"interval_s":10,"columns":{"time":[…],"new":[…],…}}`, oldest first; times in seconds since 1970, null where a value
    /// is not known.
    pub fn to_json(&self) -> Json {
        let kept = self.kept();
        let column = |at: usize| -> Json { kept.points.iter().map(|(_, values)| values[at]).collect() };
        let columns = COLUMNS.into_iter().enumerate().map(|(at, name)| (name.to_string(), column(at)));
        let time: Json = kept.points.iter().map(|(time, _)| *time).collect();
        let columns: Map<_, _> = columns.chain([("time".to_string(), time)]).collect();
        json!({ "interval_s": INTERVAL_S, "columns": columns })
    }
}

impl Kept {
    fn figures(&self, now_ms: u64) -> Figures {
        let Some(last) = self.snapshots.back() else { return Figures::default() };
        // The newest one that is old enough, or else the oldest.
        let before = |age_ms: u64| {
            let old = self.snapshots.iter().rev().find(|snapshot| now_ms - snapshot.at_ms >= age_ms);
            old.or(self.snapshots.front()).filter(|snapshot| snapshot.at_ms < now_ms)
        };
        let mut figures = Figures::default();
        if let Some(first) = before(RATE_MS) {
            let seconds = (last.at_ms - first.at_ms) as f64 / 1e3;
            let rate = |first: u64, last: u64| Some(last.saturating_sub(first) as f64 / seconds);
            figures.done_per_s = rate(first.done, last.done);
            figures.error_per_s = rate(first.failed, last.failed);
            figures.events_per_s = rate(first.events, last.events);
        }
        if let Some(first) = before(PERCENTILE_MS) {
            let pairs = first.turnaround.iter().zip(&last.turnaround);
            let lately: Vec<_> = pairs.map(|((_, first), (bound, last))| (*bound, last - first)).collect();
            figures.p50_s = percentile(&lately, 0.5);
            figures.p95_s = percentile(&lately, 0.95);
            figures.p99_s = percentile(&lately, 0.99);
        }
        figures
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
    use std::time::Duration;

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

    #[test]
    fn rates_are_of_the_last_seconds_and_percentiles_of_the_last_minute() {
        let (metrics, history) = (Metrics::default(), History::default());
        let start = 1_800_000_000_000;
        assert_eq!(history.observe(&metrics, start).0, Figures::default());
        metrics.job_turnaround.observe(Duration::from_millis(40));
        for second in 1..=100 {
            metrics.jobs_done.add(if second <= 50 { 10 } else { 2 });
            metrics.events.with("New").add(3);
            let (figures, _) = history.observe(&metrics, start + second * 1_000);
            let expected = if second <= 50 { Some(10.0) } else { Some(2.0) };
            if !(51..60).contains(&second) {
                assert_eq!((figures.done_per_s, figures.events_per_s), (expected, Some(3.0)), "{second}");
            }
            assert_eq!(figures.p50_s.is_some(), second <= 60, "{second}");
        }
        assert!(history.kept().snapshots.len() <= 62);
    }

    #[test]
    fn series_have_a_point_each_interval_and_six_hours_of_them() {
        let (metrics, history) = (Metrics::default(), History::default());
        metrics.jobs_new.set(7);
        let points = (0..30_000).filter(|s| history.observe(&metrics, 1_000_000 + s * 1_000).1.is_some()).count();
        assert_eq!(points, 3_000);
        let series = history.to_json();
        let times = series["columns"]["time"].as_array().unwrap();
        assert_eq!((times.len(), times.last()), (POINTS, Some(&json!(1_000 + 29_990))));
        for name in COLUMNS {
            assert_eq!(series["columns"][name].as_array().unwrap().len(), POINTS, "{name}");
        }
        assert_eq!((&series["columns"]["new"][0], &series["columns"]["error"][0]), (&json!(7.0), &Json::Null));
        // The clock was set back.
        assert!(history.observe(&metrics, 1_000_000).1.is_some());
        assert_eq!(history.kept().snapshots.len(), 1);
    }
}
