//! The daemon and the server die at the worst moments; every job is done exactly once all the same, and no stray
//! database is left. A template that waits for a lock of the test's holds a job at a named point.

use mysql::{Conn, prelude::Queryable};

use super::{
    instance::Instance,
    program::{Running, wait_at_most, wait_until},
    server::Server,
};
use std::time::{Duration, Instant};

const CREATE: &str = "CREATE DATABASE {{RES_DB_NAME}}";
const TABLES: &str = "CREATE TABLE built (res_id BIGINT); INSERT INTO built VALUES ({{RES_ID}})";
/// A lease that is over soon, so that the jobs of a killed daemon are.
const LEASE_S: &str = "2";

fn count(conn: &mut Conn, sql: &str) -> u64 {
    conn.query_first(sql).unwrap().unwrap()
}

/// Waits until everything is done, then looks whether it was done exactly once and left nothing else.
fn assert_all_done(instance: &Instance, jobs: u64) {
    let mut conn = instance.conn();
    wait_at_most(Duration::from_secs(120), "every job to be done", || {
        count(&mut conn, "SELECT COUNT(*) FROM res_queue WHERE status = 'done'") == jobs
    });
    let mut made: Vec<String> = conn.query("SELECT db_name FROM res_queue ORDER BY db_name").unwrap();
    let mut there: Vec<String> =
        conn.query(format!("SHOW DATABASES LIKE '{}%'", instance.db_prefix.replace('_', "\\_"))).unwrap();
    made.sort();
    there.sort();
    assert_eq!(there, made, "the databases on the server are those of the jobs");
    assert_eq!(count(&mut conn, "SELECT COUNT(*) FROM res_database WHERE state = 'ready'"), jobs);
    assert_eq!(count(&mut conn, "SELECT COUNT(*) FROM res_database"), jobs);
    for db_name in made {
        let built: Vec<u64> = conn.query(format!("SELECT res_id FROM `{db_name}`.built")).unwrap();
        assert_eq!(built.len(), 1, "{db_name} was built by one attempt alone");
    }
}

/// On no socket, so that several run side by side.
fn daemon(instance: &Instance, sql: &std::path::Path) -> Running {
    instance
        .resqd()
        .env("RESQ_SOCKET", "")
        .args(["--lease-s", LEASE_S, "--poll-ms", "100"])
        .arg("--sql-dir")
        .arg(sql)
        .spawn()
}

#[test]
fn thirty_kills_at_random_moments_lose_and_double_nothing() {
    let instance = Instance::ready("kills");
    let sql = instance.sql_dir(&[("res_db/10.sql", CREATE), ("res_tables/10.sql", TABLES)]);
    instance.resqctl(["seed", "--count", "200", "--prefix", "k"]).ok();
    let mut conn = instance.conn();
    let seed = Instant::now().elapsed().subsec_nanos() ^ std::process::id();
    println!("seed {seed}");
    let mut random = seed.max(1);
    for _ in 0..30 {
        let mut resqd = daemon(&instance, &sql);
        resqd.wait_for_log("serving");
        // From its start on up to 60 ms: with 200 jobs some of them are always under way.
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        let end = Instant::now() + Duration::from_micros(u64::from(random % 60_000));
        wait_until("the moment", || Instant::now() >= end);
        resqd.signal("KILL");
        resqd.wait();
    }
    let resqd = daemon(&instance, &sql);
    assert_all_done(&instance, 200);
    assert_eq!(count(&mut conn, "SELECT COUNT(*) FROM res_queue WHERE attempts <> 1"), 0, "a kill is no attempt");
    assert_eq!(resqd.stop().code(), Some(0));
}

