//! What goes wrong in a rollout: statements that fail in one database, locks that are held, files that change, databases
//! that are gone, several operators.

use mysql::prelude::Queryable;
use resq_test_support::{Server, wait_until, warnings};

use super::fleet::{Fleet, stop};

#[test]
fn failures_are_named_and_halt_the_rollout_and_are_tried_again_when_mended() {
    let fleet = Fleet::new("rollout_fails", 8);
    let mut conn = fleet.conn();
    let (duplicate, other) = (fleet.database(3), fleet.database(5));
    conn.query_drop(format!(
        "ALTER TABLE `{duplicate}`.b ADD n INT; INSERT INTO `{duplicate}`.b VALUES (1, 1), (2, 1)"
    ))
    .unwrap();
    fleet.add(&[
        (
            "res_migrations/0001_first.sql",
            "CREATE TABLE IF NOT EXISTS first (id INT PRIMARY KEY); ALTER TABLE a ADD x INT",
        ),
        (
            "res_migrations/0002_second.sql",
            "ALTER TABLE c ADD y INT;\nALTER TABLE b ADD IF_NOT_THERE INT;\nINSERT INTO a (id) VALUES (1);\n\
             ALTER TABLE a ADD UNIQUE KEY u (x)",
        ),
    ]);
    // One has a row that the second statement of the rows does not fit, one a column that the second file adds.
    conn.query_drop(format!("INSERT INTO `{duplicate}`.a VALUES (1)")).unwrap();
    conn.query_drop(format!("ALTER TABLE `{other}`.b ADD IF_NOT_THERE INT")).unwrap();
    let resqd = fleet.resqd().spawn_ready();
    fleet.start(["--max-failures", "2"]);
    let waited = fleet.newest("wait").args(["--timeout", "60"]).expect_code(1);
    assert!(waited.stderr.contains("6 of 8 migrated, 2 failed"), "{waited}");
    let failed = fleet.with_state(&mut conn, "failed");
    assert_eq!(failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), [&duplicate, &other]);
    let message = |n: usize| failed[n].1.as_deref().unwrap();
    for (n, facts) in [
        (0, [duplicate.as_str(), "res_migrations/0002_second.sql", "statement 3", "1062"]),
        (1, [other.as_str(), "res_migrations/0002_second.sql", "statement 2", "1060"]),
    ] {
        facts.iter().for_each(|fact| assert!(message(n).contains(fact), "{fact}: {}", message(n)));
        let status = fleet.newest("status").ok();
        let words = "Duplicate";
        facts.iter().chain([&words]).for_each(|fact| assert!(status.contains(fact), "{fact}: {status}"));
    }
    let recorded: Vec<String> = conn.query("SELECT message FROM res_error ORDER BY res_id").unwrap();
    assert_eq!(recorded, [message(0), message(1)]);
    let events = fleet.events(&mut conn, "MigrationFailed");
    assert!(events.iter().any(|e| e["db_name"] == *duplicate && e["statement"] == 3), "{events:?}");
    // The first file stays, and of the second what was done.
    let reached: Vec<(u32, u32, bool)> =
        conn.exec("SELECT number, statement, is_done FROM res_ledger WHERE db_name = ? ORDER BY 1", (&other,)).unwrap();
    assert_eq!(reached, [(1, 2, true), (2, 1, true)]);
    // Without the interruption of a statement, what is there already is no success: it is mended by hand, then tried again.
    conn.query_drop(format!("ALTER TABLE `{other}`.b DROP IF_NOT_THERE; DELETE FROM `{duplicate}`.a")).unwrap();
    fleet.newest("retry").ok();
    fleet.newest("wait").args(["--timeout", "60"]).ok();
    assert_eq!(fleet.versions(&mut conn), [(2, 8)]);
    let finished = resqd.stop();
    assert_eq!((finished.code(), warnings(&finished.stderr).len()), (Some(0), 2), "{finished}");
}

