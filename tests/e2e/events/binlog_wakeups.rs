//! Wakeups from the binary log, without loadable functions: every daemon here polls once a minute, so that prompt reactions
//! are due to the log.

use std::{
    net::TcpListener,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use mysql::{BinlogRequest, Conn, prelude::Queryable};
use resq_test_support::{
    DEADLINE, Doctor, Instance, Program, Running, Server, Verdict, http, sessions, templates, wait_at_most,
    wait_or_report, wait_until,
};

use super::{next, publish, subscriber};

/// Long before the next poll.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A server that writes a binary log, without the loadable functions. One test at a time: they end each other's dumps.
pub fn logging_server() -> (&'static Server, MutexGuard<'static, ()>) {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let start =
        || Server::with_options(&["--log-bin", "--server-id=1", "--binlog-format=ROW", "--binlog-row-metadata=FULL"]);
    (SERVER.get_or_init(start), turn)
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
    if root.query_drop("SET SESSION binlog_format = STATEMENT").is_ok() {
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
    if !matches!(Server::shared().kind(), "mysql97" | "group" | "galera") {
        let unlogged = Instance::ready("blnone");
        let refused = unlogged.resqd().args(["--binlog", "on"]).run();
        assert_eq!(refused.code(), Some(1), "{refused}");
        assert!(refused.stderr.contains("log_bin"), "{refused}");
        assert!(unlogged.resqctl(["status"]).ok().contains("log_bin is off"));
    }
}
