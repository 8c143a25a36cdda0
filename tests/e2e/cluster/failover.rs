//! The node that a daemon uses dies: it goes on with the next, and comes back to a node that came back.

use std::time::{Duration, Instant};

use super::{
    Listener, address, alone, check, daemon,
    writers::{Writers, again},
};
use crate::{instance::Instance, program::wait_until, server::Server};

/// What is promised, from the moment on in which the cluster itself takes commits again.
const GOES_ON_WITHIN: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn jobs_and_events_go_on_within_ten_seconds_of_a_nodes_kill_and_a_node_that_came_back_is_used_again() {
    let _alone = alone();
    let instance = Instance::ready("failover");
    let server = Server::shared();
    let socket = instance.broker_socket();
    // Node 1 belongs to the other tests.
    let mut resqd = daemon(&instance, &[2, 3], &socket);
    let listener = Listener::new(&instance, &socket, "listener");
    let mut conn = instance.conn();
    let writers = Writers::start(&instance, &[1]);
    let mut late = Vec::new();
    for (killed, next) in [(2, 3), (3, 2)] {
        writers.wait_for_more(20);
        server.kill9(killed);
        let start = Instant::now();
        let name = format!("after{killed}");
        again(&mut conn, &format!("INSERT INTO res_queue (res_name) VALUES ('{name}')"));
        let stood_still = start.elapsed();
        late.push(name.clone());
        wait_until("a job of after the kill to be done and told", || listener.heard("Completed", &name));
        let took = start.elapsed();
        println!("{}: the cluster stood still for {stood_still:?}, a job was told after {took:?}", server.kind());
        assert!(took < stood_still + GOES_ON_WITHIN, "{took:?} after the kill, {stood_still:?} of them the cluster's");
        resqd.wait_for_log(&format!("now on database node {}", address(server, next)));
        writers.wait_for_more(20);
        server.restart(killed);
    }
    let mut committed = writers.stop();
    committed.jobs.extend(late);
    check(&instance, &mut conn, &committed.jobs, &committed.published, &[listener]);
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert!(finished.stderr.lines().filter(|line| line.contains("[WARN]")).count() < 30, "a few lines: {finished}");
}
