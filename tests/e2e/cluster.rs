//! A cluster of three nodes with writers on several of them, whose nodes and daemons die: jobs and events behave as on
//! one server. On a single server these tests are listed as ignored; `scripts/test.sh` includes them on a cluster.

mod consumers;
mod daemons;
mod failover;
mod functions;
mod init;
mod partition;
mod ready;
mod setup;
mod writers;

use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{
    EventOracle, Instance, Program, RecordingClient, Running, Server, assert_databases_are_exact, sessions, signal,
    templates, wait_at_most, wait_or_report, wait_until, wait_until_all_done,
};
use writers::Committed;

/// How long everything may take to finish when nothing breaks any more.
const CATCH_UP: Duration = Duration::from_secs(180);

/// One test at a time takes nodes away: two of three have to be left.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A node that hangs until this is dropped.
struct Hanging {
    pid: u32,
}

impl Hanging {
    fn new(pid: u32) -> Hanging {
        signal(pid, "STOP");
        Hanging { pid }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        signal(self.pid, "CONT");
    }
}

/// A program of this instance whose `database.hosts` are these nodes, in this order.
pub fn on(program: Program, server: &Server, nodes: &[usize]) -> Program {
    let hosts: Vec<String> = nodes.iter().map(|n| format!("127.0.0.1:{}", server.node(*n).port)).collect();
    program.env("MYSQL_HOST", "").env("MYSQL_PORT", "").env("RESQ_DB_HOSTS", hosts.join(","))
}

/// A daemon that prefers the first of these nodes.
fn daemon(instance: &Instance, nodes: &[usize], socket: &Path) -> Running {
    resqd(instance, nodes, socket).spawn_ready()
}

/// The same, not started.
fn resqd(instance: &Instance, nodes: &[usize], socket: &Path) -> Program {
    resqd_with(instance, nodes, socket, templates::COUNTING)
}

/// The same by these templates.
fn resqd_with(instance: &Instance, nodes: &[usize], socket: &Path, set: &[(&str, &str)]) -> Program {
    let resqd = on(instance.resqd(), instance.server, nodes).env("RESQ_SOCKET", socket);
    resqd.args(["--poll-ms", "100", "--lease-s", "10", "--sql-dir"]).arg(instance.sql_dir(set))
}

/// A client of the daemon on `socket`.
fn client(instance: &Instance, socket: &Path, name: &str) -> RecordingClient {
    RecordingClient::start(instance, name, vec![("RESQ_SOCKET", socket.display().to_string())])
}

/// Waits until the daemon's account has sessions on node `n`.
fn wait_until_used(instance: &Instance, n: usize) {
    let used = format!("SELECT COUNT(*) FROM {} WHERE user = ?", sessions());
    let mut conn = instance.server.conn_to(n);
    wait_until("the daemon to use the node", || {
        conn.exec_first::<u64, _, _>(&used, (&instance.daemon.user,)).unwrap() > Some(0)
    });
}

/// Waits until all committed jobs are done and all events delivered; then nothing is lost, repeated, invented or out of
/// order for any of the clients. `conn` leads to a node that lives.
fn check(instance: &Instance, conn: &mut Conn, committed: &Committed, clients: &[RecordingClient]) {
    wait_or_report(CATCH_UP, "exactly the committed jobs", || {
        let names: Vec<String> = conn.query("SELECT res_name FROM res_queue").unwrap();
        let count = names.len();
        let names = names.into_iter().collect();
        let missing: Vec<_> = committed.jobs.difference(&names).collect();
        let invented: Vec<_> = names.difference(&committed.jobs).collect();
        match missing.is_empty() && invented.is_empty() && count == names.len() {
            true => Ok(()),
            false => Err(format!("missing {missing:?}, never committed {invented:?}, {count} rows")),
        }
    });
    wait_until_all_done(conn, committed.jobs.len() as u64, CATCH_UP);
    assert_databases_are_exact(instance, conn);
    let mut count = |sql: &str| conn.query_first::<u64, _>(sql).unwrap().unwrap();
    wait_at_most(CATCH_UP, "the outbox to be empty", || count("SELECT COUNT(*) FROM res_outbox") == 0);
    let head = count("SELECT head_seq FROM res_log");
    let mut first: Option<Vec<String>> = None;
    for client in clients {
        wait_at_most(CATCH_UP, "every event to be delivered", || client.last_seq() >= head);
        let mut oracle = EventOracle::new(committed.events.clone());
        let mut events = Vec::new();
        client.for_each(|event| {
            oracle.observe(event);
            events.push(event.to_string());
        });
        oracle.finish(conn);
        assert!(*first.get_or_insert_with(|| events.clone()) == events, "two clients received different events");
    }
}
