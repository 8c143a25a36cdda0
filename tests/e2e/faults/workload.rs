//! Applications at work: writers whose transactions insert jobs, publish events, and commit or roll back. Each transaction
//! also records its tokens in a table of the test, so that what was committed is known even where the answer to a COMMIT
//! was lost.

use std::sync::atomic::{AtomicU64, Ordering};

use fastrand::Rng;
use mysql::{Conn, prelude::Queryable};
use resq::db::run_script;

use resq_test_support::{EventOracle, Instance, wait_at_most};

use super::scenario::PATIENCE;

const OWN: &str = EventOracle::OWN;

/// A type without templates, whose jobs end in error.
pub const UNKNOWN: &str = "unknown";

/// Creates the table that records what was committed.
pub fn prepare(instance: &Instance) {
    let table =
        "CREATE TABLE truth (token VARCHAR(64) CHARACTER SET ascii NOT NULL PRIMARY KEY, is_job BOOLEAN NOT NULL)";
    instance.conn().query_drop(table).expect("a table");
}

/// One application.
pub struct Writer<'a> {
    instance: &'a Instance<'a>,
    random: Rng,
    conn: Option<Conn>,
}

impl<'a> Writer<'a> {
    pub fn new(instance: &'a Instance<'a>, random: Rng) -> Writer<'a> {
        Writer { instance, random, conn: None }
    }

    /// Runs so many transactions, each again until the server has accepted it; `begun` counts them.
    pub fn write(&mut self, transactions: u64, begun: &AtomicU64) {
        for _ in 0..transactions {
            begun.fetch_add(1, Ordering::Relaxed);
            let rolls_back = self.random.u8(0..4) == 0;
            // With new tokens each time, since it may have been committed although no answer came.
            wait_at_most(PATIENCE, "the server to take a transaction", || self.transaction(rolls_back).is_some());
        }
    }

    /// None: it failed, or it is unknown whether it was committed.
    fn transaction(&mut self, rolls_back: bool) -> Option<()> {
        if self.conn.is_none() {
            let mut conn = self.instance.server.try_conn(1).ok()?;
            conn.select_db(&self.instance.global_db).ok()?;
            self.conn = Some(conn);
        }
        let mut script = "START TRANSACTION;".to_string();
        for _ in 0..self.random.u8(1..=3) {
            let token = format!("{:016x}", self.random.u64(..));
            script += &format!(
                r#"INSERT INTO truth VALUES ('{token}', FALSE); CALL publish('{OWN}.{}', '{{"token":"{token}"}}');"#,
                self.random.u8(0..4)
            );
        }
        if self.random.u8(0..2) == 0 {
            let token = format!("j{:016x}", self.random.u64(..));
            let kind = if self.random.u8(0..8) == 0 { UNKNOWN } else { "default" };
            script += &format!(
                "INSERT INTO truth VALUES ('{token}', TRUE); \
                 INSERT INTO res_queue (res_name, res_type) VALUES ('{token}', '{kind}');"
            );
        }
        script += if rolls_back { "ROLLBACK" } else { "COMMIT" };
        let conn = self.conn.as_mut()?;
        if run_script(conn, &script).is_err() {
            self.conn = None;
            return None;
        }
        Some(())
    }
}

/// `count` events of `bytes` each, committed at once.
pub fn publish_large(conn: &mut Conn, count: usize, bytes: usize, random: &mut Rng) {
    let mut script = "START TRANSACTION;".to_string();
    for _ in 0..count {
        let token = format!("{:016x}", random.u64(..));
        script += &format!(
            "INSERT INTO truth VALUES ('{token}', FALSE); \
             CALL publish('{OWN}.large', CONCAT('{{\"token\":\"{token}\",\"pad\":\"', REPEAT('x', {bytes}), '\"}}'));"
        );
    }
    run_script(conn, &(script + "COMMIT")).expect("a healthy server");
}

/// `count` jobs, each in a transaction; the name of the last.
pub fn add_jobs(conn: &mut Conn, count: usize, random: &mut Rng) -> String {
    let mut token = String::new();
    for _ in 0..count {
        token = format!("j{:016x}", random.u64(..));
        let script = format!(
            "START TRANSACTION; INSERT INTO truth VALUES ('{token}', TRUE); \
             INSERT INTO res_queue (res_name) VALUES ('{token}'); COMMIT"
        );
        run_script(conn, &script).expect("a server that accepts rows");
    }
    token
}
