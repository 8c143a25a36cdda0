//! The queue's threads as one thing that starts, drains and stops: lease, dispatcher, workers, completer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded, never};

use super::{
    completer::Completer,
    dispatcher::{self, Dispatcher, Inputs, Outputs},
    handler::Handler,
    hooks::{NoHooks, TransactionHooks},
    lease::LeaseThread,
    load::Load,
    prefetch::Prefetch,
    probing::Streak,
    session::Session,
    side_task::SideTask,
    sql_store::{Claimer, SqlQueueStore},
    telemetry::Telemetry,
    validity::Validity,
    worker::Worker,
};
use crate::{
    base::failure::Failure,
    base::threads::{Alarm, Thread, cannot_start},
    base::wakeup::{Wakeup, wakeup},
    config,
    db::{Db, ServerInfo},
};

/// Connections that a [`Service`] needs from its pool besides one for each worker.
pub const FIXED_CONNECTIONS: u32 = 3;

/// How the queue and the rest of a program wake each other, named after the thread that is woken. By default nothing
/// does, and polling finds everything.
pub struct Wakeups {
    /// Wakes the dispatcher: there may be new jobs, now or after a commit that follows.
    pub to_dispatcher: Receiver<()>,
    /// Wakes the dispatcher after a commit that inserted a job.
    pub committed: Receiver<()>,
    /// Wakes the sequencer of the event log after each commit that changes jobs: there are events to number.
    pub to_sequencer: Wakeup,
}

impl Default for Wakeups {
    fn default() -> Self {
        Wakeups { to_dispatcher: never(), committed: never(), to_sequencer: wakeup().0 }
    }
}

/// How long ending the lease may take: a server that hangs must not hold up the stop.
const END_LEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// The databases that a [`Service`] works on, which are two things even where they are one server.
#[derive(Clone, Copy)]
pub struct Servers<'a> {
    /// Where the queue's tables are.
    pub control: &'a Db,
    /// Where the handlers' sessions connect to.
    pub sessions: &'a Db,
}

/// What a program gives the queue besides its databases.
pub struct Parts {
    /// Runs the jobs.
    pub handler: Arc<dyn Handler>,
    /// Takes part in the queue's transactions.
    pub hooks: Arc<dyn TransactionHooks>,
    /// Wakes the queue, and is woken by it.
    pub wakeups: Wakeups,
    /// What the queue lets the program know.
    pub telemetry: Telemetry,
    /// What idle workers do besides; [`never`] if there is nothing.
    pub side_tasks: Receiver<SideTask>,
}

/// A running queue. With a handler of one's own:
///
/// ```no_run
/// use std::{sync::Arc, time::Duration};
///
/// use resq::{
///     base::threads::alarm,
///     base::wakeup::wakeup,
///     config::Config,
///     db::{Db, ServerInfo},
///     queue::{FIXED_CONNECTIONS, Handler, Job, JobError, JobResult, Service, Session, Wakeups},
/// };
///
/// struct Mailer;
///
/// impl Handler for Mailer {
///     fn run(&self, job: &Job, session: &mut Session) -> JobResult {
///         let Some(address) = &job.url else {
///             return Err(JobError::Permanent("the job has no address".into()));
///         };
///         if !session.is_lease_valid() {
///             return Err(JobError::Postponed("the lease expired".into()));
///         }
///         println!("attempt {} to write to {address}", job.attempt);
///         Ok(None)
///     }
/// }
///
/// let config = Config::default();
/// let db = Db::open(&config.database, config.queue.workers as u32 + FIXED_CONNECTIONS)?;
/// let server = ServerInfo::query(&mut *db.any()?)?;
/// let (alarm, panicked) = alarm();
/// let (wake_dispatcher, to_dispatcher) = wakeup();
/// let wakeups = Wakeups { to_dispatcher, ..Wakeups::default() };
/// let service = Service::start(&db, &server, &config.queue, Arc::new(Mailer), wakeups, &alarm)?;
/// wake_dispatcher.notify(); // after an INSERT: the job starts at once instead of at the next poll
/// panicked.recv_timeout(Duration::from_secs(3600)).expect_err("a thread of the service panicked");
/// assert!(service.drain(Duration::from_secs(30)), "running jobs were left to another daemon");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Service {
    owner: String,
    dispatcher: Thread,
    /// The workers and the completer, in the order in which they end.
    threads: Vec<Thread>,
    lease: LeaseThread,
}

