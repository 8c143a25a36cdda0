//! The SQL by which a worker claims a database of a rollout and records each statement. Every change says which claim it
//! belongs to: an attempt that has lost its database changes nothing. Runs on the worker's session, whose current database is
//! the resource's, so every table is named in full.

use std::collections::BTreeSet;

use mysql::{Conn, prelude::Queryable};
use serde_json::json;

use super::position::Position;
use crate::{
    base::exact::integer,
    db::{Error, ReadRows, id_list, ident, literal, zero_if},
};

/// The hold of a worker's task on databases.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The global database, quoted.
    pub(super) global: String,
    /// The rollout.
    pub rollout: u64,
    /// The daemon, as in `res_daemon`.
    pub owner: String,
    /// Random and new for every task.
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

/// A database that has all of a migration.
pub struct Migrated<'a> {
    /// Its row of the rollout.
    pub database: &'a Claimed,
    /// The version that it had.
    pub from: u32,
}

impl Claim {
    /// For databases of a rollout.
    pub fn new(global_db: &str, rollout: u64, owner: &str) -> Claim {
        Claim { global: ident(global_db), rollout, owner: owner.into(), id: fastrand::u64(1..) }
    }

    /// A condition for this claim's rows of these databases.
    pub(super) fn held(&self, db_names: &[&str]) -> String {
        format!(
            "rollout = {} AND db_name IN ({}) AND state = 'running' AND claim_id = {}",
            self.rollout,
            literals(db_names),
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

    /// Claims those of these databases of `wave` that may be begun, as [`Claim::next`] does.
    pub fn take(&self, db_names: &[&str], wave: u32) -> String {
        let Claim { global, rollout, .. } = self;
        format!(
            "UPDATE {global}.res_rollout_database FORCE INDEX (PRIMARY) {} \
             WHERE rollout = {rollout} AND db_name IN ({}) AND {}",
            self.set(),
            literals(db_names),
            self.may_begin(wave)
        )
    }

    /// Those of these databases that are held.
    ///
    /// # Errors
    /// Those of the database.
    pub fn holds(&self, conn: &mut Conn, db_names: &[&str]) -> Result<BTreeSet<String>, Error> {
        let Claim { global, .. } = self;
        let held: Vec<String> =
            conn.read_rows(format!("SELECT db_name FROM {global}.res_rollout_database WHERE {}", self.held(db_names)))?;
        Ok(held.into_iter().collect())
    }

    /// Records that the first statements begin of those of these databases that are held, at the same statement of the same
    /// migration. None above their version was begun before.
    pub fn begin(&self, positions: &[(&str, Position)]) -> String {
        let Position { number, statement, .. } = &positions[0].1;
        let names: Vec<&str> = positions.iter().map(|(name, _)| *name).collect();
        let digests: Vec<&str> = positions.iter().map(|(_, position)| position.digest.as_str()).collect();
        format!(
            "INSERT INTO {0}.res_ledger (db_name, number, statement, is_done, digest, claim_id, rollout) \
             SELECT db_name, {number}, {statement}, FALSE, ELT(FIELD(db_name, {1}), {2}), claim_id, rollout \
             FROM {0}.res_rollout_database WHERE {3}",
            self.global,
            literals(&names),
            literals(&digests),
            self.held(&names)
        )
    }

    /// Forgets that these databases were to be begun, of which none was entered.
    pub fn forget(&self, db_names: &[&str], number: u32) -> String {
        let Claim { global, id, .. } = self;
        format!(
            "DELETE FROM {global}.res_ledger WHERE db_name IN ({}) AND number = {number} AND claim_id = {id}",
            literals(db_names)
        )
    }

    /// Does that, and leaves them to others.
    pub fn leave(&self, db_names: &[&str], number: u32) -> [String; 2] {
        let set = format!("{}, owner = NULL, claim_id = NULL", self.waits());
        let left = format!("UPDATE {}.res_rollout_database SET {set} WHERE {}", self.global, self.held(db_names));
        [self.forget(db_names, number), left]
    }

    /// How a database waits that is given back; an abort has left it out meanwhile as it did those that waited.
    pub(super) fn waits(&self) -> String {
        let Claim { global, rollout, .. } = self;
        format!(
            "state = IF(EXISTS (SELECT 1 FROM {global}.res_rollout WHERE id = {rollout} AND state = 'aborted'), 'skipped', \
             'waiting')"
        )
    }

    /// A condition: the claim is held, and the registry still has the database as it was read.
    pub fn may_enter(&self, db_name: &str, registered: &Registered) -> String {
        format!(
            "EXISTS (SELECT 1 FROM {0}.res_database d WHERE d.db_name = {1} AND d.state = 'ready' \
             AND d.dropping_at IS NULL AND d.res_id = {2} AND d.version = {3}) \
             AND EXISTS (SELECT 1 FROM {0}.res_rollout_database WHERE {4})",
            self.global,
            literal(db_name),
            registered.res_id,
            registered.version,
            self.held(&[db_name])
        )
    }

    /// Records how far the database has come, and that the claim is held. False: it is not held.
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
            self.held(&[db_name]),
            self.id,
            self.rollout
        )
    }

