//! What the daemon counts and measures about itself. Owns the names, the meanings and the text of all metrics; each role
//! updates those that it knows about. Reads no database and never waits: a scrape costs what writing its text costs.

mod process;
mod text;
mod value;

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

pub use text::{Format, Text};
pub use value::{Counter, Family, Gauge, Histogram, LABEL_VALUES, Labelled, OTHER};

/// From a millisecond to a minute: jobs while they run, and events on their way.
const SHORT_US: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];
/// From a second to a day: jobs while they wait, which the server notes to the second.
const LONG_US: &[u64] = &[
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    7_200_000_000,
    21_600_000_000,
    86_400_000_000,
];

/// From 10 milliseconds to a day: jobs from enqueued to done.
pub const TURNAROUND_US: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    7_200_000_000,
    86_400_000_000,
];

/// Sets gauges whose values are kept elsewhere, just before a text is made. It must not wait.
type Reading = Box<dyn Fn(&Metrics) + Send>;

/// All metrics of a daemon. A gauge without a value is left out of the text.
#[allow(missing_docs, reason = "each is described by its line in `encode`")]
pub struct Metrics {
    pub jobs_new: Gauge,
    pub jobs_in_progress: Gauge,
    pub jobs_error: Gauge,
    pub jobs_done: Counter,
    pub jobs_failed: Counter,
    pub oldest_waiting: Gauge,
    pub job_wait: Family<Histogram>,
    pub job_run: Family<Histogram>,
    pub job_turnaround: Histogram,
    pub attempts_failed: Counter,
    pub jobs_postponed: Counter,
    pub jobs_reclaimed: Counter,
    pub workers: Gauge,
    pub workers_busy: Gauge,
    pub claim: Histogram,
    pub paused: Gauge,
    pub outbox_rows: Gauge,
    pub event_head: Gauge,
    pub events: Family<Counter>,
    pub event_delay: Histogram,
    pub subscribers: Gauge,
    pub subscriber_lag_max: Gauge,
    pub consumer_lag: Labelled,
    pub databases: Labelled,
    pub databases_drifted: Gauge,
    pub rollout_databases: Labelled,
    pub deliveries: Counter,
    pub dropped_ephemeral: Counter,
    pub wakeups_by_ring: Counter,
    pub wakeups_by_poll: Counter,
    pub wakeups_by_binlog: Counter,
    pub database_up: Gauge,
    pub lease_valid: Gauge,
    pub pool_connections: Gauge,
    started_at: SystemTime,
    readings: Mutex<Vec<Reading>>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let by_type = |bounds_us: fn() -> Histogram| Family::new("type", bounds_us);
        Metrics {
            jobs_new: Gauge::unknown(),
            jobs_in_progress: Gauge::unknown(),
            jobs_error: Gauge::unknown(),
            jobs_done: Counter::default(),
            jobs_failed: Counter::default(),
            oldest_waiting: Gauge::unknown(),
            job_wait: by_type(|| Histogram::new(LONG_US)),
            job_run: by_type(|| Histogram::new(SHORT_US)),
            job_turnaround: Histogram::new(TURNAROUND_US),
            attempts_failed: Counter::default(),
            jobs_postponed: Counter::default(),
            jobs_reclaimed: Counter::default(),
            workers: Gauge::default(),
            workers_busy: Gauge::default(),
            claim: Histogram::new(SHORT_US),
            paused: Gauge::default(),
            outbox_rows: Gauge::unknown(),
            event_head: Gauge::default(),
            events: Family::new("state", Counter::default),
            event_delay: Histogram::new(SHORT_US),
            subscribers: Gauge::default(),
            subscriber_lag_max: Gauge::default(),
            consumer_lag: Labelled::default(),
            databases: Labelled::default(),
            databases_drifted: Gauge::unknown(),
            rollout_databases: Labelled::default(),
            deliveries: Counter::default(),
            dropped_ephemeral: Counter::default(),
            wakeups_by_ring: Counter::default(),
            wakeups_by_poll: Counter::default(),
            wakeups_by_binlog: Counter::default(),
            database_up: Gauge::default(),
            lease_valid: Gauge::default(),
            pool_connections: Gauge::default(),
            started_at: SystemTime::now(),
            readings: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Calls `reading` before each text, to set gauges whose values are kept elsewhere. It must not wait.
    pub fn add_reading(&self, reading: impl Fn(&Metrics) + Send + 'static) {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(reading));
    }

    /// Brings the gauges whose values are kept elsewhere up to date.
    pub fn refresh(&self) {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|reading| reading(self));
    }

    /// The text of all metrics.
    pub fn encode(&self, format: Format) -> String {
        self.refresh();
        let mut text = Text::new(format);
        text.gauges(
            "resq_build_info",
            "1, labelled with the version.",
            &[(&[("version", env!("CARGO_PKG_VERSION"))], 1)],
        );
        self.add_queue(&mut text);
        self.add_events(&mut text);
        text.gauge("resq_database_up", "1 while the database server answers.", &self.database_up);
        text.gauge("resq_lease_valid", "1 while this daemon's lease is valid.", &self.lease_valid);
        text.gauge("resq_pool_connections", "Open connections to the database.", &self.pool_connections);
        process::add(&mut text, self.started_at);
        text.finish()
    }

