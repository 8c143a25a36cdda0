//! What runs out: the server's connections, the file descriptors of the daemon and of the server.

use std::process::Command;

use mysql::{Conn, prelude::Queryable};

use crate::{instance::Instance, program::wait_until, server::Server};

use super::{trial::Setup, workload::add_jobs};

/// Few enough to be taken quickly, enough for a trial.
const MOST: &str = "--max-connections=40";

/// Takes connections until there are no more.
fn take_all(server: &Server, taken: &mut Vec<Conn>) {
    while let Ok(conn) = server.try_conn(1) {
        taken.push(conn);
    }
}

/// Ends the sessions of everybody but this one.
fn kill_others(conn: &mut Conn) {
    let others = "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() \
                  AND COMMAND NOT IN ('Daemon', 'Binlog Dump') AND USER NOT IN ('system user', 'event_scheduler')";
    for id in conn.query::<u64, _>(others).unwrap() {
        // It may have ended by itself.
        let _ = conn.query_drop(format!("KILL {id}"));
    }
}

#[test]
fn server_has_no_more_connections() {
    let server = Server::with_options(&[MOST]);
    let instance = Instance::on(&server, "short_conns");
    instance.resqctl(["init"]).ok();
    Setup::new(&instance, 1).rounds(|trial| {
        let mut admin = server.conn();
        let mut taken = Vec::new();
        // Whoever is quick gets the places that are free for a moment: again until the daemon has none.
        wait_until("the daemon to find no place", || {
            kill_others(&mut admin);
            taken.clear();
            take_all(&server, &mut taken);
            trial.log().contains("Too many connections")
        });
        let late = instance.resqd().env("RESQ_SOCKET", "").expect_code(3);
        assert!(late.stderr.contains("raise the server's max_connections"), "{late}");
        drop(taken);
        "Too many connections"
    });
}

/// Sets the soft limit of open files of a process, by the tool that every Linux has.
fn limit_files(pid: u32, limit: u64) {
    let status = Command::new("prlimit").arg(format!("--pid={pid}")).arg(format!("--nofile={limit}:")).status();
    assert!(status.expect("prlimit runs (util-linux)").success(), "prlimit --nofile={limit}: of {pid}");
}

fn open_files(pid: u32) -> u64 {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours").count() as u64
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
        let ours = format!("SELECT ID FROM information_schema.PROCESSLIST WHERE DB = '{}'", instance.global_db);
        // None may be opened from here on; those that it has are taken away, until it misses one.
        wait_until("the daemon to miss a descriptor", || {
            limit_files(pid, 10);
            for id in conn.query::<u64, _>(&ours).unwrap() {
                let _ = conn.query_drop(format!("KILL {id}"));
            }
            trial.log().contains("Too many open files")
        });
        limit_files(pid, hard_limit(pid));
        "Too many open files"
    });
}

#[test]
fn server_has_no_more_descriptors() {
    let server = Server::own();
    let instance = Instance::on(&server, "short_server_files");
    instance.resqctl(["init"]).ok();
    Setup::new(&instance, 1).rounds(|trial| {
        let pid = server.node(1).pid;
        let before = hard_limit(pid);
        let mut conn = instance.conn();
        limit_files(pid, open_files(pid));
        add_jobs(&mut conn, 3, &mut trial.random);
        trial.wait_for_log("Too many open files");
        limit_files(pid, before);
        "Too many open files"
    });
}
