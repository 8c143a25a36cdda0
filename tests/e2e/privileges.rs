//! Least privilege: what the accounts of `scripts/grants.sql` and `grants_app.sql` may and may not do, what doctor reports
//! about a missing privilege, and which account may run `init` with the binary log on and off. Every other test shows that
//! the grants suffice: all run resq under them.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Doctor, Instance, Program, Server, Verdict, templates};

/// A resource with a trigger, which a server with a binary log accepts from trusted accounts only.
const WITH_TRIGGER: [(&str, &str); 2] = [
    templates::MINIMAL[0],
    ("res_tables/10.sql", "CREATE TABLE t (a INT); CREATE TRIGGER r BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1"),
];

fn as_root(program: Program) -> Program {
    program.env("MYSQL_USER", "root").env("MYSQL_PASSWORD", "")
}

/// An application's INSERT becomes a database, and a client receives the events.
fn assert_served(instance: &Instance, name: &str, sql: Option<&std::path::Path>) {
    let mut resqd = instance.resqd().args(["--poll-ms", "50"]);
    if let Some(sql) = sql {
        resqd = resqd.arg("--sql-dir").arg(sql);
    }
    let resqd = resqd.spawn_ready();
    let mut client = instance.resq_client(["-v", "--count", "2", "--sub", "Completed", "Own"]).spawn_ready();
    let mut app = instance.app();
    app.exec_drop("INSERT INTO res_queue (res_name) VALUES (?)", (name,)).unwrap();
    client.wait_for_output("Completed");
    app.query_drop("CALL publish('Own', '1')").unwrap();
    let received = client.wait();
    assert!(
        received.stdout.contains(&format!("{}{name}", instance.db_prefix)) && received.stdout.contains("Own"),
        "{received}"
    );
    assert_eq!(resqd.stop().code(), Some(0));
}

/// Access denied: to a database, a table, a column, a routine, or for want of a global privilege.
pub fn is_denied(error: &mysql::Error) -> bool {
    matches!(error, mysql::Error::MySqlError(error) if [1044, 1142, 1143, 1370, 1227].contains(&error.code))
}

fn triggers(conn: &mut Conn) -> Vec<String> {
    conn.query("SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY 1")
        .unwrap()
}

/// A single server of this kind with its binary log on or off; None on a cluster.
fn with_binary_log(on: bool) -> Option<Server> {
    let options: &[&str] = match (Server::shared().kind(), on) {
        ("galera" | "group", _) => return None,
        ("mysql97", false) => &["--skip-log-bin"],
        ("mysql97", true) | (_, false) => &[],
        (_, true) => &["--log-bin", "--binlog-format=ROW", "--server-id=1"],
    };
    let server = Server::with_options(options);
    assert_eq!(server.conn().query_first("SELECT @@log_bin").unwrap(), Some(on));
    Some(server)
}

#[test]
fn with_a_binary_log_init_needs_an_administrator_or_trust() {
    let Some(server) = with_binary_log(true) else { return };
    let instance = Instance::on_untrusting(&server, "logged");
    let refused = instance.resqctl(["init"]).expect_code(1);
    assert!(refused.stderr.contains("1419") && refused.stderr.contains("log_bin_trust_function_creators"), "{refused}");
    let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(1));
    assert_eq!(doctor.verdict("init"), Verdict::Failed);
    assert!(doctor.text("init").contains("log_bin_trust_function_creators"), "{}", doctor.finished);

    as_root(instance.resqctl(["init"])).ok();
    assert_served(&instance, "by_root", None);
    // MySQL lets the account drop a trigger that it may not create: init must not begin what it cannot finish.
    let mut conn = instance.conn();
    let made = triggers(&mut conn);
    instance.resqctl(["init"]).expect_code(1);
    assert_eq!(triggers(&mut conn), made);
    let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(0));
    assert_eq!(["init", "privileges"].map(|check| doctor.verdict(check)), [Verdict::Warning; 2]);

    let trusted = Instance::on(&server, "trusted");
    trusted.resqctl(["init"]).ok();
    let doctor = Doctor::of(trusted.resqctl(["doctor"]).expect_code(0));
    assert_eq!(["init", "privileges"].map(|check| doctor.verdict(check)), [Verdict::Good; 2]);
    assert_served(&trusted, "a", Some(&trusted.sql_dir(&WITH_TRIGGER)));
    if server.kind() == "mysql97" {
        // Nor may it replace what an administrator has set up.
        let refused = instance.resqctl(["init"]).expect_code(1);
        assert!(refused.stderr.contains("1227"), "{refused}");
    }
    assert_eq!(triggers(&mut conn), made);
}

#[test]
fn without_a_binary_log_init_needs_no_trust() {
    let Some(server) = with_binary_log(false) else { return };
    let instance = Instance::on_untrusting(&server, "unlogged");
    instance.resqctl(["init"]).ok();
    assert_served(&instance, "a", Some(&instance.sql_dir(&WITH_TRIGGER)));
}

