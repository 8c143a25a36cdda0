//! 1,000 resources of three tables: resq with five workers beside five bare connections that send the same files.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use mysql::prelude::Queryable;
use resq::{
    db::{ident, run_script},
    provision::{Provisioner, Templates, names::Naming, template::Values},
};

use crate::{
    bed::{Bed, WORKERS},
    run::run,
    server::Server,
};

const CREATE_TABLES: &str = include_str!("../../sql/res_tables/010_common.sql");
const THOUSAND: u32 = 3;

/// The project's files without the INSERT at the end of one: CREATE statements alone.
fn templates() -> Templates {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let create_tables = &CREATE_TABLES[..CREATE_TABLES.find("INSERT INTO").expect("an INSERT at its end")];
    assert_eq!(create_tables.matches("CREATE TABLE").count(), 3);
    for (name, text) in
        [("res_db/10.sql", include_str!("../../sql/res_db/010_database.sql")), ("res_tables/10.sql", create_tables)]
    {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("below the folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    Templates::load(Some(dir.path())).expect("the files are right")
}

/// Seconds for a thousand through the queue.
pub fn ours(server: &Server) -> Duration {
    let bed = Bed::new(server, "databases");
    bed.fill(THOUSAND, "", "");
    let naming = Naming::new(&bed.config.queue.db_prefix, bed.db.global_db(), &bed.facts);
    let provisioner = Provisioner::new(&mut bed.bare(), templates(), naming).expect("a template version");
    let took = run(&bed, 1000, provisioner);
    drop_all(&bed);
    took
}

/// Seconds for a thousand by bare connections.
pub fn bare(server: &Server) -> Duration {
    let bed = Bed::new(server, "databases");
    let (templates, next) = (templates(), AtomicU64::new(1));
    let mut conns: Vec<_> = (0..WORKERS).map(|_| bed.bare()).collect();
    let start = Instant::now();
    thread::scope(|scope| {
        for conn in &mut conns {
            let (templates, next) = (&templates, &next);
            scope.spawn(move || {
                loop {
                    let res_id = next.fetch_add(1, Ordering::Relaxed);
                    if res_id > 1000 {
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
    let took = start.elapsed();
    drop_all(&bed);
    took
}

fn drop_all(bed: &Bed) {
    let names: Vec<String> = bed.bare().query("SHOW DATABASES LIKE 'res\\_%'").expect("names");
    assert_eq!(names.len(), 1000);
    thread::scope(|scope| {
        for names in names.chunks(1000 / WORKERS) {
            let mut conn = bed.bare();
            scope.spawn(move || {
                for name in names {
                    conn.query_drop(format!("DROP DATABASE {}", ident(name))).expect("a drop");
                }
            });
        }
    });
}
