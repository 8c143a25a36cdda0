//! The state of the queue at a glance, by queries whose cost does not grow with the number of jobs: counts end at a limit.

use mysql::Conn;
use serde_json::{Value as Json, json};

use super::{job::Status, search, sql_store};
use crate::{
    base::exact::integer,
    db::{Capped, Error, limited},
};

/// Jobs of one status are counted up to here.
pub const COUNTED: u64 = 100_000;
/// Rows of ready jobs that are read to find the oldest one.
const READ: u64 = 10_000;

/// The state of the queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// Jobs of each status, in the order of [`Status::ALL`].
    pub counts: [Capped; 4],
    /// Of the new ones, those that are not due yet.
    pub delayed: Capped,
    /// How long the oldest ready job has been ready, in seconds. With more than 10,000 ready ones at least that of the first of
    /// them, in the order of claims and by number.
    pub oldest_waiting_s: Option<u64>,
    /// No jobs are claimed.
    pub is_paused: bool,
}

/// Reads it.
///
/// # Errors
/// The server's, which stops a read after 5 seconds.
pub fn overview(conn: &mut Conn) -> Result<Overview, Error> {
    let mut counts = [Capped::default(); 4];
    for (status, place) in Status::ALL.into_iter().zip(&mut counts) {
        *place = count(conn, &format!("status = '{}'", status.as_str()))?;
    }
    let delayed = count(conn, "status = 'new' AND run_at > NOW(6)")?;
    let age: Option<Option<i64>> = limited::read_first(conn, &oldest())?;
    Ok(Overview {
        counts,
        delayed,
        oldest_waiting_s: age.flatten().map(|age| age.max(0).unsigned_abs()),
        is_paused: limited::read_first::<u8>(conn, sql_store::PAUSED)?.is_some(),
    })
}

/// Selects how long the oldest ready job has been ready. A job that was retried is younger than its number says, so the rows
/// are read, the first ones of each way in which a job can be old: by the order of claims, by its number, and by when it was
/// due if nothing has promoted it.
fn oldest() -> String {
    const READY: &str = "FROM res_queue FORCE INDEX (res_queue_claim) WHERE status = 'new' AND run_at IS NULL";
    let since = sql_store::READY_SINCE;
    format!(
        "SELECT TIMESTAMPDIFF(SECOND, MIN(since), NOW()) FROM (\
         SELECT {since} AS since FROM (SELECT res_id {READY} ORDER BY priority, res_id LIMIT {READ}) first \
         STRAIGHT_JOIN res_queue q ON q.res_id = first.res_id \
         UNION ALL SELECT {since} FROM (SELECT MIN(res_id) AS res_id FROM (SELECT res_id {READY} LIMIT {COUNTED}) ready) least \
         STRAIGHT_JOIN res_queue q ON q.res_id = least.res_id \
         UNION ALL SELECT MIN(run_at) FROM res_queue FORCE INDEX (res_queue_claim) \
         WHERE status = 'new' AND run_at <= NOW(6)) z"
    )
}

fn count(conn: &mut Conn, condition: &str) -> Result<Capped, Error> {
    search::count(conn, &format!("FORCE INDEX (res_queue_claim) WHERE {condition}"), COUNTED)
}

impl Overview {
    /// How many jobs have this status, up to [`COUNTED`].
    pub fn count_of(&self, status: Status) -> u64 {
        let at = Status::ALL.iter().position(|known| *known == status);
        at.map_or(0, |at| self.counts[at].count)
    }

    /// The counts as an object; `capped` names those of which there are more.
    pub fn counts_json(&self) -> Json {
        let mut object: serde_json::Map<String, Json> =
            self.named().map(|(name, counted)| (name.into(), integer(counted.count))).collect();
        object.insert("capped".into(), self.capped().into());
        object.into()
    }

    /// The counts that ended at [`COUNTED`], by their names.
    pub fn capped(&self) -> Vec<&'static str> {
        self.named().filter(|(_, counted)| counted.is_more).map(|(name, _)| name).collect()
    }

    fn named(&self) -> impl Iterator<Item = (&'static str, Capped)> {
        Status::ALL.map(Status::as_str).into_iter().zip(self.counts).chain([("delayed", self.delayed)])
    }
}

/// A daemon that serves this queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Daemon {
    /// Host, process number and a random part.
    pub owner: String,
    /// When it was first seen: UTC, as the server prints it.
    pub started_at: String,
    /// How long its lease lasts, in seconds; negative: it ended so long ago.
    pub lease_s: f64,
    /// The jobs that it has claimed; counted up to 10,000 of all daemons.
    pub jobs: u64,
}

impl Daemon {
    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({
            "owner": self.owner, "started_at": self.started_at, "lease_s": self.lease_s, "jobs": integer(self.jobs),
        })
    }
}

/// The daemons, by name, at most 1,000.
///
/// # Errors
/// The server's.
pub fn daemons(conn: &mut Conn) -> Result<Vec<Daemon>, Error> {
    let rows: Vec<(String, String, Option<f64>, u64)> = limited::read(
        conn,
        "SELECT d.owner, CAST(d.started_at AS CHAR), TIMESTAMPDIFF(MICROSECOND, NOW(6), d.lease_until) / 1000000, \
         COALESCE(j.jobs, 0) FROM res_daemon d LEFT JOIN (SELECT owner, COUNT(*) AS jobs FROM \
         (SELECT owner FROM res_queue FORCE INDEX (res_queue_claim) WHERE status = 'in_progress' LIMIT 10000) r \
         GROUP BY owner) j ON j.owner = d.owner ORDER BY d.owner LIMIT 1000",
    )?;
    let daemon = |(owner, started_at, lease_s, jobs): (_, _, Option<f64>, _)| Daemon {
        owner,
        started_at,
        lease_s: lease_s.unwrap_or_default(),
        jobs,
    };
    Ok(rows.into_iter().map(daemon).collect())
}
