//! Tables of another version than the programs': a daemon that runs goes on and says so, none starts, and `init` lets a newer
//! version's alone.

use mysql::{Conn, prelude::Queryable};
use resq::schema::{problem::Severity, version::SCHEMA_VERSION};
use resq_test_support::{
    DEADLINE, Doctor, Instance, Server, TestDatabase, Verdict, http, own_port, wait_or_report, wait_until,
};
use serde_json::Value as Json;

use super::schema_watch::{SOON, wait_for_readiness, watch};

/// The change that makes them so, what is found then, how bad it is for a daemon that runs, what that should do, and whether
/// `init` upgrades them.
type Case = (&'static str, &'static str, Severity, &'static str, bool);

const NEWER: &str = "UPDATE res_meta SET value = '5' WHERE name = 'schema_version'";

const CASES: &[Case] = &[
    (NEWER, "the tables have version 5, newer than", Severity::Minor, "restart resqd with the programs that", false),
    (
        "UPDATE res_meta SET value = 'five' WHERE name = 'schema_version'",
        "the tables have version `five`, which is no number",
        Severity::Major,
        "if none did, DELETE FROM res_meta",
        false,
    ),
    (
        "UPDATE res_meta SET value = '3' WHERE name = 'schema_version'",
        "the tables have version 3, older than",
        Severity::Major,
        "run `resqctl init`",
        true,
    ),
    (
        "DELETE FROM res_meta WHERE name = 'schema_version'",
        "the tables have no version",
        Severity::Major,
        "run `resqctl init`",
        true,
    ),
];

/// Makes the tables this program's again.
fn restore(conn: &mut Conn) {
    let restore = format!("REPLACE INTO res_meta (name, value) VALUES ('schema_version', '{SCHEMA_VERSION}')");
    conn.query_drop(restore).unwrap();
}

/// What a newer `init` does: another body of a procedure, and last the version.
fn upgrade(conn: &mut Conn) {
    let shown: mysql::Row = conn.query_first("SHOW CREATE PROCEDURE res_number").unwrap().unwrap();
    let text: String = shown.get(2).unwrap();
    let text = text.replace("16777216", "16777217");
    assert!(text.contains("16777217"), "{text}");
    conn.query_drop("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'").unwrap();
    conn.query_drop("DROP PROCEDURE res_number").unwrap();
    conn.query_drop(text).unwrap();
    conn.query_drop(NEWER).unwrap();
}

/// Every object with its text and the time of its creation, and the rows that `init` writes.
fn everything(conn: &mut Conn) -> Vec<String> {
    let mut all = Vec::new();
    for list in [
        "SELECT CONCAT_WS(' ', 'PROCEDURE', ROUTINE_NAME, CREATED, LAST_ALTERED, ROUTINE_DEFINITION) \
         FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 1",
        "SELECT CONCAT_WS(' ', 'TRIGGER', TRIGGER_NAME, CREATED, ACTION_STATEMENT) \
         FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1",
        "SELECT CONCAT_WS(' ', 'TABLE', TABLE_NAME, CREATE_TIME) \
         FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1",
        "SELECT CONCAT_WS(' ', 'COLUMN', TABLE_NAME, ORDINAL_POSITION, COLUMN_NAME, COLUMN_TYPE) \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1",
        "SELECT CONCAT_WS(' ', 'META', name, value) FROM res_meta ORDER BY 1",
        "SELECT CONCAT_WS(' ', 'LOG', log_id, made_on, made_at) FROM res_log",
    ] {
        all.extend(conn.query::<String, _>(list).unwrap());
    }
    for name in ["res_number", "publish"] {
        let shown: mysql::Row = conn.query_first(format!("SHOW CREATE PROCEDURE {name}")).unwrap().unwrap();
        all.push(shown.get(2).unwrap());
    }
    all
}

#[test]
fn other_version_is_found_under_a_running_daemon_and_its_return_too() {
    let database = TestDatabase::new(Server::shared(), "upgraded_watched");
    let watch = watch(&database, SOON);
    let mut root = database.bare();
    for (change, what, severity, remedy, _) in CASES {
        root.query_drop(change).unwrap();
        wait_until(what, || !watch.findings().problems().is_empty());
        let problems = watch.findings().problems();
        let found: Vec<_> = problems.iter().map(|problem| (problem.severity, problem.what.as_str())).collect();
        assert!(found.len() == 1 && found[0].0 == *severity && found[0].1.contains(what), "{found:?}");
        assert!(problems[0].remedy().contains(remedy), "{}", problems[0].remedy());
        restore(&mut root);
        wait_until("the problem to be gone", || watch.findings().problems().is_empty());
    }
}

#[test]
fn other_version_is_refused_at_start_and_a_newer_one_by_init_before_it_changes_anything() {
    let instance = Instance::ready("upgraded_refused");
    let mut conn = instance.conn();
    upgrade(&mut conn);
    for (change, what, _, _, is_upgraded) in CASES {
        conn.query_drop(change).unwrap();
        let before = everything(&mut conn);
        let refused = [instance.resqd(), instance.resqctl(["add", "a"])].map(|program| program.expect_code(1));
        assert!(refused.iter().all(|finished| finished.stderr.contains(what)), "{change}: {refused:?}");
        let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(1));
        assert_eq!(doctor.verdict("tables"), Verdict::Failed, "{change}");
        assert!(doctor.text("tables").contains(what), "{}", doctor.finished);
        let status = instance.resqctl(["status"]).expect_code(if *is_upgraded { 1 } else { 0 });
        assert!(format!("{status}").contains(what), "{status}");
        if *is_upgraded {
            instance.resqctl(["init"]).ok();
            assert!(everything(&mut conn).contains(&format!("META schema_version {SCHEMA_VERSION}")), "{change}");
            continue;
        }
        for refused in [instance.resqctl(["init"]), instance.resqctl(["init", "--new-log"])] {
            let refused = refused.expect_code(1);
            assert!(refused.stderr.contains(&format!("init changed nothing: {what}")), "{refused}");
        }
        assert_eq!(everything(&mut conn), before, "{change}");
        assert!(before.iter().any(|object| object.contains("16777217")), "{before:#?}");
    }
}

