//! Migrations: what costs time where there is nothing to do, and a column for three tables of many databases, compared with
//! five bare connections that send the same statements and record nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::bounded;
use mysql::{Conn, prelude::Queryable};
use resq::{
    base::{threads::alarm, wakeup::wakeup},
    config,
    queue::{NoHooks, Parts, Servers, Service, Telemetry, Wakeups, audit::Actor},
    resources::{
        DatabaseBuilder, Templates,
        migrate::{
            operator::{self, Request},
            plan,
            thread::{self as rollouts, RolloutThread},
        },
        name::Naming,
    },
};
use resq_test_support::{Server, TestDatabase};

use crate::WORKERS;

/// Templates with this many migrations, the last of which adds a column to each of three tables.
fn templates(migrations: u32) -> Templates {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write("res_db/10.sql", "CREATE DATABASE {{RES_DB_NAME}}");
    for n in 1..=migrations {
        write(&format!("res_migrations/{n:04}_column.sql"), &statements(&format!("ours{n}")));
    }
    Templates::load(Some(dir.path())).expect("the files are right")
}

fn statements(column: &str) -> String {
    ["a", "b", "c"].map(|table| format!("ALTER TABLE {table} ADD {column} INT")).join("; ")
}

fn request() -> Request {
    Request { res_type: None, only: Vec::new(), canaries: 0, confirm_canary: false, wave: u32::MAX, max_failures: 0 }
}

fn actor() -> Actor {
    Actor { who: "benchmark".into(), reason: None }
}

/// Registers databases `from..to` as ready and of this version.
fn register(conn: &mut Conn, from: u32, to: u32, version: u32) {
    let rows: Vec<String> =
        (from..to).map(|n| format!("('res_m{n}', {n}, 'default', 'ready', '', 0, {version})")).collect();
    conn.query_drop(format!(
        "INSERT INTO res_database (db_name, res_id, res_type, state, template_version, claim_id, version) VALUES {}",
        rows.join(",")
    ))
    .expect("rows");
}

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
    on_each(&database, count, |conn, name| {
        let tables =
            ["a", "b", "c"].map(|table| format!("CREATE TABLE {name}.{table} (id INT PRIMARY KEY)")).join("; ");
        conn.query_drop(format!("CREATE DATABASE {name}; {tables}")).expect("a database");
    });
    register(&mut database.bare(), 0, count, 0);
    let (alarm, panicked) = alarm();
    let (tasks, side_tasks) = bounded(0);
    let naming = Naming::new(&database.config.queue.db_prefix, database.db.global_db(), &database.info);
    let parts = Parts {
        handler: Arc::new(DatabaseBuilder::new(templates(0), naming)),
        hooks: Arc::new(NoHooks),
        wakeups: Wakeups::default(),
        telemetry: Telemetry::default(),
        side_tasks,
    };
    // Half of them migrate.
    let workers = WORKERS * 2;
    let queue = config::Queue {
        workers,
        poll: Duration::from_secs(3_600),
        lease: Duration::from_secs(7_200),
        ..database.config.queue.clone()
    };
    let servers = Servers { control: &database.db, sessions: &database.db };
    let service = Service::start_with(servers, &database.info, &queue, parts, &alarm).expect("a lease");
    let (wake, wakeups) = wakeup();
    let (to_sequencer, _sequencer) = wakeup();
    let owner: String = database.bare().query_first("SELECT owner FROM res_daemon").expect("a lease").expect("a row");
    let others = database.db.other_hosts(&database.config.database);
    let parts = rollouts::Parts { tasks, workers, owner, wakeups, to_sequencer, others };
    let thread = RolloutThread::start(&database.db, parts, &alarm).expect("a thread");
    let (ours_n, bare_n) = (AtomicU64::new(0), AtomicU64::new(0));
    let ours = || {
        let templates = templates(1 + ours_n.fetch_add(1, Ordering::Relaxed) as u32);
        let mut conn = database.bare();
        let start = Instant::now();
        let (id, databases) =
            operator::start(&mut conn, &templates, &request(), &actor()).expect("a rollout").expect("databases");
        assert_eq!(databases, u64::from(count));
        wake.notify();
        let ended = format!("SELECT state FROM res_rollout WHERE id = {id}");
        while conn.query_first::<String, _>(&ended).expect("a state").as_deref() != Some("finished") {
            thread::sleep(Duration::from_millis(10));
        }
        start.elapsed()
    };
    let bare = || {
        let column = format!("bare{}", bare_n.fetch_add(1, Ordering::Relaxed));
        let start = Instant::now();
        on_each(&database, count, |conn, name| {
            conn.select_db(name).expect("a database");
            conn.query_drop(statements(&column)).expect("a column");
        });
        start.elapsed()
    };
    let times = crate::in_turns(rounds, ours, bare);
    thread.stop();
    assert!(service.drain(Duration::from_secs(60)) && panicked.is_empty());
    on_each(&database, count, |conn, name| conn.query_drop(format!("DROP DATABASE {name}")).expect("a drop"));
    times
}

/// Does something with each database, by five connections.
fn on_each(database: &TestDatabase, count: u32, op: impl Fn(&mut Conn, &str) + Sync) {
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                let mut conn = database.bare();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count.into() {
                        return;
                    }
                    op(&mut conn, &format!("res_m{n}"));
                }
            });
        }
    });
}
