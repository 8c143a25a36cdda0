//! The thread that keeps what only the database knows: the metrics of the queue's depth and age, the series of the last
//! hours, and, while pages are open, the state at a glance that they show. It reads a sample after someone has read the
//! metrics, one each 10 s for the series, and one each second while a page is open.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, at, select};
use serde_json::{Value as Json, json};

use super::surroundings::{self, Surroundings};
use crate::{
    base::{
        health::Health,
        heartbeat,
        history::{Figures, History, INTERVAL_S},
        metrics::{Gauge, Metrics},
        threads::{Alarm, Thread},
    },
    db::{Db, Error, Link},
    events::store,
    net::Overviews,
    queue::{
        Status,
        overview::{COUNTED, Overview, overview},
    },
};

/// Connections that the thread needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// The least time between two samples, however often the metrics are read.
const EVERY: Duration = Duration::from_secs(1);

/// A server that needs long for a sample is asked more rarely: it is to work on samples for at most this part of the time.
const SHARE: u32 = 10;

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
    /// Notified when the metrics were read, and when a page is opened or closed.
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
        let run = Run { link: Link::new(db), global_db: db.global_db().to_string(), parts };
        let body = move |stopped: Receiver<()>| run.run(&stopped);
        Ok(Sampler { _thread: Thread::spawn_stoppable("sampler", alarm, body)? })
    }
}

struct Run {
    link: Link,
    global_db: String,
    parts: Parts,
}

impl Run {
    fn run(mut self, stopped: &Receiver<()>) {
        let interval = Duration::from_secs(INTERVAL_S);
        loop {
            let begun = Instant::now();
            heartbeat::working();
            self.sample();
            heartbeat::waiting();
            let earliest = begun + EVERY.max(begun.elapsed() * SHARE);
            let latest = earliest.max(begun + interval);
            // Notifications before the earliest time are kept until then.
            select! {
                recv(stopped) -> _ => return,
                recv(at(earliest)) -> _ => {}
            }
            let is_watched = self.parts.history.watchers.get() > Some(0);
            let until = if is_watched { earliest } else { latest };
            select! {
                recv(stopped) -> _ => return,
                recv(self.parts.scrapes) -> scrape => if scrape.is_err() { return },
                recv(at(until)) -> _ => {}
            }
        }
    }

    fn sample(&mut self) {
        let is_watched = self.parts.history.watchers.get() > Some(0);
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
        metrics.refresh();
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let (figures, point) = self.parts.history.observe(metrics, now_ms);
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
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "global_db": self.global_db,
            "host": surroundings.map(|it| it.host.as_str()),
            "server": surroundings.map(|it| it.version.as_str()),
            "daemons": surroundings.map(|it| it.daemons.iter().map(|daemon| daemon.to_json()).collect::<Vec<_>>()),
            "audit": surroundings.and_then(|it| it.last_action),
            "jobs": sample.map(|(overview, _)| overview.counts_json()),
            "oldest_waiting_s": sample.and_then(|(overview, _)| overview.oldest_waiting_s),
            "outbox": sample.map(|(_, outbox)| *outbox),
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

/// The queue's overview, and how many events wait for their numbers.
type Sample = (Overview, u64);

fn read(conn: &mut mysql::Conn) -> Result<Sample, Error> {
    Ok((overview(conn)?, store::waiting_up_to(conn, COUNTED)?))
}

/// What could not be read has no value, rather than an old one.
fn show(metrics: &Metrics, sample: Option<&Sample>) {
    let overview = sample.map(|(overview, _)| overview);
    let count = |status| overview.map(|overview| overview.count_of(status));
    metrics.jobs_new.set_option(count(Status::New));
    metrics.jobs_in_progress.set_option(count(Status::InProgress));
    metrics.jobs_error.set_option(count(Status::Error));
    metrics.oldest_waiting.set_option(overview.map(|overview| overview.oldest_waiting_s.unwrap_or(0)));
    metrics.outbox_rows.set_option(sample.map(|(_, outbox)| *outbox));
}
