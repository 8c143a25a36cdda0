//! Processes that die or stand still: the daemon, the database server.

use mysql::prelude::Queryable;

use crate::{
    instance::Instance,
    program::{signal, wait_until},
    server::Server,
};

use super::trial::{LEASE_S, Setup};

#[test]
fn resqd_is_killed_and_started_again() {
    let instance = Instance::ready("proc_killed");
    Setup::new(&instance, 1).rounds(|trial| {
        trial.kill(0);
        trial.restart(0);
        ""
    });
}

#[test]
fn resqd_is_killed_and_another_takes_over() {
    let instance = Instance::ready("proc_shared");
    Setup::new(&instance, 2).rounds(|trial| {
        // The one without listeners, so that the other has all the work; its socket is not made again at once.
        trial.kill(1);
        let lease = "SELECT 1 FROM res_daemon WHERE lease_until < NOW(6)";
        let mut conn = instance.conn();
        wait_until("its lease to run out", || conn.query_first(lease).unwrap() == Some(1));
        trial.restart(1);
        ""
    });
}

#[test]
fn resqd_stands_still_beyond_its_lease() {
    let instance = Instance::ready("proc_frozen");
    Setup::new(&instance, 2).rounds(|trial| {
        trial.signal(0, "STOP");
        let mut conn = instance.conn();
        let late = format!("SELECT 1 FROM res_daemon WHERE lease_until < NOW(6) - INTERVAL {LEASE_S} SECOND");
        wait_until("its lease to be long over", || conn.query_first(&late).unwrap() == Some(1));
        trial.signal(0, "CONT");
        ""
    });
}

#[test]
fn server_is_killed_and_started_again() {
    let server = Server::own();
    let instance = Instance::on(&server, "proc_server");
    instance.resqctl(["init"]).ok();
    Setup::new(&instance, 1).rounds(|trial| {
        server.kill9(1);
        trial.wait_for_log("the database server is lost");
        server.restart(1);
        "the database server is back"
    });
}

#[test]
fn server_stands_still() {
    let server = Server::own();
    let instance = Instance::on(&server, "proc_hung");
    instance.resqctl(["init"]).ok();
    Setup::new(&instance, 1).rounds(|_| {
        let pid = server.node(1).pid;
        signal(pid, "STOP");
        // For as long as it takes a client to give up, which is longer than the lease.
        let finished = instance.resqctl(["status"]).expect_code(3);
        assert!(finished.stderr.contains("the server does not answer"), "{finished}");
        signal(pid, "CONT");
        ""
    });
}
