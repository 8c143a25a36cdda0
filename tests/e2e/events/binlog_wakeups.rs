//! Wakeups from the binary log, without loadable functions: every daemon here polls once a minute, so that prompt reactions
//! are due to the log.

use std::{
    net::TcpListener,
    sync::MutexGuard,
    time::{Duration, Instant},
};

use mysql::{BinlogRequest, Conn, prelude::Queryable};
use resq_test_support::{
    DEADLINE, Doctor, Instance, Program, Running, Server, Verdict, http, install_functions, is_cluster,
    kind_under_test, not_tested, sessions, stats, templates, wait_at_most, wait_or_report, wait_until,
};

use super::{next, publish, subscriber};
use crate::logging_servers::Readers;

/// Long before the next poll.
const AT_ONCE: Duration = Duration::from_secs(20);

fn logging_server() -> (&'static Server, MutexGuard<'static, ()>) {
    crate::logging_servers::logging_server(Readers::Wakeups)
}

/// The privileges that `scripts/grants.sql` describes as optional.
pub const GRANTED: &str = "REPLICATION SLAVE, REPLICATION CLIENT";

fn grant(instance: &Instance) {
    instance.server.conn().query_drop(format!("GRANT {GRANTED} ON *.* TO '{}'@'%'", instance.daemon.user)).unwrap();
}

fn instance<'a>(server: &'a Server, name: &str) -> Instance<'a> {
    let instance = Instance::on(server, name);
    instance.resqctl(["init"]).ok();
    instance
}

/// A daemon that polls once a minute, and its port for HTTP.
fn resqd(instance: &Instance) -> (Program, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sql = instance.sql_dir(templates::MINIMAL);
    let program = instance.resqd().args(["--poll-ms", "60000"]).arg("--sql-dir").arg(sql);
    (program.env("RESQ_HTTP", format!("127.0.0.1:{port}")), port)
}