#[test]
fn daemon_goes_on_under_newer_tables_until_it_is_restarted_and_says_so() {
    let instance = Instance::ready("upgraded_running");
    let mut conn = instance.conn();
    let port = own_port();
    // While something differs, the daemon inspects every 5 s instead of every minute.
    conn.query_drop("ALTER TABLE res_error DROP INDEX res_error_job").unwrap();
    let resqd = instance.resqd().args(["--poll-ms", "20"]).env("RESQ_HTTP", format!("127.0.0.1:{port}")).spawn_ready();
    wait_for_readiness(port, (200, 0, 1));
    upgrade(&mut conn);
    // Neither the procedure nor the index is this program's to judge any more.
    wait_or_report(DEADLINE, "/readyz to note the version alone", || {
        let answer = http(port, "GET /readyz", "");
        let (json, is_newer) = (answer.json(), answer.body.contains("newer than this program's version"));
        let is_alone = json["warnings"].as_array().map(Vec::len) == Some(1) && json["reasons"] == serde_json::json!([]);
        if answer.status == 200 && is_newer && is_alone { Ok(()) } else { Err(answer.body.clone()) }
    });
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('a')").unwrap();
    wait_until("the job to be done and its events to be numbered", || {
        conn.query_first::<u64, _>("SELECT COUNT(*) FROM res_event WHERE state IN ('New', 'Completed')").unwrap()
            == Some(2)
    });
    let status: Json = serde_json::from_str(&instance.resqctl(["status", "--json"]).ok()).unwrap();
    assert_eq!(status["schema"].as_array().map(Vec::len), Some(1), "{status}");
    let status = instance.resqctl(["status"]).ok();
    let line = "schema       the tables have version 5, newer than this program's version 4; restart resqd with";
    assert!(status.contains(line), "{status}");
    restore(&mut conn);
    instance.resqctl(["init"]).ok();
    wait_for_readiness(port, (200, 0, 0));
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0));
    let line =
        "schema: the tables have version 5, newer than this program's version 4; resqd goes on; restart resqd with";
    assert_eq!(finished.stderr.matches(line).count(), 1, "{finished}");
    assert_eq!(finished.stderr.matches("are in order again").count(), 1, "{finished}");
}
