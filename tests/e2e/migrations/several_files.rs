//! Files that change between a plan and the end of its rollout, and daemons of one fleet whose files are of different ages.

use mysql::prelude::Queryable;

use super::fleet::{Fleet, OLD, stop};

#[test]
fn rollout_runs_the_files_as_they_were_at_its_start_and_no_later_ones() {
    let fleet = Fleet::new("rollout_edited", 2);
    let mut conn = fleet.conn();
    let file = "res_migrations/0001_x.sql";
    fleet.add(&[(file, "ALTER TABLE a ADD planned INT")]);
    assert!(fleet.migrate(["plan"]).ok().contains("2 databases"));
    // Edited after the plan: the start takes it, and its proof looks at it.
    fleet.add(&[(file, "ALTER TABLE a ADD started INT")]);
    let refused = fleet.migrate(["start", "--yes"]).expect_code(1);
    assert!(refused.stdout.contains("column a.started: unexpected"), "{refused}");
    fleet.add(&[("res_tables/20.sql", "ALTER TABLE a ADD started INT")]);
    assert!(fleet.migrate(["start", "--yes"]).ok().contains(": 2 databases; follow it"));
    // Edited after the start: the texts are the rollout's.
    fleet.add(&[(file, "ALTER TABLE a ADD later INT")]);
    let resqd = fleet.resqd().spawn_ready();
    fleet.wait_for(&mut conn, "finished");
    let columns = ["planned", "started", "later"].map(|column| fleet.with_column(&mut conn, "a", column));
    assert_eq!(columns, [0, 2, 0]);
    // From here on the changed file is refused by name.
    let refused = fleet.migrate(["plan"]).expect_code(2);
    assert!(refused.stderr.contains("0001_x.sql: the file has changed"), "{refused}");
    stop(resqd);
    let refused = fleet.resqd().expect_code(2);
    assert!(refused.stderr.contains("0001_x.sql: the file has changed"), "{refused}");
}

#[test]
fn daemon_with_older_files_runs_the_rollout_and_what_it_builds_later_is_migrated_by_the_next() {
    let fleet = Fleet::new("rollout_older", 3);
    let mut conn = fleet.conn();
    let older = tempfile::tempdir().unwrap();
    for (path, text) in OLD {
        let path = older.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    fleet.add(&[
        ("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT; INSERT INTO b VALUES ({{RES_ID}})"),
        ("res_tables/20.sql", "ALTER TABLE a ADD x INT"),
    ]);
    let old_one = fleet.resqd_by(older.path()).spawn_ready();
    fleet.start([]);
    fleet.wait_for(&mut conn, "finished");
    assert_eq!(fleet.versions(&mut conn), [(1, 3)]);
    fleet.instance.resqctl(["add", "d0004"]).ok();
    fleet.instance.resqctl(["wait", "--timeout", "30"]).ok();
    assert_eq!(fleet.versions(&mut conn), [(0, 1), (1, 3)], "it counts as what its files are");
    assert!(fleet.migrate(["plan"]).ok().starts_with("1 database of type default at version 0 → 1"));
    let check = || fleet.instance.resqctl(["check", "--all"]).arg("--sql-dir").arg(&fleet.sql).ok();
    assert!(check().contains("4 databases checked: 4 as they should be"));
    // Both daemons take part.
    let new_one = fleet.resqd().spawn_ready();
    assert!(fleet.migrate(["start", "--yes"]).ok().contains(": 1 database; follow it"));
    fleet.wait_for(&mut conn, "finished");
    assert_eq!(fleet.versions(&mut conn), [(1, 4)]);
    for n in 1..=4 {
        let rows: Vec<u64> = conn.query(format!("SELECT id FROM `{}`.b", fleet.database(n))).unwrap();
        assert_eq!(rows, [fleet.id(&mut conn, n)], "once");
    }
    assert!(check().contains("4 databases checked: 4 as they should be"));
    [old_one, new_one].into_iter().for_each(stop);
}