#[test]
fn syntax_error_halts_after_the_canary_and_the_file_may_be_mended_behind_what_was_done() {
    let fleet = Fleet::new("rollout_syntax", 5);
    let mut conn = fleet.conn();
    let resqd = fleet.resqd().spawn_ready();
    let file = "res_migrations/0001_x.sql";
    fleet.add(&[(file, "ALTER TABLE a ADD x INT;\nALTER TABEL b ADD x INT;\nALTER TABLE c ADD x INT")]);
    fleet.start([]);
    fleet.wait_for(&mut conn, "halted");
    assert_eq!(fleet.versions(&mut conn), [(0, 5)]);
    let message = fleet.with_state(&mut conn, "failed")[0].1.clone().unwrap();
    assert!(message.contains("statement 2") && message.contains("1064"), "{message}");
    assert_eq!(fleet.events(&mut conn, "RolloutHalted").len(), 1);
    fleet.newest("abort").ok();
    // What was done in the canary must not change, what follows may.
    fleet.add(&[(file, "ALTER TABLE a ADD other INT;\nALTER TABLE b ADD x INT")]);
    fleet.start([]);
    fleet.wait_for(&mut conn, "halted");
    let message = fleet.with_state(&mut conn, "failed").pop().unwrap().1.unwrap();
    assert!(message.contains("has changed since this database got its statements up to 1"), "{message}");
    fleet.newest("abort").ok();
    fleet.add(&[(file, "ALTER TABLE a ADD x INT;\nALTER TABLE b ADD x INT;\nALTER TABLE c ADD x INT")]);
    fleet.start([]);
    fleet.newest("wait").args(["--timeout", "60"]).ok();
    for table in ["a", "b", "c"] {
        assert_eq!(fleet.with_column(&mut conn, table, "x"), 5, "{table}");
    }
    stop(resqd);
}

#[test]
fn held_lock_is_waited_for_and_costs_no_failure() {
    if Server::shared().kind() == "galera" {
        return println!("not tested: on Galera DDL ends the transactions that are in its way");
    }
    let fleet = Fleet::new("rollout_lock", 3);
    let mut conn = fleet.conn();
    fleet.add(&[("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT")]);
    let mut application = fleet.instance.server.conn();
    application.query_drop(format!("START TRANSACTION; SELECT * FROM `{}`.a", fleet.database(1))).unwrap();
    let resqd = fleet.resqd().spawn_ready();
    fleet.start([]);
    wait_until("the lost wait", || {
        fleet
            .with_state(&mut conn, "waiting")
            .iter()
            .any(|(_, message)| message.as_deref().is_some_and(|m| m.contains("1205")))
    });
    let status = fleet.newest("status").ok();
    assert!(status.contains("waiting") && status.contains("1205"), "{status}");
    application.query_drop("COMMIT").unwrap();
    fleet.newest("wait").args(["--timeout", "60"]).ok();
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_error").unwrap(), Some(0));
    stop(resqd);
}

