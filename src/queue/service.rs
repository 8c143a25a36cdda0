//! The queue's threads as one thing that starts, drains and stops: lease, dispatcher, workers, completer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded, never};

use super::{
    completer::Completer,
    dispatcher::{Dispatcher, Inputs, Outputs},
    handler::{Handler, Session},
    job::Prefetch,
    lease::LeaseThread,
    sql_store::Claimer,
    store::SqlQueueStore,
    worker::Worker,
};
use crate::{
    base::failure::Failure,
    base::threads::{Alarm, Thread, cannot_start},
    base::wakeup::{Wakeup, wakeup},
    config,
    db::{Db, ServerInfo},
};

/// Connections that a [`Service`] needs of its pool besides one for each worker.
pub const FIXED_CONNECTIONS: u32 = 3;

/// How the queue and the rest of a program wake each other. By default nobody does: polling finds all.
pub struct Wakeups {
    /// Hears that there may be new jobs.
    pub news: Receiver<()>,
    /// Rung after each commit that changes rows: there are events in the outbox.
    pub changed: Wakeup,
}

impl Default for Wakeups {
    fn default() -> Self {
        Wakeups { news: never(), changed: wakeup().0 }
    }
}

/// How long the end of the lease may take to be written: a server that hangs must not hold up the stop.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running queue: with a handler of the program's own in place of provisioning,
///
/// ```no_run
/// use std::{sync::Arc, time::Duration};
///
/// use resq::{
///     base::wakeup::wakeup,
///     config::Config,
///     db::{Db, ServerInfo},
///     queue::{FIXED_CONNECTIONS, Handler, Job, JobError, Service, Session, Wakeups},
///     base::threads::alarm,
/// };
///
/// struct Mailer;
///
/// impl Handler for Mailer {
///     fn run(&self, job: &Job, session: &mut Session) -> Result<Option<String>, JobError> {
///         match &job.url {
///             None => Err(JobError::Permanent("no address".into())),
///             Some(address) if session.still_ours() => {
///                 println!("attempt {} to write to {address}", job.attempt);
///                 Ok(None)
///             }
///             Some(_) => Err(JobError::Interrupted("the lease ran out".into())),
///         }
///     }
/// }
///
/// let config = Config::default();
/// let db = Db::open(&config.database, config.queue.workers as u32 + FIXED_CONNECTIONS)?;
/// let server = ServerInfo::ask(&mut *db.any()?)?;
/// let (alarm, panicked) = alarm();
/// let (wakeup, news) = wakeup();
/// let wakeups = Wakeups { news, ..Wakeups::default() };
/// let service = Service::start(&db, &server, &config.queue, Arc::new(Mailer), wakeups, &alarm)?;
/// wakeup.notify(); // after an insert, so that nobody waits for the next poll
/// panicked.recv_timeout(Duration::from_secs(3600)).expect_err("a thread of the service panicked");
/// assert!(service.drain(Duration::from_secs(30)), "running jobs were left to another daemon");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Service {
    lease_thread: LeaseThread,
    dispatcher: Thread,
    /// The workers and the completer, in the order in which they end.
    threads: Vec<Thread>,
}

impl Service {
    /// Starts `config.workers` workers that run `handler` for every job. A thread that panics rings `alarm`.
    /// Fails if the lease can't be taken: the server is lost or `resqctl init` was not run.
    pub fn start(
        db: &Db,
        server: &ServerInfo,
        config: &config::Queue,
        handler: Arc<dyn Handler>,
        wakeups: Wakeups,
        alarm: &Alarm,
    ) -> Result<Service, Failure> {
        let claimer = Claimer { owner: owner(), skip_locked: server.skip_locked };
        let store = || Box::new(SqlQueueStore::new(db, &claimer, &handler));
        let lease_thread = LeaseThread::start(store(), config.lease.as_secs() as u32, alarm)?;
        let (job_in, job_out) = bounded(Prefetch::LARGEST.max(config.workers * 2));
        let (outcome_in, outcome_out) = bounded(Prefetch::LARGEST);
        let Wakeups { news, changed } = wakeups;
        let (slots, slots_ear) = wakeup();
        let (retried, retried_ear) = wakeup();

        let outputs = Outputs { jobs: job_in, unstarted: job_out.clone(), changed: changed.clone() };
        // Leases are looked after at every tick, so that it can't be longer than half of one.
        let tick = config.poll.min(config.lease / 2);
        let dispatcher = Dispatcher::new(store(), lease_thread.lease.clone(), outputs, config.workers, tick);
        let run = |stop| dispatcher.run(Inputs { news, slots: slots_ear, retried: retried_ear, stop });
        let dispatcher = Thread::spawn_stoppable("dispatcher", alarm, run).map_err(cannot_start)?;
        let mut threads = Vec::new();

        for number in 1..=config.workers {
            let worker = Worker {
                handler: handler.clone(),
                session: Session::new(db, lease_thread.lease.clone()),
                outcomes: outcome_in.clone(),
                slots: slots.clone(),
            };
            let jobs = job_out.clone();
            let body = move || worker.run(&jobs);
            threads.push(Thread::spawn(&format!("worker-{number}"), alarm, body).map_err(cannot_start)?);
        }
        let completer = Completer::new(store(), changed, retried, config.max_attempts);
        let body = move || completer.run(&outcome_out);
        threads.push(Thread::spawn("completer", alarm, body).map_err(cannot_start)?);
        Ok(Service { dispatcher, threads, lease_thread })
    }

    /// No new claims from now on; running jobs go on. Calling it again changes nothing.
    pub fn stop(&mut self) {
        self.dispatcher.request_stop();
    }

    /// Stops and waits until every outcome is written, up to `drain`; false if work was still running then. What
    /// was running is reclaimed by another daemon, at once, as this one's lease outputs here.
    pub fn drain(mut self, drain: Duration) -> bool {
        self.stop();
        let deadline = Instant::now() + drain;
        let mut threads = std::iter::once(self.dispatcher).chain(self.threads);
        let finished = threads.all(|thread| thread.join_within(deadline.saturating_duration_since(Instant::now())));
        self.lease_thread.stop(LAST_WORDS);
        finished
    }
}

/// This process among all that ever served the queue: host, process number, and a random part since both come again.
fn owner() -> String {
    #[cfg(unix)]
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    #[cfg(not(unix))]
    let host = std::env::var("COMPUTERNAME").unwrap_or_default();
    let host: String = host.chars().take(80).collect();
    format!("{host}:{}:{:08x}", std::process::id(), fastrand::u32(..))
}
