//! What operators do to rollouts: start one, pause, resume, abort it, try again what failed. Each is one transaction with its
//! row of the audit. Expects the global database as the current one.

use mysql::{Conn, prelude::Queryable};

use super::{
    files::Migration,
    rules::State,
    store::{STARTED, announce, close, current, read, settle},
};
use crate::{
    base::clock,
    db::{Error, ErrorClass, RACE_BACKOFF, ReadRows, codes::*, id_list, literal},
    queue::audit::{self, Actor},
    resources::{Templates, template_sets::chunks},
};

/// How often a transaction is run that loses races for locks.
const TRIES: u32 = 20;

/// What is to be migrated, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Databases of this type; None: of all.
    pub res_type: Option<String>,
    /// Databases of these jobs; empty: of all.
    pub only: Vec<u64>,
    /// How many databases are migrated before all others.
    pub canaries: u32,
    /// An operator confirms that the others follow.
    pub confirm_canary: bool,
    /// How many databases a wave has, at least 1.
    pub wave: u32,
    /// How many may fail.
    pub max_failures: u32,
}

/// Why there is no new rollout, or an action is of no use.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Another one is open.
    #[error(
        "rollout {0} is {1}; see `resqctl migrate status {0}`, and wait for its end or end it with `resqctl migrate abort {0}`"
    )]
    Open(u64, &'static str),
    /// There is none of this number.
    #[error("there is no rollout {0}; `resqctl migrate status` shows the newest")]
    Unknown(u64),
    /// The rollout is in another state than the action is for.
    #[error("rollout {0} is {1}, so it cannot {2}")]
    State(u64, &'static str, &'static str),
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<mysql::Error> for Refused {
    fn from(error: mysql::Error) -> Refused {
        Refused::Database(error.into())
    }
}

/// What an operator does to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// No further database is begun.
    Pause,
    /// It goes on; after the canaries, that is the confirmation.
    Resume,
    /// It ends; databases that are under way are completed.
    Abort,
    /// Its failed databases are tried again.
    Retry,
}

impl Action {
    /// Its name in commands, paths and the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Abort => "abort",
            Action::Retry => "retry",
        }
    }

    fn applies_to(self, state: State) -> bool {
        match self {
            Action::Pause => matches!(state, State::Running | State::Unconfirmed),
            Action::Resume => matches!(state, State::Paused | State::Unconfirmed),
            Action::Abort => !state.has_ended(),
            Action::Retry => state != State::Aborted,
        }
    }
}

/// Records a rollout of the databases that lack migrations, in one transaction; its number, and how many they are. None:
/// there are none.
///
/// # Errors
/// [`Refused::Open`] if another one has not ended, or those of the database.
pub fn start(
    conn: &mut Conn,
    templates: &Templates,
    request: &Request,
    actor: &Actor,
) -> Result<Option<(u64, u64)>, Refused> {
    transaction(conn, |conn| start_within(conn, templates, request, actor))
}

/// Runs `op` in a transaction, again where it lost a race for locks.
fn transaction<T>(conn: &mut Conn, mut op: impl FnMut(&mut Conn) -> Result<T, Refused>) -> Result<T, Refused> {
    let mut tries = 0;
    loop {
        conn.query_drop("START TRANSACTION")?;
        match op(conn).and_then(|value| Ok(conn.query_drop("COMMIT").map(|()| value)?)) {
            Err(Refused::Database(error)) if error.class() == ErrorClass::Retry && tries < TRIES => {}
            Ok(value) => return Ok(value),
            Err(refused) => {
                // Of a connection that is lost, nothing stays.
                let _ = conn.query_drop("ROLLBACK");
                return Err(refused);
            }
        }
        conn.query_drop("ROLLBACK")?;
        tries += 1;
        clock::sleep(RACE_BACKOFF.pause(tries, fastrand::f64()));
    }
}

