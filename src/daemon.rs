//! The daemon: builds the parts, starts their threads, waits for a signal, and stops them in order. Owns nothing that
//! changes while it runs.

mod binlog;
mod checks;
pub mod healthcheck;
mod reload;
mod restore;
mod signals;
mod watchdog;

use std::{fmt::Display, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvError, bounded, select};

use self::binlog::Binlog;
use crate::{
    api::{
        answer, batch,
        batch_thread::{self, BatchThread},
        sampler::{self, Sampler},
        threads,
    },
    base::clock,
    base::failure::{Exit, Failure},
    base::health::Health,
    base::history::History,
    base::readiness::{State, Supervisor},
    base::threads::{Alarm, Thread, alarm, cannot_start},
    base::wakeup::{Wakeup, wakeup},
    config::{self, Config},
    db::{Db, ServerInfo},
    events::consumers::{self, ConsumersThread},
    events::updates::{LogHead, LogPublisher, PageRequest},
    events::{self, SequencerThread, StateWatch, binlog::wakeups::Targets, numbered::hand_over},
    net::{self, Broker, StartError},
    queue::{FIXED_CONNECTIONS, Parts, QUEUE_STATE_NEW, Servers, Service, Telemetry, Wakeups},
    resources::{
        DatabaseBuilder, Templates,
        migrate::{
            store::STARTED,
            thread::{self as rollouts, RolloutThread},
        },
        name::Naming,
        purge::{self, PurgeThread},
        template_sets,
    },
    schema::{
        inspection::Inspection,
        install,
        watch::{self, Findings, SchemaWatch},
    },
};

/// What the command line decides, and no setting does.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long running jobs may take to finish after a signal.
    pub drain: Duration,
    /// Listen on other addresses than loopback without a token.
    pub insecure: bool,
}

/// After a standstill, how long subscribers have to resume before the daemon deletes what has grown old meanwhile.
const CATCH_UP: Duration = Duration::from_secs(600);

/// Between two looks at a node of a cluster that lags behind.
const LAGGING: Duration = Duration::from_millis(500);

/// The running parts in the order in which they stop: the queue first, so that its last outcomes are still numbered; then
/// the sequencer, so that they are still delivered; then the broker; then the consumers' positions.
struct Running {
    /// On a cluster. It ends when this is dropped.
    _node_watch: Option<Thread>,
    batches: BatchThread,
    rollouts: RolloutThread,
    purge: PurgeThread,
    queue: Service,
    binlog: Binlog,
    sequencer: SequencerThread,
    broker: Broker,
    consumers: ConsumersThread,
    /// Ends when it is dropped.
    _sampler: Option<Sampler>,
    /// Ends when it is dropped.
    _reload_thread: reload::ReloadThread,
    /// The templates are to be read again.
    reload: Wakeup,
}

/// Serves until SIGTERM or SIGINT, then drains.
///
/// # Errors
/// Something cannot be started, a thread panicked, or jobs were still running at the end of the drain.
pub fn run(config: &Config, options: Options) -> Result<(), Failure> {
    let (alarm, panicked) = alarm();
    let signals::Received { stops, hangups } = signals::listen().map_err(|e| failed("cannot listen for signals", e))?;
    let templates = Templates::load(config.sql_dir.as_deref())?;
    let supervisor = Supervisor::from_env();
    if !config.database.wait.is_zero() {
        supervisor.notify(State::Waiting(config.database.wait));
    }
    let Some(db) = connect(config, &alarm, &stops)? else {
        log::info!("daemon: stopped while it waited for the database server");
        return Ok(());
    };
    // The same server, and so the same pool.
    let resources = db.clone();
    // Ends with this function.
    let schema = SchemaWatch::start(&db, Inspection::new(&templates), watch::Intervals::default(), &alarm)?;
    let health = Arc::new(Health::new(alarm.heartbeats().clone()));
    let context = Context { config, options, health: &health, findings: schema.findings(), alarm: &alarm };
    let running = start(&context, &db, &resources, templates)?;
    health.serving();
    // Ends with this function, so that a drain that makes no progress is noticed, too.
    let _watchdog = watchdog::start(&health, &alarm).map_err(cannot_start)?;
    let log_replaced = running.sequencer.log_replaced();
    supervisor.notify(State::Ready(running.broker.local_addrs(), running.broker.http_addrs()));

    let drain_s = options.drain.as_secs();
    loop {
        select! {
            recv(stops) -> _ => break,
            recv(hangups) -> _ => {
                reload::settings(&running.broker.reloader());
                running.reload.notify();
            }
            recv(log_replaced) -> found => return Err(restore::replaced(found)),
            recv(panicked) -> name => return Err(died(name)),
        }
    }
    log::info!("daemon: stopping; running jobs may finish, a second signal stops at once drain_s={drain_s}");
    health.draining();
    supervisor.notify(State::Stopping);
    // On a thread of its own, so that a second signal or a panic can still end the process.
    let (done, drained) = bounded(1);
    let drain = move || {
        let _ = done.send(running.stop(options.drain));
    };
    Thread::spawn("drain", &alarm, drain).map_err(|e| failed("cannot start the thread of the drain", e))?;
    select! {
        recv(drained) -> finished => match finished {
            Ok(true) => Ok(()),
            _ => Err(Failure::new(Exit::Failed, format!(
                "jobs were still running after {drain_s} s; another daemon, or the next start, takes them over"
            ))),
        },
        recv(stops) -> _ => Err(Failure::new(
            Exit::Failed,
            "stopped by a second signal; running jobs are taken over when this daemon's lease expires",
        )),
        recv(panicked) -> name => Err(died(name)),
    }
}

