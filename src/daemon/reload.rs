//! What the daemon reads again at SIGHUP: certificates, tokens and templates; templates also after `resqctl reload`. Each is
//! checked first, and what cannot be used leaves the old one in place.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};

use crate::{
    base::{
        clock::now,
        failure::{Exit, Failure},
        heartbeat,
        threads::{Alarm, Thread, cannot_start},
        throttle::Throttle,
        wakeup::{Wakeup, wakeup},
    },
    cli,
    db::{BACKOFF, Db, Link, ServerInfo},
    net::Reloader,
    resources::{DatabaseBuilder, Templates, migrate::applied, template_sets},
};

/// Connections that the thread needs of the pool.
pub const CONNECTIONS: u32 = 1;
/// The least time between two reads of the templates: any account that may publish an event may ask for one.
const GAP: Duration = Duration::from_secs(1);
/// How often it is logged that the server prevents one.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Takes over the certificates and tokens that the settings name now.
pub fn settings(broker: &Reloader) {
    let settings = cli::settings_again().map_err(|error| error.to_string());
    match settings.and_then(|config| broker.reload(&config).map_err(|error| error.to_string())) {
        Ok(()) => log::info!("settings: certificates and tokens were read again"),
        Err(error) => log::error!("settings: {error}; keeping all certificates and tokens as they were"),
    }
}

/// The thread that reads templates again. It ends when this is dropped.
pub struct ReloadThread {
    _thread: Thread,
}

impl ReloadThread {
    /// Starts it. After the wakeup, databases are built by the templates that are in `sql_dir` then.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(
        db: &Db,
        builder: &Arc<DatabaseBuilder>,
        sql_dir: Option<PathBuf>,
        alarm: &Alarm,
    ) -> Result<(ReloadThread, Wakeup), Failure> {
        let (wakeup, wanted) = wakeup();
        let (db, builder) = (db.clone(), builder.clone());
        let body = move |stopped: Receiver<()>| Templating { db, builder, sql_dir }.run(&wanted, &stopped);
        let thread = Thread::spawn_stoppable("reload", alarm, body).map_err(cannot_start)?;
        Ok((ReloadThread { _thread: thread }, wakeup))
    }
}

struct Templating {
    db: Db,
    builder: Arc<DatabaseBuilder>,
    sql_dir: Option<PathBuf>,
}

impl Templating {
    fn run(&self, wanted: &Receiver<()>, stopped: &Receiver<()>) {
        let mut backoff = BACKOFF;
        let mut throttle = Throttle::new(1, REPORT_EVERY);
        let mut is_wanted = false;
        loop {
            heartbeat::waiting();
            if !is_wanted {
                select! {
                    recv(stopped) -> _ => return,
                    recv(wanted) -> wakeup => if wakeup.is_err() { return },
                }
            }
            heartbeat::working();
            is_wanted = false;
            let pause = match self.read() {
                Ok(templates) => {
                    self.builder.replace(templates);
                    log::info!("templates: read again");
                    backoff.reset();
                    GAP
                }
                Err(failure) if failure.exit == Exit::Usage => {
                    log::error!("templates: cannot be read again; going on with those from before: {failure}");
                    GAP
                }
                Err(failure) => {
                    if throttle.admit(now()).is_some() {
                        log::warn!(
                            "templates: the server prevents that they are read again: {failure}; going on with those from \
                             before, trying again"
                        );
                    }
                    is_wanted = true;
                    backoff.next(fastrand::f64())
                }
            };
            heartbeat::waiting();
            if stopped.recv_timeout(pause) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    }

    fn read(&self) -> Result<Templates, Failure> {
        let templates = Templates::load(self.sql_dir.as_deref())?;
        let server = ServerInfo::query(&mut *self.db.global()?)?;
        accept(&self.db, &server, &templates)?;
        Ok(templates)
    }
}

/// Checks templates against the server and against what was applied, and keeps their texts there.
///
/// # Errors
/// They cannot be used ([`Exit::Usage`]), or the server's.
pub fn accept(db: &Db, server: &ServerInfo, templates: &Templates) -> Result<(), Failure> {
    templates.check_sizes(server.max_packet_bytes)?;
    applied::check(&mut *db.global()?, templates)?;
    Ok(Link::new(db).run(|conn| template_sets::keep(conn, templates))?)
}
