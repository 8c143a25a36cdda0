//! The thread that keeps those metrics which only the database knows. It reads them after a scrape, so that
//! they are at most one scrape old, and that a daemon which is not scraped does nothing for it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select};

use crate::{
    base::{
        heartbeat,
        metrics::Metrics,
        threads::{Alarm, Thread},
    },
    db::{Db, Error, Link},
    events::store,
    queue::{
        Status,
        overview::{COUNTED, Overview, overview},
    },
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
            let sample = link.run(read);
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

/// The queue's overview, and how many events wait for their numbers.
fn read(conn: &mut mysql::Conn) -> Result<(Overview, u64), Error> {
    Ok((overview(conn)?, store::waiting_up_to(conn, COUNTED)?))
}

/// What could not be read has no value, rather than an old one.
fn show(metrics: &Metrics, sample: Option<(Overview, u64)>) {
    let (overview, outbox) = sample.unzip();
    let count = |status| overview.as_ref().map(|overview| overview.count_of(status));
    metrics.jobs_new.set_option(count(Status::New));
    metrics.jobs_in_progress.set_option(count(Status::InProgress));
    metrics.jobs_error.set_option(count(Status::Error));
    metrics.oldest_waiting.set_option(overview.map(|overview| overview.oldest_waiting_s.unwrap_or(0)));
    metrics.outbox_rows.set_option(outbox);
}
