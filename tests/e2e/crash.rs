//! The daemon and the server die at the worst moments; every job is done exactly once all the same, and no stray database
//! is left. A template that waits for a lock of the test holds a job at a known point.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{
    Instance, Program, Running, Server, assert_databases_are_exact, assert_done_by_one_attempt_each, http, own_port,
    templates::{self, COUNTING},
    wait_until, wait_until_all_done,
};

/// So short that a killed daemon's jobs are free again soon.
const LEASE_S: &str = "2";

fn count(conn: &mut Conn, sql: &str) -> u64 {
    conn.query_first(sql).unwrap().unwrap()
}

/// Waits until all jobs are done, then checks that each was done exactly once and that nothing else is left.
fn assert_all_done(instance: &Instance, jobs: u64) {
    let mut conn = instance.conn();
    wait_until_all_done(&mut conn, jobs, Duration::from_secs(120));
    assert_databases_are_exact(instance, &mut conn);
}

/// Without a socket, so that several run side by side.
fn daemon(instance: &Instance, sql: &Path) -> Program {
    let program = instance.resqd().env("RESQ_SOCKET", "").args(["--lease-s", LEASE_S, "--poll-ms", "100"]);
    program.arg("--sql-dir").arg(sql)
}

#[test]
fn thirty_kills_at_random_moments_lose_and_repeat_no_job() {
    let instance = Instance::ready("kills");
    let sql = instance.sql_dir(COUNTING);
    instance.resqctl(["seed", "--count", "200", "--prefix", "k"]).ok();
    let mut conn = instance.conn();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..30 {
        let resqd = daemon(&instance, &sql).spawn_ready();
        // Up to 60 ms after it is ready: with 200 jobs some of them are always in progress.
        let end = Instant::now() + Duration::from_micros(random.u64(..60_000));
        wait_until("the moment", || Instant::now() >= end);
        resqd.signal("KILL");
        resqd.wait();
    }
    let resqd = daemon(&instance, &sql).spawn();
    assert_all_done(&instance, 200);
    // A kill costs no attempt.
    assert_done_by_one_attempt_each(&mut conn);
    assert_eq!(resqd.stop().code(), Some(0));
}

/// Holds both jobs where the template asks for the lock, kills the daemon there, and lets another one finish.
fn killed_at(name: &str, files: &[(&str, &str)], reached: impl Fn(&mut Conn, &str) -> bool) {
    let instance = Instance::ready(name);
    let sql = instance.sql_dir(files);
    let mut lock = instance.server.conn();
    lock.query_drop(format!("DO GET_LOCK('{name}', 60)")).unwrap();
    instance.resqctl(["add", "a"]).ok();
    instance.resqctl(["add", "b"]).ok();
    let mut conn = instance.conn();
    let resqd = daemon(&instance, &sql).spawn();
    wait_until("both jobs to be held", || instance.sessions_at_a_user_lock(&mut conn).len() == 2);
    assert!(reached(&mut conn, &instance.db_prefix), "the daemon is not at the point that is tested");
    resqd.signal("KILL");
    resqd.wait();
    lock.query_drop(format!("DO RELEASE_LOCK('{name}')")).unwrap();
    let resqd = daemon(&instance, &sql).spawn();
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
    let hold = templates::hold("at_row");
    let files = templates::with(COUNTING, &[("res_db/05.sql", &hold)]);
    killed_at("at_row", &files, |conn, prefix| making(conn) == 2 && made(conn, prefix) == 0);
}

#[test]
fn killed_after_create_database() {
    let hold = templates::hold("at_made");
    let files = templates::with(COUNTING, &[("res_db/20.sql", &hold)]);
    killed_at("at_made", &files, |conn, prefix| making(conn) == 2 && made(conn, prefix) == 2);
}

