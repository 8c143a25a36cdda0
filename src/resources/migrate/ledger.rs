//! The SQL by which a worker claims a database of a rollout and records each statement. Every change says which claim it
//! belongs to: an attempt that has lost its database changes nothing. Runs on the worker's session, whose current database is
//! the resource's, so every table is named in full.

use mysql::{Conn, prelude::Queryable};
use serde_json::json;

use super::{position::Position, rules};
use crate::{
    base::exact::integer,
    db::{Error, ReadRows, ident, literal},
};

/// Characters of a message that are kept.
const LONGEST: usize = 4000;

/// One attempt's hold on a database.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The global database, quoted.
    global: String,
    /// The rollout.
    pub rollout: u64,
    /// The daemon, as in `res_daemon`.
    pub owner: String,
    /// Random and new for every attempt.
    pub id: u64,
}

/// A claimed database of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its name, unquoted.
    pub db_name: String,
    /// The job that it was made for.
    pub res_id: u64,
    /// Its type.
    pub res_type: String,
    /// The version that it is to have.
    pub to_version: u32,
    /// How often in a row it had to wait for the server.
    pub postponed: u32,
    /// How many attempts lost their worker.
    pub interrupted: u32,
}

/// What the registry and the queue say about a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// It is complete, and not being dropped.
    pub is_ready: bool,
    /// The job that it belongs to.
    pub res_id: u64,
    /// Its version.
    pub version: u32,
    /// The job's name and URL.
    pub res_name: String,
    /// See `res_name`.
    pub res_url: String,
    /// The migration that an earlier attempt began.
    pub begun: Option<Position>,
}

/// What becomes of a database that was not migrated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits and is tried again.
    Waits {
        /// For how long, in ms.
        pause_ms: u64,
        /// The attempt lost its worker.
        is_interrupted: bool,
        /// The daemon stops: nothing is counted.
        is_free: bool,
    },
    /// An operator has to see to it.
    Failed {
        /// The file; empty: none had begun.
        file: String,
        /// The statement in it, from 1.
        statement: usize,
    },
    /// It is none of the rollout's any more.
    Skipped,
}

impl Claim {
    /// For the next database of a rollout.
    pub fn new(global_db: &str, rollout: u64, owner: &str) -> Claim {
        Claim { global: ident(global_db), rollout, owner: owner.into(), id: fastrand::u64(1..) }
    }

    /// A condition for this claim's row.
    fn held(&self, db_name: &str) -> String {
        format!(
            "rollout = {} AND db_name = {} AND state = 'running' AND claim_id = {}",
            self.rollout,
            literal(db_name),
            self.id
        )
    }

    fn set(&self) -> String {
        format!("SET state = 'running', owner = {}, claim_id = {}, started_at = NOW(6)", literal(&self.owner), self.id)
    }

    fn may_begin(&self, wave: u32) -> String {
        let Claim { global, rollout, .. } = self;
        format!(
            "state = 'waiting' AND wave = {wave} AND (retry_at IS NULL OR retry_at <= NOW(6)) \
             AND EXISTS (SELECT 1 FROM {global}.res_rollout r WHERE r.id = {rollout} AND r.state = 'running' AND r.wave = {wave})"
        )
    }

    /// Claims the next database of `wave` that may be begun, while the rollout runs and is at that wave.
    ///
    /// # Errors
    /// Those of the database.
    pub fn next(&self, conn: &mut Conn, wave: u32) -> Result<Option<Claimed>, Error> {
        let Claim { global, rollout, id, .. } = self;
        conn.query_drop(format!(
            "UPDATE {global}.res_rollout_database FORCE INDEX (res_rollout_database_next) {} \
             WHERE rollout = {rollout} AND {} ORDER BY db_name LIMIT 1",
            self.set(),
            self.may_begin(wave)
        ))?;
        if conn.affected_rows() == 0 {
            return Ok(None);
        }
        type Columns = (String, u64, String, u32, u32, u32);
        let row: Option<Columns> = conn.read_first(format!(
            "SELECT db_name, res_id, res_type, to_version, postponed, interrupted FROM {global}.res_rollout_database \
             WHERE rollout = {rollout} AND state = 'running' AND wave = {wave} AND claim_id = {id}"
        ))?;
        Ok(row.map(|(db_name, res_id, res_type, to_version, postponed, interrupted)| Claimed {
            db_name,
            res_id,
            res_type,
            to_version,
            postponed,
            interrupted,
        }))
    }

