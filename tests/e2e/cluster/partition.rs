//! A node that its cluster has lost, by the network or because it hangs, while clients still reach it. A daemon that knows
//! other nodes continues on one of those; a daemon that does not waits and reports by HTTP that it is not ready, and one
//! that starts there is not ready. Either way each job has one outcome and each event is delivered once.

use std::time::Instant;

use mysql::prelude::Queryable;
use resq_test_support::{
    Instance, Partition, Server, http, in_own_network, not_tested, own_port, wait_at_most, wait_or_report,
};

use super::{
    CATCH_UP, Hanging, alone, check, client, daemon,
    ready::wait_for_status_on,
    resqd, wait_until_used,
    writers::{Writers, run_until_accepted},
};

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn daemon_leaves_a_node_that_is_cut_off_or_waits_for_it() {
    let is_allowed = in_own_network(|| {
        let server = Server::own();
        let knows = match server.kind() {
            "galera" => {
                "SELECT VARIABLE_VALUE = 'non-Primary' FROM information_schema.GLOBAL_STATUS \
                 WHERE VARIABLE_NAME = 'wsrep_cluster_status'"
            }
            _ => {
                "SELECT COUNT(*) = 2 FROM performance_schema.replication_group_members \
                 WHERE MEMBER_STATE = 'UNREACHABLE'"
            }
        };
        let mut node = server.conn_to(2);
        // An error is an answer, too: Galera refuses statements then (1047).
        let mut is_known = || node.query_first::<bool, _>(knows).map_or(true, |known| known == Some(true));
        let wait_until_known = || wait_at_most(CATCH_UP, "the node to know", &mut is_known);
        leave_or_wait(&Instance::on(&server, "cut_off"), || Partition::of(&server, 2), wait_until_known);
    });
    if !is_allowed {
        not_tested("this system allows no private network (unshare -n)");
    }
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn daemon_leaves_a_node_that_hangs_or_waits_for_it() {
    let _alone = alone();
    leave_or_wait(&Instance::new("hung"), || Hanging::new(Server::shared().node(2).pid), || ());
}

/// `lose` takes node 2 away until what it returns is dropped. Prints how long a daemon needs to leave the node, from the
/// moment at which `wait_until_known` returns.
fn leave_or_wait<T>(instance: &Instance, lose: impl FnOnce() -> T, wait_until_known: impl FnOnce()) {
    instance.resqctl(["init"]).ok();
    let mut conn = instance.conn();
    let sockets = ["movable", "fixed", "late"].map(|name| instance.dir().join(format!("{name}.sock")));
    let ports = [own_port(), own_port()];
    let with_http = |n: usize, nodes: &[usize]| {
        resqd(instance, nodes, &sockets[n]).env("RESQ_HTTP", format!("127.0.0.1:{}", ports[n])).spawn_ready()
    };
    let movable = with_http(0, &[2, 3, 1]);
    let fixed = with_http(1, &[2]);
    for port in ports {
        wait_for_readiness(port, 200);
    }
    let clients = [0, 1].map(|n| client(instance, &sockets[n], ["movable", "fixed"][n]));
    let writers = Writers::start(instance, &[1]);
    writers.wait_for_more(20);

    let start = Instant::now();
    let lost = lose();
    wait_until_known();
    let known = start.elapsed();
    let mut late = resqd(instance, &[2], &sockets[2]).spawn_notifying();
    wait_until_used(instance, 3);
    let moved = start.elapsed();
    wait_for_status_on(instance, 3, "");
    let mut insert_and_wait = |name: &str, on: usize| {
        run_until_accepted(&mut conn, &format!("INSERT INTO res_queue (res_name) VALUES ('{name}')"));
        wait_at_most(CATCH_UP, "a job to be completed", || clients[on].has("Completed", name));
    };
    insert_and_wait("during", 0);
    println!(
        "{} {}: known after {known:?}, on the next node {:?} later, a job done {:?} later",
        instance.server.kind(),
        instance.global_db,
        moved - known,
        start.elapsed() - known
    );
    let held = format!(
        "SELECT (SELECT COUNT(*) FROM res_queue WHERE owner LIKE '%:{0}:%') + \
         (SELECT COUNT(*) FROM res_daemon WHERE owner LIKE '%:{0}:%' AND lease_until >= NOW(6))",
        fixed.pid()
    );
    let mut majority = instance.conn();
    let mut held = || majority.query_first::<u64, _>(&held).unwrap().unwrap();
    wait_at_most(CATCH_UP, "the other daemon to hold nothing", || held() == 0);
    wait_for_readiness(ports[1], 503);
    wait_for_readiness(ports[0], 200);
    writers.wait_for_more(20);
    assert_eq!(held(), 0, "a claim or a lease without the cluster");
    assert!(!late.has_notified("READY=1"), "ready without the cluster");
    assert_eq!(readiness(ports[1]).0, 503, "ready without the cluster");
    drop(late);

    drop(lost);
    let finished = movable.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert!((1..30).contains(&finished.warnings().len()), "a few lines: {finished}");
    wait_for_readiness(ports[1], 200);
    // By the other daemon alone.
    insert_and_wait("after", 1);
    let finished = fixed.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert!(!finished.warnings().is_empty(), "it reports that it waits: {finished}");

    let mut committed = writers.stop();
    committed.jobs.extend(["during", "after"].map(String::from));
    let last = [daemon(instance, &[1], &sockets[0]), daemon(instance, &[3], &sockets[1])];
    check(instance, &mut conn, &committed, &clients);
    for daemon in last {
        assert_eq!(daemon.stop().code(), Some(0));
    }
}

/// What `/readyz` answers: the status and the reasons.
fn readiness(port: u16) -> (u16, String) {
    let answer = http(port, "GET /readyz", "");
    (answer.status, answer.body)
}

fn wait_for_readiness(port: u16, status: u16) {
    wait_or_report(CATCH_UP, &format!("/readyz to answer {status}"), || {
        let (answered, body) = readiness(port);
        if answered == status { Ok(()) } else { Err(body) }
    });
}
