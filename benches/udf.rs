//! The cost of the loadable functions to the statements that call them, as ratios within one run on one server
//! (`TEST_SERVER`, see `scripts/testdb.sh`): a call compared with a built-in function, a bulk INSERT whose trigger calls
//! `resq_ring` compared with the same trigger without that call, and both again with a daemon that does not read.

use std::time::{Duration, Instant};

use mysql::Conn;
use mysql::prelude::Queryable;
use resq_test_support::{UdfPeer, UdfServer, stats, wait_until};

const CALLS: u32 = 1_000_000;
/// A number of events that certainly fits into the queue.
const BATCH: u32 = 10_000;
const ROWS: usize = 10_000;
const ROUNDS: usize = 15;

/// A table and a trigger like those of the queue: each row writes an event, then runs the variant.
const TABLE: &str = "(res_id INT AUTO_INCREMENT PRIMARY KEY, res_name VARCHAR(255) NOT NULL, \
    res_type VARCHAR(64) NOT NULL DEFAULT 'default', status ENUM('new','in_progress','done','error') DEFAULT 'new', \
    attempts INT NOT NULL DEFAULT 0, db_name VARCHAR(64), last_error TEXT, KEY (status, res_id))";
const OUTBOX: &str = "(id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, state VARCHAR(64) NOT NULL, \
    payload MEDIUMTEXT NOT NULL, at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6))";
const EVENT: &str = "INSERT INTO bench.outbox (state, payload) VALUES (
    ELT(FIELD(NEW.status, 'new', 'in_progress', 'done', 'error'), 'New', 'InProgress', 'Completed', 'Error'),
    JSON_OBJECT('res_id', NEW.res_id, 'res_name', NEW.res_name, 'res_type', NEW.res_type, 'status', NEW.status,
                'attempts', NEW.attempts, 'db_name', NEW.db_name, 'last_error', NEW.last_error));";
const VARIANTS: [(&str, &str); 3] = [
    ("without", ""),
    ("do_1", "BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; DO 1; END;"),
    ("ringing", "BEGIN DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END; DO resq_ring(); END;"),
];

fn main() {
    let udf = UdfServer::own();
    let mut conn = udf.server.conn();
    println!("loadable functions on {}", udf.server.kind());
    prepare(&mut conn);
    let peer = udf.peer(0);
    calls(&mut conn, &peer);
    inserts(&udf, &mut conn, "daemon there");
    peer.freeze();
    // This fills the kernel's buffers and the queue.
    conn.query_drop(format!("DO BENCHMARK({CALLS}, resq_notify('A', REPEAT('x', 100)))")).unwrap();
    let full = per_call(&mut conn, "resq_notify('A', '{\"test\":\"T7\"}')", CALLS);
    println!("  resq_notify, daemon frozen      {full:>7.0?} a call (at most 1 us)");
    inserts(&udf, &mut conn, "daemon frozen");
    drop(peer);
    wait_until("the end of the connection", || stats(&mut conn).connected == 0);
    inserts(&udf, &mut conn, "no daemon");
}

fn prepare(conn: &mut Conn) {
    conn.query_drop("CREATE DATABASE bench DEFAULT CHARACTER SET utf8mb4").unwrap();
    conn.query_drop(format!("CREATE TABLE bench.outbox {OUTBOX}")).unwrap();
    conn.query_drop("CREATE TABLE bench.numbers (id INT PRIMARY KEY)").unwrap();
    let numbers: Vec<String> = (0..ROWS).map(|n| format!("({n})")).collect();
    conn.query_drop(format!("INSERT INTO bench.numbers VALUES {}", numbers.join(","))).unwrap();
    for (name, tail) in VARIANTS {
        conn.query_drop(format!("CREATE TABLE bench.{name} {TABLE}")).unwrap();
        let body = format!("BEGIN {EVENT} {tail} END");
        conn.query_drop(format!("CREATE TRIGGER bench.t_{name} AFTER INSERT ON bench.{name} FOR EACH ROW {body}"))
            .unwrap();
    }
}

fn calls(conn: &mut Conn, peer: &UdfPeer) {
    let payload = "'{\"test\":\"T7\"}'";
    for (what, call) in [
        ("built-in: CRC32(…)", format!("CRC32({payload})")),
        ("built-in: CONCAT(…, RAND())", format!("CONCAT({payload}, RAND())")),
        ("resq_ring", "resq_ring()".into()),
        ("resq_notify, refused", "resq_notify(NULL, NULL)".into()),
        ("resq_stats", "resq_stats()".into()),
    ] {
        println!("  {what:<31} {:>7.0?} a call", per_call(conn, &call, CALLS));
    }
    let call = format!("resq_notify('Suspended', {payload})");
    let batches: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let before = stats(conn).sent;
            let took = per_call(conn, &call, BATCH);
            wait_until("the batch to be sent", || stats(conn).sent == before + u64::from(BATCH));
            peer.forget();
            took
        })
        .collect();
    println!("  {:<31} {:>7.0?} a call (at most 1 us)", "resq_notify, sent", median(&batches));
}

fn per_call(conn: &mut Conn, call: &str, times: u32) -> Duration {
    let start = Instant::now();
    conn.query_drop(format!("DO BENCHMARK({times}, {call})")).unwrap();
    start.elapsed() / times
}

/// The variants in turns, so that other load on the machine affects all of them; beside the time that the client waits,
/// the processor time of its session, which depends less on other load.
fn inserts(udf: &UdfServer, conn: &mut Conn, when: &str) {
    let clock = format!("/proc/{}/task/{}/schedstat", udf.server.node(1).pid, thread_id(conn));
    let processor = || -> Duration {
        let text = std::fs::read_to_string(&clock).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    };
    let mut took = VARIANTS.map(|_| Vec::new());
    let mut worked = VARIANTS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (i, (name, _)) in VARIANTS.iter().enumerate() {
            conn.query_drop(format!("TRUNCATE bench.{name}")).unwrap();
            conn.query_drop("TRUNCATE bench.outbox").unwrap();
            let (start, before) = (Instant::now(), processor());
            conn.query_drop(format!("INSERT INTO bench.{name} (res_name) SELECT id FROM bench.numbers")).unwrap();
            took[i].push(start.elapsed());
            worked[i].push(processor() - before);
        }
    }
    let [without, do_1, ringing] = [0, 1, 2].map(|i| median(&took[i]).as_millis());
    println!("  {ROWS} rows, {when}: {without} ms without, {do_1} ms with DO 1, {ringing} ms ringing");
    for (what, times) in [("waited", &took), ("processor", &worked)] {
        println!(
            "    {what:<10} {:.2} x without (MariaDB: at most 1.15), {:.2} x DO 1 (MySQL: at most 1.5)",
            ratio(&times[2], &times[0]),
            ratio(&times[2], &times[1]),
        );
    }
}

/// The thread id, in the operating system, of the thread that serves this session.
fn thread_id(conn: &mut Conn) -> u64 {
    let mariadb = "SELECT tid FROM information_schema.processlist WHERE id = CONNECTION_ID()";
    let mysql = "SELECT thread_os_id FROM performance_schema.threads WHERE processlist_id = CONNECTION_ID()";
    conn.query_first(mariadb).or_else(|_| conn.query_first(mysql)).unwrap().unwrap()
}

/// The median of the rounds' ratios, since one round has the same conditions for both.
fn ratio(of: &[Duration], to: &[Duration]) -> f64 {
    let mut ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of.as_secs_f64() / to.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn median(values: &[Duration]) -> Duration {
    let mut values = values.to_vec();
    values.sort();
    values[values.len() / 2]
}
