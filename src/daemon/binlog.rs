//! Starts what reads the server's binary log: for wakeups, and for watched tables where there are any. Owns these threads.

use std::sync::Arc;

use super::checks;
use crate::{
    base::{
        failure::{Exit, Failure},
        health::Health,
        metrics::Metrics,
        threads::{Alarm, cannot_start},
    },
    config::Config,
    db::{Db, ErrorClass, ServerInfo, dump::Start},
    events::{
        binlog::{
            conditions,
            payload::Rules,
            wakeups::{Targets, WakeupThread},
            watcher::{self, Settings, Watcher},
        },
        numbered::HandOver,
    },
    queue,
};

/// The running threads. That of the wakeups ends when this is dropped.
pub struct Binlog {
    wakeups: Option<WakeupThread>,
    watcher: Option<Watcher>,
}

/// Connections that they need of the pool.
pub fn connections(config: &Config) -> u32 {
    if config.watches.is_empty() { 0 } else { watcher::CONNECTIONS }
}

impl Binlog {
    /// Starts those that the settings ask for, where the server has a log.
    ///
    /// # Errors
    /// The settings require what the server does not have, or the system cannot start another thread.
    pub fn start(
        config: &Config,
        db: &Db,
        server: &ServerInfo,
        targets: Targets,
        metrics: Arc<Metrics>,
        alarm: &Alarm,
    ) -> Result<Binlog, Failure> {
        let watcher = watch(config, db, server, targets.watcher.clone(), alarm)?;
        let dumps = db.dumps(&config.database);
        let wakeups = WakeupThread::start(config.events.binlog, dumps, db.global_db(), targets, metrics, alarm)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        Ok(Binlog { wakeups, watcher })
    }

    /// Adds to the health why the log is not read, where it should be.
    pub fn add_checks(&self, health: &Health) {
        checks::add_binlog(health, "wakeups", self.wakeups.as_ref().map(WakeupThread::broken));
        checks::add_binlog(health, "watched tables", self.watcher.as_ref().map(Watcher::broken));
    }

    /// Lets another daemon go on with watched tables.
    pub fn stop(self) {
        if let Some(watcher) = self.watcher {
            watcher.stop();
        }
    }
}

/// Events of watched tables that got numbers are passed to `hand_over`. None: no table is watched.
fn watch(
    config: &Config,
    db: &Db,
    server: &ServerInfo,
    hand_over: HandOver,
    alarm: &Alarm,
) -> Result<Option<Watcher>, Failure> {
    if config.watches.is_empty() {
        return Ok(None);
    }
    let cannot = |why: String| {
        Failure::new(Exit::Failed, format!("tables cannot be watched ([[watch]] in the settings): {why}"))
    };
    let missing = conditions::missing(&mut *db.global()?)?;
    if !missing.is_empty() {
        return Err(cannot(missing.join("; ")));
    }
    let source = db.dumps(&config.database);
    match source.open(&Start::End) {
        Err(error) if error.class() == ErrorClass::Permanent => {
            return Err(cannot(format!(
                "{error}; GRANT REPLICATION SLAVE, REPLICATION CLIENT to the account of resqd"
            )));
        }
        // A server that is lost comes back.
        _ => {}
    }
    let rules =
        Rules { watches: config.watches.clone(), global_db: db.global_db().into(), folds_case: server.folds_case };
    let settings = Settings { rules, owner: queue::owner(db.process()), max_packet_bytes: server.max_packet_bytes };
    let watcher = Watcher::start(db, source, settings, hand_over, alarm).map_err(cannot_start)?;
    Ok(Some(watcher))
}
