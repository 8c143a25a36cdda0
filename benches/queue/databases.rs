//! Resources of three tables: resq with five workers and its triggers, compared with five bare connections that send the
//! same files.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};
use resq::{
    db::{ident, run_script},
    resources::{DatabaseBuilder, Templates, name::Naming, template::Values},
};

use resq_test_support::{Server, TestDatabase};

use crate::{WORKERS, run::Run, statements::per_database};

/// A round builds 10^2 databases: short, so that both kinds of round run under the same conditions.
const HUNDRED: u32 = 2;
const CREATE_DATABASE: &str = include_str!("../../sql/res_db/010_database.sql");
const CREATE_TABLES: &str = include_str!("../../sql/res_tables/010_common.sql");

/// The built-in files without the INSERT at the end of one: CREATE statements only.
pub fn templates() -> Templates {
    let create_tables = &CREATE_TABLES[..CREATE_TABLES.find("INSERT INTO").expect("an INSERT at its end")];
    assert_eq!(create_tables.matches("CREATE TABLE").count(), 3);
    let dir = tempfile::tempdir().expect("a temporary folder");
    // The other type has no file of its own; the rollouts of another benchmark leave it alone.
    let files =
        [("res_db/10.sql", CREATE_DATABASE), ("res_tables/10.sql", create_tables), ("res_tables/other/10.sql", "")];
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    Templates::load(Some(dir.path())).expect("the files are right")
}

/// Times of `rounds` rounds of each: (ours, bare).
pub fn measure(server: &Server, rounds: usize) -> (Vec<Duration>, Vec<Duration>) {
    let database = TestDatabase::new(server, "bench_databases");
    let naming = Naming::new(&database.config.queue.db_prefix, database.db.global_db(), &database.info);
    let builder = DatabaseBuilder::new(templates(), naming, None);
    let builder = Arc::new(builder);
    let run = Run::start(&database, builder.clone(), builder);
    let ours = || {
        let took = run.round(HUNDRED);
        drop_all(&database);
        // The next round uses the same names.
        database.bare().query_drop("DELETE FROM res_database").expect("a delete");
        took
    };
    let templates = templates();
    let bare = || {
        let took = bare(&database, &templates);
        drop_all(&database);
        took
    };
    per_database(&database, "building", 100, ours, bare);
    let times = crate::in_turns(rounds, ours, bare);
    run.stop();
    times
}

/// A round by bare connections.
fn bare(database: &TestDatabase, templates: &Templates) -> Duration {
    let mut conns: Vec<Conn> = (0..WORKERS).map(|_| database.bare()).collect();
    let next = AtomicU64::new(1);
    let start = Instant::now();
    thread::scope(|scope| {
        for conn in &mut conns {
            scope.spawn(|| {
                let conn = conn;
                loop {
                    let res_id = next.fetch_add(1, Ordering::Relaxed);
                    if res_id > 100 {
                        return;
                    }
                    let res_db = format!("res_{res_id}");
                    let values = Values { res_db: &res_db, res_id, ..Values::default() };
                    run_script(conn, &templates.res_db[0].render(&values)).expect("a database");
                    conn.select_db(&res_db).expect("the new database");
                    run_script(conn, &templates.res_tables[0].render(&values)).expect("its tables");
                }
            });
        }
    });
    start.elapsed()
}

fn drop_all(database: &TestDatabase) {
    let names: Vec<String> = database.bare().query("SHOW DATABASES LIKE 'res\\_%'").expect("names");
    let names: Vec<_> = names.into_iter().filter(|name| name != database.db.global_db()).collect();
    assert_eq!(names.len(), 100);
    thread::scope(|scope| {
        for names in names.chunks(100 / WORKERS) {
            let mut conn = database.bare();
            scope.spawn(move || {
                for name in names {
                    conn.query_drop(format!("DROP DATABASE {}", ident(name))).expect("a drop");
                }
            });
        }
    });
}
