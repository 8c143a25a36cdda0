//! What the registry knows of each database's version, and which files of migrations are refused.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{
    Instance,
    templates::{self, MINIMAL},
};

/// What tables of version 3 lack.
pub const OF_VERSION_4: &str = "
    ALTER TABLE res_database DROP INDEX res_database_version, DROP COLUMN version, DROP COLUMN built_version;
    DROP TABLE res_template, res_migration, res_ledger, res_rollout, res_rollout_file, res_rollout_database;
    DROP TABLE res_consumer, res_watch, res_watch_row;
    UPDATE res_meta SET value = '3' WHERE name = 'schema_version'";

fn versions(conn: &mut Conn) -> Vec<(String, u32, u32)> {
    conn.query("SELECT res_type, version, built_version FROM res_database ORDER BY res_id").unwrap()
}

#[test]
fn database_counts_as_having_the_migrations_of_its_type_and_those_of_older_installations_none() {
    let instance = Instance::ready("versions");
    let mut conn = instance.conn();
    let sql = instance.sql_dir(&templates::with(
        MINIMAL,
        &[
            ("res_tables/shop/10.sql", "CREATE TABLE built (n INT PRIMARY KEY)"),
            ("res_tables/blog/20.sql", "-- nothing\n"),
        ],
    ));
    let build = |name: &str, res_type: &str| {
        instance.resqctl(["add", name, "--type", res_type]).ok();
        let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn_ready();
        instance.resqctl(["wait", "--timeout", "30"]).ok();
        assert_eq!(resqd.stop().code(), Some(0));
    };
    build("old", "shop");
    conn.query_drop(OF_VERSION_4).unwrap();
    let finished = instance.resqd().expect_code(1);
    assert!(finished.stderr.contains("version 3") && finished.stderr.contains("resqctl init"), "{finished}");
    instance.resqctl(["init"]).ok();
    instance.resqctl(["init"]).ok();
    assert_eq!(versions(&mut conn), [("shop".into(), 0, 0)]);

    instance.sql_dir(&[
        ("res_migrations/0001_all.sql", "SELECT 1"),
        ("res_migrations/shop/0002_shop.sql", "ALTER TABLE built ADD extra INT"),
        ("res_migrations/blog/0003_blog.sql", "-- nothing\n"),
    ]);
    build("new", "shop");
    build("blog", "blog");
    build("default", "default");
    let expected = [("shop", 0), ("shop", 2), ("blog", 3), ("default", 1)];
    assert_eq!(versions(&mut conn), expected.map(|(res_type, version)| (res_type.into(), version, version)));
    // The files of each are kept, in their order.
    let kept: Vec<(u32, String)> = conn
        .query(
            "SELECT t.number, t.path FROM res_template t JOIN res_database d USING (template_version) \
                WHERE d.res_type = 'shop' AND d.version = 2 ORDER BY 1",
        )
        .unwrap();
    assert_eq!(kept, [(1, "res_db/10.sql".into()), (2, "res_tables/shop/10.sql".into())]);
}

#[test]
fn wrong_migration_stops_resqd_at_start_by_name() {
    let instance = Instance::ready("wrong_files");
    let mut conn = instance.conn();
    conn.query_drop(
        "INSERT INTO res_migration (number, path, text) VALUES (1, 'res_migrations/0001_a.sql', 'SELECT 1')",
    )
    .unwrap();
    for (files, expected) in [
        (vec![("res_migrations/0001_a.sql", "SELECT 2")], "res_migrations/0001_a.sql: the file has changed"),
        (vec![("res_migrations/0002_b.sql", "SELECT 2")], "res_migrations/0002_b.sql: there is no migration 1"),
        (vec![("res_migrations/none/0001_a.sql", "SELECT 1")], "res_migrations/none/0001_a.sql: there is no type"),
        (vec![("res_migrations/0001_a.sql", "SELECT {{X}}")], "res_migrations/0001_a.sql:1: unknown variable"),
        (vec![("res_migrations/a/b/0001_a.sql", "SELECT 1")], "res_migrations/a/b: unexpected folder"),
    ] {
        let sql = instance.sql_dir(&templates::with(MINIMAL, &files));
        let finished = instance.resqd().arg("--sql-dir").arg(&sql).expect_code(2);
        assert!(finished.stderr.contains(expected), "{finished}");
        std::fs::remove_dir_all(sql).unwrap();
    }
}
