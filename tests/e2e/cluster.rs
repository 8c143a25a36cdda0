//! A cluster of three nodes, written to everywhere, whose nodes and daemons die: jobs and events as on one server.
//! Where `TEST_SERVER` is no cluster these tests are listed as ignored; `scripts/test.sh` includes them where it is.

mod daemons;
mod failover;
mod ready;
mod writers;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mysql::{Conn, prelude::Queryable};
use serde_json::Value as Json;

use super::{
    instance::Instance,
    program::{Program, Running, wait_at_most, wait_or_tell},
    server::Server,
};

const TEMPLATES: &[(&str, &str)] = &[
    ("res_db/10.sql", "CREATE DATABASE {{RES_DB_NAME}}"),
    (
        "res_tables/10.sql",
        "CREATE TABLE built (res_id BIGINT PRIMARY KEY, claim BIGINT); INSERT INTO built VALUES ({{RES_ID}}, 1)",
    ),
];
/// How long everything may take in the end, when nothing breaks any more.
const CATCH_UP: Duration = Duration::from_secs(180);

/// One test at a time takes nodes away: two of three have to be left.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `database.hosts` with these nodes, in this order.
fn hosts(server: &Server, nodes: &[usize]) -> String {
    let hosts: Vec<String> = nodes.iter().map(|n| address(server, *n)).collect();
    hosts.join(",")
}

/// A node as resq names it.
fn address(server: &Server, n: usize) -> String {
    format!("127.0.0.1:{}", server.node(n).port)
}

/// A program of this instance that knows these nodes and no other host.
fn on(program: Program, server: &Server, nodes: &[usize]) -> Program {
    program.env("MYSQL_HOST", "").env("MYSQL_PORT", "").env("RESQ_DB_HOSTS", hosts(server, nodes))
}

/// A daemon on the first of these nodes that is ready.
fn daemon(instance: &Instance, nodes: &[usize], socket: &Path) -> Running {
    let sql = instance.sql_dir(TEMPLATES);
    let resqd = on(instance.resqd(), instance.server, nodes).env("RESQ_SOCKET", socket);
    let mut resqd = resqd.args(["--poll-ms", "100", "--lease-s", "10", "--sql-dir"]).arg(sql).spawn();
    resqd.wait_for_log("serving");
    resqd
}

/// A client of the daemon on `socket`, and the file into which it writes all events from the first on.
struct Listener {
    pub log: PathBuf,
    _client: Running,
}

impl Listener {
    fn new(instance: &Instance, socket: &Path, name: &str) -> Listener {
        let log = instance.dir().join(name);
        File::create(&log).unwrap();
        let script = r#"exec "$0" --json --sub '*' --since 0 --durable >>"$1""#;
        let client = instance.program("sh").args(["-c", script, env!("CARGO_BIN_EXE_resq-client")]).arg(&log);
        Listener { _client: client.env("RESQ_SOCKET", socket).spawn(), log }
    }

    /// Every whole line so far.
    fn events(&self) -> Vec<Json> {
        let text = fs::read_to_string(&self.log).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }

    fn heard(&self, state: &str, res_name: &str) -> bool {
        self.events().iter().any(|event| event["state"] == state && event["payload"]["res_name"] == res_name)
    }
}

fn count(conn: &mut Conn, sql: &str) -> u64 {
    conn.query_first(sql).unwrap().unwrap()
}

/// Waits until all of `jobs` are done and told; then nothing is lost, doubled, invented or out of order, for any of the
/// listeners. `published` are the payloads of the committed events. `conn` leads to a node that lives.
fn check(
    instance: &Instance,
    conn: &mut Conn,
    jobs: &BTreeSet<String>,
    published: &BTreeSet<String>,
    listeners: &[Listener],
) {
    wait_or_tell(CATCH_UP, "every job to be done", || {
        let open: Vec<String> = conn
            .query(
                "SELECT CONCAT_WS(' ', res_id, res_name, status, attempts, interruptions, owner, claim_id, run_at, last_error) \
                 FROM res_queue WHERE status <> 'done'",
            )
            .unwrap();
        if open.is_empty() { Ok(()) } else { Err(open.join("\n")) }
    });
    let names: Vec<String> = conn.query("SELECT res_name FROM res_queue ORDER BY res_name").unwrap();
    assert_eq!(names, jobs.iter().cloned().collect::<Vec<_>>(), "exactly the committed jobs");
    let made: BTreeSet<String> = conn.query("SELECT db_name FROM res_queue").unwrap().into_iter().collect();
    let like = format!("SHOW DATABASES LIKE '{}%'", instance.db_prefix.replace('_', "\\_"));
    let there: BTreeSet<String> = conn.query(like).unwrap().into_iter().collect();
    assert_eq!(there, made, "the databases there are those of the jobs");
    assert_eq!(count(conn, "SELECT COUNT(*) FROM res_database WHERE state = 'ready'"), jobs.len() as u64);
    for name in &made {
        assert_eq!(count(conn, &format!("SELECT COUNT(*) FROM `{name}`.built")), 1, "{name} is whole");
    }
    wait_at_most(CATCH_UP, "the outbox to be empty", || count(conn, "SELECT COUNT(*) FROM res_outbox") == 0);
    let head = count(conn, "SELECT head_seq FROM res_log");
    for listener in listeners {
        wait_at_most(CATCH_UP, "every event to be told", || listener.events().len() as u64 >= head);
    }
    let first = listeners[0].events();
    let (mut texts, mut completed) = (BTreeSet::new(), BTreeMap::<String, u32>::new());
    for (event, seq) in first.iter().zip(1..) {
        assert_eq!(event["seq"], seq, "numbers without holes, each once");
        match event["state"].as_str().unwrap() {
            "Said" => assert!(texts.insert(event["payload"].as_str().unwrap().to_string()), "told twice: {event}"),
            "Completed" => *completed.entry(event["payload"]["res_name"].as_str().unwrap().into()).or_default() += 1,
            "New" | "InProgress" => {}
            other => panic!("{other}: {event}"),
        }
    }
    assert_eq!(first.len() as u64, head);
    assert_eq!(&texts, published, "exactly the committed events");
    assert_eq!(&completed.keys().cloned().collect::<BTreeSet<_>>(), jobs);
    assert!(completed.values().all(|times| *times == 1), "a job was done twice: {completed:?}");
    for listener in &listeners[1..] {
        assert!(listener.events() == first, "{} differs from {}", listener.log.display(), listeners[0].log.display());
    }
}
