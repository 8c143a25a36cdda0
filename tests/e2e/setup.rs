//! Setting up: `init` on an empty server, repeated, on an old table, from several places; and what happens without it.

use mysql::prelude::Queryable;
use resq_test_support::{Doctor, Instance, Server, Verdict, sessions, wait_until};

/// The plain table of an installation from before resq, in a server's default character set, with rows of every kind.
const OLD_TABLE: &str = "
    CREATE TABLE res_queue (
      res_id INT AUTO_INCREMENT PRIMARY KEY, res_name VARCHAR(255) NOT NULL,
      status ENUM('new','in_progress','done','error') DEFAULT 'new', res_url VARCHAR(500),
      created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP
    ) DEFAULT CHARSET latin1;
    INSERT INTO res_queue (res_id, res_name, status) VALUES (3, 'old_done', 'done'), (7, 'old_new', 'new'), (8, 'old_null', NULL),
      (11, 'old_error', 'error'), (12, 'old_running', 'in_progress')";

#[test]
fn init_may_run_again_and_from_several_places_at_once() {
    let instance = Instance::new("init_many");
    let running: Vec<_> = (0..4).map(|_| instance.resqctl(["init"]).spawn()).collect();
    for program in running {
        let finished = program.wait();
        assert_eq!(finished.code(), Some(0), "{finished}");
    }
    instance.resqctl(["add", "kept"]).ok();
    instance.resqctl(["init"]).ok();
    let rows: Vec<String> = instance.conn().query("SELECT res_name FROM res_queue").unwrap();
    assert_eq!(rows, ["kept"]);
}

#[test]
fn old_table_is_upgraded_in_place_and_its_rows_are_served() {
    let instance = Instance::new("init_old");
    let mut conn = instance.server.conn();
    conn.query_drop(format!("CREATE DATABASE {0} DEFAULT CHARSET latin1; USE {0}; {OLD_TABLE}", instance.global_db))
        .unwrap();
    instance.resqctl(["init"]).ok();
    let rows: Vec<(u32, String, Option<String>)> =
        conn.query("SELECT res_id, res_name, status FROM res_queue ORDER BY 1").unwrap();
    let status = |n: usize| rows[n].2.as_deref();
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), [3, 7, 8, 11, 12]);
    assert_eq!((status(0), status(1), status(2), status(3)), (Some("done"), Some("new"), None, Some("error")));

    let resqd = instance.resqd().spawn();
    // The new row and the one whose old program is gone; the others are not touched.
    wait_until("both to be done", || {
        conn.query_first::<u8, _>("SELECT COUNT(*) FROM res_queue WHERE status = 'done'").unwrap() == Some(3)
    });
    assert_eq!(resqd.stop().code(), Some(0));
    let rest: Vec<(u32, Option<String>)> =
        conn.query("SELECT res_id, status FROM res_queue WHERE status IS NULL OR status <> 'done' ORDER BY 1").unwrap();
    assert_eq!(rest, [(8, None), (11, Some("error".into()))]);
    let names: Vec<String> = conn.query("SELECT db_name FROM res_database ORDER BY 1").unwrap();
    assert_eq!(names, ["init_old_old_new", "init_old_old_running"]);
}

#[test]
fn init_waits_for_an_open_transaction_where_ddl_does() {
    let instance = Instance::new("init_open");
    let mut conn = instance.server.conn();
    conn.query_drop(format!("CREATE DATABASE {0}; USE {0}; {OLD_TABLE}", instance.global_db)).unwrap();
    conn.query_drop("START TRANSACTION; INSERT INTO res_queue (res_name) VALUES ('open')").unwrap();
    let init = instance.resqctl(["init"]).spawn();
    if instance.server.kind() == "galera" {
        // DDL does not wait there: it has its place in the order of all nodes, and a transaction in its way is ended.
        wait_until("the transaction to be ended", || conn.query_drop("SELECT * FROM res_queue").is_err());
        conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('open')").unwrap();
    } else {
        let waiting = format!("SELECT 1 FROM {} WHERE user = ? AND state LIKE 'Waiting for%lock%'", sessions());
        let mut observer = instance.server.conn();
        wait_until("init to wait for the transaction", || {
            observer.exec_first(&waiting, (&instance.daemon.user,)).unwrap() == Some(1)
        });
        conn.query_drop("COMMIT").unwrap();
    }
    let finished = init.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert_eq!(conn.query_first("SELECT attempts FROM res_queue WHERE res_name = 'open'").unwrap(), Some(0));
}

