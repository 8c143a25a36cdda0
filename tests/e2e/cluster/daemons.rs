//! Several daemons, each on a node of its own, on one queue and one log.

use super::{Listener, address, alone, check, daemon, writers::Writers};
use crate::{instance::Instance, server::Server};

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn daemons_on_three_nodes_do_each_job_once_and_tell_everybody_the_same_while_one_and_its_node_die() {
    let _alone = alone();
    let instance = Instance::ready("daemons");
    let server = Server::shared();
    let sockets = [1, 2, 3].map(|n| instance.dir().join(format!("d{n}.sock")));
    let order = [[1, 2, 3], [2, 3, 1], [3, 1, 2]];
    let mut daemons: Vec<_> = (0..3).map(|i| daemon(&instance, &order[i], &sockets[i])).collect();
    let mut listeners: Vec<Listener> = Vec::new();
    for name in ["first", "second"] {
        listeners.extend((0..3).map(|i| Listener::new(&instance, &sockets[i], &format!("{name}{i}"))));
    }
    let writers = Writers::start(&instance, &[1, 2]);
    writers.wait_for_more(60);
    drop(daemons.remove(0)); // by SIGKILL
    writers.wait_for_more(30);
    // Its subscribers come back by themselves.
    daemons.insert(0, daemon(&instance, &order[0], &sockets[0]));
    server.kill9(3);
    daemons[2].wait_for_log(&format!("now on database node {}", address(server, 1)));
    writers.wait_for_more(60);
    server.restart(3);
    writers.wait_for_more(30);
    let committed = writers.stop();
    check(&instance, &mut instance.conn(), &committed.jobs, &committed.published, &listeners);
    println!("{}: {} jobs, the longest transaction {:?}", server.kind(), committed.jobs.len(), committed.longest);
    for finished in daemons.into_iter().map(|daemon| daemon.stop()) {
        assert_eq!(finished.code(), Some(0), "{finished}");
        assert!(finished.stderr.contains("done since the start"), "each had a part: {finished}");
    }
}
