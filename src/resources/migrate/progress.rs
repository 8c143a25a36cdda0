//! Rollouts as operators see them: how far each has come, and which of its databases failed or wait. Reads only, for a limited
//! time.

use mysql::Conn;
use serde_json::{Value as Json, json};

use super::rules::State;
use crate::{
    base::exact::integer,
    db::{Error, limited},
};

/// Databases that are named, of those that failed, wait for the server or were skipped.
const NAMED: usize = 200;

/// How far a rollout has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its number.
    pub id: u64,
    /// See [`State`].
    pub state: State,
    /// The wave that it is at; 0 are the canaries.
    pub wave: u32,
    /// Its last wave.
    pub last_wave: u32,
    /// How many databases may fail.
    pub max_failures: u32,
    /// When it was started: UTC, as the server prints it.
    pub started_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
    /// Databases that are not begun or tried again.
    pub waiting: u64,
    /// Databases that workers have.
    pub running: u64,
    /// Databases that are done.
    pub migrated: u64,
    /// Databases that an operator has to see to.
    pub failed: u64,
    /// Databases that were none of its any more, or left when it was aborted.
    pub skipped: u64,
}

/// A database about which there is something to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Its name, unquoted.
    pub db_name: String,
    /// The job that it was made for.
    pub res_id: u64,
    /// `failed`, `waiting`, `running` or `skipped`.
    pub state: String,
    /// The server's words, or resq's.
    pub message: Option<String>,
}

impl Progress {
    /// All its databases.
    pub fn total(&self) -> u64 {
        self.waiting + self.running + self.left()
    }

    /// Those that nothing happens to any more.
    pub fn left(&self) -> u64 {
        self.migrated + self.failed + self.skipped
    }

    /// `wave 2 of 8`, `canaries`.
    pub fn place(&self) -> String {
        if self.wave == 0 { "canaries".into() } else { format!("wave {} of {}", self.wave, self.last_wave) }
    }

    /// Nothing happens any more without an operator.
    pub fn is_at_rest(&self) -> bool {
        self.running == 0 && self.state != State::Running
    }

    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({
            "id": integer(self.id), "state": self.state.as_str(), "wave": self.wave, "last_wave": self.last_wave,
            "max_failures": self.max_failures, "started_at": self.started_at, "ended_at": self.ended_at,
            "databases": integer(self.total()), "waiting": integer(self.waiting), "running": integer(self.running),
            "migrated": integer(self.migrated), "failed": integer(self.failed), "skipped": integer(self.skipped),
        })
    }
}

impl Noted {
    /// An object for programs.
    pub fn to_json(&self) -> Json {
        json!({"db_name": self.db_name, "res_id": integer(self.res_id), "state": self.state, "message": self.message})
    }
}

/// Up to `limit` rollouts below `after`, newest first.
///
/// # Errors
/// The server's, which stops a read after 5 seconds.
pub fn newest(conn: &mut Conn, after: Option<u64>, limit: u32) -> Result<Vec<Progress>, Error> {
    let below = after.map_or_else(String::new, |after| format!("WHERE id < {after}"));
    read(conn, &format!("(SELECT * FROM res_rollout {below} ORDER BY id DESC LIMIT {limit}) r"))
}

/// One rollout; None: there is none of this number.
///
/// # Errors
/// As for [`newest`].
pub fn one(conn: &mut Conn, id: u64) -> Result<Option<Progress>, Error> {
    Ok(read(conn, &format!("(SELECT * FROM res_rollout WHERE id = {id}) r"))?.pop())
}

fn read(conn: &mut Conn, rollouts: &str) -> Result<Vec<Progress>, Error> {
    type Columns = (u64, String, u32, u32, String, Option<String>, Option<u32>, u64, u64, u64, u64, u64);
    let count = |state| format!("CAST(COALESCE(SUM(d.state = '{state}'), 0) AS UNSIGNED)");
    let counts = ["waiting", "running", "migrated", "failed", "skipped"].map(count).join(", ");
    let rows: Vec<Columns> = limited::read(
        conn,
        &format!(
            "SELECT r.id, r.state, r.wave, r.max_failures, CAST(r.started_at AS CHAR), CAST(r.ended_at AS CHAR), \
             MAX(d.wave), {counts} FROM {rollouts} LEFT JOIN res_rollout_database d ON d.rollout = r.id \
             GROUP BY r.id, r.state, r.wave, r.max_failures, r.started_at, r.ended_at ORDER BY r.id DESC"
        ),
    )?;
    let progress = |row: Columns| {
        let (
            id,
            state,
            wave,
            max_failures,
            started_at,
            ended_at,
            last_wave,
            waiting,
            running,
            migrated,
            failed,
            skipped,
        ) = row;
        let state = State::parse(&state).ok_or(Error::Corrupt("a rollout of an unknown state"))?;
        let last_wave = last_wave.unwrap_or(0);
        Ok(Progress {
            id,
            state,
            wave,
            last_wave,
            max_failures,
            started_at,
            ended_at,
            waiting,
            running,
            migrated,
            failed,
            skipped,
        })
    };
    rows.into_iter().map(progress).collect()
}

/// The databases of a rollout that failed, wait for the server, were skipped or are under way, at most 200.
///
/// # Errors
/// As for [`newest`].
pub fn noted(conn: &mut Conn, id: u64) -> Result<Vec<Noted>, Error> {
    let rows: Vec<(String, u64, String, Option<String>)> = limited::read(
        conn,
        &format!(
            "SELECT db_name, res_id, state, message FROM res_rollout_database WHERE rollout = {id} \
             AND (state IN ('failed', 'skipped', 'running') OR (state = 'waiting' AND message IS NOT NULL)) \
             ORDER BY FIELD(state, 'failed', 'waiting', 'running', 'skipped'), db_name LIMIT {NAMED}"
        ),
    )?;
    let noted = |(db_name, res_id, state, message)| Noted { db_name, res_id, state, message };
    Ok(rows.into_iter().map(noted).collect())
}

/// How many databases of which type and version, at most 1,000 rows.
///
/// # Errors
/// As for [`newest`].
pub fn databases(conn: &mut Conn) -> Result<Vec<(String, u32, u64)>, Error> {
    let by =
        "FROM res_database FORCE INDEX (res_database_version) GROUP BY res_type, version ORDER BY res_type, version";
    limited::read(conn, &format!("SELECT res_type, version, COUNT(*) {by} LIMIT 1000"))
}

/// The open rollout, and how many of its databases are in which state.
///
/// # Errors
/// As for [`newest`].
pub fn of_open(conn: &mut Conn) -> Result<Vec<(u64, String, u64)>, Error> {
    limited::read(
        conn,
        "SELECT d.rollout, d.state, COUNT(*) FROM res_rollout_database d \
         JOIN res_meta m ON m.name = 'rollout' AND d.rollout = CAST(m.value AS UNSIGNED) GROUP BY d.rollout, d.state",
    )
}
