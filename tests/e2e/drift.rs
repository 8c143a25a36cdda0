//! `resqctl check`: what was changed by hand in a resource's database is reported, and nothing else is.

mod adopt;
mod changes;
mod kept;

use std::collections::BTreeMap;

use mysql::{Conn, prelude::Queryable};
use serde_json::Value as Json;

use resq_test_support::{Instance, Running, wait_until};

use changes::{CHANGES, FILES, HARMLESS};

fn resqd(instance: &Instance, files: &[(&str, &str)]) -> Running {
    let sql = instance.sql_dir(files);
    instance.resqd().arg("--sql-dir").arg(sql).args(["--poll-ms", "20"]).spawn_ready()
}

/// Enqueues these names and waits until each has its database; returns the databases in their order, with the job's id.
fn built(instance: &Instance, names: &[String]) -> Vec<(u64, String)> {
    let mut conn = instance.conn();
    for name in names {
        conn.exec_drop("INSERT INTO res_queue (res_name) VALUES (?)", (name,)).unwrap();
    }
    wait_until("the databases", || {
        let open: u64 =
            conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status IN ('new', 'in_progress')").unwrap().unwrap();
        let failed: Vec<String> = conn.query("SELECT last_error FROM res_queue WHERE status = 'error'").unwrap();
        assert_eq!(failed, Vec::<String>::new());
        open == 0
    });
    names
        .iter()
        .map(|name| {
            conn.exec_first("SELECT res_id, db_name FROM res_queue WHERE res_name = ?", (name,)).unwrap().unwrap()
        })
        .collect()
}

/// What `check` reports by JSON about each database: its state, or why it is unknown.
fn states(instance: &Instance, args: &[&str], code: i32) -> BTreeMap<String, (String, String)> {
    let sql = instance.dir().join("sql");
    let checked = instance.resqctl(["check", "--json"]).args(args).arg("--sql-dir").arg(sql).expect_code(code);
    let lines = checked.stdout.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let text = |json: &Json| json.as_str().unwrap_or_default().to_string();
    lines
        .filter(|line| line["db_name"].is_string())
        .map(|line| (text(&line["db_name"]), (text(&line["state"]), text(&line["why"]))))
        .collect()
}

/// What `check --all` prints for people: the lines below each database.
fn differences(instance: &Instance) -> BTreeMap<String, Vec<String>> {
    let sql = instance.dir().join("sql");
    let checked = instance.resqctl(["check", "--all"]).arg("--sql-dir").arg(sql).run();
    let (mut found, mut current) = (BTreeMap::<String, Vec<String>>::new(), String::new());
    for line in checked.stdout.lines() {
        match line.strip_prefix("  ") {
            Some(difference) => found.entry(current.clone()).or_default().push(difference.into()),
            None => current = line.split(" (job").next().unwrap_or_default().to_string(),
        }
    }
    assert_eq!(checked.code() == Some(1), !found.is_empty(), "{checked}");
    found
}

fn run(conn: &mut Conn, db: &str, script: &str) {
    // As in the sessions of templates; the server's default may be another.
    conn.query_drop(format!("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'; USE `{db}`"))
        .unwrap();
    conn.query_drop(script).unwrap_or_else(|e| panic!("{db}: {script}: {e}"));
}

fn scratch_left(conn: &mut Conn) -> Vec<String> {
    conn.query(
        "SELECT db_name FROM res_scratch UNION \
         SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'drift%scratch-%'",
    )
    .unwrap()
}

