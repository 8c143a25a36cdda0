//! A node that answers and can't be used is passed over, by a new connection and by a daemon that was on it.

use mysql::{Conn, prelude::Queryable};

use super::{Listener, address, alone, daemon, on, writers::again};
use crate::{instance::Instance, program::wait_until, server::Server};

/// How a node is made unusable, and well again; what is said of it; whether statements fail there.
const TROUBLES: &[(&str, &str, &str, &str, bool)] = &[
    ("galera", "SET GLOBAL wsrep_desync = ON", "SET GLOBAL wsrep_desync = OFF", "Donor/Desynced", false),
    (
        "galera",
        "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'",
        "SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'",
        "Initialized",
        true,
    ),
    ("galera", "SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0", "read-only", false),
    ("group", "STOP GROUP_REPLICATION", "START GROUP_REPLICATION", "read-only", true),
    (
        "group",
        "SET GLOBAL super_read_only = 1",
        "SET GLOBAL super_read_only = 0, GLOBAL read_only = 0",
        "read-only",
        true,
    ),
];

fn status(instance: &Instance) -> String {
    let status = on(instance.resqctl(["status"]), instance.server, &[2, 3]).expect_code(0);
    status.stdout + &status.stderr
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn a_node_that_is_not_ready_is_passed_over_until_it_is() {
    let _alone = alone();
    let instance = Instance::ready("not_ready");
    let server = Server::shared();
    let mut node: Conn = server.conn_to(2);
    let mut conn = instance.conn();
    let mut jobs = 0;
    for (_, fall_ill, recover, said, fails) in TROUBLES.iter().filter(|(kind, ..)| *kind == server.kind()) {
        println!("{fall_ill}");
        let moved = format!("now on database node {}", address(server, 3));
        wait_until("node 2 to be used", || !status(&instance).contains(&moved));
        let mut resqd = daemon(&instance, &[2, 3], &instance.broker_socket());
        let listener = Listener::new(&instance, &instance.broker_socket(), &format!("listener{jobs}"));
        node.query_drop(fall_ill).unwrap();
        let mut told = String::new();
        // While it is falling out of the cluster other things may be said of it.
        wait_until("node 2 to be passed over, and why", || {
            told = status(&instance);
            told.contains(&moved) && told.contains(said)
        });
        jobs += 1;
        let name = format!("ready{jobs}");
        again(&mut conn, &format!("INSERT INTO res_queue (res_name) VALUES ('{name}')"));
        wait_until("a job to be done and told", || listener.heard("Completed", &name));
        if *fails {
            resqd.wait_for_log(&moved);
        }
        node.query_drop(recover).unwrap();
        wait_until("node 2 to be used again", || !status(&instance).contains(&moved));
        assert_eq!(resqd.stop().code(), Some(0));
    }
}
