//! Databases of three tables, a service whose workers build and migrate, and rollouts that add a column to each table.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};
use mysql::{Conn, prelude::Queryable};
use resq::{
    base::{
        threads::alarm,
        wakeup::{Wakeup, wakeup},
    },
    config,
    queue::{Handler, Parts, Servers, Service, Telemetry, TransactionHooks, Wakeups, audit::Actor},
    resources::{
        Templates,
        migrate::{
            operator::{self, Request},
            thread::{self as rollouts, RolloutThread},
        },
    },
};
use resq_test_support::TestDatabase;

use crate::WORKERS;

/// So many databases, and what migrates them.
pub struct Fleet<'a> {
    database: &'a TestDatabase,
    count: u32,
    /// Rollouts so far: each adds a column of another name.
    rollouts: AtomicU32,
    thread: RolloutThread,
    service: Service,
    wake_rollouts: Wakeup,
    wake_dispatcher: Wakeup,
    panicked: Receiver<String>,
    _to_sequencer: Receiver<()>,
}

impl<'a> Fleet<'a> {
    /// Makes the databases, and starts `workers`, half of which migrate.
    pub fn start(
        database: &'a TestDatabase,
        count: u32,
        workers: usize,
        handler: Arc<dyn Handler>,
        hooks: Arc<dyn TransactionHooks>,
    ) -> Fleet<'a> {
        on_each(database, count, |conn, name| {
            let tables =
                ["a", "b", "c"].map(|table| format!("CREATE TABLE {name}.{table} (id INT PRIMARY KEY)")).join("; ");
            conn.query_drop(format!("CREATE DATABASE {name}; {tables}")).expect("a database");
        });
        register(&mut database.bare(), 0, count, 0);
        let (alarm, panicked) = alarm();
        let (tasks, side_tasks) = bounded(0);
        let (wake_dispatcher, to_dispatcher) = wakeup();
        let wakeups = Wakeups { to_dispatcher, ..Wakeups::default() };
        let parts = Parts { handler, hooks, wakeups, telemetry: Telemetry::default(), side_tasks };
        let queue = config::Queue {
            workers,
            poll: Duration::from_secs(3_600),
            lease: Duration::from_secs(7_200),
            ..database.config.queue.clone()
        };
        let servers = Servers { control: &database.db, sessions: &database.db };
        let service = Service::start_with(servers, &database.info, &queue, parts, &alarm).expect("a lease");
        let (wake_rollouts, wakeups) = wakeup();
        let (to_sequencer, _to_sequencer) = wakeup();
        let owner = database.bare().query_first("SELECT owner FROM res_daemon").expect("a lease").expect("a row");
        let others = database.db.other_hosts(&database.config.database);
        let parts = rollouts::Parts { tasks, workers, owner, wakeups, to_sequencer, others };
        let thread = RolloutThread::start(&database.db, parts, &alarm).expect("a thread");
        let rollouts = AtomicU32::new(0);
        Fleet { database, count, rollouts, thread, service, wake_rollouts, wake_dispatcher, panicked, _to_sequencer }
    }

    /// Starts a rollout over all databases and returns its number.
    pub fn start_rollout(&self) -> u64 {
        let templates = templates(1 + self.rollouts.fetch_add(1, Ordering::Relaxed));
        let mut conn = self.database.bare();
        let (id, databases) =
            operator::start(&mut conn, &templates, &request(), &actor()).expect("a rollout").expect("databases");
        assert_eq!(databases, u64::from(self.count));
        self.wake_rollouts.notify();
        id
    }

    /// Whether a rollout has finished.
    pub fn is_finished(&self, conn: &mut Conn, id: u64) -> bool {
        let state = conn.query_first::<String, _>(format!("SELECT state FROM res_rollout WHERE id = {id}"));
        state.expect("a state").as_deref() == Some("finished")
    }

    /// How long a rollout over all databases takes.
    pub fn migrate(&self) -> Duration {
        let (start, mut conn) = (Instant::now(), self.database.bare());
        let id = self.start_rollout();
        while !self.is_finished(&mut conn, id) {
            thread::sleep(Duration::from_millis(10));
        }
        start.elapsed()
    }

    /// Lets the queue look for jobs.
    pub fn wake(&self) {
        self.wake_dispatcher.notify();
    }

    /// Ends the threads and drops the databases.
    pub fn stop(self) {
        self.thread.stop();
        assert!(self.service.drain(Duration::from_secs(60)) && self.panicked.is_empty());
        let drop = |conn: &mut Conn, name: &str| conn.query_drop(format!("DROP DATABASE {name}")).expect("a drop");
        on_each(self.database, self.count, drop);
    }
}

/// Templates with this many migrations, the last of which adds a column to each of three tables.
pub fn templates(migrations: u32) -> Templates {
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

/// Those of one migration.
pub fn statements(column: &str) -> String {
    ["a", "b", "c"].map(|table| format!("ALTER TABLE {table} ADD {column} INT")).join("; ")
}

pub fn request() -> Request {
    Request { res_type: None, only: Vec::new(), canaries: 0, confirm_canary: false, wave: u32::MAX, max_failures: 0 }
}

pub fn actor() -> Actor {
    Actor { who: "benchmark".into(), reason: None }
}

/// Registers databases `from..to` as ready and of this version.
pub fn register(conn: &mut Conn, from: u32, to: u32, version: u32) {
    let rows: Vec<String> =
        (from..to).map(|n| format!("('res_m{n}', {n}, 'default', 'ready', '', 0, {version})")).collect();
    conn.query_drop(format!(
        "INSERT INTO res_database (db_name, res_id, res_type, state, template_version, claim_id, version) VALUES {}",
        rows.join(",")
    ))
    .expect("rows");
}

/// Does something with each database, by five connections.
pub fn on_each(database: &TestDatabase, count: u32, op: impl Fn(&mut Conn, &str) + Sync) {
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
