//! From the INSERT of a job to the first statement of its template: the benchmark of the events measures it with loadable
//! functions, that of the binary log without them.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};

use crate::instance::Instance;
use crate::program::Running;
use crate::wait::wait_until;

/// Its first statement reads the clock, so that no time of CREATE DATABASE is in the figure.
const TEMPLATE: &str =
    "INSERT INTO {{GLOBAL_DB_NAME}}.started VALUES ({{RES_ID}}, SYSDATE(6)); CREATE DATABASE {{RES_DB_NAME}}";

/// Bare commits into the table `bare`, and from the INSERT of a job, before its COMMIT, to the first statement of its template, by
/// the server's clock. `daemon` starts one that polls once a minute and has the templates of this folder.
pub fn start_of_jobs(instance: &Instance, daemon: impl FnOnce(&Path) -> Running) -> (Vec<Duration>, Vec<Duration>) {
    const JOBS: u64 = 200;
    let mut conn = instance.conn();
    conn.query_drop("SET time_zone = '+00:00'").unwrap();
    conn.query_drop("CREATE TABLE started (id BIGINT PRIMARY KEY, at TIMESTAMP(6) NOT NULL)").unwrap();
    let sql = instance.sql_dir(&[("res_db/10.sql", TEMPLATE)]);
    let _resqd = daemon(&sql);
    let mut bare = Vec::new();
    let done = "SELECT COUNT(*) FROM res_queue WHERE status = 'done'";
    for n in 1..=JOBS {
        conn.query_drop(format!("INSERT INTO res_queue (res_name, res_url) VALUES ('bench{n}', SYSDATE(6))")).unwrap();
        wait_until("the job", || conn.query_first(done).unwrap() == Some(n));
        bare.push(commit_bare(&mut conn));
    }
    let us: Vec<i64> = conn
        .query("SELECT TIMESTAMPDIFF(MICROSECOND, CAST(q.res_url AS DATETIME(6)), s.at) FROM res_queue q JOIN started s ON s.id = q.res_id")
        .unwrap();
    (bare, us.into_iter().map(|us| Duration::from_micros(us.max(0) as u64)).collect())
}

/// The duration of a bare durable commit: one row, committed with its statement.
pub fn commit_bare(conn: &mut Conn) -> Duration {
    let start = Instant::now();
    conn.query_drop("INSERT INTO bare (payload) VALUES ('{\"writer\":1,\"number\":1}')").unwrap();
    start.elapsed()
}