    fn add_queue(&self, text: &mut Text) {
        let done = i64::try_from(self.jobs_done.get()).unwrap_or(i64::MAX);
        let depth = [
            ("new", self.jobs_new.get()),
            ("in_progress", self.jobs_in_progress.get()),
            ("error", self.jobs_error.get()),
            ("done", Some(done)),
        ];
        let depth = depth.map(|(status, count)| ([("status", status)], count));
        let depth: Vec<(&[(&str, &str)], i64)> =
            depth.iter().filter_map(|(labels, count)| Some((&labels[..], (*count)?))).collect();
        text.gauges("resq_jobs", "Jobs by status, counted up to 100000; done: by this daemon since its start.", &depth);
        text.gauge(
            "resq_oldest_waiting_seconds",
            "How long the oldest ready job has been ready.",
            &self.oldest_waiting,
        );
        text.histogram_family(
            "resq_job_wait_seconds",
            "From when a job was ready to its claim, to the second.",
            &self.job_wait,
        );
        text.histogram_family("resq_job_run_seconds", "From the start of an attempt to its end.", &self.job_run);
        text.histogram(
            "resq_job_turnaround_seconds",
            "From a job's event New to its event Completed, whichever daemon ran it.",
            &self.job_turnaround,
        );
        let finished = [("done", self.jobs_done.get()), ("error", self.jobs_failed.get())];
        text.counters("resq_jobs_finished_total", "Jobs that this daemon finished.", "outcome", &finished);
        text.counter(
            "resq_attempts_failed_total",
            "Failed attempts, without interrupted ones.",
            self.attempts_failed.get(),
        );
        text.counter(
            "resq_jobs_postponed_total",
            "Attempts that could not go on for now, such as without disk space, and do not count.",
            self.jobs_postponed.get(),
        );
        text.counter(
            "resq_jobs_reclaimed_total",
            "Jobs taken over after another daemon's lease.",
            self.jobs_reclaimed.get(),
        );
        text.gauge("resq_workers", "Jobs that this daemon runs at the same time.", &self.workers);
        text.gauge("resq_workers_busy", "Jobs that it runs now.", &self.workers_busy);
        text.histogram("resq_claim_seconds", "Duration of claims.", &self.claim);
        text.gauge("resq_paused", "1 while the queue is paused.", &self.paused);
        let wakeups = [
            ("ring", self.wakeups_by_ring.get()),
            ("binlog", self.wakeups_by_binlog.get()),
            ("poll", self.wakeups_by_poll.get()),
        ];
        text.counters("resq_wakeups_total", "What made the daemon read the queue.", "source", &wakeups);
    }

    fn add_events(&self, text: &mut Text) {
        text.gauge(
            "resq_outbox_rows",
            "Events committed and not numbered yet, counted up to 100000.",
            &self.outbox_rows,
        );
        text.gauge("resq_event_head", "The greatest number of an event.", &self.event_head);
        text.counter_family("resq_events_total", "Durable events, by state.", &self.events);
        text.histogram(
            "resq_event_delay_seconds",
            "From when an event was written to its delivery.",
            &self.event_delay,
        );
        text.gauge("resq_subscribers", "Subscriptions.", &self.subscribers);
        text.gauge(
            "resq_subscriber_lag_max",
            "Events that the slowest subscriber is behind.",
            &self.subscriber_lag_max,
        );
        text.labelled(
            "resq_consumer_lag",
            "Events in the log after a consumer's position; of the 100 consumers that are furthest behind.",
            &["consumer"],
            &self.consumer_lag,
        );
        text.labelled(
            "resq_databases",
            "Databases of resources, by type and version.",
            &["type", "version"],
            &self.databases,
        );
        text.gauge(
            "resq_databases_drifted",
            "Databases that the last check found different from what their version should look like.",
            &self.databases_drifted,
        );
        text.labelled(
            "resq_rollout_databases",
            "Databases of the open rollout, by state.",
            &["rollout", "state"],
            &self.rollout_databases,
        );
        text.counter("resq_deliveries_total", "Events sent, one for each subscriber.", self.deliveries.get());
        text.counter(
            "resq_dropped_ephemeral_total",
            "Ephemeral events dropped because a subscriber read too slowly.",
            self.dropped_ephemeral.get(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs};

    /// The names in the lines that begin with `# TYPE`.
    fn names(text: &str) -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        lines.map(|line| line.split(' ').next().unwrap_or_default().to_string()).collect()
    }

    fn existing() -> BTreeSet<String> {
        let metrics = Metrics::default();
        for gauge in [&metrics.jobs_new, &metrics.oldest_waiting, &metrics.outbox_rows, &metrics.databases_drifted] {
            gauge.set(0);
        }
        metrics.consumer_lag.set(vec![(vec!["c".into()], 0)]);
        metrics.databases.set(vec![(vec!["shop".into(), "1".into()], 2)]);
        metrics.rollout_databases.set(vec![(vec!["1".into(), "waiting".into()], 2)]);
        names(&metrics.encode(Format::Prometheus))
    }

    fn file(path: &str) -> String {
        fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    #[test]
    fn alerts_and_panels_use_metrics_that_exist() {
        let names = existing();
        for path in ["scripts/monitoring/alerts.yml", "scripts/monitoring/grafana.json"] {
            let text = file(path);
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let used: BTreeSet<&str> =
                words.filter(|word| word.starts_with("resq_") || word.starts_with("process_")).collect();
            assert!(used.len() > 5, "{path}");
            for name in used {
                assert!(names.contains(name.trim_end_matches("_bucket")), "{path}: {name}");
            }
        }
    }

    #[test]
    fn every_metric_has_its_row_in_the_manual() {
        let (names, page) = (existing(), file("docs/http.md"));
        // One row may name several.
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let spans = rows.flat_map(|cell| cell.split('`').step_by(2));
        let named = spans.filter(|span| span.starts_with("resq_") || span.starts_with("process_"));
        let documented: BTreeSet<String> =
            named.map(|span| span.split('{').next().unwrap_or_default().to_string()).collect();
        assert_eq!(documented, names, "the metrics of docs/http.md, and those that exist");
    }
}
