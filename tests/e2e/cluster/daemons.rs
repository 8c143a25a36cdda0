//! Several daemons, each on its own node, on one queue and one event log.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, RecordingClient, Server};

use super::{alone, check, client, daemon, wait_until_used, writers::Writers};

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn daemons_on_three_nodes_do_each_job_once_while_one_and_its_node_die() {
    let _alone = alone();
    let instance = Instance::ready("daemons");
    let server = Server::shared();
    let sockets = [1, 2, 3].map(|n| instance.dir().join(format!("d{n}.sock")));
    let order = [[1, 2, 3], [2, 3, 1], [3, 1, 2]];
    let mut daemons: Vec<_> = (0..3).map(|i| daemon(&instance, &order[i], &sockets[i])).collect();
    let mut clients: Vec<RecordingClient> = Vec::new();
    for name in ["first", "second"] {
        clients.extend((0..3).map(|i| client(&instance, &sockets[i], &format!("{name}{i}"))));
    }
    let writers = Writers::start(&instance, &[1, 2]);
    writers.wait_for_more(60);
    drop(daemons.remove(0)); // SIGKILL
    writers.wait_for_more(30);
    // Its subscribers reconnect by themselves.
    daemons.insert(0, daemon(&instance, &order[0], &sockets[0]));
    let mut conn = instance.conn();
    let lease_on_third = "SELECT COUNT(*) FROM res_daemon WHERE lease_until >= NOW(6)";
    server.kill9(3);
    writers.wait_for_more(60);
    // All three hold leases, the third on another node.
    resq_test_support::wait_until("three leases", || conn.query_first(lease_on_third).unwrap() == Some(3u64));
    wait_until_used(&instance, 1);
    server.restart(3);
    writers.wait_for_more(30);
    let committed = writers.stop();
    check(&instance, &mut conn, &committed, &clients);
    println!("{}: {} jobs, the longest transaction {:?}", server.kind(), committed.jobs.len(), committed.longest);
    for finished in daemons.into_iter().map(|daemon| daemon.stop()) {
        assert_eq!(finished.code(), Some(0), "{finished}");
    }
}