fn start_within(
    conn: &mut Conn,
    templates: &Templates,
    request: &Request,
    actor: &Actor,
) -> Result<Option<(u64, u64)>, Refused> {
    let Request { canaries, confirm_canary, wave, max_failures, .. } = request;
    let due = due(templates, request);
    // Before anything is entered: another rollout may be open, and none takes a number without databases.
    open(conn, 0)?;
    if conn.read_first::<u8>(format!("SELECT 1 {due} LIMIT 1"))?.is_none() {
        close(conn, 0)?;
        return Ok(None);
    }
    conn.query_drop(format!(
        "INSERT INTO res_rollout (confirm_canary, max_failures) VALUES ({confirm_canary}, {max_failures})"
    ))?;
    let id = conn.last_insert_id();
    conn.query_drop(format!("UPDATE res_meta SET value = '{id}' WHERE name = 'rollout'"))?;
    // Canaries of as many types as there are.
    conn.query_drop(format!(
        "INSERT INTO res_rollout_database (rollout, db_name, res_id, res_type, from_version, to_version, wave) \
         SELECT {id}, db_name, res_id, res_type, version, newest, \
         IF(place <= {canaries}, 0, 1 + (place - {canaries} - 1) DIV {wave}) FROM \
         (SELECT o.*, ROW_NUMBER() OVER (ORDER BY of_type, db_name) AS place FROM \
          (SELECT d.db_name, d.res_id, d.res_type, d.version, z.newest, \
           ROW_NUMBER() OVER (PARTITION BY z.t ORDER BY d.db_name) AS of_type {due}) o) p"
    ))?;
    let databases = conn.affected_rows();
    conn.query_drop(format!(
        "UPDATE res_rollout SET wave = (SELECT MIN(wave) FROM res_rollout_database WHERE rollout = {id}) WHERE id = {id}"
    ))?;
    let least: Option<u32> =
        conn.read_first(format!("SELECT MIN(from_version) FROM res_rollout_database WHERE rollout = {id}"))?;
    for file in templates.migrations.iter().filter(|file| least.is_some_and(|least| file.number > least)) {
        keep(conn, id, file)?;
    }
    audit::record(conn, actor, "migrate-start", &format!("rollout {id}"), databases)?;
    announce(conn, STARTED, id, databases)?;
    Ok(Some((id, databases)))
}

/// The databases `d` that lack migrations, with the `newest` version of their type, as the end of a query.
fn due(templates: &Templates, request: &Request) -> String {
    let is_asked_for = |name: &&str| request.res_type.as_deref().is_none_or(|only| only == *name);
    let newest = |name: &str| format!("SELECT {} AS t, {} AS newest", literal(name), templates.migrations.newest(name));
    let types: Vec<String> = templates.types().filter(is_asked_for).map(newest).collect();
    let types = if types.is_empty() { "SELECT '' AS t, 0 AS newest".into() } else { types.join(" UNION ALL ") };
    let only = match request.only.as_slice() {
        [] => String::new(),
        ids => format!("AND d.res_id IN ({})", id_list(ids)),
    };
    format!(
        "FROM res_database d JOIN ({types}) z \
         ON d.res_type COLLATE utf8mb4_bin = CONVERT(z.t USING utf8mb4) COLLATE utf8mb4_bin \
         WHERE d.state = 'ready' AND d.dropping_at IS NULL AND d.version < z.newest {only}"
    )
}

/// Enters the open rollout, of which there is at most one.
fn open(conn: &mut Conn, id: u64) -> Result<(), Refused> {
    let entered = conn.query_drop(format!("INSERT INTO res_meta (name, value) VALUES ('rollout', '{id}')"));
    match entered.map_err(Error::from) {
        Ok(()) => Ok(()),
        Err(error) if error.code() == Some(ER_DUP_ENTRY) => {
            let other = current(conn)?.ok_or(Error::RaceLost)?;
            Err(Refused::Open(other.id, other.state.as_str()))
        }
        Err(error) => Err(error.into()),
    }
}

