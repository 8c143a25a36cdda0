//! The thread that reads what only the database knows, when someone asks: the metrics of the queue's depth and age after
//! they were read, for the next time, and each second, while a page is open, the state at a glance that pages show. It sleeps
//! as long as neither is wanted.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, at, never, select};
use serde_json::{Value as Json, json};

use super::surroundings::{self, Surroundings};
use crate::{
    base::{
        health::Health,
        heartbeat,
        history::{Figures, History},
        metrics::{Gauge, LABEL_VALUES, Metrics},
        threads::{Alarm, Thread},
    },
    db::{Db, Error, Link},
    events::{
        consumers::admin::{self as consumers, Consumer},
        store,
    },
    net::Overviews,
    queue::{
        Status,
        overview::{COUNTED, Overview, overview},
    },
    resources::{drift, migrate::progress},
};

/// Connections that the thread needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// The time between two samples while a page is open.
const EVERY: Duration = Duration::from_secs(1);

/// The least time between two samples for the metrics, however often and by however many these are read.
const CACHED: Duration = Duration::from_secs(5);

/// A sample that is older says nothing any more: its metrics are left out. As long as Prometheus keeps one.
const STALE: Duration = Duration::from_secs(300);

/// Rows of the event log that are set aside, named one by one.
const NAMED_EVENTS: usize = 10;

/// A server that needs long for a sample is asked more rarely: it is to work on samples for at most this part of the time.
const SHARE: u32 = 10;

/// The time by this machine's clock, in milliseconds since 1970.
pub fn unix_time_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// What the thread reads and keeps.
pub struct Parts {
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// The last hours of it, and how many pages are open.
    pub history: Arc<History>,
    /// What keeps the daemon from serving.
    pub health: Arc<Health>,
    /// Where the state at a glance goes.
    pub overviews: Overviews,
    /// Notified when the metrics were read, and when a page is opened.
    pub scrapes: Receiver<()>,
}

/// The running thread. Dropping it ends the thread.
pub struct Sampler {
    _thread: Thread,
}

impl Sampler {
    /// Starts the thread. It samples once at its start.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(db: &Db, parts: Parts, alarm: &Alarm) -> io::Result<Sampler> {
        let sampled_at = Arc::new(Mutex::new(Instant::now()));
        parts.metrics.add_reading({
            let sampled_at = sampled_at.clone();
            move |metrics| {
                if sampled_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > STALE {
                    show(metrics, None);
                }
            }
        });
        let run = Run { link: Link::new(db), global_db: db.global_db().to_string(), parts, sampled_at };
        let body = move |stopped: Receiver<()>| run.run(&stopped);
        Ok(Sampler { _thread: Thread::spawn_stoppable("sampler", alarm, body)? })
    }
}

struct Run {
    link: Link,
    global_db: String,
    parts: Parts,
    sampled_at: Arc<Mutex<Instant>>,
}

impl Run {
    fn run(mut self, stopped: &Receiver<()>) {
        loop {
            let begun = Instant::now();
            heartbeat::working();
            self.sample();
            heartbeat::waiting();
            let earliest = begun + EVERY.max(begun.elapsed() * SHARE);
            if !self.wait(stopped, earliest, earliest.max(begun + CACHED)) {
                return;
            }
        }
    }

    /// Waits until a sample is due: `earliest` while a page is open, `cached` after the metrics were read, otherwise never.
    /// False: the thread is to end.
    fn wait(&self, stopped: &Receiver<()>, earliest: Instant, cached: Instant) -> bool {
        let mut is_asked = false;
        loop {
            let due = due(self.is_watched(), is_asked, earliest, cached).map_or_else(never, at);
            select! {
                recv(stopped) -> _ => return false,
                recv(self.parts.scrapes) -> scrape => match scrape {
                    Ok(()) => is_asked = true,
                    // The broker has ended.
                    Err(_) => return false,
                },
                // The last page may have been closed meanwhile.
                recv(due) -> _ => if is_asked || self.is_watched() { return true },
            }
        }
    }

    fn is_watched(&self) -> bool {
        self.parts.history.watchers.get() > Some(0)
    }

    fn sample(&mut self) {
        let is_watched = self.is_watched();
        let read = self.link.run(|conn| {
            let surroundings = is_watched.then(|| surroundings::read(conn)).transpose()?;
            Ok((read(conn)?, surroundings))
        });
        if let Err(error) = &read {
            log::debug!("metrics: cannot read them from the database: {error}");
        }
        let (sample, surroundings) = read.ok().unzip();
        let metrics = &self.parts.metrics;
        show(metrics, sample.as_ref());
        *self.sampled_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        metrics.refresh();
        let (figures, point) = self.parts.history.look(metrics, unix_time_ms());
        if is_watched {
            let overview = self.overview(sample.as_ref(), surroundings.flatten().as_ref(), figures, point);
            self.parts.overviews.publish(overview.to_string());
        }
    }