/// What `resq_wakeups_total` counts for this source.
fn wakeups(port: u16, source: &str) -> u64 {
    let text = http(port, "GET /metrics", "").body;
    let name = format!("resq_wakeups_total{{source=\"{source}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name)).unwrap_or_else(|| panic!("no {name}: {text}"));
    line.parse::<f64>().unwrap() as u64
}

fn reasons_not_to_read(port: u16) -> Vec<String> {
    let answer = http(port, "GET /readyz", "");
    assert_eq!(answer.status, 200, "readiness does not depend on the binary log: {}", answer.body);
    let found = answer.json()["warnings"].as_array().cloned().unwrap_or_default();
    let binlog = found.iter().filter(|found| found["check"] == "binlog");
    binlog.map(|found| found["reason"].as_str().unwrap_or_default().to_string()).collect()
}

/// Runs `sql`, which makes one job, and waits for its end, and for the event.
fn assert_at_once(instance: &Instance, conn: &mut Conn, sql: &str) {
    let mut watcher = instance.conn();
    let done = |conn: &mut Conn| -> u64 {
        conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status = 'done'").unwrap().unwrap()
    };
    let before = done(&mut watcher);
    let start = Instant::now();
    conn.query_drop(sql).unwrap();
    wait_at_most(AT_ONCE, &format!("the job of {sql}"), || done(&mut watcher) > before);
    println!("{sql}: done after {:?}", start.elapsed());
}

/// The daemon's dump: its session, on the server.
fn dump_of(instance: &Instance) -> Option<u64> {
    let dumps = format!("SELECT id FROM {} WHERE user = ? AND command LIKE 'Binlog Dump%'", sessions());
    instance.server.conn().exec_first(dumps, (&instance.daemon.user,)).unwrap()
}

fn wait_for_dump(instance: &Instance, other_than: Option<u64>) -> u64 {
    let mut found = None;
    wait_until("a dump of the daemon's", || {
        found = dump_of(instance).filter(|dump| Some(*dump) != other_than);
        found.is_some()
    });
    found.expect("it was found")
}

#[test]
fn jobs_and_events_of_every_kind_of_session_are_noticed_at_once() {
    let (server, _turn) = logging_server();
    let instance = instance(server, "blwake");
    grant(&instance);
    let (program, port) = resqd(&instance);
    let running = program.args(["--binlog", "on"]).spawn_ready();
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let mut app = instance.app();
    publish(&mut app, "First", "1");
    let start = Instant::now();
    assert_eq!(next(&mut peer).1, "First");
    println!("an event after {:?}", start.elapsed());
    assert_at_once(&instance, &mut app, "INSERT INTO res_queue (res_name) VALUES ('row')");
    let mut root = instance.conn();
    root.query_drop("SET SESSION binlog_row_image = MINIMAL").unwrap();
    assert_at_once(&instance, &mut root, "INSERT INTO res_queue (res_name) VALUES ('minimal')");
    // The tests' sessions have READ COMMITTED on a hostile server, with which InnoDB refuses statements as a log (1665).
    root.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").unwrap();
    // A MySQL group refuses what such a session changes.
    if kind_under_test() != "group" && root.query_drop("SET SESSION binlog_format = STATEMENT").is_ok() {
        assert_at_once(&instance, &mut root, "INSERT INTO res_queue (res_name) VALUES ('statement')");
    }
    for compressed in ["binlog_transaction_compression = ON", "GLOBAL log_bin_compress = ON"] {
        let mut conn = instance.conn();
        if conn.query_drop(format!("SET {compressed}")).is_ok() {
            let long = "x".repeat(400);
            assert_at_once(
                &instance,
                &mut conn,
                &format!("INSERT INTO res_queue (res_name, res_url) VALUES ('{}', '{long}')", &compressed[..6].trim()),
            );
        }
    }
    assert!(wakeups(port, "binlog") > 0);
    assert_eq!(wakeups(port, "ring"), 0);
    assert!(instance.resqctl(["status"]).ok().contains("wakeups      the binary log"));
    let doctor = Doctor::of(instance.resqctl(["doctor"]).run());
    assert_eq!((doctor.verdict("wakeups"), doctor.text("wakeups")), (Verdict::Good, "the binary log"));
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn dump_that_is_killed_displaced_or_refused_costs_latency_alone() {
    let (server, _turn) = logging_server();
    let instance = instance(server, "blfault");
    grant(&instance);
    let (program, port) = resqd(&instance);
    let running: Running = program.spawn_ready();
    let (mut app, mut root) = (instance.app(), instance.conn());

    let first = wait_for_dump(&instance, None);
    root.query_drop(format!("KILL {first}")).unwrap();
    let second = wait_for_dump(&instance, Some(first));
    assert_at_once(&instance, &mut app, "INSERT INTO res_queue (res_name) VALUES ('killed')");

    // Another replica under its number: the server ends the older dump.
    let replicas: Vec<mysql::Row> =
        root.query("SHOW REPLICAS").or_else(|_| root.query("SHOW SLAVE HOSTS")).expect("the replicas");
    let server_id: u32 = replicas[0].get(0).expect("a number");
    assert!(server_id >= 1 << 31, "{server_id}");
    let thief = server.conn().get_binlog_stream(BinlogRequest::new(server_id).with_pos(4_u64)).expect("a dump");
    wait_for_dump(&instance, Some(second));
    assert_at_once(&instance, &mut app, "INSERT INTO res_queue (res_name) VALUES ('displaced')");
    drop(thief);

    root.query_drop(format!("REVOKE {GRANTED} ON *.* FROM '{}'@'%'", instance.daemon.user)).unwrap();
    if let Some(dump) = dump_of(&instance) {
        root.query_drop(format!("KILL {dump}")).unwrap();
    }
    wait_or_report(DEADLINE, "the reason", || match reasons_not_to_read(port) {
        reasons if reasons.iter().any(|reason| reason.contains("REPLICATION") || reason.contains("denied")) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let doctor = Doctor::of(instance.resqctl(["doctor"]).run());
    assert_eq!(doctor.verdict("wakeups"), Verdict::Warning, "{}", doctor.finished);
    assert!(doctor.text("wakeups").contains(GRANTED), "{}", doctor.finished);
    grant(&instance);
    wait_until("the log to be read again", || reasons_not_to_read(port).is_empty());
    assert_at_once(&instance, &mut app, "INSERT INTO res_queue (res_name) VALUES ('granted')");
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn log_that_is_required_and_not_to_be_had_ends_the_start() {
    let (server, _turn) = logging_server();
    let instance = instance(server, "blneed");
    let refused = instance.resqd().args(["--binlog", "on"]).run();
    assert_eq!(refused.code(), Some(1), "{refused}");
    assert!(refused.stderr.contains("GRANT REPLICATION SLAVE"), "{refused}");
    assert_eq!(resqd(&instance).0.spawn_ready().stop().code(), Some(0), "auto does without");
    if !matches!(Server::shared().kind(), "mysql97" | "group") {
        let unlogged = Instance::ready("blnone");
        let refused = unlogged.resqd().args(["--binlog", "on"]).run();
        assert_eq!(refused.code(), Some(1), "{refused}");
        assert!(refused.stderr.contains("log_bin"), "{refused}");
        assert!(unlogged.resqctl(["status"]).ok().contains("log_bin is off"));
    }
}

/// The loadable functions on a server, until this is dropped.
struct Functions<'a>(&'a Server);

impl Functions<'_> {
    fn drop_all(&self) {
        let mut conn = self.0.conn();
        for function in ["resq_notify", "resq_ring", "resq_stats"] {
            let _ = conn.query_drop(format!("DROP FUNCTION {function}"));
        }
    }
}

impl Drop for Functions<'_> {
    fn drop(&mut self) {
        self.drop_all();
    }
}

#[test]
fn functions_and_log_wake_together_and_each_without_the_other() {
    if is_cluster() {
        return not_tested("functions of one node: see the tests of clusters");
    }
    let (server, _turn) = logging_server();
    let instance = instance(server, "blboth");
    grant(&instance);
    let functions = Functions(server);
    let install = || {
        install_functions(server, 1, &format!("addr = unix:{}\n", instance.broker_socket().display()));
        // Open sessions of MariaDB remember that there were none.
        instance.resqctl(["init"]).ok();
    };
    let wait_for_functions = || wait_until("the functions to connect", || stats(&mut server.conn()).connected == 1);
    install();
    let (program, port) = resqd(&instance);
    let running = program.spawn_ready();
    wait_for_functions();
    let dump = wait_for_dump(&instance, None);
    let mut app = instance.app();
    let woken = || (wakeups(port, "ring"), wakeups(port, "binlog"));

    let before = woken();
    assert_at_once(&instance, &mut app, "INSERT INTO res_queue (res_name) VALUES ('both')");
    wait_until("both wakeups", || woken().0 > before.0 && woken().1 > before.1);
    assert!(instance.resqctl(["status"]).ok().contains("the loadable functions and the binary log"));

    functions.drop_all();
    let before = woken();
    assert_at_once(&instance, &mut app, "INSERT INTO res_queue (res_name) VALUES ('log')");
    assert_eq!(woken().0, before.0);

    install();
    wait_for_functions();
    let mut root = server.conn();
    root.query_drop(format!("REVOKE {GRANTED} ON *.* FROM '{}'@'%'", instance.daemon.user)).unwrap();
    root.query_drop(format!("KILL {dump}")).unwrap();
    wait_until("the log not to be read", || !reasons_not_to_read(port).is_empty());
    let before = woken();
    assert_at_once(&instance, &mut app, "INSERT INTO res_queue (res_name) VALUES ('functions')");
    assert_eq!(woken().1, before.1);
    assert_eq!(running.stop().code(), Some(0));
}
