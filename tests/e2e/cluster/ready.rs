//! A node that answers but cannot be used is skipped, by a new connection and by a daemon that was on it.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Finished, Instance, Server, sessions, wait_or_report, wait_until};

use super::{CATCH_UP, alone, client, daemon, on, wait_until_used, writers::run_until_accepted};
use crate::protocol::peer::{Address, Peer, Received, subscribe};

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

/// `resqctl status` with nodes 2 and 3 as its hosts, and whether it was on node `n`. It fails if its node is lost meanwhile.
fn status_on(instance: &Instance, n: usize) -> (Finished, bool) {
    let finished = on(instance.resqctl(["status", "--json"]), instance.server, &[2, 3]).run();
    let json: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap_or_default();
    let is_on = json["host"].as_str().is_some_and(|host| host.ends_with(&format!(":{}", instance.server.node(n).port)));
    (finished, is_on)
}

/// Waits until `resqctl status` uses node `n`, with nodes 2 and 3 as its hosts, and its log contains `why`.
pub fn wait_for_status_on(instance: &Instance, n: usize, why: &str) {
    wait_or_report(CATCH_UP, &format!("`resqctl status` to use node {n} ({why})"), || {
        let (finished, is_on) = status_on(instance, n);
        if is_on && finished.stderr.contains(why) { Ok(()) } else { Err(finished.to_string()) }
    });
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
        wait_for_status_on(&instance, 2, "");
        let resqd = daemon(&instance, &[2, 3], &instance.broker_socket());
        let client = client(&instance, &instance.broker_socket(), &format!("client{number}"));
        node.query_drop(make_unusable).unwrap();
        // While it leaves the cluster, other states may be reported.
        wait_for_status_on(&instance, 3, state);
        let name = format!("ready{number}");
        run_until_accepted(&mut conn, &format!("INSERT INTO res_queue (res_name) VALUES ('{name}')"));
        wait_until("a job to be completed", || client.has("Completed", &name));
        if *fails {
            wait_until_used(&instance, 3);
        }
        node.query_drop(recover).unwrap();
        wait_for_status_on(&instance, 2, "");
        assert_eq!(resqd.stop().code(), Some(0));
    }
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn a_node_that_lags_behind_is_skipped() {
    let _alone = alone();
    let instance = Instance::ready("lagging");
    let server = Server::shared();
    wait_for_status_on(&instance, 2, "");
    // As long as this session lives, the node applies nothing.
    let mut node = server.conn_to(2);
    node.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
    instance.resqctl(["add", "unapplied"]).ok();
    let listed = on(instance.resqctl(["list"]), server, &[2, 3]).expect_code(0);
    assert!(listed.stdout.contains("unapplied"), "{listed}");
    assert!(listed.stderr.contains("now using node"), "{listed}");
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn daemon_whose_only_node_has_not_applied_init_yet_waits_for_it() {
    let _alone = alone();
    let instance = Instance::new("behind");
    let server = Server::shared();
    let mut node = server.conn_to(2);
    let account = format!("SELECT 1 FROM mysql.user WHERE User = '{}'", instance.daemon.user);
    wait_until("the account", || node.query_first(&account).unwrap() == Some(1));
    node.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
    on(instance.resqctl(["init"]), server, &[3, 1]).ok();
    let resqd = on(instance.resqd(), server, &[2]).env("RESQ_DB_WAIT_S", "120");
    let mut resqd = resqd.spawn_notifying();
    wait_until("the start to wait for the node", || {
        let waits = format!("SELECT COUNT(*) FROM {} WHERE user = ? AND command = 'Query'", sessions());
        node.exec_first::<u64, _, _>(waits, (&instance.daemon.user,)).unwrap() > Some(0)
    });
    assert!(!resqd.has_notified("READY=1"), "ready on a node that has no tables yet");
    node.query_drop("UNLOCK TABLES").unwrap();
    wait_until("resqd to serve", || resqd.has_notified("READY=1"));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn client_that_moves_to_a_node_that_lags_behind_gets_no_event_again() {
    let _alone = alone();
    let instance = Instance::ready("moved");
    let sockets = [2, 3].map(|n| instance.dir().join(format!("d{n}.sock")));
    wait_for_status_on(&instance, 2, "");
    let _daemons = [daemon(&instance, &[2], &sockets[0]), daemon(&instance, &[3, 1], &sockets[1])];
    let client = client(&instance, &sockets[1], "client");
    let mut conn = instance.conn();
    let mut node = Server::shared().conn_to(2);
    node.query_drop("FLUSH TABLES WITH READ LOCK").unwrap();
    let add = "INSERT INTO res_queue (res_name) VALUES";
    run_until_accepted(&mut conn, &format!("{add} ('read')"));
    wait_until("a job to be completed", || client.has("Completed", "read"));
    let last = client.last_seq();
    let mut peer = Peer::greeted(&Address::Unix(sockets[0].clone()), 2);
    peer.send(&subscribe(0b11, last, &["*"]));
    node.query_drop("UNLOCK TABLES").unwrap();
    assert_eq!(peer.receive_past_pings(), Received::Subscribed(last));
    run_until_accepted(&mut conn, &format!("{add} ('next')"));
    match peer.receive_past_pings() {
        Received::Event { seq, .. } => assert_eq!(seq, last + 1),
        other => panic!("an event expected, not {other}"),
    }
}