#[test]
fn what_was_changed_by_hand_is_reported_and_nothing_else_is() {
    let instance = Instance::ready("drift");
    let resqd = resqd(&instance, FILES);
    let mut names: Vec<String> = (0..CHANGES.len() + HARMLESS.len()).map(|n| format!("r{n}")).collect();
    names.extend(["it's ä \"b\" `c` \\ %".into(), "x".repeat(200)]);
    let databases = built(&instance, &names);
    let mut conn = instance.conn();
    assert_eq!(differences(&instance), BTreeMap::new());
    assert_eq!(scratch_left(&mut conn), Vec::<String>::new());

    let version: String = conn.query_first("SELECT VERSION()").unwrap().unwrap();
    let is_mysql = !version.contains("MariaDB");
    let mut expected = BTreeMap::new();
    // By the same account: MySQL hides the text of routines that another account has defined.
    let mut by_hand = instance.daemon.conn(instance.server);
    for ((script, reported), (_, db)) in CHANGES.iter().zip(&databases) {
        if script.contains("MyISAM") && is_mysql && instance.server.is_hostile() {
            println!("not tested: {script}: this server has no other engine");
            continue;
        }
        run(&mut by_hand, db, &script.replace("{db}", &format!("`{db}`")));
        let as_here = |line: &&str| match is_mysql {
            true => line.to_string(),
            // MariaDB prints fewer parentheses, and those of functions.
            false => [
                ("( e + 2 ), expected ( e + 1 )", "e + 2, expected e + 1"),
                ("( a <> 'no' ), expected ( a <> 'no''t' )", "a <> 'no', expected a <> 'no''t'"),
                ("current_timestamp", "current_timestamp()"),
                ("> 2 ), expected … plain . n > 1 )", "> 2, expected … plain . n > 1"),
            ]
            .iter()
            .fold(line.to_string(), |line, (mysql, mariadb)| line.replace(mysql, mariadb)),
        };
        expected.insert(db.clone(), reported.iter().map(as_here).collect::<Vec<_>>());
    }
    for ((script, (id, db)), name) in HARMLESS.iter().zip(&databases[CHANGES.len()..]).zip(&names[CHANGES.len()..]) {
        let check = if is_mysql { "p_chk_1" } else { "CONSTRAINT_1" };
        let script =
            script.replace("{db}", db).replace("{name}", &format!("'{name}'")).replace("{id}", &id.to_string());
        run(&mut by_hand, db, &script.replace("{check}", check));
    }
    let found = differences(&instance);
    for (db, lines) in &expected {
        assert_eq!(found.get(db), Some(lines), "{db}");
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_eq!(scratch_left(&mut conn), Vec::<String>::new());
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn each_database_is_compared_with_its_own_version() {
    let instance = Instance::ready("ownversion");
    let with = |column: &'static str| {
        [("res_db/10.sql", FILES[0].1), ("res_tables/10.sql", column), ("res_migrations/0001_words.sql", "SELECT 1")]
    };
    let (old, new) = ("CREATE TABLE a (n INT PRIMARY KEY)", "CREATE TABLE a (n INT PRIMARY KEY, m INT)");
    let first = resqd(&instance, &with(old)[..2]);
    let names = |range: std::ops::Range<u32>| range.map(|n| format!("r{n}")).collect::<Vec<_>>();
    let databases = built(&instance, &names(0..3));
    assert_eq!(first.stop().code(), Some(0));
    let second = resqd(&instance, &with(new)[..2]);
    built(&instance, &names(3..5));
    let mut conn = instance.conn();
    let same = |n: u32| (format!("ownversion_r{n}"), ("same".to_string(), String::new()));
    assert_eq!(states(&instance, &["--all"], 0), (0..5).map(same).collect());
    // One has got a migration, one is dropped by hand, one is being changed at this moment.
    conn.query_drop(
        "INSERT INTO res_migration (number, path, text) VALUES \
         (1, 'res_migrations/0001_more.sql', 'ALTER TABLE a ADD COLUMN more INT; UPDATE a SET more = 1')",
    )
    .unwrap();
    conn.query_drop(
        "UPDATE res_database SET version = 1 WHERE db_name = 'ownversion_r0'; \
         ALTER TABLE ownversion_r0.a ADD COLUMN more INT; DROP DATABASE ownversion_r1; \
         ALTER TABLE ownversion_r2.a ADD COLUMN half INT; ALTER TABLE ownversion_r3.a ADD COLUMN half INT",
    )
    .unwrap();
    let lock = "CONCAT('resq.', SHA2('ownversion_r2', 224))";
    conn.query_drop(format!("DO GET_LOCK({lock}, 0)")).unwrap();
    let found = states(&instance, &["--all"], 1);
    let state = |n: u32| found[&format!("ownversion_r{n}")].clone();
    assert_eq!([0, 1, 3, 4].map(|n| state(n).0), ["same", "differs", "differs", "same"]);
    assert!(state(2).0 == "unknown" && state(2).1.contains("at this moment"), "{:?}", state(2));
    conn.query_drop(format!("DO RELEASE_LOCK({lock})")).unwrap();
    let of = |id: u64, code| {
        states(&instance, &[&id.to_string()], code).into_values().map(|(state, _)| state).collect::<Vec<_>>()
    };
    assert_eq!((of(databases[0].0, 0), of(databases[2].0, 1)), (vec!["same".into()], vec!["differs".into()]));
    assert_eq!(states(&instance, &["--type", "other"], 0).len(), 0);
    // The files that built it were not kept; a migration that nothing here knows.
    conn.query_drop(
        "DELETE FROM res_template WHERE template_version = \
         (SELECT template_version FROM res_database WHERE db_name = 'ownversion_r2'); \
         UPDATE res_database SET version = 7 WHERE db_name = 'ownversion_r4'",
    )
    .unwrap();
    let found = states(&instance, &["--all"], 1);
    for (n, why) in [(0, "not kept"), (4, "version 7")] {
        let (state, text) = &found[&format!("ownversion_r{n}")];
        assert!(state == "unknown" && text.contains(why), "{n}: {text}");
    }
    instance.resqctl(["check"]).expect_code(2);
    // What a crash left is removed by the daemon; a database of that name that is in use is not.
    conn.query_drop("INSERT INTO res_scratch (db_name, purpose) VALUES ('ownversion_scratch-1', 'x'), \
         ('ownversion_scratch-2', 'x'); CREATE DATABASE `ownversion_scratch-1`; CREATE DATABASE `ownversion_scratch-2`; \
         DO GET_LOCK(CONCAT('resq.', SHA2('ownversion_scratch-2', 224)), 0)").unwrap();
    wait_until("the scratch database to go", || {
        let left: Vec<String> = conn.query("SELECT db_name FROM res_scratch").unwrap();
        left == ["ownversion_scratch-2"]
    });
    let left: Vec<String> = conn
        .query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'ownversion\\_scratch%'")
        .unwrap();
    assert_eq!(left, ["ownversion_scratch-2"]);
    assert_eq!(second.stop().code(), Some(0));
    conn.query_drop("DROP DATABASE `ownversion_scratch-2`").unwrap();
}
