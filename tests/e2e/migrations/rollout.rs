//! Rollouts as operators use them, from the plan to the end.

use mysql::prelude::Queryable;

use super::fleet::{Fleet, stop};

const ADD_COLUMN: (&str, &str) = (
    "res_migrations/0001_note.sql",
    "ALTER TABLE a ADD note VARCHAR(100);\nUPDATE a SET note = {{RES_NAME}};\nINSERT INTO b VALUES ({{RES_ID}}), (100000)",
);

#[test]
fn every_database_gets_its_migrations_once_and_the_operator_sees_how() {
    let fleet = Fleet::new("rollout_all", 12);
    let mut conn = fleet.conn();
    assert!(fleet.migrate(["plan"]).ok().contains("every database has all migrations"));
    fleet.add(&[ADD_COLUMN, ("res_tables/20.sql", "ALTER TABLE a ADD note VARCHAR(100)")]);
    let plan = fleet.migrate(["plan"]).ok();
    assert!(
        plan.starts_with("12 databases of type default at version 0 → 1\n    res_migrations/0001_note.sql"),
        "{plan}"
    );
    let json: serde_json::Value = serde_json::from_str(&fleet.migrate(["plan", "--json"]).ok()).unwrap();
    assert_eq!((&json[0]["databases"], &json[0]["to"]), (&12.into(), &1.into()));
    let outdated = fleet.instance.resqctl(["databases", "--outdated", "--json"]).arg("--sql-dir").arg(&fleet.sql).ok();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&outdated).unwrap().as_array().unwrap().len(), 12);

    let shown = fleet.migrate(["start"]).expect_code(2);
    assert!(shown.stdout.contains("12 databases") && shown.stderr.contains("--yes"), "{shown}");
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_rollout").unwrap(), Some(0));

    let resqd = fleet.resqd().spawn_ready();
    let started = fleet.migrate(["start", "--yes", "--wave", "5", "--reason", "notes"]).ok();
    let lines: Vec<&str> = started.lines().collect();
    assert!(lines[0].starts_with("ok      type default, built at version 0") && lines.len() == 2, "{started}");
    assert!(lines[1].starts_with(&fleet.says(": 12 databases")), "{started}");
    let waited = fleet.newest("wait").args(["--timeout", "60"]).ok();
    assert!(waited.ends_with(&fleet.says(": finished, 12 of 12 migrated\n")), "{waited}");
    assert_eq!(fleet.versions(&mut conn), [(1, 12)]);
    for n in 1..=12 {
        let rows: u64 = conn.query_first(format!("SELECT COUNT(*) FROM `{}`.b", fleet.database(n))).unwrap().unwrap();
        assert_eq!(rows, 2, "rows are inserted once");
    }
    assert_eq!(fleet.with_column(&mut conn, "a", "note"), 12);

    assert!(fleet.start([]).contains("nothing was started"));
    fleet.instance.resqctl(["add", "built_later"]).ok();
    fleet.instance.resqctl(["wait", "--timeout", "30"]).ok();
    stop(resqd);
    assert_eq!(fleet.versions(&mut conn), [(1, 13)], "the template set counts as having it");

    let waves: Vec<(u32, u64)> =
        conn.query("SELECT wave, COUNT(*) FROM res_rollout_database GROUP BY wave ORDER BY wave").unwrap();
    assert_eq!(waves, [(0, 1), (1, 5), (2, 5), (3, 1)]);
    let migrated = fleet.events(&mut conn, "Migrated");
    let of = |n: u32| migrated.iter().find(|event| event["db_name"] == fleet.database(n)).unwrap();
    assert_eq!(migrated.len(), 12);
    assert_eq!((&of(3)["from"], &of(3)["to"], &of(3)["rollout"]), (&0.into(), &1.into(), &fleet.number().into()));
    assert_eq!(fleet.events(&mut conn, "RolloutFinished")[0]["migrated"], 12);
    let audited: Vec<(String, String, Option<String>, u64)> =
        conn.query("SELECT action, target, reason, count FROM res_audit WHERE action LIKE 'migrate%'").unwrap();
    assert_eq!(audited, [("migrate-start".into(), fleet.says(""), Some("notes".into()), 12)]);
    let changed = [("res_migrations/0001_note.sql", "ALTER TABLE a ADD note TEXT")];
    fleet.add(&changed);
    assert!(
        fleet.migrate(["plan"]).expect_code(2).stderr.contains("res_migrations/0001_note.sql: the file has changed")
    );
}

#[test]
fn canaries_are_confirmed_and_a_rollout_is_paused_resumed_and_aborted() {
    let fleet = Fleet::new("rollout_acts", 6);
    let mut conn = fleet.conn();
    fleet.add(&[("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT")]);
    let resqd = fleet.resqd().spawn_ready();
    fleet.start(["--canary", "2", "--wave", "2", "--confirm-canary"]);
    fleet.wait_for(&mut conn, "unconfirmed");
    assert_eq!(fleet.versions(&mut conn), [(0, 4), (1, 2)]);
    let other = fleet.migrate(["start", "--yes"]).expect_code(1);
    assert!(other.stderr.contains(&fleet.says("is unconfirmed")), "{other}");
    let waited = fleet.newest("wait").expect_code(1);
    assert!(waited.stderr.contains("resqctl migrate resume 1"), "{waited}");
    fleet.newest("pause").ok();
    fleet.wait_for(&mut conn, "paused");
    fleet.newest("resume").ok();
    fleet.wait_for(&mut conn, "unconfirmed");
    fleet.newest("abort").ok();
    assert_eq!(fleet.with_state(&mut conn, "skipped").len(), 4);
    for action in ["pause", "resume", "abort", "retry"] {
        let refused = fleet.newest(action).expect_code(1);
        assert!(refused.stderr.contains(&fleet.says("is aborted")), "{refused}");
    }
    assert!(fleet.migrate(["pause", "999"]).expect_code(1).stderr.contains("no rollout 999"));
    // What is left is the next one's.
    fleet.start(["--confirm-canary"]);
    fleet.wait_for(&mut conn, "unconfirmed");
    fleet.newest("resume").ok();
    fleet.newest("wait").args(["--timeout", "60"]).ok();
    assert_eq!(fleet.versions(&mut conn), [(1, 6)]);
    stop(resqd);
}
