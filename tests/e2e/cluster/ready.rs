//! A node that answers but cannot be used is skipped, by a new connection and by a daemon that was on it.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Finished, Instance, Server, wait_until};

use super::{alone, client, daemon, on, wait_until_used, writers::run_until_accepted};

/// (kind of cluster, how a node is made unusable, how usable again, the state to be reported, whether statements fail).
const FAULTS: &[(&str, &str, &str, &str, bool)] = &[
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

/// `resqctl status` with nodes 2 and 3 as its hosts, and whether it was on node `n`.
fn status_on(instance: &Instance, n: usize) -> (Finished, bool) {
    let finished = on(instance.resqctl(["status", "--json"]), instance.server, &[2, 3]).expect_code(0);
    let json: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let is_on = json["host"].as_str().unwrap().ends_with(&format!(":{}", instance.server.node(n).port));
    (finished, is_on)
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn a_node_that_is_not_ready_is_skipped_until_it_is() {
    let _alone = alone();
    let instance = Instance::ready("not_ready");
    let server = Server::shared();
    let mut node: Conn = server.conn_to(2);
    let mut conn = instance.conn();
    let faults = FAULTS.iter().filter(|(kind, ..)| *kind == server.kind());
    for (number, (_, make_unusable, recover, state, fails)) in faults.enumerate() {
        println!("{make_unusable}");
        wait_until("node 2 to be used", || status_on(&instance, 2).1);
        let resqd = daemon(&instance, &[2, 3], &instance.broker_socket());
        let client = client(&instance, &instance.broker_socket(), &format!("client{number}"));
        node.query_drop(make_unusable).unwrap();
        // While it leaves the cluster, other states may be reported.
        wait_until("node 2 to be skipped because of its state", || {
            let (finished, is_on) = status_on(&instance, 3);
            is_on && finished.stderr.contains(state)
        });
        let name = format!("ready{number}");
        run_until_accepted(&mut conn, &format!("INSERT INTO res_queue (res_name) VALUES ('{name}')"));
        wait_until("a job to be completed", || client.has("Completed", &name));
        if *fails {
            wait_until_used(&instance, 3);
        }
        node.query_drop(recover).unwrap();
        wait_until("node 2 to be used again", || status_on(&instance, 2).1);
        assert_eq!(resqd.stop().code(), Some(0));
    }
}
