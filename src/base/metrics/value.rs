//! The kinds of metrics: counters, gauges, histograms with fixed buckets, and families of them by one bounded label. Any
//! thread may update them; an update is one atomic addition, or two for a histogram. Knows no names.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The values that a label may take, before all further ones count as [`OTHER`].
pub const LABEL_VALUES: usize = 100;

/// The label of everything beyond [`LABEL_VALUES`].
pub const OTHER: &str = "other";

/// Counts up, from the start of the process.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The values of the labels of one gauge, in the order of their names.
pub type LabelValues = Vec<String>;

/// Gauges that differ in their labels, which are read together. None at first.
#[derive(Debug, Default)]
pub struct Labelled(RwLock<Vec<(LabelValues, i64)>>);

impl Labelled {
    /// Replaces all of them, by at most [`LABEL_VALUES`].
    pub fn set(&self, mut values: Vec<(LabelValues, i64)>) {
        values.truncate(LABEL_VALUES);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = values;
    }

    /// The labels and their values.
    pub fn get(&self) -> Vec<(LabelValues, i64)> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A number that goes up and down; 0 at first.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// What stands for a value that is not known.
    const UNKNOWN: i64 = i64::MIN;

    /// A gauge that has no value until it is set.
    pub fn unknown() -> Gauge {
        Gauge(AtomicI64::new(Gauge::UNKNOWN))
    }

    /// Sets the value. One beyond `i64` becomes the greatest one.
    pub fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Relaxed);
    }

    /// Sets the value, or that it is not known.
    pub fn set_option(&self, value: Option<u64>) {
        match value {
            Some(value) => self.set(value),
            None => self.0.store(Gauge::UNKNOWN, Relaxed),
        }
    }

    /// Adds one.
    pub fn increment(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// Subtracts one.
    pub fn decrement(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    /// The value; None: not known.
    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Relaxed)).filter(|value| *value != Gauge::UNKNOWN)
    }
}

/// How often a duration fell into each of some ranges.
#[derive(Debug)]
pub struct Histogram {
    /// The upper bounds of the ranges, in microseconds and ascending; what exceeds the last one is counted behind it.
    bounds_us: &'static [u64],
    counts: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, in microseconds and ascending.
    pub fn new(bounds_us: &'static [u64]) -> Histogram {
        let counts = std::iter::repeat_with(AtomicU64::default).take(bounds_us.len() + 1).collect();
        Histogram { bounds_us, counts, sum_us: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let range = self.bounds_us.partition_point(|bound| *bound < us);
        self.counts[range].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// For each range its upper bound in seconds (None: unlimited) and how many durations are at most that long; then
    /// the sum of all in seconds.
    pub fn cumulative(&self) -> (Vec<(Option<f64>, u64)>, f64) {
        let bounds = self.bounds_us.iter().map(|us| Some(*us as f64 / 1e6)).chain([None]);
        let mut total = 0;
        let ranges = bounds.zip(&self.counts).map(|(bound, count)| {
            total += count.load(Relaxed);
            (bound, total)
        });
        let ranges = ranges.collect();
        (ranges, self.sum_us.load(Relaxed) as f64 / 1e6)
    }
}

/// Metrics of one kind, one for each value of a label: the first [`LABEL_VALUES`] that occur, and one for all others, so
/// that no caller can make it grow without bound.
#[derive(Debug)]
pub struct Family<M> {
    /// The label's name.
    pub label: &'static str,
    make: fn() -> M,
    members: RwLock<BTreeMap<Box<str>, Arc<M>>>,
}

impl<M> Family<M> {
    /// Without members; `make` makes one.
    pub fn new(label: &'static str, make: fn() -> M) -> Family<M> {
        Family { label, make, members: RwLock::default() }
    }

    /// The member with this value of the label, or the one for all others.
    pub fn with(&self, value: &str) -> Arc<M> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(member) = members.get(value) {
            return member.clone();
        }
        drop(members);
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let is_known = members.contains_key(value);
        let value = if is_known || members.len() < LABEL_VALUES { value } else { OTHER };
        members.entry(value.into()).or_insert_with(|| Arc::new((self.make)())).clone()
    }

    /// Every member with its value of the label.
    pub fn members(&self) -> Vec<(Box<str>, Arc<M>)> {
        let members = self.members.read().unwrap_or_else(PoisonError::into_inner);
        members.iter().map(|(value, member)| (value.clone(), member.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_up_to_their_bound() {
        let histogram = Histogram::new(&[1_000, 1_000_000]);
        for us in [0, 1_000, 1_001, 999_999, 5_000_000] {
            histogram.observe(Duration::from_micros(us));
        }
        histogram.observe(Duration::MAX);
        let (ranges, _) = histogram.cumulative();
        assert_eq!(ranges, [(Some(0.001), 2), (Some(1.0), 4), (None, 6)]);
    }

    #[test]
    fn labels_beyond_the_limit_count_as_other() {
        let family = Family::new("state", Counter::default);
        (0..1_000).for_each(|n| family.with(&format!("S{n}")).increment());
        family.with("S7").increment();
        let members = family.members();
        assert_eq!(members.len(), LABEL_VALUES + 1);
        assert_eq!((family.with("S7").get(), family.with("S999").get(), family.with(OTHER).get()), (2, 900, 900));
        assert_eq!(members.iter().map(|(_, counter)| counter.get()).sum::<u64>(), 1_001);
    }

    #[test]
    fn a_gauge_may_have_no_value() {
        let (gauge, sampled) = (Gauge::default(), Gauge::unknown());
        gauge.increment();
        gauge.increment();
        gauge.decrement();
        assert_eq!((gauge.get(), sampled.get()), (Some(1), None));
        sampled.set(7);
        assert_eq!(sampled.get(), Some(7));
        sampled.set_option(None);
        assert_eq!(sampled.get(), None);
    }
}
