//! How long a new resource waits for its database, one after the other, without and beside a rollout that is under way.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::bounded;
use mysql::prelude::Queryable;
use resq::resources::{DatabaseBuilder, name::Naming};
use resq_test_support::{Server, TestDatabase};

use crate::{WORKERS, databases, fleet::Fleet, run::Reporting};

/// Databases of the rollout.
const MIGRATED: u32 = 400;
/// The pause between two resources.
const PAUSE: Duration = Duration::from_millis(20);

/// Latencies of resources in `rounds` rounds of each: (beside a rollout, without).
pub fn measure(server: &Server, rounds: usize, in_a_round: usize) -> (Vec<Duration>, Vec<Duration>) {
    let database = TestDatabase::new(server, "bench_beside");
    let naming = Naming::new(&database.config.queue.db_prefix, database.db.global_db(), &database.info);
    let builder = Arc::new(DatabaseBuilder::new(databases::templates(), naming, None));
    let (ended, done) = bounded(1);
    let recorded = move |_| {
        let _ = ended.try_send(());
    };
    let hooks = Arc::new(Reporting { inner: builder.clone(), recorded });
    let fleet = Fleet::start(&database, MIGRATED, WORKERS, builder, hooks);
    let mut conn = database.bare();
    let mut one = || {
        thread::sleep(PAUSE);
        let start = Instant::now();
        conn.query_drop(
            "INSERT INTO res_queue (res_name, res_type) VALUES (CONCAT('beside', LEFT(UUID(), 8)), 'other')",
        )
        .expect("a job");
        fleet.wake();
        done.recv_timeout(Duration::from_secs(60)).expect("an outcome");
        // Its transaction is about to be committed.
        conn.query_drop("SELECT res_id FROM res_queue WHERE status = 'in_progress' FOR UPDATE")
            .expect("a locking read");
        start.elapsed()
    };
    for _ in 0..10 {
        one();
    }
    let (mut beside, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        alone.extend((0..in_a_round).map(|_| one()));
        let mut other = database.bare();
        let id = fleet.start_rollout();
        while !fleet.is_finished(&mut other, id) {
            beside.push(one());
        }
    }
    fleet.stop();
    let built: Vec<String> = conn.query("SELECT db_name FROM res_queue WHERE status = 'done'").expect("names");
    for name in built {
        conn.query_drop(format!("DROP DATABASE `{name}`")).expect("a drop");
    }
    (beside, alone)
}
