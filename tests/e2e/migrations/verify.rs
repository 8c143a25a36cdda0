//! The proof of migrations in scratch databases, before a database is touched.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Server, templates};

/// What both the old and the new templates begin with.
const TABLES: &str = "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL DEFAULT 0, name VARCHAR(20) COLLATE utf8mb4_bin) \
                      CHARACTER SET utf8mb4; CREATE VIEW v AS SELECT id, n FROM t; \
                      CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 1";

/// What the new templates add; the migration; what `verify` says of it, or nothing if it is right.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    ("right", "ALTER TABLE t ADD x INT DEFAULT 5", "ALTER TABLE t ADD x INT DEFAULT 5", &[]),
    ("no_file", "ALTER TABLE t ADD x INT", "", &["column t.x: missing"]),
    ("column", "ALTER TABLE t ADD x INT, ADD y INT", "ALTER TABLE t ADD x INT", &["column t.y: missing"]),
    ("default", "ALTER TABLE t ADD x INT DEFAULT 5", "ALTER TABLE t ADD x INT", &["column t.x", "default"]),
    (
        "collation",
        "ALTER TABLE t MODIFY name VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        "ALTER TABLE t MODIFY name VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
        &["column t.name", "collation"],
    ),
    ("index", "ALTER TABLE t ADD x INT, ADD KEY k (x)", "ALTER TABLE t ADD x INT", &["index", "missing"]),
    ("order", "ALTER TABLE t ADD x INT AFTER id", "ALTER TABLE t ADD x INT", &["t"]),
    (
        "trigger",
        "DROP TRIGGER g; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 2",
        "DROP TRIGGER g; CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.n = NEW.n + 3",
        &["trigger", "g"],
    ),
    ("view", "DROP TRIGGER g; DROP VIEW v; ALTER TABLE t DROP n", "DROP TRIGGER g; ALTER TABLE t DROP n", &["view v"]),
    ("syntax", "ALTER TABLE t ADD x INT", "ALTER TABEL t ADD x INT", &["fails", "0001_case.sql, statement 1", "1064"]),
];

#[test]
fn migrations_that_do_not_lead_to_the_templates_are_refused_before_anything_is_touched() {
    let instance = Instance::ready("verify");
    let mut conn = instance.conn();
    let base = |name: &str| {
        let dir = instance.dir().join(name);
        for (path, text) in [("res_db/10.sql", templates::CREATE), ("res_tables/10.sql", TABLES)] {
            write(&dir, path, text);
        }
        // A type of its own for each case, so that all are of one installation.
        CASES.iter().for_each(|(case, ..)| write(&dir, &format!("res_tables/{case}/10.sql"), "-- as all others\n"));
        dir
    };
    let old = base("old");
    CASES.iter().for_each(|(case, ..)| drop(instance.resqctl(["add", case, "--type", case]).ok()));
    let resqd = instance.resqd().arg("--sql-dir").arg(&old).spawn_ready();
    instance.resqctl(["wait", "--timeout", "60"]).ok();
    assert_eq!(resqd.stop().code(), Some(0));
    for (case, template, migration, expected) in CASES {
        let new = base(&format!("new_{case}"));
        write(&new, &format!("res_tables/{case}/20.sql"), template);
        if !migration.is_empty() {
            write(&new, &format!("res_migrations/{case}/0001_case.sql"), migration);
        }
        let verify = |action: &str| {
            let program = instance.resqctl(["migrate", action, "--type", case]).arg("--sql-dir").arg(&new);
            if action == "start" { program.arg("--yes").run() } else { program.run() }
        };
        let finished = verify("verify");
        assert_eq!(finished.code(), Some(i32::from(!expected.is_empty())), "{case}: {finished}");
        assert!(finished.stdout.lines().count() > 0, "{case}: {finished}");
        for fact in *expected {
            assert!(finished.stdout.contains(fact), "{case}, {fact}: {finished}");
        }
        if !expected.is_empty() {
            let finished = verify("start");
            assert!(
                finished.code() == Some(1) && finished.stderr.contains("nothing was started"),
                "{case}: {finished}"
            );
        }
    }
    // One for the wrong type: it fails there, and is missing where it belongs.
    let new = base("new_wrong");
    write(&new, "res_tables/column/20.sql", "CREATE TABLE u (id INT PRIMARY KEY)");
    write(&new, "res_migrations/index/0001_wrong.sql", "CREATE TABLE u (id INT PRIMARY KEY)");
    let wrong = instance.resqctl(["migrate", "verify"]).arg("--sql-dir").arg(&new).expect_code(1);
    for fact in
        ["differs type column", "table u: missing", "differs type index", "table u: unexpected", "ok      type view"]
    {
        assert!(wrong.stdout.contains(fact), "{fact}: {wrong}");
    }
    // Templates that were not kept prove nothing.
    conn.query_drop("DELETE FROM res_template").unwrap();
    let new = base("new_right");
    write(&new, "res_tables/right/20.sql", "ALTER TABLE t ADD x INT");
    let unknown = instance.resqctl(["migrate", "verify", "--type", "right"]).arg("--sql-dir").arg(&new).expect_code(1);
    assert!(unknown.stdout.contains("unknown type right"), "{unknown}");
    assert!(unknown.stderr.contains("whose templates were not kept"), "{unknown}");
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_rollout").unwrap(), Some(0));
    let pattern = format!("{}scratch%", instance.db_prefix.replace('_', "\\_"));
    let left: Vec<String> = Server::shared().conn().query(format!("SHOW DATABASES LIKE '{pattern}'")).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

fn write(dir: &std::path::Path, path: &str, text: &str) {
    let path = dir.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