    /// What is known of a database. None: the registry does not have it.
    ///
    /// # Errors
    /// Those of the database.
    pub fn registered(&self, conn: &mut Conn, db_name: &str) -> Result<Option<Registered>, Error> {
        let global = &self.global;
        type Columns =
            (bool, u64, u32, Option<Vec<u8>>, Option<Vec<u8>>, Option<u32>, Option<u32>, Option<bool>, Option<String>);
        let row: Option<Columns> = conn.read_first(format!(
            "SELECT d.state = 'ready' AND d.dropping_at IS NULL, d.res_id, d.version, CAST(q.res_name AS BINARY), \
             CAST(q.res_url AS BINARY), l.number, l.statement, l.is_done, l.digest \
             FROM {global}.res_database d LEFT JOIN {global}.res_queue q ON q.res_id = d.res_id \
             LEFT JOIN {global}.res_ledger l ON l.db_name = d.db_name AND l.number > d.version \
             WHERE d.db_name = {} ORDER BY l.number LIMIT 1",
            literal(db_name)
        ))?;
        let text = |bytes: Option<Vec<u8>>| String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        Ok(row.map(|(is_ready, res_id, version, name, url, number, statement, is_done, digest)| Registered {
            is_ready,
            res_id,
            version,
            res_name: text(name),
            res_url: text(url),
            begun: number
                .zip(statement)
                .zip(is_done.zip(digest))
                .map(|((number, statement), (is_done, digest))| Position { number, statement, is_done, digest }),
        }))
    }

    /// Claims this database of `wave` as [`Claim::next`] does; no row is changed if it cannot be begun.
    pub fn take(&self, db_name: &str, wave: u32) -> String {
        let Claim { global, rollout, .. } = self;
        format!(
            "UPDATE {global}.res_rollout_database FORCE INDEX (PRIMARY) {} WHERE rollout = {rollout} AND db_name = {} AND {}",
            self.set(),
            literal(db_name),
            self.may_begin(wave)
        )
    }

    /// Records that a database's first statements begin, of which no migration above its version was begun before.
    pub fn begin(&self, db_name: &str, position: &Position) -> String {
        let Position { number, statement, digest, .. } = position;
        format!(
            "INSERT INTO {}.res_ledger (db_name, number, statement, is_done, digest, claim_id, rollout) \
             VALUES ({}, {number}, {statement}, FALSE, {}, {}, {})",
            self.global,
            literal(db_name),
            literal(digest),
            self.id,
            self.rollout
        )
    }

    /// A condition: the registry still has the database as it was read.
    pub fn is_unchanged(&self, db_name: &str, registered: &Registered) -> String {
        format!(
            "EXISTS (SELECT 1 FROM {}.res_database d WHERE d.db_name = {} AND d.state = 'ready' \
             AND d.dropping_at IS NULL AND d.res_id = {} AND d.version = {})",
            self.global,
            literal(db_name),
            registered.res_id,
            registered.version
        )
    }

    /// Records how far the database has come, and that the claim is held. False: it is not.
    ///
    /// # Errors
    /// Those of the database.
    pub fn record(&self, conn: &mut Conn, db_name: &str, position: &Position) -> Result<bool, Error> {
        conn.query_drop(self.reach(db_name, position, false))?;
        Ok(conn.affected_rows() > 0)
    }

    /// The statement of [`Claim::record`]; with `is_complete`, that the migration has ended. No row is changed if the claim is
    /// not held.
    pub fn reach(&self, db_name: &str, position: &Position, is_complete: bool) -> String {
        let Position { number, statement, is_done, digest } = position;
        let ended = if is_complete { "NOW(6)" } else { "NULL" };
        // The time always differs, so that a row that is held counts as changed.
        format!(
            "INSERT INTO {0}.res_ledger (db_name, number, statement, is_done, digest, claim_id, rollout, ended_at) \
             SELECT db_name, {number}, {statement}, {is_done}, {1}, claim_id, rollout, {ended} \
             FROM {0}.res_rollout_database WHERE {2} \
             ON DUPLICATE KEY UPDATE statement = {statement}, is_done = {is_done}, digest = {1}, \
             claim_id = {3}, rollout = {4}, begun_at = NOW(6), ended_at = {ended}",
            self.global,
            literal(digest),
            self.held(db_name),
            self.id,
            self.rollout
        )
    }

    /// The statement that records that another statement of a migration begins which this claim has begun before. It fails
    /// if the claim is not held.
    pub fn go_on(&self, db_name: &str, position: &Position) -> String {
        let Position { number, statement, digest, .. } = position;
        // Beyond the largest number there is: an error on every server, whatever its sql_mode.
        format!(
            "UPDATE {0}.res_ledger SET statement = {statement} + 18446744073709551615 * \
             (NOT EXISTS (SELECT 1 FROM {0}.res_rollout_database WHERE {1})), is_done = FALSE, digest = {2}, \
             begun_at = NOW(6) WHERE db_name = {3} AND number = {number}",
            self.global,
            self.held(db_name),
            literal(digest),
            literal(db_name)
        )
    }

    /// The statement that keeps the text of a migration which a database has; a text that is there already stays.
    pub fn keep_text(&self, number: u32) -> String {
        let (global, rollout) = (&self.global, self.rollout);
        format!(
            "INSERT INTO {global}.res_migration (number, res_type, path, text) \
             SELECT f.number, f.res_type, f.path, f.text FROM {global}.res_rollout_file f \
             WHERE f.rollout = {rollout} AND f.number = {number} \
             AND NOT EXISTS (SELECT 1 FROM {global}.res_migration m WHERE m.number = {number}) \
             ON DUPLICATE KEY UPDATE number = VALUES(number)"
        )
    }

