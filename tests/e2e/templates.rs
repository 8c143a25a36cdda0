//! Wrong templates: reported at start with file and line, or in the job with file and statement.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, templates, wait_until};

const CREATE: (&str, &str) = templates::MINIMAL[0];

#[test]
fn failing_statement_is_named_and_leaves_no_database() {
    let instance = Instance::ready("second");
    let sql = instance.sql_dir(&[
        CREATE,
        (
            "res_tables/10.sql",
            "CREATE TABLE a (x INT);\nCREATE PROCEDURE p() BEGIN SELECT 1; SELECT ';'; END;\n\
             CREATE TABEL b (x INT);\n-- end\n",
        ),
        ("res_tables/later/10.sql", "CREATE TABLE a (y INT)"),
    ]);
    let mut conn = instance.conn();
    instance.app().query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('a', 'default')").unwrap();
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    wait_until("the error", || conn.query_first("SELECT 1 FROM res_queue WHERE status = 'error'").unwrap() == Some(1));
    let (error, attempts): (String, u32) =
        conn.query_first("SELECT last_error, attempts FROM res_queue").unwrap().unwrap();
    for fact in ["res_tables/10.sql", "statement 3", "1064"] {
        assert!(error.contains(fact), "{fact}: {error}");
    }
    assert_eq!(attempts, 1, "a syntax error is permanent");
    assert_eq!(resqd.stop().code(), Some(0));
    assert_eq!(conn.query_first::<String, _>("SHOW DATABASES LIKE 'second\\_%'").unwrap(), None);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_database").unwrap(), Some(0));
}

#[test]
fn other_errors_are_retried_up_to_the_limit_and_recorded() {
    let instance = Instance::ready("history");
    let sql =
        instance.sql_dir(&[CREATE, ("res_tables/10.sql", "CREATE TABLE a (x INT); INSERT INTO nowhere VALUES (1)")]);
    let mut conn = instance.conn();
    instance.app().query_drop("INSERT INTO res_queue (res_name, max_attempts) VALUES ('a', 3)").unwrap();
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    wait_until("the error", || conn.query_first("SELECT 1 FROM res_queue WHERE status = 'error'").unwrap() == Some(1));
    assert_eq!(resqd.stop().code(), Some(0));
    let shown: serde_json::Value = serde_json::from_str(&instance.resqctl(["show", "1", "--json"]).ok()).unwrap();
    let errors = shown["errors"].as_array().unwrap();
    assert_eq!(errors.iter().map(|error| error["attempt"].as_u64()).collect::<Vec<_>>(), [1, 2, 3].map(Some));
    for fact in ["res_tables/10.sql", "statement 2", "1146"] {
        assert!(errors[0]["message"].as_str().unwrap().contains(fact), "{fact}: {shown}");
    }
    assert_eq!(conn.query_first::<String, _>("SHOW DATABASES LIKE 'history\\_%'").unwrap(), None);
}