    /// The state at a glance. What could not be read is null.
    fn overview(
        &self,
        sample: Option<&Sample>,
        surroundings: Option<&Surroundings>,
        figures: Figures,
        point: Option<Json>,
    ) -> Json {
        let metrics = &self.parts.metrics;
        let value = |gauge: &Gauge| gauge.get();
        let (mut reasons, mut warnings) = (Vec::new(), Vec::new());
        for finding in self.parts.health.findings() {
            let list = if finding.is_blocking { &mut reasons } else { &mut warnings };
            list.push(json!({ "check": finding.check, "reason": finding.reason }));
        }
        let events = surroundings.map_or(&[][..], |it| &it.set_aside);
        warnings.extend(events.iter().take(NAMED_EVENTS).map(|event| {
            let reason = format!("{}: {}: {}", event.name(), event.what, event.message);
            json!({ "check": "set_aside", "reason": reason })
        }));
        if events.len() > NAMED_EVENTS {
            let reason = format!("{} more rows of the event log", events.len() - NAMED_EVENTS);
            warnings.push(json!({ "check": "set_aside", "reason": reason }));
        }
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "global_db": self.global_db,
            "host": surroundings.map(|it| it.host.as_str()),
            "server": surroundings.map(|it| it.version.as_str()),
            "daemons": surroundings.map(|it| it.daemons.iter().map(|daemon| daemon.to_json()).collect::<Vec<_>>()),
            "audit": surroundings.and_then(|it| it.last_action),
            "jobs": sample.map(|it| it.overview.counts_json()),
            "oldest_waiting_s": sample.and_then(|it| it.overview.oldest_waiting_s),
            "outbox": sample.map(|it| it.outbox),
            "reasons": reasons,
            "warnings": warnings,
            "paused": value(&metrics.paused) == Some(1),
            "workers": value(&metrics.workers),
            "workers_busy": value(&metrics.workers_busy),
            "subscribers": value(&metrics.subscribers),
            "lag_max": value(&metrics.subscriber_lag_max),
            "head_seq": value(&metrics.event_head),
            "dropped_ephemeral": metrics.dropped_ephemeral.get(),
            "pool_connections": value(&metrics.pool_connections),
            "done_per_s": figures.done_per_s,
            "error_per_s": figures.error_per_s,
            "events_per_s": figures.events_per_s,
            "p50_s": figures.p50_s,
            "p95_s": figures.p95_s,
            "p99_s": figures.p99_s,
            "point": point,
        })
    }
}

/// When the next sample is due; None: not before someone asks.
fn due(is_watched: bool, is_asked: bool, earliest: Instant, cached: Instant) -> Option<Instant> {
    match is_watched {
        true => Some(earliest),
        false => is_asked.then_some(cached),
    }
}

/// What is read at once.
struct Sample {
    overview: Overview,
    /// How many events wait for their numbers.
    outbox: u64,
    /// Those that are furthest behind.
    consumers: Vec<Consumer>,
    /// How many databases of which type and version.
    databases: Vec<(String, u32, u64)>,
    /// How many of them were found different.
    drifted: u64,
    /// How many databases of the open rollout are in which state.
    rollout: Vec<(u64, String, u64)>,
}

fn read(conn: &mut mysql::Conn) -> Result<Sample, Error> {
    Ok(Sample {
        overview: overview(conn)?,
        outbox: store::waiting_up_to(conn, COUNTED)?,
        consumers: consumers::furthest_behind(conn, LABEL_VALUES as u32)?,
        databases: progress::databases(conn)?,
        drifted: drift::drifted(conn)?,
        rollout: progress::of_open(conn)?,
    })
}

/// What could not be read has no value, rather than an old one.
fn show(metrics: &Metrics, sample: Option<&Sample>) {
    let overview = sample.map(|it| &it.overview);
    let count = |status| overview.map(|overview| overview.count_of(status));
    metrics.jobs_new.set_option(count(Status::New));
    metrics.jobs_in_progress.set_option(count(Status::InProgress));
    metrics.jobs_error.set_option(count(Status::Error));
    metrics.oldest_waiting.set_option(overview.map(|overview| overview.oldest_waiting_s.unwrap_or(0)));
    metrics.outbox_rows.set_option(sample.map(|it| it.outbox));
    let lags = sample.map_or(&[][..], |it| &it.consumers).iter();
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.consumer_lag.set(lags.map(|it| (vec![it.name.clone()], number(it.lag))).collect());
    let databases = sample.map_or(&[][..], |it| &it.databases).iter();
    let labels = |name: &String, version: &u32| vec![name.clone(), version.to_string()];
    metrics.databases.set(databases.map(|(name, version, count)| (labels(name, version), number(*count))).collect());
    metrics.databases_drifted.set_option(sample.map(|it| it.drifted));
    let rollout = sample.map_or(&[][..], |it| &it.rollout).iter();
    let labels = |id: &u64, state: &String| vec![id.to_string(), state.clone()];
    metrics.rollout_databases.set(rollout.map(|(id, state, count)| (labels(id, state), number(*count))).collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_due_unless_someone_asks() {
        let (earliest, cached) = (Instant::now(), Instant::now() + CACHED);
        for (is_watched, is_asked, expected) in [
            (false, false, None),
            (false, true, Some(cached)),
            (true, false, Some(earliest)),
            (true, true, Some(earliest)),
        ] {
            assert_eq!(due(is_watched, is_asked, earliest, cached), expected, "{is_watched} {is_asked}");
        }
    }

    #[test]
    fn metrics_of_no_sample_have_no_value() {
        let metrics = Metrics::default();
        let overview = Overview {
            oldest_waiting_s: None,
            counts: Default::default(),
            delayed: Default::default(),
            is_paused: false,
        };
        let (consumers, databases, rollout) = (Vec::new(), Vec::new(), Vec::new());
        let sample = Sample { overview, outbox: 7, consumers, databases, drifted: 0, rollout };
        show(&metrics, Some(&sample));
        assert_eq!((metrics.outbox_rows.get(), metrics.oldest_waiting.get()), (Some(7), Some(0)));
        show(&metrics, None);
        assert_eq!(
            (metrics.outbox_rows.get(), metrics.oldest_waiting.get(), metrics.jobs_new.get()),
            (None, None, None)
        );
    }
}
