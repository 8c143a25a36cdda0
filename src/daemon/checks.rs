//! What the daemon's health depends on: the database, the lease, resq's own objects, and jobs that are set aside. Each
//! check reads what its part keeps in memory.

use std::time::Duration;

use crate::{
    base::{
        health::{Finding, Health},
        heartbeat::Heartbeats,
    },
    db::Db,
    events::binlog::wakeups::Broken,
    queue::{Telemetry, Validity},
    schema::{problem::Severity, watch::Findings},
};

/// After this time without an answer, the database is taken to hang: longer than any statement of resq's takes, unless it
/// waits for a lock.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// Jobs that are set aside, named one by one.
const NAMED_JOBS: usize = 10;

/// Adds the checks, and the metrics that say the same.
pub fn add(
    health: &Health,
    db: &Db,
    heartbeats: &Heartbeats,
    lease: &Validity,
    findings: &Findings,
    telemetry: &Telemetry,
) {
    let metrics = &telemetry.metrics;
    let database = {
        let (db, heartbeats) = (db.clone(), heartbeats.clone());
        move || {
            let hanging = heartbeats.in_database(HANGS_AFTER).into_iter().max_by_key(|(_, since)| *since);
            let hanging = hanging
                .map(|(thread, since)| format!("no answer for {} s to a statement of {thread}", since.as_secs()));
            db.outage().map(|why| format!("lost the server: {why}")).or(hanging)
        }
    };
    metrics.add_reading({
        let (database, lease, db) = (database.clone(), lease.clone(), db.clone());
        move |metrics| {
            metrics.database_up.set(u64::from(database().is_none()));
            metrics.lease_valid.set(u64::from(lease.is_valid()));
            metrics.pool_connections.set(db.connections().into());
        }
    });
    health.add(move || database().map(|reason| Finding::blocking("database", reason)).into_iter().collect());
    let lease = lease.clone();
    health.add(move || match lease.is_valid() {
        true => Vec::new(),
        false => vec![Finding::blocking("lease", "it expired; another daemon may take this one's jobs")],
    });
    let findings = findings.clone();
    health.add(move || {
        let problems = findings.problems();
        let found = problems.iter().map(|problem| match problem.severity {
            Severity::Fatal => Finding::blocking("schema", problem.what.as_str()),
            _ => Finding::note("schema", problem.what.as_str()),
        });
        found.collect()
    });
    let set_aside = telemetry.set_aside.clone();
    health.add(move || {
        let jobs = set_aside.list();
        let named = jobs.iter().take(NAMED_JOBS);
        let named = named.map(|(id, why)| Finding::note("set_aside", format!("job {id}: {why}")));
        let more = jobs.len().saturating_sub(NAMED_JOBS);
        let more = (more > 0).then(|| Finding::note("set_aside", format!("{more} more jobs")));
        named.chain(more).collect()
    });
}

/// Notes that the binary log is not read, where it should be. The daemon serves without it.
pub fn add_binlog(health: &Health, purpose: &'static str, broken: Option<Broken>) {
    let Some(broken) = broken else { return };
    health.add(move || {
        let reason = broken.reason().map(|why| format!("not read for {purpose}: {why}"));
        reason.map(|reason| Finding::note("binlog", reason)).into_iter().collect()
    });
}
