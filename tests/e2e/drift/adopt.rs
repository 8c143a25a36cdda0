//! `resqctl adopt`: databases that were made by others.

use mysql::prelude::Queryable;

use resq_test_support::{Instance, wait_until};

use super::{changes::FILES, states};

#[test]
fn databases_made_by_hand_are_adopted_unless_they_differ() {
    let instance = Instance::ready("adopted");
    let sql = instance.sql_dir(&[
        FILES[0],
        (
            "res_tables/10.sql",
            "CREATE TABLE a (n INT AUTO_INCREMENT PRIMARY KEY, m VARCHAR(10) DEFAULT 'x', KEY (m)); \
                               CREATE VIEW v AS SELECT n FROM a; \
                               CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.m = 'y'",
        ),
        ("res_tables/shop/10.sql", "CREATE TABLE s (n INT PRIMARY KEY)"),
    ]);
    let adopt = |args: &[&str]| instance.resqctl(["adopt"]).args(args).arg("--sql-dir").arg(&sql);
    let mut root = instance.server.conn();
    let mut names: Vec<String> = (0..97).map(|n| format!("adopted_{n:02}")).collect();
    names.extend(["adopted_it's ü `x`".to_string(), "adopted_a-b".into(), "adopted_1 2".into()]);
    for (n, name) in names.iter().enumerate() {
        let name = name.replace('`', "``");
        let default = if n == 41 { "y" } else { "x" };
        root.query_drop(format!(
            "CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci; USE `{name}`; \
             CREATE TABLE a (n INT(11) NOT NULL AUTO_INCREMENT, m VARCHAR(10) DEFAULT '{default}', \
             PRIMARY KEY (n), KEY m (m)) AUTO_INCREMENT = 50; INSERT INTO a (m) VALUES ('kept'); \
             CREATE VIEW v AS SELECT n FROM a; \
             CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.m = 'y'"
        ))
        .unwrap();
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let printed = adopt(&all).expect_code(1);
    assert!(printed.stdout.contains("99 databases adopted, 1 refused"), "{printed}");
    assert!(
        printed.stdout.contains("adopted_41: refused: 1 difference\n  column a.m: default is 'y', expected 'x'\n"),
        "{printed}"
    );
    let mut conn = instance.conn();
    let registered: u64 = conn
        .query_first(
            "SELECT COUNT(*) FROM res_database d JOIN res_queue q ON q.res_id = d.res_id AND q.db_name = d.db_name \
             WHERE d.state = 'ready' AND q.status = 'done'",
        )
        .unwrap()
        .unwrap();
    assert_eq!(registered, 99);
    let audited: u64 = conn.query_first("SELECT COUNT(*) FROM res_audit WHERE action = 'adopt'").unwrap().unwrap();
    assert_eq!(audited, 99);
    let kept: Vec<String> = root.query("SELECT m FROM `adopted_it's ü ``x```.a").unwrap();
    assert_eq!(kept, ["kept"]);
    assert_eq!(states(&instance, &["--all"], 0).len(), 99);

    // What is refused, and why.
    conn.query_drop(
        "DROP DATABASE IF EXISTS otherqueue; CREATE DATABASE otherqueue; CREATE TABLE otherqueue.res_queue (a INT); \
         CREATE TABLE otherqueue.res_meta (a INT); CREATE TABLE otherqueue.res_database (a INT)",
    )
    .unwrap();
    let user = &instance.daemon.user;
    root.query_drop(format!("GRANT SELECT ON otherqueue.* TO '{user}'@'%'")).unwrap();
    for (name, why) in [
        ("mysql", "server's own"),
        ("information_schema", "server's own"),
        (&instance.global_db, "holds the queue"),
        ("adopted_00", "belongs to job"),
        ("adopted_none", "no database of this name"),
        ("ADOPTED_01", "no database of this name"),
        ("adopted_scratch-0123456789abcdef", "scratch"),
        ("otherqueue", "another installation"),
    ] {
        let refused = adopt(&[name]).expect_code(1);
        assert!(refused.stdout.contains("refused") && refused.stdout.contains(why), "{name}: {refused}");
    }
    conn.query_drop("DROP DATABASE otherqueue").unwrap();
    for (args, why) in [
        (vec!["adopted_41", "--type", "none"], "known types"),
        (vec!["adopted_41", "--version", "3"], "newest version is 0"),
    ] {
        let refused = adopt(&args).expect_code(1);
        assert!(refused.stderr.contains(why), "{refused}");
    }
    adopt(&["adopted_41", "adopted_41", "--name", "x"]).expect_code(2);
    let shop = adopt(&["adopted_41", "--type", "shop"]).expect_code(1);
    assert!(shop.stdout.contains("table s: missing"), "{shop}");
    let forced = adopt(&["adopted_41", "--name", "forty one", "--force", "--reason", "seen"]).ok();
    assert!(forced.contains("adopted as job") && forced.contains("default is 'y'"), "{forced}");
    let row: (String, String) = conn
        .query_first(
            "SELECT q.res_name, a.reason FROM res_queue q, res_audit a \
             WHERE q.db_name = 'adopted_41' AND a.target LIKE 'database adopted\\_41 as job %'",
        )
        .unwrap()
        .unwrap();
    assert_eq!(row, ("forty one".to_string(), "seen".to_string()));
    // From here on they are resq's: a job of the same name is refused, and they are dropped like others.
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).args(["--poll-ms", "20"]).spawn_ready();
    let id: u64 = instance.resqctl(["add", "00"]).ok().trim().parse().unwrap();
    wait_until("the refusal", || {
        let sql = format!("SELECT last_error FROM res_queue WHERE res_id = {id} AND status = 'error'");
        conn.query_first::<String, _>(sql).unwrap().is_some_and(|error| error.contains("belongs to job"))
    });
    instance.resqctl(["clear", "--all", "--yes"]).ok();
    let left: Vec<String> =
        conn.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'adopted\\_%'").unwrap();
    assert_eq!(left, Vec::<String>::new());
    assert_eq!(resqd.stop().code(), Some(0));
}