/// Holds job 1 where the lock is asked for, kills the daemon there, and lets another finish.
fn killed_at(name: &str, files: &[(&str, &str)], reached: impl Fn(&mut Conn, &str) -> bool) {
    let instance = Instance::ready(name);
    let sql = instance.sql_dir(files);
    let hold = format!("DO GET_LOCK('{name}', 60)");
    let mut held = instance.server.conn();
    held.query_drop(&hold).unwrap();
    instance.resqctl(["add", "a"]).ok();
    instance.resqctl(["add", "b"]).ok();
    let mut conn = instance.conn();
    let resqd = daemon(&instance, &sql);
    let waiting = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%GET_LOCK(''{name}''%' AND STATE LIKE 'User lock%'"
    );
    wait_until("both jobs to be held", || count(&mut conn, &waiting) >= 2);
    assert!(reached(&mut conn, &instance.db_prefix), "the point that the test is about");
    resqd.signal("KILL");
    resqd.wait();
    held.query_drop("DO RELEASE_ALL_LOCKS()")
        .or_else(|_| held.query_drop(format!("DO RELEASE_LOCK('{name}')")))
        .unwrap();
    let resqd = daemon(&instance, &sql);
    assert_all_done(&instance, 2);
    assert_eq!(resqd.stop().code(), Some(0));
}

fn making(conn: &mut Conn) -> u64 {
    count(conn, "SELECT COUNT(*) FROM res_database WHERE state = 'making'")
}

fn made(conn: &mut Conn, prefix: &str) -> u64 {
    count(
        conn,
        &format!(
            "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '{}%'",
            prefix.replace('_', "\\_")
        ),
    )
}

#[test]
fn killed_after_the_registry_row_and_before_create_database() {
    let files = [
        ("res_db/05.sql", "DO GET_LOCK('at_row', 60); DO RELEASE_LOCK('at_row')"),
        ("res_db/10.sql", CREATE),
        ("res_tables/10.sql", TABLES),
    ];
    killed_at("at_row", &files, |conn, prefix| making(conn) == 2 && made(conn, prefix) == 0);
}

#[test]
fn killed_after_create_database() {
    let files = [
        ("res_db/10.sql", CREATE),
        ("res_db/20.sql", "DO GET_LOCK('at_made', 60); DO RELEASE_LOCK('at_made')"),
        ("res_tables/10.sql", TABLES),
    ];
    killed_at("at_made", &files, |conn, prefix| making(conn) == 2 && made(conn, prefix) == 2);
}

#[test]
fn killed_between_two_templates() {
    let files = [
        ("res_db/10.sql", CREATE),
        ("res_tables/10.sql", TABLES),
        ("res_tables/20.sql", "DO GET_LOCK('at_half', 60); DO RELEASE_LOCK('at_half')"),
    ];
    killed_at("at_half", &files, |conn, prefix| {
        count(
            conn,
            &format!(
                "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA LIKE '{}%'",
                prefix.replace('_', "\\_")
            ),
        ) == 2
    });
}