    /// The statements that record that a migration is complete; part of a transaction, after [`Claim::reach`]. With
    /// `is_last` the database is migrated.
    pub fn complete(&self, claimed: &Claimed, from: u32, number: u32, is_last: bool) -> Vec<String> {
        let (global, rollout) = (&self.global, self.rollout);
        let Claimed { db_name, res_id, to_version, .. } = claimed;
        let mut statements =
            vec![format!("UPDATE {global}.res_database SET version = {number} WHERE db_name = {}", literal(db_name))];
        if is_last {
            let payload = json!({
                "res_id": integer(*res_id), "db_name": db_name, "from": from, "to": to_version, "rollout": integer(rollout),
            });
            statements.push(format!(
                "UPDATE {global}.res_rollout_database SET state = 'migrated', owner = NULL, claim_id = NULL, message = NULL, \
                 ended_at = NOW(6) WHERE {}",
                self.held(db_name)
            ));
            statements.push(self.event("Migrated", &payload.to_string()));
        }
        statements
    }

    /// Records in a transaction of its own what becomes of the database. With `back_to`, that its last statement was not
    /// done. False: the claim is not held.
    ///
    /// # Errors
    /// Those of the database.
    pub fn give_up(
        &self,
        conn: &mut Conn,
        claimed: &Claimed,
        verdict: &Verdict,
        message: &str,
        back_to: Option<&Position>,
    ) -> Result<bool, Error> {
        let (db_name, text) = (&claimed.db_name, message.chars().take(LONGEST).collect::<String>());
        let set = match verdict {
            Verdict::Waits { is_free: true, .. } => "state = 'waiting'".to_string(),
            Verdict::Waits { pause_ms, is_interrupted, .. } => format!(
                "state = 'waiting', postponed = postponed + 1, interrupted = interrupted + {is_interrupted}, \
                 retry_at = NOW(6) + INTERVAL {} MICROSECOND, message = {}",
                pause_ms * 1000,
                literal(&text)
            ),
            Verdict::Failed { .. } => format!("state = 'failed', ended_at = NOW(6), message = {}", literal(&text)),
            Verdict::Skipped => format!("state = 'skipped', ended_at = NOW(6), message = {}", literal(&text)),
        };
        conn.query_drop("START TRANSACTION")?;
        if let Some(position) = back_to {
            self.record(conn, db_name, position)?;
        }
        conn.query_drop(format!(
            "UPDATE {}.res_rollout_database SET {set}, owner = NULL, claim_id = NULL WHERE {}",
            self.global,
            self.held(db_name)
        ))?;
        let is_held = conn.affected_rows() == 1;
        if let (true, Verdict::Failed { file, statement }) = (is_held, verdict) {
            self.count_failure(conn, claimed, file, *statement, &text)?;
        }
        conn.query_drop("COMMIT")?;
        Ok(is_held)
    }

    fn count_failure(
        &self,
        conn: &mut Conn,
        claimed: &Claimed,
        file: &str,
        statement: usize,
        message: &str,
    ) -> Result<(), Error> {
        let (global, rollout) = (&self.global, self.rollout);
        let Claimed { db_name, res_id, .. } = claimed;
        conn.query_drop(format!(
            "INSERT INTO {global}.res_error (res_id, attempt, message) VALUES ({res_id}, 0, {})",
            literal(message)
        ))?;
        let payload = json!({
            "res_id": integer(*res_id), "db_name": db_name, "rollout": integer(rollout), "file": file,
            "statement": statement, "error": message,
        });
        conn.query_drop(self.event("MigrationFailed", &payload.to_string()))?;
        let row: Option<(bool, u32, u32)> = conn.read_first(format!(
            "SELECT state = 'running', failed + 1, max_failures FROM {global}.res_rollout WHERE id = {rollout} FOR UPDATE"
        ))?;
        let (is_running, failed, max_failures) = row.ok_or(Error::Corrupt("the row of a rollout is gone"))?;
        let halts = is_running && rules::halts(failed, max_failures);
        conn.query_drop(format!(
            "UPDATE {global}.res_rollout SET failed = {failed}{} WHERE id = {rollout}",
            if halts { ", state = 'halted'" } else { "" }
        ))?;
        if halts {
            let payload = json!({"rollout": integer(rollout), "failed": failed, "max_failures": max_failures});
            conn.query_drop(self.event("RolloutHalted", &payload.to_string()))?;
        }
        Ok(())
    }

    fn event(&self, state: &str, payload: &str) -> String {
        format!(
            "INSERT INTO {}.res_outbox (state, payload) VALUES ({}, {})",
            self.global,
            literal(state),
            literal(payload)
        )
    }
}
