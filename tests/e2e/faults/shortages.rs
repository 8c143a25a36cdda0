//! What runs out: the server's connections, the file descriptors of the daemon and of the server.

use std::process::Command;

use mysql::{Conn, prelude::Queryable};

use crate::{instance::Instance, server::Server};

use super::{trial::Setup, workload::add_jobs};

/// Ends the daemon's and the writers' sessions.
fn end_sessions(conn: &mut Conn, global_db: &str) {
    let theirs = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = ? AND ID <> CONNECTION_ID()";
    for id in conn.exec::<u64, _, _>(theirs, (global_db,)).unwrap() {
        // It may have ended by itself.
        let _ = conn.query_drop(format!("KILL {id}"));
    }
}

#[test]
fn server_has_no_more_connections() {
    let server = Server::own();
    let instance = Instance::on(&server, "short_conns");
    instance.resqctl(["init"]).ok();
    Setup::new(&instance, 1).rounds(|trial| {
        let mut admin = server.conn();
        // One more than the least that there must be, and one that an administrator has besides.
        let taken: Vec<Conn> = (0..12).map(|_| server.conn()).collect();
        admin.query_drop("SET GLOBAL max_connections = 10").unwrap();
        const LOST: &str = "the database server is lost, waiting for it: ERROR 1040";
        trial.repeat_until_log(LOST, || end_sessions(&mut admin, &instance.global_db));
        let late = instance.resqd().env("RESQ_SOCKET", "").expect_code(3);
        assert!(late.stderr.contains("raise the server's max_connections"), "{late}");
        admin.query_drop("SET GLOBAL max_connections = 151").unwrap();
        drop(taken);
        LOST
    });
}

/// Below every number that is free in a process that runs: it may open nothing more.
const NONE: u64 = 3;

/// Sets the soft limit of open files of a process, by the tool that every Linux has.
fn limit_files(pid: u32, limit: u64) {
    let status = Command::new("prlimit").arg(format!("--pid={pid}")).arg(format!("--nofile={limit}:")).status();
    assert!(status.expect("prlimit runs (util-linux)").success(), "prlimit --nofile={limit}: of {pid}");
}

fn hard_limit(pid: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("a process of ours");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("its limit");
    line.split_whitespace().nth(4).and_then(|hard| hard.parse().ok()).expect("a number")
}

#[test]
fn resqd_has_no_more_descriptors() {
    let instance = Instance::ready("short_files");
    Setup::new(&instance, 1).rounds(|trial| {
        let pid = trial.pid(0);
        let mut conn = instance.server.conn();
        // None may be opened from here on; those that it has are taken away, until it misses one.
        const NONE_LEFT: &str = "Too many open files";
        trial.repeat_until_log(NONE_LEFT, || {
            limit_files(pid, NONE);
            end_sessions(&mut conn, &instance.global_db);
        });
        limit_files(pid, hard_limit(pid));
        NONE_LEFT
    });
}

#[test]
fn server_has_no_more_descriptors() {
    // It says so itself where a table is to be made; of one that is there it says that it is not, or nothing; and it
    // takes no new connections.
    const SHORT: &str = "Too many open files|doesn't exist|errno: 168|trying again|waiting for it";
    if let Ok("mysql97" | "group") = std::env::var("TEST_SERVER").as_deref() {
        return println!("not tested: MySQL ends itself then, or serves nobody any more");
    }
    let server = Server::own();
    let instance = Instance::on(&server, "short_server_files");
    instance.resqctl(["init"]).ok();
    // MariaDB may say that a template's table is not there, as it says of a slip in a template, or nothing at all.
    let setup = Setup { counted: Some("ERROR 1146 |errno: 168"), ..Setup::new(&instance, 1) };
    setup.rounds(|trial| {
        let pid = server.node(1).pid;
        let before = hard_limit(pid);
        let mut conn = instance.conn();
        // They are there before: without descriptors not every INSERT finds its triggers.
        add_jobs(&mut conn, 40, &mut trial.random);
        limit_files(pid, NONE);
        trial.wait_for_log(SHORT);
        limit_files(pid, before);
        SHORT
    });
}