#[test]
fn killed_between_two_templates() {
    let hold = templates::hold("at_half");
    let files = templates::with(COUNTING, &[("res_tables/15.sql", &hold)]);
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
    let sql = instance.sql_dir(COUNTING);
    let mut conn = instance.conn();
    instance.resqctl(["pause"]).ok();
    instance.resqctl(["add", "a"]).ok();
    let resqd = daemon(&instance, &sql).spawn();
    instance.resqctl(["resume"]).ok();
    // A lock on the row keeps the outcome from being written.
    let mut hold = instance.conn();
    wait_until("the row to be held while it is in progress", || {
        hold.query_drop("START TRANSACTION").unwrap();
        let status: Option<String> =
            hold.query_first("SELECT status FROM res_queue WHERE res_id = 1 FOR UPDATE").unwrap();
        if status.as_deref() != Some("in_progress") {
            hold.query_drop("ROLLBACK").unwrap();
            // It was done already: once more.
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
    let resqd = daemon(&instance, &sql).spawn();
    assert_all_done(&instance, 1);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn killed_right_after_the_outcome_is_committed() {
    let instance = Instance::ready("at_end");
    let sql = instance.sql_dir(COUNTING);
    let mut conn = instance.conn();
    instance.resqctl(["add", "a"]).ok();
    let resqd = daemon(&instance, &sql).spawn();
    wait_until("the outcome", || count(&mut conn, "SELECT COUNT(*) FROM res_queue WHERE status = 'done'") == 1);
    resqd.signal("KILL");
    resqd.wait();
    let resqd = daemon(&instance, &sql).spawn();
    instance.resqctl(["add", "b"]).ok();
    assert_all_done(&instance, 2);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn daemon_waits_for_a_killed_server_and_loses_nothing() {
    let server = Server::own();
    let instance = Instance::on(&server, "lost");
    instance.resqctl(["init"]).ok();
    let sql = instance.sql_dir(COUNTING);
    instance.resqctl(["seed", "--count", "200", "--prefix", "s"]).ok();
    let port = own_port();
    let resqd = daemon(&instance, &sql).env("RESQ_HTTP", format!("127.0.0.1:{port}")).spawn_ready();
    for round in 1..=2 {
        let mut conn = instance.conn();
        wait_until("some to be done", || {
            count(&mut conn, "SELECT COUNT(*) FROM res_queue WHERE status = 'done'") > round * 40
        });
        server.kill9(1);
        wait_until("the daemon to notice", || http(port, "GET /readyz", "").status == 503);
        server.restart(1);
    }
    assert_all_done(&instance, 200);
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    // Lines about single jobs are limited to ten a minute, those about the server to its changes of state. Without a limit
    // there would be several for each of the 200 jobs.
    assert!(finished.warnings().len() <= 50, "too many warnings: {finished}");
}

#[test]
fn a_daemon_frozen_beyond_its_lease_overwrites_nothing() {
    let instance = Instance::ready("frozen");
    let hold = templates::hold("frozen");
    let later = [
        ("res_tables/25.sql", hold.as_str()),
        ("res_tables/30.sql", "CREATE TABLE after_the_hold (a INT PRIMARY KEY)"),
    ];
    let sql = instance.sql_dir(&templates::with(COUNTING, &later));
    let mut lock = instance.server.conn();
    lock.query_drop("DO GET_LOCK('frozen', 60)").unwrap();
    for name in ["a", "b", "c"] {
        instance.resqctl(["add", name]).ok();
    }
    let mut conn = instance.conn();
    let frozen = daemon(&instance, &sql).spawn();
    wait_until("all three to be held", || instance.sessions_at_a_user_lock(&mut conn).len() == 3);
    let stale = instance.sessions_at_a_user_lock(&mut conn);
    frozen.signal("STOP");
    let other = daemon(&instance, &sql).spawn();
    // The frozen daemon's sessions hold the locks on the names: the other one ends them and builds afresh.
    wait_until("the stale attempts to be ended and begun again", || {
        let held = instance.sessions_at_a_user_lock(&mut conn);
        held.len() == 3 && held.iter().all(|session| !stale.contains(session))
    });
    lock.query_drop("DO RELEASE_LOCK('frozen')").unwrap();
    assert_all_done(&instance, 3);
    frozen.signal("CONT");
    // It continues, finds that it has lost its jobs, and serves again.
    instance.resqctl(["add", "d"]).ok();
    assert_all_done(&instance, 4);
    let finished = frozen.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert_all_done(&instance, 4);
    assert_done_by_one_attempt_each(&mut conn);
    assert_eq!(other.stop().code(), Some(0));
}

#[test]
fn a_daemon_frozen_amid_a_claim_keeps_no_row_locked() {
    let instance = Instance::ready("amid_claim");
    let sql = instance.sql_dir(COUNTING);
    let mut hold = instance.conn();
    // Claims wait for the registry's rows.
    hold.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION").unwrap();
    hold.query_drop("SELECT * FROM res_database FOR UPDATE").unwrap();
    let frozen = daemon(&instance, &sql).spawn_ready();
    instance.resqctl(["add", "a"]).ok();
    let mut conn = instance.conn();
    let mut is_locked = || conn.query_drop("SELECT res_id FROM res_queue WHERE res_id = 1 FOR UPDATE NOWAIT").is_err();
    wait_until("the daemon to be frozen amid a claim", || {
        wait_until("the claim to lock its row", &mut is_locked);
        frozen.signal("STOP");
        hold.query_drop("ROLLBACK").unwrap();
        let held = is_locked();
        if !held {
            // Between two claims.
            hold.query_drop("START TRANSACTION").unwrap();
            hold.query_drop("SELECT * FROM res_database FOR UPDATE").unwrap();
            frozen.signal("CONT");
        }
        held
    });
    let other = daemon(&instance, &sql).spawn_ready();
    assert_all_done(&instance, 1);
    frozen.signal("CONT");
    instance.resqctl(["add", "b"]).ok();
    assert_all_done(&instance, 2);
    for daemon in [frozen, other] {
        let finished = daemon.stop();
        assert_eq!(finished.code(), Some(0), "{finished}");
    }
    assert_done_by_one_attempt_each(&mut conn);
}

#[test]
fn two_daemons_do_no_job_twice() {
    let instance = Instance::ready("share");
    let sql = instance.sql_dir(COUNTING);
    let daemons = [daemon(&instance, &sql).spawn_ready(), daemon(&instance, &sql).spawn_ready()];
    instance.resqctl(["seed", "--count", "100", "--prefix", "s"]).ok();
    assert_all_done(&instance, 100);
    assert_done_by_one_attempt_each(&mut instance.conn());
    for finished in daemons.map(Running::stop) {
        assert_eq!(finished.code(), Some(0), "{finished}");
    }
}
