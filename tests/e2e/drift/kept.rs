//! What the last check found is kept with the registry, and shown by the command, over HTTP and on the page.

use mysql::prelude::Queryable;
use serde_json::{Value as Json, json};

use resq_test_support::{Browser, Instance, http, own_port, wait_until};

use super::built;

#[test]
fn what_a_check_found_is_shown_until_the_database_has_another_version() {
    let instance = Instance::ready("driftkept");
    let port = own_port();
    let table = ("res_tables/10.sql", "CREATE TABLE a (n INT PRIMARY KEY)");
    let sql = instance.sql_dir(&[("res_db/10.sql", "CREATE DATABASE {{RES_DB_NAME}} CHARACTER SET utf8mb4"), table]);
    let resqd = instance.resqd().env("RESQ_HTTP", format!("127.0.0.1:{port}")).args(["--poll-ms", "20", "--sql-dir"]);
    let resqd = resqd.arg(&sql).spawn_ready();
    let databases = built(&instance, &["r0".into(), "r1".into(), "r2".into()]);
    let resqctl = |command: &str, argument: &str| instance.resqctl([command, argument]).arg("--sql-dir").arg(&sql);
    // Of each listed database: its name without the prefix, the verdict, and what was found.
    let listed = |query: &str| -> Vec<(String, Json, Json)> {
        let answer = http(port, &format!("GET /api/v1/databases{query}"), "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let databases = answer.json()["databases"].take();
        let name = |one: &Json| one["db_name"].as_str().unwrap().replace("driftkept_", "");
        let databases = databases.as_array().unwrap().iter();
        databases.map(|one| (name(one), one["drift"]["verdict"].clone(), one["drift"]["found"].clone())).collect()
    };
    let none = |name: &str| (name.to_string(), Json::Null, Json::Null);
    let same = |name: &str| (name.to_string(), json!("same"), json!([]));
    assert_eq!(listed(""), ["r0", "r1", "r2"].map(none));

    let mut conn = instance.conn();
    let lines: Vec<String> = (0..25).map(|n| format!("column a.x{n:02}: unexpected")).collect();
    let columns: Vec<String> = (0..25).map(|n| format!("ADD x{n:02} INT")).collect();
    conn.query_drop(format!("ALTER TABLE driftkept_r1.a {}", columns.join(", "))).unwrap();
    resqctl("check", "--all").expect_code(1);
    let shown: Vec<String> = lines[..20].iter().cloned().chain(["and 5 more".into()]).collect();
    let differs = ("r1".to_string(), json!("differs"), json!(shown));
    assert_eq!(listed(""), [same("r0"), differs.clone(), same("r2")]);
    assert_eq!(listed("?drift=differs"), [differs]);
    assert_eq!(listed("?drift=same&limit=1"), [same("r0")]);
    assert_eq!(listed("?drift=unknown"), []);
    assert_eq!(http(port, "GET /api/v1/databases?drift=other", "").status, 400);
    let counted =
        |count: u32| http(port, "GET /metrics", "").body.contains(&format!("\nresq_databases_drifted {count}\n"));
    wait_until("the metric", || counted(1));
    // What is found again is not written again; when that was, is kept once.
    let old = "2020-01-01 00:00:00";
    conn.query_drop(format!(
        "UPDATE res_database SET drift_at = '{old}'; DELETE FROM res_meta WHERE name = 'checked_at'"
    ))
    .unwrap();
    let times = || -> Vec<Json> {
        let mut answer = http(port, "GET /api/v1/databases", "").json();
        answer["databases"].as_array_mut().unwrap().iter_mut().map(|one| one["drift"]["at"].take()).collect()
    };
    assert_eq!(times(), [old; 3]);
    resqctl("check", "--all").expect_code(1);
    let written: u64 =
        conn.query_first(format!("SELECT COUNT(*) FROM res_database WHERE drift_at <> '{old}'")).unwrap().unwrap();
    assert_eq!((written, times().iter().filter(|at| **at == old).count()), (0, 0));
    let printed = resqctl("databases", "--sizes").ok();
    let checked = |word: &str| printed.lines().filter(|line| line.contains(&format!("last check {word} ("))).count();
    assert_eq!((checked("same"), checked("differs")), (2, 1), "{printed}");

    let browser = Browser::open();
    browser.go(&format!("http://127.0.0.1:{port}/#/databases?drift=differs"));
    browser.wait_for("document.querySelectorAll('tbody tr').length === 1");
    let unfolded = "const all = document.querySelector('tbody details[data-drift=differs]'); all.open = true; \
                    return [...all.querySelectorAll('li')].map((line) => line.textContent);";
    assert_eq!(browser.run(unfolded), json!(shown));
    assert_eq!(browser.errors(), Vec::<String>::new());
    drop(browser);

    // Mended, it is as it should be; with another version, nothing is known of it.
    let columns: Vec<String> = (0..25).map(|n| format!("DROP x{n:02}")).collect();
    conn.query_drop(format!("ALTER TABLE driftkept_r1.a {}", columns.join(", "))).unwrap();
    resqctl("check", &databases[1].0.to_string()).ok();
    wait_until("the metric", || counted(0));
    conn.query_drop("UPDATE res_database SET version = 1 WHERE db_name = 'driftkept_r2'").unwrap();
    assert_eq!(listed(""), [same("r0"), same("r1"), none("r2")]);
    assert_eq!(listed("?drift=same").len(), 2);
    let unknown = ("r2".to_string(), json!("unknown"));
    resqctl("check", &databases[2].0.to_string()).expect_code(1);
    let (name, verdict, found) = listed("?drift=unknown").pop().unwrap();
    assert_eq!((name, verdict), unknown);
    assert!(found[0].as_str().unwrap().contains("at version 1"), "{found}");
    assert_eq!(resqd.stop().code(), Some(0));
}
