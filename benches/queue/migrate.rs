//! Migrations: what costs time where there is nothing to do, and a column for three tables of many databases, compared with
//! five bare connections that send the same statements and record nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use mysql::prelude::Queryable;
use resq::{
    queue::NoHooks,
    resources::{
        DatabaseBuilder,
        migrate::{operator, plan},
        name::Naming,
    },
};
use resq_test_support::{Server, TestDatabase};

use crate::{
    WORKERS,
    fleet::{Fleet, actor, on_each, register, request, statements, templates},
    statements::per_database,
};

/// With nothing to do over 10,000 databases: (plan, start).
pub fn idle(server: &Server) -> (Duration, Duration) {
    let database = TestDatabase::new(server, "bench_migrate_idle");
    let (mut conn, templates) = (database.bare(), templates(3));
    register(&mut conn, 0, 10_000, 3);
    let timed = |op: &mut dyn FnMut()| {
        let start = Instant::now();
        op();
        start.elapsed()
    };
    let planned = timed(&mut || assert_eq!(plan::groups(&mut conn, &templates, None).expect("a plan").len(), 1));
    let started = timed(&mut || {
        let started = operator::start(&mut conn, &templates, &request(), &actor()).expect("nothing to do");
        assert!(started.is_none());
    });
    (planned, started)
}

/// Times of `rounds` rounds of each over `count` databases: (ours, bare).
pub fn measure(server: &Server, rounds: usize, count: u32) -> (Vec<Duration>, Vec<Duration>) {
    let database = TestDatabase::new(server, "bench_migrate");
    let naming = Naming::new(&database.config.queue.db_prefix, database.db.global_db(), &database.info);
    // Half of the workers migrate.
    let builder = Arc::new(DatabaseBuilder::new(templates(0), naming, None));
    let fleet = Fleet::start(&database, count, WORKERS * 2, builder, Arc::new(NoHooks));
    let bare_n = AtomicU64::new(0);
    let bare = || {
        let column = format!("bare{}", bare_n.fetch_add(1, Ordering::Relaxed));
        let start = Instant::now();
        on_each(&database, count, |conn, name| {
            conn.select_db(name).expect("a database");
            conn.query_drop(statements(&column)).expect("a column");
        });
        start.elapsed()
    };
    per_database(&database, "migrating", count, || fleet.migrate(), bare);
    let times = crate::in_turns(rounds, || fleet.migrate(), bare);
    fleet.stop();
    times
}