impl Service {
    /// Starts `config.workers` workers that run `handler` for every job. `alarm` reports a thread that panics.
    ///
    /// # Errors
    /// If the lease can't be acquired, because the server is lost or `resqctl init` was not run, or if a thread can't be
    /// started.
    pub fn start(
        db: &Db,
        server: &ServerInfo,
        config: &config::Queue,
        handler: Arc<dyn Handler>,
        wakeups: Wakeups,
        alarm: &Alarm,
    ) -> Result<Service, Failure> {
        let servers = Servers { control: db, sessions: db };
        let parts =
            Parts { handler, hooks: Arc::new(NoHooks), wakeups, telemetry: Telemetry::default(), side_tasks: never() };
        Service::start_with(servers, server, config, parts, alarm)
    }

    /// As [`Service::start`], with hooks and telemetry.
    ///
    /// # Errors
    /// As for [`Service::start`].
    pub fn start_with(
        servers: Servers<'_>,
        server: &ServerInfo,
        config: &config::Queue,
        parts: Parts,
        alarm: &Alarm,
    ) -> Result<Service, Failure> {
        let Parts { handler, hooks, wakeups, telemetry, side_tasks } = parts;
        telemetry.metrics.workers.set(config.workers as u64);
        let owner = owner(servers.control.process());
        let claimer = Claimer { owner: owner.clone(), workers: config.workers as u32, skip_locked: server.skip_locked };
        let store = || Box::new(SqlQueueStore::new(servers.control, &claimer, &hooks).with_telemetry(&telemetry));
        let lease = LeaseThread::start(store(), config.lease.as_secs() as u32, alarm)?;
        let (jobs, claimed) = bounded(Prefetch::capacity(config.workers));
        let (finished, outcomes) = bounded(Prefetch::LARGEST);
        let (wake_for_slot, slots) = wakeup();
        let (wake_for_retry, retried) = wakeup();
        let streak = Streak::default();

        let Wakeups { to_dispatcher, committed, to_sequencer } = wakeups;
        let outputs = Outputs {
            jobs,
            unstarted: claimed.clone(),
            to_sequencer: to_sequencer.clone(),
            metrics: telemetry.metrics.clone(),
            streak: streak.clone(),
        };
        let poll = dispatcher::poll_interval(config.poll, config.lease);
        let dispatcher = Dispatcher::new(store(), &lease.validity, outputs, config.workers, poll);
        let run = |stop| dispatcher.run(Inputs { new_jobs: to_dispatcher, committed, slots, retried, stop });
        let dispatcher = Thread::spawn_stoppable("dispatcher", alarm, run).map_err(cannot_start)?;
        let mut threads = Vec::new();
        let load = Arc::new(Load::new(&claimed));

        for number in 1..=config.workers {
            let worker = Worker {
                handler: handler.clone(),
                session: Session::new(servers.sessions, &lease.validity, &load),
                finished: finished.clone(),
                slots: wake_for_slot.clone(),
                streak: streak.clone(),
                metrics: telemetry.metrics.clone(),
            };
            let (jobs, side_tasks) = (claimed.clone(), side_tasks.clone());
            let body = move || worker.run(&jobs, side_tasks);
            threads.push(Thread::spawn(&format!("worker-{number}"), alarm, body).map_err(cannot_start)?);
        }
        let completer =
            Completer::new(store(), to_sequencer, wake_for_retry, config.max_attempts, telemetry.metrics.clone());
        let body = move || completer.run(&outcomes);
        threads.push(Thread::spawn("completer", alarm, body).map_err(cannot_start)?);
        Ok(Service { owner, dispatcher, threads, lease })
    }

    /// Identifies this daemon among all that ever served the queue: the column `owner` of its jobs and of its lease.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    /// Whether the lease is valid, as it changes.
    pub(crate) fn validity(&self) -> &Validity {
        &self.lease.validity
    }

    /// Stops claiming; running jobs continue. Calling it again changes nothing.
    pub fn stop(&mut self) {
        self.dispatcher.request_stop();
    }

    /// Stops and waits at most `timeout` until every outcome is recorded; false if jobs were still running then. The
    /// lease ends in either case, so that another daemon can reclaim those at once.
    pub fn drain(mut self, timeout: Duration) -> bool {
        self.stop();
        let deadline = Instant::now() + timeout;
        let mut threads = std::iter::once(self.dispatcher).chain(self.threads);
        let drained = threads.all(|thread| thread.join_within(deadline.saturating_duration_since(Instant::now())));
        self.lease.stop(END_LEASE_TIMEOUT);
        drained
    }
}

/// Identifies a service among all that ever served the queue: host, process number, and 16 hexadecimal digits. The first 8
/// are random, since both numbers and names are reused and a process may serve twice; the last 8 are [`Db::process`], by
/// which other daemons end its sessions once its lease has expired.
pub fn owner(process: u32) -> String {
    #[cfg(unix)]
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    #[cfg(not(unix))]
    let host = std::env::var("COMPUTERNAME").unwrap_or_default();
    let host: String = host.chars().take(80).collect();
    format!("{host}:{}:{:08x}{process:08x}", std::process::id(), fastrand::u32(..))
}