    /// The statement that records that another statement of a migration begins which this claim has begun before. It fails
    /// if the claim is not held.
    pub fn go_on(&self, db_name: &str, position: &Position) -> String {
        let Position { number, statement, digest, .. } = position;
        format!(
            "UPDATE {}.res_ledger SET statement = {statement} + {}, is_done = FALSE, digest = {}, begun_at = NOW(6) \
             WHERE db_name = {} AND number = {number}",
            self.global,
            zero_if(&self.are_held(&[db_name])),
            literal(digest),
            literal(db_name)
        )
    }

    /// The statement that records that all of a migration is done which this claim has recorded as begun. It fails if one of
    /// the databases is not held.
    pub fn end(&self, db_names: &[&str], number: u32) -> String {
        format!(
            "UPDATE {}.res_ledger SET is_done = TRUE + {}, ended_at = NOW(6) WHERE db_name IN ({}) AND number = {number}",
            self.global,
            zero_if(&self.are_held(db_names)),
            literals(db_names)
        )
    }

    /// A condition.
    fn are_held(&self, db_names: &[&str]) -> String {
        let held = self.held(db_names);
        format!("(SELECT COUNT(*) FROM {}.res_rollout_database WHERE {held}) = {}", self.global, db_names.len())
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

    /// The statements that record that a migration is complete; part of a transaction, after [`Claim::reach`] or
    /// [`Claim::end`]. With `is_last` the databases are migrated.
    pub fn complete(&self, migrated: &[Migrated<'_>], number: u32, is_last: bool) -> Vec<String> {
        let (global, rollout) = (&self.global, self.rollout);
        let names: Vec<&str> = migrated.iter().map(|one| one.database.db_name.as_str()).collect();
        let mut statements = vec![format!(
            "UPDATE {global}.res_database SET version = {number} \
             WHERE db_name IN ({}) AND res_id IN ({}) AND version < {number}",
            literals(&names),
            id_list(migrated.iter().map(|one| &one.database.res_id))
        )];
        if is_last {
            let payloads = migrated.iter().map(|Migrated { database, from }| {
                let Claimed { db_name, res_id, to_version, .. } = database;
                json!({
                    "res_id": integer(*res_id), "db_name": db_name, "from": from, "to": to_version,
                    "rollout": integer(rollout),
                })
                .to_string()
            });
            statements.push(format!(
                "UPDATE {global}.res_rollout_database SET state = 'migrated', owner = NULL, claim_id = NULL, message = NULL, \
                 ended_at = NOW(6) WHERE {}",
                self.held(&names)
            ));
            statements.push(self.events("Migrated", payloads));
        }
        statements
    }

    /// The statement that publishes events.
    pub(super) fn events(&self, state: &str, payloads: impl IntoIterator<Item = String>) -> String {
        let rows = payloads.into_iter().map(|payload| format!("({}, {})", literal(state), literal(&payload)));
        let rows = rows.collect::<Vec<_>>().join(", ");
        format!("INSERT INTO {}.res_outbox (state, payload) VALUES {rows}", self.global)
    }
}

fn literals(texts: &[&str]) -> String {
    texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", ")
}