/// The connections to the database that a daemon with so many workers needs: one for each worker, and those of its other
/// threads.
pub const fn connections(workers: usize) -> u32 {
    workers as u32
        + FIXED_CONNECTIONS
        + events::CONNECTIONS
        + consumers::CONNECTIONS
        + watch::CONNECTIONS
        + batch_thread::CONNECTIONS
        + rollouts::CONNECTIONS
        + purge::CONNECTIONS
        + sampler::CONNECTIONS
        + answer::CONNECTIONS
        + reload::CONNECTIONS
}

/// A pool on an installation that is set up. `database.wait_s` holds for a node of a cluster that lags behind as well.
fn open_set_up(config: &config::Database, connections: u32) -> Result<Db, Failure> {
    let deadline = clock::now() + config.wait;
    let db = Db::open(config, connections)?;
    loop {
        match install::check_done(&db) {
            Ok(()) => return Ok(db),
            Err(failure) if failure.exit == Exit::Unreachable && clock::now() < deadline => clock::sleep(LAGGING),
            Err(failure) => return Err(failure),
        }
    }
}

/// The pool of the daemon; None: a signal came while the server was waited for.
fn connect(config: &Config, alarm: &Alarm, stops: &Receiver<()>) -> Result<Option<Db>, Failure> {
    let connections = connections(config.queue.workers) + binlog::connections(config);
    let database = config.database.clone();
    let (done, opened) = bounded(1);
    let open = move || {
        let _ = done.send(open_set_up(&database, connections));
    };
    Thread::spawn("connect", alarm, open).map_err(|e| failed("cannot start the thread that connects", e))?;
    select! {
        recv(opened) -> opened => match opened {
            Ok(opened) => Ok(Some(opened?)),
            Err(_) => Err(died(Ok("connect".into()))),
        },
        recv(stops) -> _ => Ok(None),
    }
}

/// What all parts are started with.
struct Context<'a> {
    config: &'a Config,
    options: Options,
    health: &'a Arc<Health>,
    findings: &'a Findings,
    alarm: &'a Alarm,
}