fn keep(conn: &mut Conn, id: u64, file: &Migration) -> Result<(), Error> {
    let mut parts = chunks(&file.text).into_iter();
    conn.query_drop(format!(
        "INSERT INTO res_rollout_file (rollout, number, res_type, path, text) VALUES ({id}, {}, {}, {}, {})",
        file.number,
        file.res_type.as_deref().map_or_else(|| "NULL".into(), literal),
        literal(&file.path),
        literal(&parts.next().unwrap_or_default())
    ))?;
    for part in parts {
        conn.query_drop(format!(
            "UPDATE res_rollout_file SET text = CONCAT(text, {}) WHERE rollout = {id} AND number = {}",
            literal(&part),
            file.number
        ))?;
    }
    Ok(())
}

/// Acts on a rollout for an operator, in one transaction; returns how many databases that concerns.
///
/// # Errors
/// It is not in a state for that, or those of the database.
pub fn act(conn: &mut Conn, id: u64, action: Action, actor: &Actor) -> Result<u64, Refused> {
    transaction(conn, |conn| act_within(conn, id, action, actor))
}

fn act_within(conn: &mut Conn, id: u64, action: Action, actor: &Actor) -> Result<u64, Refused> {
    let found = read(conn, &format!("WHERE r.id = {id} FOR UPDATE"))?.ok_or(Refused::Unknown(id))?;
    if !action.applies_to(found.state) {
        let cannot = match action {
            Action::Pause => "be paused",
            Action::Resume if found.state == State::Halted => "be resumed; `retry` tries its failed databases again",
            Action::Resume => "be resumed",
            Action::Abort => "be aborted",
            Action::Retry => "be tried again; start a new one",
        };
        return Err(Refused::State(id, found.state.as_str(), cannot));
    }
    let mut count = 0;
    let set = |conn: &mut Conn, sql: String| -> Result<u64, Error> {
        conn.query_drop(sql)?;
        Ok(conn.affected_rows())
    };
    match action {
        Action::Pause => set(conn, format!("UPDATE res_rollout SET state = 'paused' WHERE id = {id}"))?,
        Action::Resume => {
            // From the canaries to the first wave: that was confirmed.
            let wave = match found.state {
                State::Unconfirmed => format!(
                    ", wave = (SELECT MIN(wave) FROM res_rollout_database WHERE rollout = {id} AND state = 'waiting')"
                ),
                _ => String::new(),
            };
            set(conn, format!("UPDATE res_rollout SET state = 'running'{wave} WHERE id = {id}"))?
        }
        Action::Abort => {
            count = set(
                conn,
                format!(
                    "UPDATE res_rollout_database SET state = 'skipped', message = 'the rollout was aborted', ended_at = NOW(6) \
                     WHERE rollout = {id} AND state = 'waiting'"
                ),
            )?;
            set(conn, format!("UPDATE res_rollout SET state = 'aborted', ended_at = NOW(6) WHERE id = {id}"))?;
            settle(conn, id)?;
            0
        }
        Action::Retry => {
            if found.state.has_ended() {
                open(conn, id)?;
            }
            count = set(
                conn,
                format!(
                    "UPDATE res_rollout_database SET state = 'waiting', postponed = 0, interrupted = 0, retry_at = NULL, \
                     ended_at = NULL WHERE rollout = {id} AND state = 'failed'"
                ),
            )?;
            set(conn, format!("UPDATE res_rollout SET state = 'running', failed = 0, ended_at = NULL WHERE id = {id}"))?
        }
    };
    audit::record(conn, actor, &format!("migrate-{}", action.as_str()), &format!("rollout {id}"), count)?;
    if matches!(action, Action::Resume | Action::Retry) {
        announce(conn, STARTED, id, count)?;
    }
    Ok(count)
}
