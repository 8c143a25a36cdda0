//! The open rollout as the control database keeps it: what daemons do to it, besides the databases themselves. Expects the
//! global database as the current one.

use std::collections::BTreeMap;

use mysql::{Conn, prelude::Queryable};
use serde_json::json;

use super::{
    files::{Migration, MigrationError},
    ledger::{Claimed, Registered},
    rules::{State, Step, Wave},
    work::Candidate,
};
use crate::{
    base::exact::integer,
    db::{Error, ReadRows, id_list, literal},
    events::store,
};

/// The state of the event by which daemons learn that there is something to do.
pub const STARTED: &str = "RolloutStarted";
const FINISHED: &str = "RolloutFinished";

/// A rollout as its row has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Its number.
    pub id: u64,
    /// See [`State`].
    pub state: State,
    /// The wave that it is at; 0 are the canaries.
    pub wave: u32,
    /// An operator confirms that the others follow the canaries.
    pub confirm_canary: bool,
}

pub(super) fn close(conn: &mut Conn, id: u64) -> Result<(), Error> {
    Ok(conn.query_drop(format!("DELETE FROM res_meta WHERE name = 'rollout' AND value = '{id}'"))?)
}

/// The migrations of a rollout, in the order of their numbers.
///
/// # Errors
/// Those of the database; [`Error::Corrupt`] if a text cannot be used.
pub fn files(conn: &mut Conn, id: u64) -> Result<Vec<Migration>, Error> {
    let rows: Vec<(String, String)> =
        conn.read_rows(format!("SELECT path, text FROM res_rollout_file WHERE rollout = {id} ORDER BY number"))?;
    let parsed = rows.iter().map(|(path, text)| Migration::parse(path, text));
    let corrupt = |_: MigrationError| Error::Corrupt("a file of a rollout is none that this version can run");
    parsed.collect::<Result<_, _>>().map_err(corrupt)
}

/// The rollout that is open, if there is one.
///
/// # Errors
/// Those of the database.
pub fn current(conn: &mut Conn) -> Result<Option<Rollout>, Error> {
    read(conn, "JOIN res_meta m ON m.name = 'rollout' AND r.id = CAST(m.value AS UNSIGNED)")
}

pub(super) fn read(conn: &mut Conn, which: &str) -> Result<Option<Rollout>, Error> {
    let row: Option<(u64, String, u32, bool)> =
        conn.read_first(format!("SELECT r.id, r.state, r.wave, r.confirm_canary FROM res_rollout r {which}"))?;
    let Some((id, state, wave, confirm_canary)) = row else { return Ok(None) };
    let state = State::parse(&state).ok_or(Error::Corrupt("a rollout of an unknown state"))?;
    Ok(Some(Rollout { id, state, wave, confirm_canary }))
}

/// Puts back what daemons hold that have lost their lease, and what `owner` has under none of these claims. Of a rollout that
/// was aborted, such databases are skipped, and it is closed when none is under way.
///
/// # Errors
/// Those of the database.
pub fn reclaim(conn: &mut Conn, rollout: &Rollout, owner: &str, claims: &[u64]) -> Result<u64, Error> {
    let known = if claims.is_empty() { "0".into() } else { id_list(claims) };
    let state = if rollout.state == State::Aborted { "skipped" } else { "waiting" };
    // Rows without claim are read first: the UPDATE of a join locks what it reads.
    let lost: Vec<(String, u64)> = conn.read_rows(format!(
        "SELECT r.db_name, r.claim_id FROM res_rollout_database r LEFT JOIN res_daemon d ON d.owner = r.owner \
         WHERE r.rollout = {} AND r.state = 'running' \
         AND (d.owner IS NULL OR d.lease_until < NOW(6) OR (r.owner = {} AND r.claim_id NOT IN ({known})))",
        rollout.id,
        literal(owner)
    ))?;
    let mut count = 0;
    for (db_name, claim_id) in lost {
        conn.query_drop(format!(
            "UPDATE res_rollout_database SET state = '{state}', owner = NULL, claim_id = NULL, interrupted = interrupted + 1, \
             retry_at = NOW(6) + INTERVAL LEAST(POW(2, LEAST(interrupted, 6)) - 1, 60) SECOND \
             WHERE rollout = {} AND db_name = {} AND state = 'running' AND claim_id = {claim_id}",
            rollout.id,
            literal(&db_name)
        ))?;
        count += conn.affected_rows();
    }
    if rollout.state == State::Aborted {
        settle(conn, rollout.id)?;
    }
    Ok(count)
}

/// Closes an aborted rollout if no database is under way.
pub(super) fn settle(conn: &mut Conn, id: u64) -> Result<(), Error> {
    let running: Option<u8> = conn
        .read_first(format!("SELECT 1 FROM res_rollout_database WHERE rollout = {id} AND state = 'running' LIMIT 1"))?;
    if running.is_none() { close(conn, id) } else { Ok(()) }
}

