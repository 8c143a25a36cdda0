//! 100,000 jobs that do nothing: resq with five workers, compared with one bare loop that claims and finishes 200 at a
//! time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mysql::prelude::Queryable;
use resq::{
    db::id_list,
    queue::{Handler, Job, JobResult, NoHooks, Session},
};

use resq_test_support::{Server, TestDatabase};

use crate::run::Run;

const HUNDRED_THOUSAND: u32 = 5;

struct Noop;

impl Handler for Noop {
    fn run(&self, _job: &Job, _session: &mut Session) -> JobResult {
        Ok(None)
    }
}

/// Times of `rounds` rounds of each: (ours, bare). Every round has a table of its own.
pub fn measure(server: &Server, rounds: usize) -> (Vec<Duration>, Vec<Duration>) {
    let database = || {
        let database = TestDatabase::new(server, "bench_noop");
        database.drop_triggers();
        database
    };
    let ours = || {
        let database = database();
        let run = Run::start(&database, Arc::new(Noop), Arc::new(NoHooks));
        let took = run.round(HUNDRED_THOUSAND);
        run.stop();
        took
    };
    crate::in_turns(rounds, ours, || bare(&database()))
}

fn bare(database: &TestDatabase) -> Duration {
    database.fill(HUNDRED_THOUSAND, "", "");
    let mut conn = database.bare();
    let (start, mut done) = (Instant::now(), 0);
    loop {
        let mut step = |sql: &str| conn.query_drop(sql).expect("a statement");
        step("START TRANSACTION");
        let ids: Vec<u64> = conn
            .query(
                "SELECT res_id FROM res_queue FORCE INDEX (res_queue_claim) WHERE status = 'new' AND run_at IS NULL \
                 ORDER BY priority, res_id LIMIT 200 FOR UPDATE SKIP LOCKED",
            )
            .expect("a claim");
        let mut step = |sql: &str| conn.query_drop(sql).expect("a statement");
        if ids.is_empty() {
            step("COMMIT");
            assert_eq!(done, 100_000);
            return start.elapsed();
        }
        let of = "res_queue FORCE INDEX (PRIMARY)";
        let list = id_list(&ids);
        step(&format!(
            "UPDATE {of} SET status = 'in_progress', attempts = attempts + 1, started_at = NOW(6) WHERE res_id IN ({list})"
        ));
        step("COMMIT");
        step("START TRANSACTION");
        step(&format!("UPDATE {of} SET status = 'done' WHERE res_id IN ({list})"));
        step("COMMIT");
        done += ids.len();
    }
}