/// `db` is the control server, `resources` that of the resource databases.
fn start(context: &Context<'_>, db: &Db, resources: &Db, templates: Templates) -> Result<Running, Failure> {
    let Context { config, health, alarm, .. } = *context;
    let mut conn = db.global()?;
    let server = ServerInfo::query(&mut conn)?;
    install::check_server(&server)?;
    reload::accept(db, &server, &templates)?;
    let node_watch = match server.is_cluster {
        true => Some(db.watch_node(&config.database, alarm).map_err(cannot_start)?),
        false => None,
    };
    let naming = Naming::new(&config.queue.db_prefix, db.global_db(), &server);
    let others = server.is_cluster.then(|| db.other_hosts(&config.database));
    let builder = Arc::new(DatabaseBuilder::new(templates, naming, others));
    if !server.is_cluster {
        restore::notice(&mut conn)?;
    }
    let head = events::store::head(&mut conn)?;
    // Clients that have waited for a daemon read what they missed first.
    let prune_after = if events::store::stood_still(&mut conn)? { CATCH_UP } else { Duration::ZERO };
    drop(conn);

    let (wake_dispatcher, dispatcher_wakeups) = wakeup();
    let (wake_sequencer, sequencer_wakeups) = wakeup();
    let telemetry = Telemetry::default();
    let (job_committed, committed) = wakeup();
    let wakeups = Wakeups { to_dispatcher: dispatcher_wakeups, committed, to_sequencer: wake_sequencer.clone() };
    // A RING means that anything may have changed.
    let on_ring = vec![wake_dispatcher.clone(), wake_sequencer.clone()];
    let (watcher, numbered) = hand_over(wake_sequencer.clone());
    let targets = Targets { dispatcher: job_committed, sequencer: wake_sequencer.clone(), watcher };
    let binlog = Binlog::start(config, db, &server, targets, telemetry.metrics.clone(), alarm)?;
    let (metrics_read, scrapes) = wakeup();
    let history = Arc::new(History::new(sampler::unix_time_ms()));
    let http = net::Http {
        config: Some(config.http.clone()),
        metrics: telemetry.metrics.clone(),
        history: history.clone(),
        health: health.clone(),
        metrics_read: Some(metrics_read),
    };
    let (broker, log_publisher, page_requests) = start_broker(context, head, on_ring, http)?;
    let sampled = sampler::Parts {
        metrics: telemetry.metrics.clone(),
        history,
        health: health.clone(),
        overviews: broker.overviews(),
        scrapes,
    };
    // Without a listener nothing reads what it samples.
    let is_seen = !broker.http_addrs().is_empty();
    let sampler = is_seen.then(|| Sampler::start(db, sampled, alarm)).transpose();
    let sampler = sampler.map_err(|e| failed("cannot start the thread of the metrics", e))?;
    threads::start(db, resources, broker.api_end(), alarm)?;
    let consumers = ConsumersThread::start(db, broker.consumers_end().clone(), alarm);
    let consumers = consumers.map_err(|e| failed("cannot start the thread of the consumers' positions", e))?;
    let settings = events::Settings {
        poll: config.queue.poll,
        retention_days: config.events.retention_days,
        prune_after,
        batch: events::BATCH,
        is_cluster: server.is_cluster,
        head,
    };
    let (wake_batches, batch_wakeups) = wakeup();
    let (wake_rollouts, rollout_wakeups) = wakeup();
    let (reload_thread, reload) = reload::ReloadThread::start(db, &builder, config.sql_dir.clone(), alarm)?;
    let watches = vec![
        StateWatch { state: QUEUE_STATE_NEW, wakeup: wake_dispatcher },
        StateWatch { state: batch::STARTED, wakeup: wake_batches },
        StateWatch { state: STARTED, wakeup: wake_rollouts },
        StateWatch { state: template_sets::RELOAD, wakeup: reload.clone() },
    ];
    let inputs = events::Inputs { wakeups: sequencer_wakeups, numbered, page_requests };
    let sequencer = SequencerThread::start(db, settings, inputs, log_publisher, watches, alarm)
        .map_err(|e| failed("cannot start the sequencer", e))?;
    let servers = Servers { control: db, sessions: resources };
    // Without a place in between: a task is begun by a worker that has no job.
    let (tasks, side_tasks) = bounded(0);
    let parts =
        Parts { handler: builder.clone(), hooks: builder.clone(), wakeups, telemetry: telemetry.clone(), side_tasks };
    let queue = Service::start_with(servers, &server, &config.queue, parts, alarm)?;
    let batches = BatchThread::start(db, resources, batch_wakeups, alarm)?;
    let rollouts = rollouts::Parts {
        tasks,
        workers: config.queue.workers,
        owner: queue.owner().into(),
        wakeups: rollout_wakeups,
        to_sequencer: wake_sequencer,
        others: db.other_hosts(&config.database),
    };
    let rollouts = RolloutThread::start(db, rollouts, alarm)?;
    let purge = PurgeThread::start(db, resources, &config.queue.db_prefix, &server, alarm)?;
    checks::add(health, db, alarm.heartbeats(), queue.validity(), context.findings, &telemetry);
    binlog.add_checks(health);
    log::info!(
        "daemon: serving; jobs are claimed {} database={} workers={} server={}",
        if server.skip_locked { "with SKIP LOCKED" } else { "by token, since this server has no SKIP LOCKED" },
        db.global_db(),
        config.queue.workers,
        server.version,
    );
    Ok(Running {
        _node_watch: node_watch,
        batches,
        rollouts,
        purge,
        queue,
        binlog,
        sequencer,
        broker,
        consumers,
        _sampler: sampler,
        _reload_thread: reload_thread,
        reload,
    })
}

impl Running {
    /// Stops all parts in order. False if jobs were still running after `drain`, or the broker panicked.
    fn stop(self, drain: Duration) -> bool {
        self.batches.stop();
        self.rollouts.stop();
        self.purge.stop();
        let finished = self.queue.drain(drain);
        self.binlog.stop();
        self.sequencer.stop();
        self.broker.stop();
        let ended_well = self.broker.join();
        // The last positions arrive from the broker as its peers leave.
        self.consumers.stop();
        ended_well && finished
    }
}

fn start_broker(
    context: &Context<'_>,
    head: LogHead,
    on_ring: Vec<Wakeup>,
    http: net::Http,
) -> Result<(Broker, LogPublisher, Receiver<PageRequest>), Failure> {
    let Context { config, options, alarm, .. } = *context;
    Broker::start(&config.broker, options.insecure, head, on_ring, http, alarm).map_err(|error| {
        let is_usage = matches!(error, StartError::Exposed(_) | StartError::HttpExposed(_) | StartError::Tls(_));
        let exit = if is_usage { Exit::Usage } else { Exit::Failed };
        Failure::new(exit, error.to_string())
    })
}

fn failed(what: &str, error: impl Display) -> Failure {
    Failure::new(Exit::Failed, format!("{what}: {error}"))
}

fn died(name: Result<String, RecvError>) -> Failure {
    let name = name.unwrap_or_default();
    Failure::new(Exit::Failed, format!("thread {name} panicked; see the message above and please report it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manual_names_the_connections_of_a_daemon() {
        let page = include_str!("../docs/limits.md");
        let row = format!("| connections to the database | `queue.workers` + {} per daemon |", connections(0));
        assert!(page.contains(&row), "docs/limits.md: {row}");
    }
}
