//! What another tool does to resq's own objects while resqd runs is found without a restart, and so is its mending.

use std::time::Duration;

use mysql::{Conn, prelude::Queryable};
use resq::{
    base::threads::alarm,
    queue::Queue,
    resources::Templates,
    schema::{
        inspection::Inspection,
        install,
        watch::{Intervals, SchemaWatch},
    },
};
use resq_test_support::{
    DEADLINE, Instance, Server, TestDatabase, http, own_port, sessions, wait_or_report, wait_until,
};
use serde_json::Value as Json;

/// As an online schema change leaves it: nothing fails, and no event is written any more.
const SWAP: &str = "CREATE TABLE q2 LIKE res_queue; RENAME TABLE res_queue TO q_old, q2 TO res_queue";

const HOUR: Duration = Duration::from_secs(3600);
pub const SOON: Duration = Duration::from_millis(50);

pub fn watch(database: &TestDatabase, every: Duration) -> SchemaWatch {
    let inspection = Inspection::new(&Templates::load(None).unwrap());
    SchemaWatch::start(&database.db, inspection, Intervals { every, pause: SOON }, &alarm().0).unwrap()
}

fn found(watch: &SchemaWatch) -> Vec<String> {
    watch.findings().problems().into_iter().map(|problem| problem.what).collect()
}

#[test]
fn swapped_table_is_found_by_the_regular_inspection_and_its_mending_too() {
    let database = TestDatabase::new(Server::shared(), "watched");
    let watch = watch(&database, SOON);
    assert_eq!(found(&watch), [""; 0]);
    database.bare().query_drop(SWAP).unwrap();
    wait_until("both triggers to be missed", || {
        let found = found(&watch);
        found.len() == 2 && found.iter().all(|what| what.contains("is on the table q_old"))
    });
    install::init(&database.db, &database.info, &Templates::load(None).unwrap()).unwrap();
    wait_until("the problems to be gone", || found(&watch).is_empty());
}

#[test]
fn failed_statement_brings_the_inspection_forward_and_a_problem_the_next_one() {
    let database = TestDatabase::new(Server::shared(), "woken");
    let watch = watch(&database, HOUR);
    let mut root = database.bare();
    root.query_drop("RENAME TABLE res_queue TO q_away").unwrap();
    assert!(Queue::on(&database.db).pending().is_err());
    wait_until("the table to be missed", || {
        found(&watch).iter().any(|what| what.contains("res_queue: does not exist"))
    });
    root.query_drop("RENAME TABLE q_away TO res_queue").unwrap();
    wait_until("the problems to be gone", || found(&watch).is_empty());
}

/// Makes the inspection find a difference, and leaves a row each time that it does.
const COUNTED: &str = "
    CREATE TABLE inspected (id INT AUTO_INCREMENT PRIMARY KEY);
    DROP PROCEDURE publish;
    CREATE PROCEDURE publish(p_state VARCHAR(64), p_payload TEXT)
    INSERT INTO inspected () VALUES ()";

#[test]
fn what_an_init_is_about_to_replace_is_reported_only_if_it_is_there_after_its_end() {
    let database = TestDatabase::new(Server::shared(), "half_done");
    let watch = watch(&database, SOON);
    let (mut root, mut other, mut reader) = (database.bare(), database.bare(), database.bare());
    // `init` comes to its last step and waits there for this transaction.
    reader.query_drop("START TRANSACTION; SELECT COUNT(*) FROM res_queue").unwrap();
    let is_running = |conn: &mut Conn| install::is_running(conn, &database.config.database.global_db).unwrap();
    assert!(!is_running(&mut root));
    std::thread::scope(|scope| {
        let init = scope.spawn(|| install::init(&database.db, &database.info, &Templates::load(None).unwrap()));
        let waiting =
            format!("SELECT COUNT(*) FROM {} WHERE db = DATABASE() AND state LIKE '%table metadata lock'", sessions());
        let mut is_waiting = || root.query_first::<u64, _>(&waiting).unwrap() == Some(1);
        wait_until("init to wait for the table of the triggers", &mut is_waiting);
        other.query_drop(COUNTED).unwrap();
        // It tries for two seconds at a time, in which the watch is due forty times.
        wait_until("init to give up once", || !is_waiting());
        wait_until("init to try again", &mut is_waiting);
        assert!(is_running(&mut root));
        let inspections: Option<u64> = root.query_first("SELECT COUNT(*) FROM inspected").unwrap();
        let found = found(&watch);
        reader.query_drop("COMMIT").unwrap();
        init.join().unwrap().unwrap();
        // One may have begun before `init` did.
        assert!(inspections <= Some(1) && found.is_empty(), "{inspections:?} {found:?}");
    });
    assert!(!is_running(&mut root));
    wait_until("the difference to be found", || found(&watch).iter().any(|what| what.contains("publish: accepts")));
}

#[test]
fn running_daemon_reports_what_is_missing_until_init_has_mended_it() {
    let instance = Instance::ready("watch_daemon");
    let mut conn = instance.conn();
    let port = own_port();
    let resqd = instance.resqd().args(["--poll-ms", "20"]).env("RESQ_HTTP", format!("127.0.0.1:{port}")).spawn_ready();
    conn.query_drop(SWAP).unwrap();
    conn.query_drop("DROP PROCEDURE res_number").unwrap();
    conn.query_drop("CALL publish('A', '1')").unwrap();
    let status: Json = serde_json::from_str(&instance.resqctl(["status", "--json"]).ok()).unwrap();
    assert_eq!(status["schema"].as_array().map(Vec::len), Some(3), "{status}");
    // Without the procedure no event is numbered; without the triggers jobs run all the same.
    wait_for_readiness(port, (503, 1, 2));
    instance.resqctl(["init"]).ok();
    wait_for_readiness(port, (200, 0, 0));
    instance.resqctl(["add", "a"]).ok();
    wait_until("the events to be numbered", || {
        conn.query_first::<u64, _>("SELECT COUNT(*) FROM res_event WHERE state IN ('A', 'New', 'Completed')").unwrap()
            == Some(3)
    });
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0));
    let lines = |part: &str| finished.stderr.matches(part).count();
    assert_eq!(lines("is on the table q_old; changes in res_queue cause no events; resqd goes on"), 2, "{finished}");
    assert_eq!(lines("schema: all of resq's own objects are in order again"), 1, "{finished}");
    assert_eq!(lines("[WARN ] schema: "), 4, "{finished}");
}

/// Waits for this status of `/readyz` and so many problems of the schema: those that keep the daemon from being ready, and
/// others.
pub fn wait_for_readiness(port: u16, expected: (u16, usize, usize)) {
    wait_or_report(DEADLINE, &format!("/readyz to answer {expected:?}"), || {
        let answer = http(port, "GET /readyz", "");
        let json = answer.json();
        let count = |list: &str| {
            let found = json[list].as_array().into_iter().flatten();
            found.filter(|finding| finding["check"] == "schema").count()
        };
        match (answer.status, count("reasons"), count("warnings")) == expected {
            true => Ok(()),
            false => Err(answer.body.clone()),
        }
    });
}