/// How many databases of each wave are not done.
///
/// # Errors
/// Those of the database.
pub fn waves(conn: &mut Conn, id: u64) -> Result<BTreeMap<u32, Wave>, Error> {
    let rows: Vec<(u32, u64, u64)> = conn.read_rows(format!(
        "SELECT wave, CAST(SUM(state = 'waiting') AS UNSIGNED), CAST(SUM(state = 'running') AS UNSIGNED) \
         FROM res_rollout_database WHERE rollout = {id} AND state IN ('waiting', 'running') GROUP BY wave"
    ))?;
    Ok(rows.into_iter().map(|(wave, waiting, running)| (wave, Wave { waiting, running })).collect())
}

/// Up to `limit` databases that may be begun now and that no attempt has begun, in the order of their names.
///
/// # Errors
/// Those of the database.
pub fn candidates(conn: &mut Conn, rollout: &Rollout, limit: usize) -> Result<Vec<Candidate>, Error> {
    type Columns = (String, u64, String, u32, u32, u32, u32, Option<Vec<u8>>, Option<Vec<u8>>);
    let rows: Vec<Columns> = conn.read_rows(format!(
        "SELECT r.db_name, r.res_id, r.res_type, r.to_version, r.postponed, r.interrupted, d.version, \
         CAST(q.res_name AS BINARY), CAST(q.res_url AS BINARY) \
         FROM res_rollout_database r FORCE INDEX (res_rollout_database_next) \
         STRAIGHT_JOIN res_database d ON d.db_name = r.db_name LEFT JOIN res_queue q ON q.res_id = r.res_id \
         WHERE r.rollout = {} AND r.state = 'waiting' AND r.wave = {} AND (r.retry_at IS NULL OR r.retry_at <= NOW(6)) \
         AND d.res_id = r.res_id AND d.state = 'ready' AND d.dropping_at IS NULL \
         AND NOT EXISTS (SELECT 1 FROM res_ledger l WHERE l.db_name = r.db_name AND l.number > d.version) \
         ORDER BY r.db_name LIMIT {limit}",
        rollout.id, rollout.wave
    ))?;
    let candidate = |(db_name, res_id, res_type, to_version, postponed, interrupted, version, name, url): Columns| {
        let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        let (res_name, res_url) = (text(name), text(url));
        Candidate {
            database: Claimed { db_name, res_id, res_type, to_version, postponed, interrupted },
            registered: Registered { is_ready: true, res_id, version, res_name, res_url, begun: None },
            new_until: None,
        }
    };
    Ok(rows.into_iter().map(candidate).collect())
}

/// In how many ms the next database of a wave may be tried again; None: none waits for that.
///
/// # Errors
/// Those of the database.
pub fn next_retry_ms(conn: &mut Conn, rollout: &Rollout) -> Result<Option<u64>, Error> {
    let left: Option<Option<i64>> = conn.read_first(format!(
        "SELECT CAST(TIMESTAMPDIFF(MICROSECOND, NOW(6), MIN(COALESCE(retry_at, NOW(6)))) DIV 1000 AS SIGNED) \
         FROM res_rollout_database WHERE rollout = {} AND state = 'waiting' AND wave = {}",
        rollout.id, rollout.wave
    ))?;
    Ok(left.flatten().map(|ms| ms.max(0) as u64))
}

/// Takes the step, unless another daemon was faster or the rollout has changed.
///
/// # Errors
/// Those of the database.
pub fn take(conn: &mut Conn, rollout: &Rollout, step: Step) -> Result<(), Error> {
    let Rollout { id, wave, .. } = rollout;
    let set = match step {
        Step::Wait => return Ok(()),
        Step::Advance(next) => format!("wave = {next}"),
        Step::AskForConfirmation => "state = 'unconfirmed'".into(),
        Step::Finish => "state = 'finished', ended_at = NOW(6)".into(),
    };
    conn.query_drop("START TRANSACTION")?;
    conn.query_drop(format!("UPDATE res_rollout SET {set} WHERE id = {id} AND state = 'running' AND wave = {wave}"))?;
    if conn.affected_rows() == 1 && step == Step::Finish {
        let counts: Vec<(String, u64)> = conn.read_rows(format!(
            "SELECT state, COUNT(*) FROM res_rollout_database WHERE rollout = {id} GROUP BY state"
        ))?;
        let count = |of: &str| counts.iter().find(|(state, _)| state == of).map_or(0, |(_, count)| *count);
        let payload = json!({
            "rollout": integer(*id), "migrated": count("migrated"), "failed": count("failed"), "skipped": count("skipped"),
        });
        store::write(conn, FINISHED, &payload.to_string())?;
        close(conn, *id)?;
    }
    Ok(conn.query_drop("COMMIT")?)
}

pub(super) fn announce(conn: &mut Conn, state: &str, id: u64, databases: u64) -> Result<(), Error> {
    store::write(conn, state, &json!({"rollout": integer(id), "databases": databases}).to_string())
}
