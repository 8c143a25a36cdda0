//! The daemon: builds the parts, starts their threads, waits for a signal, and stops them in order. Owns nothing that
//! changes while it runs.

use std::{
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    base::failure::{Exit, Failure},
    base::readiness::{State, Supervisor},
    base::threads::{Alarm, Thread, alarm},
    base::wakeup::{Wakeup, wakeup},
    config::Config,
    db::{Db, ServerInfo},
    events::event::{LogHead, LogPublisher, PageRequest},
    events::{self, SequencerThread},
    net::{Broker, StartError},
    queue::{FIXED_CONNECTIONS, Service, Wakeups},
    resources::{DatabaseBuilder, Templates, name::Naming},
    schema::install,
};

/// What is said at the start and not in the settings.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long running jobs get to finish after a signal.
    pub drain: Duration,
    /// Listen on other than loopback without a token.
    pub insecure: bool,
}

/// The parts that run, in the order in which they stop: claims, workers and completer first, so that the last
/// outcomes are still numbered; the journal, so that they are still describe; the broker.
struct Running {
    queue: Service,
    journal: SequencerThread,
    broker: Broker,
}

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(config: &Config, options: Options) -> Result<(), Failure> {
    let templates = Templates::load(config.sql_dir.as_deref())?;
    let connections = config.queue.workers as u32 + FIXED_CONNECTIONS + events::CONNECTIONS;
    let db = Db::open(&config.database, connections)?;
    install::check_done(&db)?;
    let (alarm, panicked) = alarm();
    let signals = signals().map_err(|e| failed("cannot listen for signals", e))?;
    let running = start(config, options, &db, templates, &alarm)?;
    let supervisor = Supervisor::from_env();
    supervisor.notify(State::Ready(running.broker.local_addrs()));

    select! {
        recv(signals) -> _ => {
            log::info!("stopping: running jobs get {} s; a second signal stops at once", options.drain.as_secs());
        }
        recv(panicked) -> name => return Err(died(name)),
    }
    supervisor.notify(State::Stopping);
    // A second signal and a panic end the process while the drain is on.
    let (done, drained) = bounded(1);
    let drain = move || {
        let _ = done.send(running.stop(options.drain));
    };
    Thread::spawn("drain", &alarm, drain).map_err(|e| failed("cannot start the drain", e))?;
    select! {
        recv(drained) -> finished => match finished {
            Ok(true) => Ok(()),
            _ => Err(Failure::new(Exit::Failed, format!(
                "jobs were still running after {} s; another daemon, or the next start, takes them over",
                options.drain.as_secs()
            ))),
        },
        recv(signals) -> _ => {
            Err(Failure::new(Exit::Failed, "stopped by a second signal; running jobs come back when the lease ends"))
        }
        recv(panicked) -> name => Err(died(name)),
    }
}

fn start(config: &Config, options: Options, db: &Db, templates: Templates, alarm: &Alarm) -> Result<Running, Failure> {
    let mut conn = db.global()?;
    let server = ServerInfo::ask(&mut conn)?;
    install::check_server(&server)?;
    let naming = Naming::new(&config.queue.db_prefix, db.global_db(), &server);
    let builder = Arc::new(DatabaseBuilder::new(templates, naming));
    let head = events::store::head(&mut conn)?;
    drop(conn);

    let (news, news_ear) = wakeup();
    let (changed, changed_ear) = wakeup();
    let wakeups = Wakeups { to_dispatcher: news_ear, to_sequencer: changed.clone() };
    let (broker, log_publisher, reads) = start_broker(config, options, head, vec![news.clone(), changed], alarm)?;
    let settings = events::Settings {
        poll: config.queue.poll,
        retention_days: config.events.retention_days,
        is_cluster: server.is_cluster,
        head,
    };
    let journal = SequencerThread::start(db, settings, changed_ear, reads, log_publisher, news, alarm)
        .map_err(|e| failed("cannot start the journal", e))?;
    let queue = Service::start_with_hooks(db, &server, &config.queue, builder.clone(), builder, wakeups, alarm)?;
    log::info!(
        "serving `{}` on {} with {} workers{}",
        db.global_db(),
        server.version,
        config.queue.workers,
        if server.skip_locked { "" } else { "; this server has no SKIP LOCKED, jobs are claimed by token" },
    );
    Ok(Running { queue, journal, broker })
}

impl Running {
    /// False if jobs were still running when their time was over.
    fn stop(self, drain: Duration) -> bool {
        let finished = self.queue.drain(drain);
        self.journal.stop();
        self.broker.stop();
        self.broker.join() && finished
    }
}

fn start_broker(
    config: &Config,
    options: Options,
    head: LogHead,
    bells: Vec<Wakeup>,
    alarm: &Alarm,
) -> Result<(Broker, LogPublisher, Receiver<PageRequest>), Failure> {
    Broker::start(&config.broker, options.insecure, head, bells, alarm).map_err(|error| {
        let exit = if matches!(error, StartError::Exposed(_)) { Exit::Usage } else { Exit::Failed };
        Failure::new(exit, error.to_string())
    })
}

fn failed(what: &str, error: impl Display) -> Failure {
    Failure::new(Exit::Failed, format!("{what}: {error}"))
}

fn died(name: Result<String, crossbeam_channel::RecvError>) -> Failure {
    let name = name.unwrap_or_default();
    Failure::new(Exit::Failed, format!("thread {name} has died; its last words are above, please report them"))
}

/// A message for each SIGTERM or SIGINT. One right behind another is the same: who signals a process group as well as
/// the process (`timeout` does) means to stop once.
fn signals() -> std::io::Result<Receiver<()>> {
    const SAME: Duration = Duration::from_millis(250);
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (heard, ear) = bounded(2);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut last: Option<Instant> = None;
        for _ in signals.forever() {
            if last.is_none_or(|last| last.elapsed() > SAME) {
                let _ = heard.try_send(());
                last = Some(Instant::now());
            }
        }
    })?;
    Ok(ear)
}
