//! Resources that run out: the server's connections, the file descriptors of the daemon and of the server.

use std::process::Command;

use mysql::{Conn, prelude::Queryable};

use resq_test_support::{Instance, Server, sessions};

use super::{checks::Trace, scenario::Scenario, workload::add_jobs};

/// Ends the daemon's and the writers' sessions.
fn end_sessions(conn: &mut Conn, global_db: &str) {
    let theirs = format!("SELECT id FROM {} WHERE db = ? AND id <> CONNECTION_ID()", sessions());
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
    Scenario::new(&instance, 1).rounds(|system| {
        let mut admin = server.conn();
        // One more than the smallest limit that a server accepts, and one that is reserved for an administrator.
        let taken: Vec<Conn> = (0..12).map(|_| server.conn()).collect();
        admin.query_drop("SET GLOBAL max_connections = 10").unwrap();
        // ER_CON_COUNT_ERROR.
        const REFUSED: Trace = Trace::Cause("1040");
        system.repeat_until(REFUSED, || end_sessions(&mut admin, &instance.global_db));
        let late = instance.resqd().env("RESQ_SOCKET", "").expect_code(3);
        assert!(late.stderr.contains("max_connections"), "{late}");
        admin.query_drop("SET GLOBAL max_connections = 151").unwrap();
        drop(taken);
        REFUSED
    });
}

/// Lower than every free descriptor of a running process: it may open nothing more.
const NONE: u64 = 3;

/// Sets the soft limit of open files of a process.
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
    Scenario::new(&instance, 1).rounds(|system| {
        let pid = system.pid(0);
        let mut conn = instance.server.conn();
        // It may open no more; its connections are ended until it needs a descriptor.
        // EMFILE.
        const NONE_LEFT: Trace = Trace::Cause("Too many open files");
        system.repeat_until(NONE_LEFT, || {
            limit_files(pid, NONE);
            end_sessions(&mut conn, &instance.global_db);
        });
        limit_files(pid, hard_limit(pid));
        NONE_LEFT
    });
}

#[test]
fn server_has_no_more_descriptors() {
    if matches!(Server::shared().kind(), "mysql97" | "group") {
        return println!("not tested: MySQL then ends itself or stops serving");
    }
    let server = Server::own();
    let instance = Instance::on(&server, "short_server_files");
    instance.resqctl(["init"]).ok();
    // MariaDB may report that a template's table does not exist, as for a mistake in a template, or nothing at all.
    let scenario = Scenario { counted: Some("ERROR 1146 |errno: 168"), ..Scenario::new(&instance, 1) };
    scenario.rounds(|system| {
        let pid = server.node(1).pid;
        let before = hard_limit(pid);
        let mut conn = instance.conn();
        // Inserted before: without descriptors not every INSERT finds its triggers.
        add_jobs(&mut conn, 40, &mut system.random);
        limit_files(pid, NONE);
        system.wait_for(Trace::Warning);
        limit_files(pid, before);
        Trace::Warning
    });
}
