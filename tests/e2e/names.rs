//! Hostile names. Each job ends `done` with a correct database or `error` with a clear text, and nothing else on the server
//! changes.

use std::collections::BTreeMap;

use mysql::{Conn, prelude::Queryable};
use resq::resources::resource_server;
use resq_test_support::{Instance, Server, templates, wait_until};

/// The expected outcome of a job.
enum End {
    Done,
    /// In error; the text has this fact in it.
    Error(&'static str),
}

fn databases(conn: &mut Conn) -> Vec<String> {
    conn.query("SHOW DATABASES").unwrap()
}

/// The checksum of every system table whose contents resq could change by accident.
fn system_tables(conn: &mut Conn) -> BTreeMap<String, Option<u64>> {
    ["user", "db", "func", "proc", "plugin", "servers", "tables_priv", "global_priv", "event", "procs_priv"]
        .into_iter()
        .filter_map(|table| {
            let sum: Option<(String, Option<u64>)> = conn.query_first(format!("CHECKSUM TABLE mysql.{table}")).ok()?;
            sum
        })
        .collect()
}

#[test]
fn no_name_reaches_beyond_its_own_database() {
    let server = Server::own();
    let instance = Instance::on(&server, "names");
    instance.resqctl(["init"]).ok();
    let (mut conn, mut app) = (instance.conn(), instance.app());
    conn.query_drop("CREATE DATABASE names_taken; CREATE TABLE names_taken.precious (a INT)").unwrap();
    conn.query_drop("INSERT INTO names_taken.precious VALUES (42)").unwrap();
    let (before, system) = (databases(&mut conn), system_tables(&mut conn));

    let long = "n".repeat(255);
    let jobs: Vec<(&str, &str, End)> = vec![
        ("plain_17", "default", End::Done),
        ("", "default", End::Error("res_name")),
        (&long, "default", End::Done),
        ("back`tick", "default", End::Done),
        ("quo'te\"s", "shop", End::Done),
        ("'; DROP DATABASE names_taken; -- ", "default", End::Done),
        ("`; DROP DATABASE names_taken; -- ", "blog", End::Done),
        ("new\nline\r\t", "default", End::Done),
        ("nul\0byte", "default", End::Done),
        ("back\\slash\\", "default", End::Done),
        ("a/b/c", "default", End::Done),
        ("\u{1F680}\u{1F600}", "default", End::Done),
        ("mysql", "default", End::Done),
        ("information_schema", "default", End::Done),
        ("resq_names", "default", End::Done),
        ("../x", "default", End::Done),
        ("Case", "default", End::Done),
        ("case", "default", End::Done),
        ("a!", "default", End::Done),
        ("a?", "default", End::Done),
        ("taken", "default", End::Error("`names_taken`")),
        ("twice", "default", End::Done),
        ("twice", "default", End::Error("`names_twice`")),
        ("typed", "../x", End::Error("\"../x\"")),
        ("typed2", "", End::Error("\"\"")),
        ("{{RES_ID}}", "default", End::Done),
        ("end ", "default", End::Done),
    ];
    for (name, kind, _) in &jobs {
        app.exec_drop("INSERT INTO res_queue (res_name, res_type, max_attempts) VALUES (?, ?, 2)", (name, kind))
            .unwrap();
    }
    // `a!` gets a safe form with its job's number: these two spell what it could be.
    let id: u64 = conn.query_first("SELECT res_id FROM res_queue WHERE res_name = 'a!'").unwrap().unwrap();
    let (plain, clash) = (format!("a_{id}"), format!("a__{id}"));
    for name in [&plain, &clash] {
        app.exec_drop("INSERT INTO res_queue (res_name) VALUES (?)", (name,)).unwrap();
    }
    let resqd = instance.resqd().spawn();
    wait_until("every job to end", || {
        conn.query_first::<u8, _>("SELECT COUNT(*) FROM res_queue WHERE status IN ('new', 'in_progress')").unwrap()
            == Some(0)
    });
    assert_eq!(resqd.stop().code(), Some(0));

    type Ended = (String, String, Option<String>, Option<String>, u64);
    let rows: Vec<Ended> =
        conn.query("SELECT res_name, status, db_name, last_error, res_id FROM res_queue ORDER BY res_id").unwrap();
    let mut made = Vec::new();
    for ((name, _, end), row) in jobs.iter().zip(&rows) {
        assert_eq!(*name, row.0);
        match end {
            End::Done => {
                let db_name = row.2.clone().unwrap_or_else(|| panic!("{row:?}"));
                assert_eq!(row.1, "done");
                let stored: String = conn
                    .query_first(format!("SELECT value FROM `{db_name}`.settings WHERE name = 'resource.name'"))
                    .unwrap()
                    .unwrap();
                assert_eq!(stored, *name, "the name as a value");
                made.push(db_name);
            }
            End::Error(why) => {
                assert!(
                    row.1 == "error" && row.2.is_none() && row.3.as_deref().is_some_and(|e| e.contains(why)),
                    "{row:?}"
                );
            }
        }
    }
    assert_eq!(
        (rows[jobs.len()].1.as_str(), rows[jobs.len()].2.as_deref()),
        ("done", Some(format!("names_{plain}").as_str()))
    );
    let last = &rows[jobs.len() + 1];
    assert!(last.1 == "error" && last.3.as_deref().unwrap().contains(&format!("job {id}")), "{last:?}");
    made.push(format!("names_{plain}"));

    let mut expected = [before, made].concat();
    expected.sort();
    let mut after = databases(&mut conn);
    after.sort();
    assert_eq!(after, expected, "exactly the databases of the jobs that are done");
    assert_eq!(system_tables(&mut conn), system);
    assert_eq!(conn.query_first("SELECT a FROM names_taken.precious").unwrap(), Some(42));
    let registered: Vec<String> = conn.query("SELECT db_name FROM res_database ORDER BY db_name").unwrap();
    let mut done: Vec<String> = conn.query("SELECT db_name FROM res_queue WHERE status = 'done'").unwrap();
    done.sort();
    assert_eq!(registered, done, "the registry knows the same");
}

#[test]
fn no_prefix_turns_a_job_into_a_system_database_or_the_queue() {
    let instance = Instance::ready("bare");
    let mut conn = instance.conn();
    for (prefix, name) in
        [("mysq", "l"), ("Information_", "Schema"), ("performance_s", "chema"), ("sy", "s"), ("resq_", "bare")]
    {
        conn.exec_drop("INSERT INTO res_queue (res_name) VALUES (?)", (name,)).unwrap();
        let resqd = instance.resqd().args(["--db-prefix", prefix]).spawn();
        let refused =
            "SELECT 1 FROM res_queue WHERE status = 'error' AND last_error LIKE '%queue.db_prefix%' AND res_name = ?";
        wait_until("the name to be refused", || conn.exec_first(refused, (name,)).unwrap() == Some(1));
        assert_eq!(resqd.stop().code(), Some(0));
    }
    assert_eq!(instance.resqd().args(["--db-prefix", "mysql"]).run().code(), Some(2));
}

#[test]
fn database_made_by_others_after_a_release_is_left_alone() {
    let instance = Instance::ready("given");
    let hold = templates::hold("given");
    let sql = instance.sql_dir(&templates::with(templates::MINIMAL, &[("res_tables/10.sql", &hold)]));
    let mut hold = instance.server.conn();
    hold.query_drop("DO GET_LOCK('given', 0)").unwrap();
    let mut conn = instance.conn();
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('first'), ('second')").unwrap();
    let resqd = instance.resqd().args(["--workers", "1"]).arg("--sql-dir").arg(&sql).spawn();
    let claimed = "SELECT COUNT(*) FROM res_database WHERE db_name IN ('given_first', 'given_second')";
    wait_until("both to be claimed", || conn.query_first(claimed).unwrap() == Some(2));
    wait_until("the first to be held", || {
        conn.query_first("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = 'given_first'").unwrap()
            == Some(1)
    });
    resqd.signal("TERM");
    let released = "SELECT 1 FROM res_queue WHERE res_name = 'second' AND status = 'new'";
    wait_until("the unstarted job to be released", || conn.query_first(released).unwrap() == Some(1));
    conn.query_drop("CREATE DATABASE given_second; CREATE TABLE given_second.precious (a INT)").unwrap();
    hold.query_drop("DO RELEASE_LOCK('given')").unwrap();
    assert_eq!(resqd.wait().code(), Some(0));
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    wait_until("both to end", || {
        conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status IN ('done', 'error')").unwrap() == Some(2)
    });
    let error: Option<String> = conn.query_first("SELECT last_error FROM res_queue WHERE status = 'error'").unwrap();
    assert!(error.as_deref().is_some_and(|text| text.contains("`given_second`")), "{error:?}");
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM given_second.precious").unwrap(), Some(0));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn malformed_rows_do_not_stop_other_jobs() {
    let instance = Instance::new("hostile");
    let mut conn = instance.server.conn();
    // A table from before resq: a signed id, another character set, and a nullable column of its own.
    conn.query_drop(
        "CREATE DATABASE resq_hostile DEFAULT CHARSET latin1; USE resq_hostile; CREATE TABLE res_queue ( \
         res_id INT AUTO_INCREMENT PRIMARY KEY, res_name VARCHAR(255) NOT NULL, priority INT NULL, \
         status ENUM('new','in_progress','done','error') DEFAULT 'new', res_url VARCHAR(500), \
         created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, \
         updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)",
    )
    .unwrap();
    instance.resqctl(["init"]).ok();
    let sql = instance.sql_dir(&templates::with(
        templates::MINIMAL,
        &[("res_tables/foreign/10.sql", "SELECT \u{65e5}\u{672c}\u{8a9e} FROM nowhere")],
    ));
    conn.query_drop("SET NAMES utf8mb4; SET sql_mode = ''").unwrap();
    conn.query_drop(
        "INSERT INTO res_queue (res_id, res_name, attempts, interruptions, max_attempts, res_type) VALUES \
         (-1, 'below', 0, 0, NULL, 'default'), (1, 'most', 4294967295, 0, NULL, 'default'), \
         (2, 'lost', 0, 4294967295, NULL, 'default'), (3, 'words', 0, 0, 1, 'foreign')",
    )
    .unwrap();
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('honest')").unwrap();
    let resqd = instance.resqd().arg("--sql-dir").arg(&sql).spawn();
    let ended = "SELECT COUNT(*) FROM res_queue WHERE res_id > 0 AND status IN ('done', 'error')";
    wait_until("all but the one below to end", || conn.query_first(ended).unwrap() == Some(4));
    assert_eq!(resqd.stop().code(), Some(0));
    let ends: Vec<(String, String)> = conn.query("SELECT res_name, status FROM res_queue ORDER BY res_id").unwrap();
    let ends: Vec<_> = ends.iter().map(|(name, status)| (name.as_str(), status.as_str())).collect();
    assert_eq!(ends, [("below", "new"), ("most", "done"), ("lost", "error"), ("words", "error"), ("honest", "done")]);
    let error: String = conn.query_first("SELECT last_error FROM res_queue WHERE res_name = 'words'").unwrap().unwrap();
    assert!(error.contains("res_tables/foreign/10.sql") && error.contains("statement 1"), "{error}");
}

#[test]
fn name_that_no_database_can_have_is_not_left_locked() {
    let mut conn = Server::shared().conn();
    let name = "x".repeat(65);
    assert!(resource_server::lock(&mut conn, &name, 0).is_err());
    assert!(!resource_server::is_locked(&mut conn, &name).unwrap());
}