#[test]
fn databases_that_are_gone_or_unknown_are_named_and_left_alone() {
    let fleet = Fleet::new("rollout_gone", 6);
    let mut conn = fleet.conn();
    fleet.add(&[("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT")]);
    let gone = fleet.database(2);
    conn.query_drop(format!("DROP DATABASE `{gone}`")).unwrap();
    // Renamed by hand: all of it is in another database now.
    let (renamed, to) = (fleet.database(6), format!("{}elsewhere", fleet.instance.db_prefix));
    let tables = ["a", "b", "c"].map(|table| format!("`{renamed}`.{table} TO `{to}`.{table}")).join(", ");
    conn.query_drop(format!("CREATE DATABASE `{to}`; RENAME TABLE {tables}; DROP DATABASE `{renamed}`")).unwrap();
    // One is at a version of newer files, one has a type that is not here, one is dropped meanwhile.
    let mut set = |n, what: &str| {
        conn.query_drop(format!("UPDATE res_database SET {what} WHERE db_name = '{}'", fleet.database(n))).unwrap();
    };
    set(3, "version = 7");
    set(4, "res_type = 'elsewhere'");
    let plan = fleet.migrate(["plan"]).ok();
    assert!(plan.contains("1 database of type default at version 7: left alone"), "{plan}");
    assert!(plan.contains("1 database of type elsewhere at version 0: left alone"), "{plan}");
    fleet.start(["--max-failures", "2", "--confirm-canary"]);
    let ids = [2, 5, 6].map(|n| fleet.id(&mut conn, n));
    fleet.instance.resqctl(["drop", &ids[1].to_string(), "--yes"]).ok();
    let resqd = fleet.resqd().spawn_ready();
    fleet.wait_for(&mut conn, "unconfirmed");
    fleet.newest("resume").ok();
    fleet.wait_for(&mut conn, "finished");
    let failed = fleet.with_state(&mut conn, "failed");
    assert_eq!(failed.len(), 2, "{failed:?}");
    for ((db_name, message), (expected, id)) in failed.iter().zip([(gone, ids[0]), (renamed, ids[2])]) {
        let advice = format!("resqctl drop {id}");
        assert!(*db_name == expected && message.as_deref().unwrap().contains(&advice), "{failed:?}");
    }
    let columns = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = 'a'";
    assert_eq!(conn.exec_first(columns, (&to,)).unwrap(), Some(1), "the renamed one is left alone");
    let skipped = fleet.with_state(&mut conn, "skipped");
    assert_eq!(skipped.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), [fleet.database(5)]);
    let left: Vec<(String, u32)> = conn.query("SELECT res_type, version FROM res_database ORDER BY res_id").unwrap();
    let expected = [("default", 1), ("default", 0), ("default", 7), ("elsewhere", 0), ("default", 0)];
    assert_eq!(left, expected.map(|(name, version)| (name.to_string(), version)));
    stop(resqd);
}

#[test]
fn two_operators_start_one_rollout_and_daemons_run_its_files_whatever_theirs_are() {
    let fleet = Fleet::new("rollout_two", 6);
    let mut conn = fleet.conn();
    // These daemons have no migrations on disk.
    let daemons = [fleet.resqd().spawn_ready(), fleet.resqd().spawn_ready()];
    let name = "x".repeat(63 - fleet.instance.db_prefix.len());
    fleet.instance.resqctl(["add", &name]).ok();
    fleet.instance.resqctl(["add", "it's a `name`"]).ok();
    fleet.instance.resqctl(["wait", "--timeout", "30"]).ok();
    let newer = tempfile::tempdir().unwrap();
    for (path, text) in super::fleet::OLD.iter().chain(&[(
        "res_migrations/0001_x.sql",
        "CREATE TABLE {{RES_DB_NAME}}.named (name VARCHAR(255) NOT NULL PRIMARY KEY); INSERT INTO named VALUES ({{RES_NAME}})",
    )]) {
        let path = newer.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let starting: Vec<_> =
        (0..4).map(|_| fleet.migrate_by(newer.path(), ["start", "--yes", "--no-verify"]).spawn()).collect();
    let codes: Vec<_> = starting.into_iter().map(|program| program.wait()).collect();
    let started = codes.iter().filter(|finished| finished.stdout.contains(": 8 databases; follow it")).count();
    assert_eq!(started, 1, "{codes:?}");
    for refused in codes.iter().filter(|finished| !finished.stdout.starts_with("rollout")) {
        let is_late = refused.stdout.contains("nothing was started");
        assert!(is_late || refused.stderr.contains(&fleet.says("is")), "{refused}");
    }
    fleet.wait_for(&mut conn, "finished");
    assert_eq!(fleet.versions(&mut conn), [(1, 8)]);
    let long = format!("{}{name}", fleet.instance.db_prefix);
    let quoted: String = conn.query_first("SELECT db_name FROM res_queue WHERE res_name LIKE 'it%'").unwrap().unwrap();
    for (db_name, expected) in [(long, name.as_str()), (quoted, "it's a `name`")] {
        let found: Option<String> = conn.query_first(format!("SELECT name FROM `{db_name}`.named")).unwrap();
        assert_eq!(found.as_deref(), Some(expected));
    }
    daemons.into_iter().for_each(stop);
}
