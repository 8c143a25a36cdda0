//! The thread that keeps those metrics which only the database knows. It reads them after a scrape, so that
//! they are at most one scrape old, and that a daemon which is not scraped does nothing for it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select};

use super::sample::{self, Sample};
use crate::{
    base::{
        heartbeat,
        metrics::Metrics,
        threads::{Alarm, Thread},
    },
    db::{Db, Link},
};

/// Connections that the thread needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// The least time between two samples, however often the metrics are read.
const EVERY: Duration = Duration::from_secs(1);

/// The running thread. Dropping it ends the thread.
pub struct Sampler {
    _thread: Thread,
}

impl Sampler {
    /// Starts the thread. It samples once at its start and after each of the `scrapes`.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(db: &Db, metrics: Arc<Metrics>, scrapes: Receiver<()>, alarm: &Alarm) -> io::Result<Sampler> {
        let link = Link::new(db);
        let body = move |stopped: Receiver<()>| run(link, &metrics, &scrapes, &stopped);
        Ok(Sampler { _thread: Thread::spawn_stoppable("sampler", alarm, body)? })
    }
}

fn run(mut link: Link, metrics: &Metrics, scrapes: &Receiver<()>, stopped: &Receiver<()>) {
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            heartbeat::working();
            let sample = link.run(sample::read);
            heartbeat::waiting();
            if let Err(error) = &sample {
                log::debug!("metrics: cannot read them from the database: {error}");
            }
            show(metrics, sample.ok());
            next = Instant::now() + EVERY;
        }
        select! {
            recv(stopped) -> _ => return,
            recv(scrapes) -> scrape => if scrape.is_err() { return },
        }
    }
}

/// What could not be read has no value, rather than an old one.
fn show(metrics: &Metrics, sample: Option<Sample>) {
    metrics.jobs_new.set_option(sample.map(|sample| sample.new));
    metrics.jobs_in_progress.set_option(sample.map(|sample| sample.in_progress));
    metrics.jobs_error.set_option(sample.map(|sample| sample.error));
    metrics.oldest_waiting.set_option(sample.map(|sample| sample.oldest_waiting_s));
    metrics.outbox_rows.set_option(sample.map(|sample| sample.outbox));
}