#[test]
fn killed_before_the_outcome_is_committed() {
    let instance = Instance::ready("at_outcome");
    let sql = instance.sql_dir(&[("res_db/10.sql", CREATE), ("res_tables/10.sql", TABLES)]);
    let mut conn = instance.conn();
    instance.resqctl(["pause"]).ok();
    instance.resqctl(["add", "a"]).ok();
    let resqd = daemon(&instance, &sql);
    instance.resqctl(["resume"]).ok();
    // Whoever holds the row keeps the outcome from being written.
    let mut hold = instance.conn();
    wait_until("the row to be held while it is in progress", || {
        hold.query_drop("START TRANSACTION").unwrap();
        let status: Option<String> =
            hold.query_first("SELECT status FROM res_queue WHERE res_id = 1 FOR UPDATE").unwrap();
        if status.as_deref() != Some("in_progress") {
            hold.query_drop("ROLLBACK").unwrap();
            // Done already: the same once more.
            if status.as_deref() == Some("done") {
                conn.query_drop("UPDATE res_queue SET status = 'new', db_name = NULL").unwrap();
                conn.query_drop("DROP DATABASE at_outcome_a; DELETE FROM res_database").unwrap();
            }
            return false;
        }
        true
    });
    wait_until("the database to be built", || {
        conn.query_first("SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'at_outcome_a'").unwrap()
            == Some(1)
    });
    resqd.signal("KILL");
    resqd.wait();
    hold.query_drop("ROLLBACK").unwrap();
    let resqd = daemon(&instance, &sql);
    assert_all_done(&instance, 1);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn killed_right_after_the_outcome_is_committed() {
    let instance = Instance::ready("at_end");
    let sql = instance.sql_dir(&[("res_db/10.sql", CREATE), ("res_tables/10.sql", TABLES)]);
    let mut conn = instance.conn();
    instance.resqctl(["add", "a"]).ok();
    let resqd = daemon(&instance, &sql);
    wait_until("the outcome", || count(&mut conn, "SELECT COUNT(*) FROM res_queue WHERE status = 'done'") == 1);
    resqd.signal("KILL");
    resqd.wait();
    let resqd = daemon(&instance, &sql);
    instance.resqctl(["add", "b"]).ok();
    assert_all_done(&instance, 2);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn a_killed_server_is_waited_for_and_nothing_is_lost() {
    let server = Server::own();
    let instance = Instance::on(&server, "lost");
    instance.resqctl(["init"]).ok();
    let sql = instance.sql_dir(&[("res_db/10.sql", CREATE), ("res_tables/10.sql", TABLES)]);
    instance.resqctl(["seed", "--count", "200", "--prefix", "s"]).ok();
    let mut resqd = daemon(&instance, &sql);
    for round in 1..=2 {
        let mut conn = instance.conn();
        wait_until("some to be done", || {
            count(&mut conn, "SELECT COUNT(*) FROM res_queue WHERE status = 'done'") > round * 40
        });
        server.kill9(1);
        resqd.wait_for_log("the database server is lost");
        server.restart(1);
    }
    assert_all_done(&instance, 200);
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let lost = finished.stderr.matches("the database server is lost").count();
    assert!((1..=4).contains(&lost), "one line a change of state, not one a try: {finished}");
}

#[test]
fn a_daemon_frozen_beyond_its_lease_overwrites_nothing() {
    let instance = Instance::ready("frozen");
    let sql = instance.sql_dir(&[
        ("res_db/10.sql", CREATE),
        ("res_tables/10.sql", TABLES),
        ("res_tables/20.sql", "DO GET_LOCK('frozen', 60); DO RELEASE_LOCK('frozen')"),
        ("res_tables/30.sql", "CREATE TABLE after_the_hold (a INT)"),
    ]);
    let mut held = instance.server.conn();
    held.query_drop("DO GET_LOCK('frozen', 60)").unwrap();
    for name in ["a", "b", "c"] {
        instance.resqctl(["add", name]).ok();
    }
    let mut conn = instance.conn();
    let frozen = daemon(&instance, &sql);
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%GET_LOCK(''frozen''%' AND STATE LIKE 'User lock%'";
    wait_until("all three to be held", || count(&mut conn, waiting) == 3);
    frozen.signal("STOP");
    let mut other = daemon(&instance, &sql);
    other.wait_for_log("jobs of a daemon whose lease ran out are back");
    // The frozen one's sessions hold the locks of the names: they are ended, and the others build afresh.
    other.wait_for_log("ended a stale attempt that still held");
    held.query_drop("DO RELEASE_LOCK('frozen')").unwrap();
    assert_all_done(&instance, 3);
    frozen.signal("CONT");
    // It goes on, finds that it has lost everything, and serves again.
    instance.resqctl(["add", "d"]).ok();
    assert_all_done(&instance, 4);
    let finished = frozen.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert_all_done(&instance, 4);
    assert_eq!(count(&mut conn, "SELECT COUNT(*) FROM res_queue WHERE attempts <> 1 OR status <> 'done'"), 0);
    assert_eq!(other.stop().code(), Some(0));
}

#[test]
fn two_daemons_share_the_work_and_do_no_job_twice() {
    let instance = Instance::ready("share");
    let sql = instance.sql_dir(&[("res_db/10.sql", CREATE), ("res_tables/10.sql", TABLES)]);
    let daemons = [daemon(&instance, &sql), daemon(&instance, &sql)];
    instance.resqctl(["seed", "--count", "100", "--prefix", "s"]).ok();
    assert_all_done(&instance, 100);
    for finished in daemons.map(Running::stop) {
        assert_eq!(finished.code(), Some(0));
        assert!(finished.stderr.contains("done since the start"), "both had a part: {finished}");
    }
}
