//! resqctl, command by command, as an operator uses it.

use mysql::prelude::Queryable;
use resq::queue::overview;
use resq_test_support::{Instance, Server, TestDatabase, templates, wait_until};
use serde_json::Value as Json;

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text:?}"))
}

#[test]
fn seed_never_uses_a_name_twice_and_wait_sees_the_end() {
    let instance = Instance::ready("seed");
    assert_eq!(instance.resqctl(["seed", "--count", "3"]).ok(), "3 resources\n");
    assert_eq!(instance.resqctl(["seed", "--count=2500", "--prefix", "x_", "--type=shop"]).ok(), "2500 resources\n");
    assert_eq!(instance.resqctl(["seed", "--count", "1"]).ok(), "1 resource\n");
    let mut conn = instance.conn();
    let (rows, names, shops): (u32, u32, u32) = conn
        .query_first("SELECT COUNT(*), COUNT(DISTINCT res_name), SUM(res_type = 'shop' AND res_name LIKE 'x\\_%') FROM res_queue")
        .unwrap()
        .unwrap();
    assert_eq!((rows, names, shops), (2504, 2504, 2500));
    let late = instance.resqctl(["wait", "--timeout", "1"]).expect_code(4);
    assert!(late.stderr.contains("2504"), "{late}");
    conn.query_drop("DELETE FROM res_queue WHERE res_type = 'shop'").unwrap();
    let resqd = instance.resqd().spawn();
    let waited = instance.resqctl(["wait", "--timeout", "30"]).expect_code(0);
    assert_eq!((waited.stdout.as_str(), waited.stderr.as_str()), ("", ""), "no progress bar in a pipe");
    // Delayed, so that it is still open when `wait` begins.
    instance.resqctl(["add", "broken", "--type", "no-such-type", "--delay", "5"]).ok();
    instance.resqctl(["wait", "--timeout", "30"]).expect_code(1);
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn status_list_and_show_agree_as_text_and_as_json() {
    let instance = Instance::ready("look");
    let id = instance.resqctl(["add", "evil\u{1b}[2Jname\n", "--url", "http://x/", "--priority", "-3"]).ok();
    let id = id.trim();
    instance.resqctl(["add", "later", "--delay", "3600"]).ok();
    let status = json(&instance.resqctl(["status", "--json"]).ok());
    for (key, expected) in [("new", 2), ("delayed", 1), ("in_progress", 0), ("done", 0), ("error", 0)] {
        assert_eq!(status[key], expected, "{key}: {status}");
    }
    assert!(status["oldest_waiting_s"].as_u64().is_some() && status["running"].as_array().is_some(), "{status}");
    let list = json(&instance.resqctl(["list", "--json", "--status", "new"]).ok());
    assert_eq!(list[1]["res_name"], "evil\u{1b}[2Jname\n");
    let shown = json(&instance.resqctl(["show", id, "--json"]).ok());
    assert_eq!(
        (&shown["priority"], &shown["res_url"], &shown["errors"]),
        (&(-3).into(), &"http://x/".into(), &Json::Array(vec![]))
    );
    for args in [vec!["status"], vec!["list"], vec!["show", id]] {
        let text = instance.resqctl([]).args(&args).ok();
        assert!(!text.contains('\u{1b}'), "{args:?} prints control characters of a name: {text:?}");
        assert!(args[0] == "status" || text.contains("evil\\u{1b}[2Jname\\n"), "{text}");
    }
    assert!(instance.resqctl(["list", "--status", "finished"]).expect_code(2).stderr.contains("in_progress"));
    assert!(instance.resqctl(["show", "99"]).expect_code(1).stderr.contains("99"));
    assert_eq!(instance.resqctl(["list", "--limit", "1"]).ok().lines().count(), 2);
}

#[test]
fn retry_and_cancel_change_only_jobs_in_the_right_status() {
    let instance = Instance::ready("retry");
    let mut conn = instance.conn();
    let bad = instance.resqctl(["add", "a", "--type", "nope"]).ok().trim().to_string();
    let resqd = instance.resqd().spawn();
    wait_until("the error", || conn.query_first("SELECT 1 FROM res_queue WHERE status = 'error'").unwrap() == Some(1));
    assert_eq!(resqd.stop().code(), Some(0));
    let shown = json(&instance.resqctl(["show", &bad, "--json"]).ok());
    assert_eq!(
        (&shown["status"], &shown["attempts"]),
        (&"error".into(), &1.into()),
        "a type without templates is a permanent error"
    );
    assert!(shown["errors"][0]["message"].as_str().unwrap().contains("\"nope\""), "{shown}");

    let waiting = instance.resqctl(["add", "b", "--delay", "3600"]).ok().trim().to_string();
    instance.resqctl(["retry", &waiting]).expect_code(1);
    instance.resqctl(["cancel", &bad]).expect_code(1);
    assert_eq!(instance.resqctl(["cancel", &waiting]).ok(), "1 job cancelled\n");
    assert_eq!(json(&instance.resqctl(["show", &waiting, "--json"]).ok())["run_at"], Json::Null);
    assert_eq!(instance.resqctl(["retry", "--all-errors"]).ok(), "2 jobs returned to the queue\n");
    conn.query_drop(format!("UPDATE res_queue SET res_type = 'default' WHERE res_id = {bad}")).unwrap();
    let fresh: (String, u32, Option<String>) = conn
        .query_first(format!("SELECT status, attempts, last_error FROM res_queue WHERE res_id = {bad}"))
        .unwrap()
        .unwrap();
    assert_eq!(fresh, ("new".into(), 0, None));
    let resqd = instance.resqd().spawn();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    assert_eq!(resqd.stop().code(), Some(0));
    instance.resqctl(["retry"]).expect_code(2);
    instance.resqctl(["cancel"]).expect_code(2);
}

#[test]
fn pause_stops_every_daemon_as_soon_as_it_is_committed() {
    let instance = Instance::ready("pause");
    instance.resqctl(["pause"]).ok();
    let _daemons = [(); 2].map(|()| instance.resqd().env("RESQ_SOCKET", "").spawn_ready());
    let id = instance.resqctl(["add", "a"]).ok();
    let paused = instance.resqctl(["wait", "--timeout", "2"]).expect_code(4);
    assert!(paused.stderr.contains("resqctl resume"), "{paused}");
    assert_eq!(json(&instance.resqctl(["show", id.trim(), "--json"]).ok())["status"], "new");
    instance.resqctl(["resume"]).ok();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
}

#[test]
fn clear_and_drop_remove_only_registered_databases() {
    let instance = Instance::ready("clear");
    let mut conn = instance.conn();
    conn.query_drop("CREATE DATABASE clear_foreign; CREATE DATABASE clear_seed_9").unwrap();
    instance.resqctl(["seed", "--count", "3"]).ok();
    let own = instance.resqctl(["add", "own"]).ok().trim().to_string();
    let other = instance.resqctl(["add", "other"]).ok().trim().to_string();
    let resqd = instance.resqd().spawn();
    instance.resqctl(["wait", "--timeout", "30"]).ok();

    let shown = instance.resqctl(["clear"]).expect_code(2);
    assert_eq!(shown.stdout.lines().count(), 3, "{shown}");
    assert!(shown.stderr.contains("--yes"), "{shown}");
    let mut databases = || -> Vec<String> { conn.query("SHOW DATABASES LIKE 'clear\\_%'").unwrap() };
    assert_eq!(databases().len(), 7);
    instance.resqctl(["clear", "--yes"]).ok();
    assert_eq!(databases(), ["clear_foreign", "clear_other", "clear_own", "clear_seed_9"]);
    instance.resqctl(["drop", &own]).expect_code(2);
    assert_eq!(instance.resqctl(["drop", &own, "--yes"]).ok(), "1 database and 1 row dropped\n");
    assert_eq!(databases(), ["clear_foreign", "clear_other", "clear_seed_9"]);
    instance.resqctl(["show", &own]).expect_code(1);
    instance.resqctl(["show", &other]).ok();
    // The name is free again.
    instance.resqctl(["add", "own"]).ok();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    instance.resqctl(["clear", "--all", "--yes"]).ok();
    assert_eq!(databases(), ["clear_foreign", "clear_seed_9"]);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn clear_is_refused_while_jobs_run() {
    let instance = Instance::ready("busy");
    let mut conn = instance.conn();
    conn.query_drop("INSERT INTO res_queue (res_name, seeded) VALUES ('a', TRUE)").unwrap();
    let mut hold = instance.server.conn();
    hold.query_drop("DO GET_LOCK('busy', 0)").unwrap();
    let sql = instance.sql_dir(&templates::with(templates::MINIMAL, &[("res_db/20.sql", "DO GET_LOCK('busy', 60)")]));
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    wait_until("the job to run", || {
        conn.query_first("SELECT 1 FROM res_queue WHERE status = 'in_progress'").unwrap() == Some(1)
    });
    instance.resqctl(["clear", "--yes"]).expect_code(1);
    instance.resqctl(["drop", "1", "--yes"]).expect_code(1);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_queue").unwrap(), Some(1));
    let status = json(&instance.resqctl(["status", "--json"]).ok());
    assert!(status["running"][0]["lease_s"].as_f64().unwrap() > 0.0, "{status}");
    hold.query_drop("DO RELEASE_LOCK('busy')").unwrap();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    instance.resqctl(["clear", "--yes"]).ok();
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn cancel_refuses_a_running_job_and_leaves_its_database_alone() {
    let instance = Instance::ready("cancelrun");
    let mut hold = instance.server.conn();
    hold.query_drop("DO GET_LOCK('cancelrun', 0)").unwrap();
    let sql = instance.sql_dir(&templates::with(
        templates::MINIMAL,
        &[("res_tables/10.sql", "DO GET_LOCK('cancelrun', 60); CREATE TABLE t (a INT)")],
    ));
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    let id = instance.resqctl(["add", "a"]).ok().trim().to_string();
    let mut conn = instance.conn();
    let there = "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'cancelrun_a'";
    wait_until("the database to be there", || conn.query_first(there).unwrap() == Some(1));
    instance.resqctl(["cancel", &id]).expect_code(1);
    hold.query_drop("DO RELEASE_LOCK('cancelrun')").unwrap();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    let shown = json(&instance.resqctl(["show", &id, "--json"]).ok());
    assert_eq!(
        (&shown["status"], &shown["attempts"], &shown["errors"]),
        (&"done".into(), &1.into(), &Json::Array(vec![]))
    );
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM cancelrun_a.t").unwrap(), Some(0));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn status_names_what_is_missing_and_what_to_do() {
    let instance = Instance::ready("status_missing");
    instance.conn().query_drop("RENAME TABLE res_queue TO q_away; DROP TABLE res_daemon").unwrap();
    let failed = instance.resqctl(["status"]).expect_code(1);
    for part in ["table res_daemon: does not exist", "table res_queue: does not exist", "`resqctl init`"] {
        assert!(failed.stderr.contains(part), "{failed}");
    }
}

#[test]
fn oldest_wait_counts_from_when_a_job_became_ready() {
    let database = TestDatabase::new(Server::shared(), "oldest");
    let mut conn = database.bare();
    // Seconds ago: created_at, updated_at, run_at; status; for how many tens of seconds it has been ready.
    type Row = (u32, u32, Option<i32>, &'static str, Option<u64>);
    let table: [Row; 6] = [
        (105, 105, None, "new", Some(10)),
        (1_000, 55, None, "new", Some(5)),
        (1_000, 1_000, Some(35), "new", Some(3)),
        (1_000, 1_000, Some(-600), "new", None),
        (1_000, 1_000, None, "in_progress", None),
        (1_000, 1_000, None, "error", None),
    ];
    for row in table {
        let (created, updated, run, status, expected) = row;
        let run = run.map_or("NULL".into(), |s| format!("NOW(6) - INTERVAL {s} SECOND"));
        conn.query_drop(format!(
            "DELETE FROM res_queue; INSERT INTO res_queue (res_name, status, created_at, updated_at, run_at) VALUES \
             ('a', '{status}', NOW() - INTERVAL {created} SECOND, NOW() - INTERVAL {updated} SECOND, {run})"
        ))
        .unwrap();
        let about = |found: Option<u64>| found.map(|s| s / 10);
        assert_eq!(about(overview::overview(&mut conn).unwrap().oldest_waiting_s), expected, "{row:?}");
    }
}

#[test]
fn longest_times_are_as_good_as_none() {
    const LONGEST: &str = "18446744073709551615";
    let instance = Instance::ready("longest");
    instance.resqctl(["wait", "--timeout", LONGEST]).ok();
    let resqd = instance.resqd().args(["--drain-s", LONGEST]).spawn_ready();
    assert_eq!(resqd.stop().code(), Some(0));
}