#[test]
fn wrong_template_stops_resqd_at_start_with_file_and_line() {
    let instance = Instance::ready("bad_files");
    let refused = |files: &[(&str, &str)], place: &str, variable: &str| {
        let sql = instance.sql_dir(&[&[CREATE], files].concat());
        let finished = instance.resqd().arg("--sql-dir").arg(&sql).expect_code(2);
        assert!(finished.stderr.contains(place) && finished.stderr.contains(variable), "{finished}");
        std::fs::remove_dir_all(sql).unwrap();
    };
    refused(&[("res_tables/10.sql", "SELECT 1;\nSELECT {{NOPE}}")], "res_tables/10.sql:2", "{{NOPE}}");
    refused(&[("res_tables/x/10.sql", "SELECT '{{RES_NAME}}'")], "res_tables/x/10.sql:1", "{{RES_NAME}}");
    refused(&[("init_tables/10.sql", "SELECT {{RES_ID}}")], "init_tables/10.sql:1", "{{RES_ID}}");
    let sql = instance.sql_dir(&[CREATE]);
    std::fs::create_dir_all(sql.join("res_tables")).unwrap();
    std::fs::write(sql.join("res_tables/20.sql"), b"SELECT 1;\n\xc3\x28").unwrap();
    let finished = instance.resqd().arg("--sql-dir").arg(&sql).expect_code(2);
    assert!(finished.stderr.contains("20.sql:2"), "{finished}");
    // Root may read every file, so the unreadable file is one that does not exist.
    std::fs::remove_file(sql.join("res_tables/20.sql")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all.sql", sql.join("res_tables/20.sql")).unwrap();
    let finished = instance.resqd().arg("--sql-dir").arg(&sql).expect_code(2);
    assert!(finished.stderr.contains("20.sql"), "{finished}");
    let finished = instance.resqd().args(["--sql-dir", "/nowhere"]).expect_code(2);
    assert!(finished.stderr.contains("/nowhere"), "{finished}");
}

#[test]
fn values_stay_quoted_whatever_sql_mode_a_template_sets() {
    let instance = Instance::ready("escapes");
    let sql = instance.sql_dir(&[
        CREATE,
        ("res_tables/10.sql", "SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'; CREATE TABLE a (x VARCHAR(99))"),
        ("res_tables/20.sql", "INSERT INTO a VALUES ({{RES_NAME}})"),
        ("res_tables/empty/notes.txt", "a type without files is a type"),
    ]);
    let mut conn = instance.conn();
    let name = "x\\'); DROP TABLE a; -- ";
    instance.app().exec_drop("INSERT INTO res_queue (res_name, res_type) VALUES (?, 'empty')", (name,)).unwrap();
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    assert_eq!(resqd.stop().code(), Some(0));
    let db_name: String = conn.query_first("SELECT db_name FROM res_queue").unwrap().unwrap();
    let stored: Option<String> = conn.query_first(format!("SELECT x FROM {db_name}.a")).unwrap();
    assert_eq!(stored.as_deref(), Some(name));
}

#[test]
fn session_state_of_one_job_does_not_reach_the_next() {
    let instance = Instance::ready("session");
    let sql = instance.sql_dir(&[
        // Without a current database: a stray table must not end up in the previous resource.
        (
            "res_db/10.sql",
            "SET @db = COALESCE(DATABASE(), 'none'); CREATE DATABASE {{RES_DB_NAME}}; \
             CREATE TABLE {{RES_DB_NAME}}.seen AS SELECT CONCAT(@db, @@sql_mode, COALESCE(@left, 'clean')) AS seen",
        ),
        (
            "res_tables/10.sql",
            "SET @left = 'dirt', SESSION sql_mode = 'ANSI_QUOTES'; DO GET_LOCK('session_dirt', 0); \
             CREATE TEMPORARY TABLE t (a INT)",
        ),
    ]);
    instance.resqctl(["seed", "--count", "6", "--prefix", "s"]).ok();
    let resqd = instance.resqd().args(["--workers", "1"]).arg("--sql-dir").arg(&sql).spawn();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    assert_eq!(resqd.stop().code(), Some(0));
    let mut conn = instance.conn();
    let made: Vec<String> = conn.query("SELECT db_name FROM res_queue WHERE status = 'done'").unwrap();
    assert_eq!(made.len(), 6);
    for db_name in made {
        let seen: String = conn.query_first(format!("SELECT seen FROM {db_name}.seen")).unwrap().unwrap();
        assert_eq!(seen, "noneSTRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTIONclean", "{db_name}");
    }
}

#[test]
fn files_that_expect_a_fresh_session_have_one_behind_files_that_need_none() {
    let instance = Instance::ready("fresh");
    let sql = instance.sql_dir(&[
        CREATE,
        (
            "res_tables/plain/10.sql",
            "CREATE TABLE a (x INT AUTO_INCREMENT PRIMARY KEY, y INT); INSERT INTO a (y) VALUES ({{RES_ID}}), (7)",
        ),
        ("res_tables/seeing/10.sql", "CREATE TABLE seen AS SELECT LAST_INSERT_ID() AS id, DATABASE() AS db"),
        ("res_tables/seeing/20.sql", "CREATE TABLE later (x INT)"),
    ]);
    let mut conn = instance.conn();
    let types: Vec<String> =
        (0..12).map(|n| format!("('{n}', '{}')", if n % 4 == 3 { "seeing" } else { "plain" })).collect();
    let rows = format!("INSERT INTO res_queue (res_name, res_type) VALUES {}", types.join(","));
    instance.app().query_drop(rows).unwrap();
    let resqd = instance.resqd().args(["--workers", "1"]).arg("--sql-dir").arg(&sql).spawn();
    instance.resqctl(["wait", "--timeout", "30"]).ok();
    assert_eq!(resqd.stop().code(), Some(0));
    let built: Vec<(u64, String, String)> =
        conn.query("SELECT res_id, res_type, db_name FROM res_queue WHERE status = 'done'").unwrap();
    assert_eq!(built.len(), 12);
    for (id, res_type, db_name) in built {
        if res_type == "plain" {
            let rows: Vec<u64> = conn.query(format!("SELECT y FROM {db_name}.a ORDER BY x")).unwrap();
            assert_eq!(rows, [id, 7], "{db_name}");
        } else {
            let seen: (u64, String) = conn.query_first(format!("SELECT id, db FROM {db_name}.seen")).unwrap().unwrap();
            assert_eq!(seen, (0, db_name));
        }
    }
}

#[test]
fn database_that_something_else_makes_meanwhile_is_left_alone_by_a_whole_build() {
    let instance = Instance::ready("meanwhile");
    let sql = instance.sql_dir(&[CREATE, ("res_tables/10.sql", "CREATE TABLE a (x INT)")]);
    let mut conn = instance.conn();
    instance.app().query_drop("INSERT INTO res_queue (res_name) VALUES ('x'), ('y')").unwrap();
    // The lock of the first name is held, so that its attempt has to wait behind the claim.
    let held = "DO GET_LOCK(CONCAT('resq.', SHA2('meanwhile_x', 224)), 0)";
    let mut holder = instance.server.conn();
    holder.query_drop(held).unwrap();
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    wait_until("the other one", || {
        conn.query_first("SELECT 1 FROM res_queue WHERE res_name = 'y' AND status = 'done'").unwrap() == Some(1)
    });
    conn.query_drop("CREATE DATABASE meanwhile_x; CREATE TABLE meanwhile_x.mine (x INT PRIMARY KEY)").unwrap();
    holder.query_drop("DO RELEASE_ALL_LOCKS()").unwrap();
    wait_until("the refusal", || {
        conn.query_first("SELECT 1 FROM res_queue WHERE res_name = 'x' AND status = 'error'").unwrap() == Some(1)
    });
    let error: String = conn.query_first("SELECT last_error FROM res_queue WHERE res_name = 'x'").unwrap().unwrap();
    assert!(error.contains("was not made by resq"), "{error}");
    assert_eq!(resqd.stop().code(), Some(0));
    conn.query_drop("SELECT * FROM meanwhile_x.mine; DROP DATABASE meanwhile_x").unwrap();
}
