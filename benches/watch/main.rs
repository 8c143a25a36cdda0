//! The figures of the binary log on a durable server of its own (`TEST_SERVER`, see `scripts/testdb.sh`), without loadable
//! functions. What counts are the ratios to bare statements of the same run. Arguments pick figures by name: latency, start,
//! writers, backlog. Where Python has the package mysql-replication (`PYTHON`, python3), it reads the same backlog.

mod cpu;
mod writers;

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use mysql::prelude::Queryable;
use resq::client::{Address, Delivery, Peer, Subscriber, Subscription};
use resq::wire::Start;
use resq_test_support::{Instance, Running, Server, templates, wait_at_most, wait_until};

/// A steady load well below what the server can commit.
const COMMITS_PER_S: u64 = 200;
/// Rows that wait in the log for the backlog's figure.
const BACKLOG: u64 = 200_000;
const WRITERS: u64 = 4;
const SUBSCRIBERS: usize = 100;
const WATCH: &str = "[[watch]]\ntable = 'bench_w.watched'\nstate = 'w.{op}'\n";
const OPTIONS: [&str; 4] = ["--log-bin", "--server-id=1", "--binlog-format=ROW", "--binlog-row-metadata=FULL"];

/// Reads the whole log as a replica and prints rows a second.
const PYTHON: &str = "
import sys, time
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import WriteRowsEvent
port, rows = int(sys.argv[1]), int(sys.argv[2])
stream = BinLogStreamReader(connection_settings={'host': '127.0.0.1', 'port': port, 'user': 'root', 'passwd': ''},
    server_id=4242, only_events=[WriteRowsEvent], only_tables=['backlog'], blocking=True, is_mariadb=len(sys.argv) > 3)
seen, start = 0, None
for event in stream:
    start = start or time.time()
    seen += sum(1 for row in event.rows if row['values'])
    if seen >= rows:
        break
print(int(seen / (time.time() - start)))
";

fn p50(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |figure: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == figure);
    let server = Server::with_options(&OPTIONS);
    let instance = Instance::on(&server, "bench");
    instance.resqctl(["init"]).ok();
    let mut root = server.conn();
    let user = &instance.daemon.user;
    root.query_drop(format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{user}'@'%'")).unwrap();
    let table = "(id BIGINT AUTO_INCREMENT PRIMARY KEY, payload VARCHAR(200))";
    root.query_drop(format!(
        "CREATE DATABASE bench_w; USE bench_w; CREATE TABLE bare {table}; CREATE TABLE watched {table}; CREATE TABLE backlog {table}"
    ))
    .unwrap();
    println!("the binary log of {}", server.kind());
    if wanted("latency") {
        let (bare, event) = latency(&instance);
        println!("  one row committed, {COMMITS_PER_S}/s          p50 {bare:>8.2?}");
        println!("  COMMIT returned -> client          p50 {event:>8.2?}: {:.2} x (at most 3)", ratio(event, bare));
    }
    if wanted("start") {
        let (bare, start) = start_of_jobs(&instance);
        println!(
            "  INSERT of a job -> first statement p50 {start:>8.2?} (MySQL 5 ms, MariaDB 4 ms); one row committed {bare:.2?}"
        );
    }
    if wanted("writers") {
        writers::figures(&instance);
    }
    if wanted("backlog") {
        let (first, rate) = backlog(&instance);
        println!(
            "  backlog of {BACKLOG} rows          {rate:>8.0} events/s to one client (at least 20,000); the first after {first:.0?}"
        );
        match python(&server) {
            Some(other) => {
                println!("  Python's mysql-replication         {other:>8.0} rows/s: {:.2} x (at least 3)", rate / other)
            }
            None => println!("  Python's mysql-replication is not installed here"),
        }
    }
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

/// A daemon that polls once a minute, and reads watched tables if there are any.
fn daemon(instance: &Instance, watches: &str) -> Running {
    let path = instance.dir().join("resq.toml");
    fs::write(&path, watches).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let sql = instance.sql_dir(templates::MINIMAL);
    let mut conn = instance.conn();
    // The daemon before was killed: its lease ends here, as if the time had passed. Until then no other one reads.
    conn.query_drop("UPDATE res_watch SET lease_until = NOW(6) - INTERVAL 1 SECOND").unwrap();
    let program = instance.resqd().env("RESQ_CONFIG", path).args(["--poll-ms", "60000", "--binlog", "on"]);
    let running = program.arg("--sql-dir").arg(sql).spawn_ready();
    let reads = "SELECT COUNT(*) FROM res_watch WHERE server IS NOT NULL AND lease_until > NOW(6)";
    wait_until("the log to be read", || watches.is_empty() || conn.query_first::<u64, _>(reads).unwrap() == Some(1));
    running
}

fn subscribe(instance: &Instance, since: Option<u64>) -> Subscriber {
    let mut subscription = Subscription::to(["w.*"]);
    subscription.since = since.map_or(Start::Now, Start::After);
    Subscriber::connect(Peer::new(Address::Unix(instance.broker_socket()), "bench"), subscription).expect("it is there")
}

fn event(subscriber: &mut Subscriber) -> (String, Instant) {
    match subscriber.recv_timeout(Duration::from_secs(60)).expect("no refusal") {
        Some(Delivery::Event(event)) => (String::from_utf8(event.payload).expect("UTF-8"), Instant::now()),
        other => panic!("an event expected, not {other:?}"),
    }
}

/// Bare commits, and from a COMMIT's return to the event at the client. Every fourth commit is a bare one, so that both run
/// under the same conditions.
fn latency(instance: &Instance) -> (Duration, Duration) {
    const EACH: u64 = 500;
    let _resqd = daemon(instance, WATCH);
    let mut subscriber = subscribe(instance, None);
    let (returned, bare) = (Mutex::new(HashMap::new()), Mutex::new(Vec::new()));
    let begin = Instant::now();
    let arrived: Vec<(String, Instant)> = thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (returned, bare) = (&returned, &bare);
            scope.spawn(move || {
                let mut conn = instance.server.conn();
                for n in 0..EACH {
                    let at = begin + Duration::from_micros((n * WRITERS + writer) * 1_000_000 / COMMITS_PER_S);
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    let start = Instant::now();
                    if n % 4 == 0 {
                        conn.query_drop("INSERT INTO bench_w.bare (payload) VALUES ('x')").unwrap();
                        bare.lock().unwrap().push(start.elapsed());
                        continue;
                    }
                    let name = format!("{writer}:{n}");
                    conn.query_drop(format!("INSERT INTO bench_w.watched (payload) VALUES ('{name}')")).unwrap();
                    returned.lock().unwrap().insert(name, Instant::now());
                }
            });
        }
        (0..WRITERS * (EACH - EACH.div_ceil(4))).map(|_| event(&mut subscriber)).collect()
    });
    let returned = returned.into_inner().unwrap();
    let name = |payload: &str| {
        payload.split("\"payload\":\"").nth(1).and_then(|rest| rest.split('"').next()).map(String::from)
    };
    let times =
        arrived.iter().map(|(payload, at)| at.saturating_duration_since(returned[&name(payload).expect("a name")]));
    (p50(bare.into_inner().unwrap()), p50(times.collect()))
}