#[test]
fn without_init_resqd_refuses_and_creates_nothing() {
    let instance = Instance::new("no_init");
    let finished = instance.resqd().expect_code(1);
    assert!(finished.stderr.contains("resqctl init"), "{finished}");
    assert!(instance.resqctl(["status"]).expect_code(1).stderr.contains("resqctl init"));
    let there: Option<String> = instance.server.conn().query_first("SHOW DATABASES LIKE 'resq_no_init'").unwrap();
    assert_eq!(there, None);
}

#[test]
fn failed_connection_and_login_name_the_settings_to_check() {
    let instance = Instance::new("no_server");
    let absent = instance.resqd().env("MYSQL_PORT", "1").expect_code(3);
    assert!(absent.stderr.contains("127.0.0.1:1") && absent.stderr.contains("MYSQL_PORT"), "{absent}");
    let denied =
        instance.resqctl(["status"]).env("MYSQL_USER", "unknown").env("MYSQL_PASSWORD", "s3cret").expect_code(3);
    // For an unknown account MySQL may choose a login method that the driver does not know.
    let cause = ["1045", "Unknown authentication protocol"].iter().any(|cause| denied.stderr.contains(cause));
    assert!(cause && denied.stderr.contains("MYSQL_PASSWORD"), "{denied}");
    assert!(!denied.stderr.contains("s3cret"), "{denied}");
    let doctor = Doctor::of(instance.resqctl(["doctor"]).env("MYSQL_PORT", "1").expect_code(3));
    assert_eq!(doctor.with(Verdict::Failed), ["login"]);
}

#[test]
fn missing_privilege_fails_the_job_with_file_and_statement() {
    let instance = Instance::ready("no_right");
    let mut conn = instance.conn();
    conn.query_drop("REVOKE CREATE, DROP ON `no\\_right\\_%`.* FROM 'resq_no_right'@'%'").unwrap();
    conn.query_drop("INSERT INTO res_queue (res_name, max_attempts) VALUES ('a', 1)").unwrap();
    let resqd = instance.resqd().spawn();
    wait_until("the job to fail", || {
        conn.query_first::<String, _>("SELECT status FROM res_queue").unwrap().as_deref() == Some("error")
    });
    assert_eq!(resqd.stop().code(), Some(0));
    let error: String = conn.query_first("SELECT last_error FROM res_queue").unwrap().unwrap();
    assert!(error.contains("res_db/010_database.sql, statement 1") && error.contains("1044"), "{error}");
}

#[test]
fn statement_based_binary_log_is_refused() {
    if matches!(Server::shared().kind(), "mysql97" | "group" | "galera") {
        return; // MySQL no longer has that format, and a node of Galera does not start with it
    }
    let server = Server::with_options(&["--log-bin", "--binlog-format=STATEMENT", "--server-id=1"]);
    let instance = Instance::on(&server, "by_statement");
    let finished = instance.resqctl(["init"]).expect_code(1);
    assert!(finished.stderr.contains("binlog_format=ROW"), "{finished}");
    let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(1));
    assert_eq!(doctor.verdict("binary log"), Verdict::Failed);
}

#[test]
fn unknown_key_in_the_settings_file_is_named() {
    let instance = Instance::new("bad_key");
    let file = instance.dir().join("resq.toml");
    std::fs::write(&file, "[queue]\nworkerz = 3\n").unwrap();
    for program in [instance.resqd(), instance.resqctl(["status"])] {
        let finished = program.arg("--config").arg(&file).expect_code(2);
        assert!(finished.stderr.contains("resq.toml") && finished.stderr.contains("workerz"), "{finished}");
        assert!(finished.stderr.contains("queue.workers"), "{finished}");
    }
}

#[test]
fn doctor_finds_nothing_wrong_on_a_healthy_installation() {
    let instance = Instance::ready("healthy");
    let _resqd = instance.resqd().spawn_ready();
    let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(0));
    assert!(
        doctor.with(Verdict::Failed).is_empty() && doctor.verdict("daemons") == Verdict::Good,
        "{}",
        doctor.finished
    );
    let left: Vec<String> = instance.server.conn().query("SHOW DATABASES LIKE 'healthy\\_doctor%'").unwrap();
    assert!(left.is_empty(), "{left:?}");
}
