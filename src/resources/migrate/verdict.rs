//! What becomes of a claimed database that was not migrated, and how that is recorded.

use mysql::{Conn, prelude::Queryable};
use serde_json::json;

use super::{
    ledger::{Claim, Claimed},
    position::Position,
    rules,
};
use crate::{
    base::exact::integer,
    db::{Error, ReadRows, literal},
};

/// Characters of a message that are kept.
const LONGEST: usize = 4000;

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
            Verdict::Waits { is_free: true, .. } => self.waits(),
            Verdict::Waits { pause_ms, is_interrupted, .. } => format!(
                "{}, postponed = postponed + 1, interrupted = interrupted + {is_interrupted}, \
                 retry_at = NOW(6) + INTERVAL {} MICROSECOND, message = {}",
                self.waits(),
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
            self.held(&[db_name])
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
        conn.query_drop(self.events("MigrationFailed", [payload.to_string()]))?;
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
            conn.query_drop(self.events("RolloutHalted", [payload.to_string()]))?;
        }
        Ok(())
    }
}
