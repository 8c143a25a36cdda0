//! Processes that die or freeze: the daemon, the database server.

use mysql::prelude::Queryable;

use resq_test_support::{Instance, Server, signal, wait_until};

use super::{
    checks::Trace,
    scenario::{LEASE_S, Scenario},
};

#[test]
fn resqd_is_killed_and_started_again() {
    let instance = Instance::ready("proc_killed");
    Scenario::new(&instance, 1).rounds(|system| {
        system.kill(0);
        system.restart(0);
        Trace::Any
    });
}

#[test]
fn resqd_is_killed_and_another_takes_over() {
    let instance = Instance::ready("proc_shared");
    Scenario::new(&instance, 2).rounds(|system| {
        // The one without a socket: the clients stay connected to the other, which then has all the work.
        system.kill(1);
        let lease = "SELECT 1 FROM res_daemon WHERE lease_until < NOW(6)";
        let mut conn = instance.conn();
        wait_until("its lease to run out", || conn.query_first(lease).unwrap() == Some(1));
        system.restart(1);
        Trace::Any
    });
}

#[test]
fn resqd_is_frozen_beyond_its_lease() {
    let instance = Instance::ready("proc_frozen");
    Scenario::new(&instance, 2).rounds(|system| {
        system.signal(0, "STOP");
        let mut conn = instance.conn();
        let late = format!("SELECT 1 FROM res_daemon WHERE lease_until < NOW(6) - INTERVAL {LEASE_S} SECOND");
        wait_until("its lease to be long over", || conn.query_first(&late).unwrap() == Some(1));
        system.signal(0, "CONT");
        Trace::Any
    });
}

#[test]
fn server_is_killed_and_started_again() {
    let server = Server::own();
    let instance = Instance::on(&server, "proc_server");
    instance.resqctl(["init"]).ok();
    Scenario::new(&instance, 1).rounds(|system| {
        server.kill9(1);
        system.wait_for(Trace::Warning);
        server.restart(1);
        Trace::Warning
    });
}

#[test]
fn server_is_frozen() {
    let server = Server::own();
    let instance = Instance::on(&server, "proc_hung");
    instance.resqctl(["init"]).ok();
    Scenario::new(&instance, 1).rounds(|_| {
        let pid = server.node(1).pid;
        signal(pid, "STOP");
        // For as long as it takes a client to give up, which is longer than the lease.
        instance.resqctl(["status"]).expect_code(3);
        signal(pid, "CONT");
        Trace::Any
    });
}