/// Bare commits, and from the INSERT of a job to the first statement of its template.
fn start_of_jobs(instance: &Instance) -> (Duration, Duration) {
    let mut conn = instance.conn();
    conn.query_drop("CREATE TABLE bare (id BIGINT AUTO_INCREMENT PRIMARY KEY, payload VARCHAR(200))").unwrap();
    let (bare, start) = resq_test_support::start_of_jobs(instance, |sql| {
        let program = instance.resqd().args(["--poll-ms", "60000", "--binlog", "on", "--sql-dir"]);
        program.arg(sql).spawn_ready()
    });
    (p50(bare), p50(start))
}

/// Rows that were written while no daemon ran, a hundred a transaction: from the daemon's start until the first of their events
/// is delivered, and events a second, numbered and delivered, from then on.
fn backlog(instance: &Instance) -> (Duration, f64) {
    let watch = WATCH.replace("watched", "backlog");
    drop(daemon(instance, &watch));
    let mut conn = instance.server.conn();
    let values: Vec<String> =
        (0..100).map(|n| format!("('a row of the backlog, number {n} of its transaction')")).collect();
    let insert = format!("INSERT INTO bench_w.backlog (payload) VALUES {}", values.join(","));
    for _ in 0..BACKLOG / 100 {
        conn.query_drop(&insert).unwrap();
    }
    let mut log = instance.conn();
    // The lease of the daemon that was killed.
    let free = "SELECT COUNT(*) FROM res_watch WHERE lease_until IS NULL OR lease_until < NOW(6)";
    wait_at_most(Duration::from_secs(60), "the lease to end", || log.query_first::<u64, _>(free).unwrap() == Some(1));
    let head: u64 = log.query_first("SELECT head_seq FROM res_log").unwrap().unwrap();
    let start = Instant::now();
    let _resqd = daemon(instance, &watch);
    let mut subscriber = subscribe(instance, Some(head));
    drop(event(&mut subscriber));
    let (waited, first) = (start.elapsed(), Instant::now());
    (1..BACKLOG).for_each(|_| drop(event(&mut subscriber)));
    (waited, (BACKLOG - 1) as f64 / first.elapsed().as_secs_f64())
}

fn python(server: &Server) -> Option<f64> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let mut command = Command::new(python);
    command.args(["-c", PYTHON, &server.port().to_string(), &BACKLOG.to_string()]);
    if server.kind().starts_with("mariadb") {
        command.arg("mariadb");
    }
    let out = command.output().ok().filter(|out| out.status.success())?;
    String::from_utf8_lossy(&out.stdout).trim().parse().ok()
}