#[test]
fn doctor_names_each_missing_privilege_in_the_grant_that_adds_it() {
    let instance = Instance::ready("lacking");
    let mut conn = instance.conn();
    let account = format!("'{}'@'%'", instance.daemon.user);
    let (global, resources) = ("`resq\\_lacking`.*", "`lacking\\_%`.*");
    for (on, verdict, check, privileges) in [
        // Without it doctor cannot see whether init was run.
        (global, Verdict::Failed, "init", &["SELECT"][..]),
        (global, Verdict::Failed, "access", &["INSERT", "UPDATE", "DELETE", "EXECUTE"]),
        (global, Verdict::Warning, "init", &["CREATE", "ALTER", "INDEX", "CREATE ROUTINE", "TRIGGER", "LOCK TABLES"]),
        (resources, Verdict::Failed, "privileges", &["CREATE", "DROP"]),
        (resources, Verdict::Warning, "privileges", &["INSERT", "ALTER", "INDEX", "CREATE VIEW", "CREATE ROUTINE"]),
        (resources, Verdict::Warning, "privileges", &["EXECUTE", "TRIGGER", "EVENT", "CREATE TEMPORARY TABLES"]),
    ] {
        for privilege in privileges {
            conn.query_drop(format!("REVOKE {privilege} ON {on} FROM {account}")).unwrap();
            let doctor = Doctor::of(instance.resqctl(["doctor"]).run());
            // CREATE is what doctor tries first, so it proposes all grants there.
            let grant = match *privilege {
                "CREATE" if on == resources => "GRANT CREATE, DROP, SELECT".to_string(),
                _ => format!("GRANT {privilege} ON {on} TO {account}"),
            };
            let found = (doctor.verdict(check), doctor.text(check).contains(&grant), doctor.finished.code());
            let code = if verdict == Verdict::Failed { 1 } else { 0 };
            assert_eq!(found, (verdict, true, Some(code)), "without {privilege} ON {on}: {}", doctor.finished);
            conn.query_drop(format!("GRANT {privilege} ON {on} TO {account}")).unwrap();
        }
    }
    let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(0));
    assert_eq!(["privileges", "init", "access"].map(|check| doctor.verdict(check)), [Verdict::Good; 3]);
    let left: Vec<String> = conn.query("SHOW DATABASES LIKE 'lacking\\_%'").unwrap();
    // Those of the runs without DROP.
    for name in left {
        assert!(name.starts_with("lacking_doctor_"), "{name}");
        conn.query_drop(format!("DROP DATABASE {name}")).unwrap();
    }
}

#[test]
fn application_may_insert_read_and_publish_and_nothing_else() {
    let instance = Instance::ready("app_only");
    let mut app = instance.app();
    app.query_drop(
        "INSERT INTO res_queue (res_name, res_type, res_url, priority, run_at, max_attempts) \
         VALUES ('a', 'shop', 'http://x/', -1, NOW() + INTERVAL 1 DAY, 3)",
    )
    .unwrap();
    app.query_drop("CALL publish('A', '1')").unwrap();
    assert_eq!(app.query_first("SELECT status FROM res_queue").unwrap(), Some("new".to_string()));
    for forbidden in [
        "INSERT INTO res_queue (res_name, status) VALUES ('b', 'done')",
        "INSERT INTO res_queue (res_name, db_name) VALUES ('b', 'mysql')",
        "INSERT INTO res_queue (res_name, seeded) VALUES ('b', TRUE)",
        "UPDATE res_queue SET priority = 1",
        "DELETE FROM res_queue",
        "INSERT INTO res_outbox (state, payload) VALUES ('A', '1')",
        "INSERT INTO res_event (seq, bytes, state, payload) VALUES (1, 1, 'A', '1')",
        "SELECT * FROM res_event",
        "DELETE FROM res_database",
        "INSERT INTO res_meta (name, value) VALUES ('paused', '')",
        "CALL res_number(0, 1, @x)",
        "CREATE DATABASE app_only_x",
        "DROP TRIGGER res_queue_inserted",
    ] {
        let error = app.query_drop(forbidden).expect_err(forbidden);
        assert!(is_denied(&error), "{forbidden}: {error}");
    }
}

#[test]
fn init_again_keeps_the_applications_right_to_publish() {
    let instance = Instance::ready("regrant");
    let (mut app, mut conn) = (instance.app(), instance.conn());
    let publish = |app: &mut Conn| app.query_drop("CALL publish('A', '1')");
    instance.resqctl(["init"]).ok();
    publish(&mut app).expect("EXECUTE is still there");
    // A different procedure in its place is replaced.
    conn.query_drop("DROP PROCEDURE publish").unwrap();
    let mut daemon = instance.daemon.conn(instance.server);
    daemon.select_db(&instance.global_db).unwrap();
    daemon.query_drop("CREATE PROCEDURE publish(IN a TEXT, IN b TEXT) DO 1").unwrap();
    instance.resqctl(["init"]).ok();
    conn.query_drop("CALL publish(NULL, NULL)").expect_err("it refuses again");
    // So is one whose definer is gone.
    conn.query_drop(format!("DROP USER '{}'@'%'", instance.daemon.user)).unwrap();
    as_root(instance.resqctl(["init"])).ok();
    conn.query_drop("CALL publish('A', '1')").unwrap();
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_outbox").unwrap(), Some(2));
}
