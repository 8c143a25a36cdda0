//! The daemon: builds the parts, starts their threads, waits for a signal, and stops them in order. Owns nothing that
//! changes while it runs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::{
    cli::{Exit, Failure},
    config::Config,
    db::{Db, Server},
    provision::{Provisioner, Templates, init, names::Naming},
    queue::{FIXED_CONNECTIONS, Service},
    threads::{alarm, spawn},
};

/// Runs until SIGTERM or SIGINT, then drains for at most `drain`.
pub fn run(config: &Config, drain: Duration) -> Result<(), Failure> {
    let templates = Templates::load(config.sql_dir.as_deref()).map_err(|e| Failure::new(Exit::Usage, e))?;
    let db = Db::open(&config.database, config.queue.workers as u32 + FIXED_CONNECTIONS)?;
    init::check_done(&db)?;
    let (server, provisioner) = {
        let mut conn = db.any()?;
        let server = Server::ask(&mut conn)?;
        let naming = Naming::new(&config.queue.db_prefix, db.global_db(), &server);
        let provisioner = Provisioner::new(&mut conn, templates, naming)?;
        (server, provisioner)
    };
    init::check_server(&server)?;

    let (alarm, panicked) = alarm();
    let signals = signals().map_err(|e| Failure::new(Exit::Failed, format!("cannot listen for signals: {e}")))?;
    let queue = Service::start(&db, &server, &config.queue, Arc::new(provisioner), &alarm)?;
    log::info!(
        "serving `{}` on {} with {} workers{}",
        db.global_db(),
        server.version,
        config.queue.workers,
        if server.skip_locked { "" } else { "; this server has no SKIP LOCKED, jobs are claimed by token" },
    );

    select! {
        recv(signals) -> _ => log::info!("stopping: running jobs get {} s; a second signal stops at once", drain.as_secs()),
        recv(panicked) -> name => return Err(died(name)),
    }
    // A second signal and a panic end the process while the drain is on.
    let finished = drain_or_end(queue, drain, &signals, &panicked, &alarm)?;
    if finished {
        Ok(())
    } else {
        Err(Failure::new(
            Exit::Failed,
            format!(
                "jobs were still running after {} s; another daemon, or the next start, takes them over",
                drain.as_secs()
            ),
        ))
    }
}

fn drain_or_end(
    queue: Service,
    drain: Duration,
    signals: &Receiver<()>,
    panicked: &Receiver<String>,
    alarm: &crate::threads::Alarm,
) -> Result<bool, Failure> {
    let (done, drained) = bounded(1);
    let thread = spawn("drain", alarm, move || {
        let _ = done.send(queue.drain(drain));
    });
    thread.map_err(|e| Failure::new(Exit::Failed, format!("cannot start the drain: {e}")))?;
    select! {
        recv(drained) -> finished => Ok(finished.unwrap_or(false)),
        recv(signals) -> _ => Err(Failure::new(Exit::Failed, "stopped by a second signal; running jobs come back when the lease ends")),
        recv(panicked) -> name => Err(died(name)),
    }
}

fn died(name: Result<String, crossbeam_channel::RecvError>) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("thread {} panicked; its last words are above, please report them", name.unwrap_or_default()),
    )
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
