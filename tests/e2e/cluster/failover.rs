//! The node that a daemon uses dies: the daemon continues on the next one, and uses a node that came back.

use std::time::{Duration, Instant};

use resq_test_support::{Instance, Server, wait_until};

use super::{
    alone, check, client, daemon, wait_until_used,
    writers::{Writers, run_until_accepted},
};

/// The guarantee, counted from the moment in which the cluster itself accepts commits again.
const CONTINUES_WITHIN: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn jobs_and_events_continue_within_ten_seconds_of_a_nodes_kill() {
    let _alone = alone();
    let instance = Instance::ready("failover");
    let server = Server::shared();
    let socket = instance.broker_socket();
    // Node 1 belongs to the other tests.
    let resqd = daemon(&instance, &[2, 3], &socket);
    let client = client(&instance, &socket, "client");
    let mut conn = instance.conn();
    let writers = Writers::start(&instance, &[1]);
    let mut late = Vec::new();
    for (killed, next) in [(2, 3), (3, 2)] {
        writers.wait_for_more(20);
        server.kill9(killed);
        let start = Instant::now();
        let name = format!("after{killed}");
        run_until_accepted(&mut conn, &format!("INSERT INTO res_queue (res_name) VALUES ('{name}')"));
        let unavailable = start.elapsed();
        late.push(name.clone());
        wait_until("a job inserted after the kill to be completed", || client.has("Completed", &name));
        let took = start.elapsed();
        println!("{}: the cluster was unavailable for {unavailable:?}, a job completed after {took:?}", server.kind());
        assert!(
            took < unavailable + CONTINUES_WITHIN,
            "{took:?} after the kill, {unavailable:?} of them the cluster's"
        );
        wait_until_used(&instance, next);
        writers.wait_for_more(20);
        server.restart(killed);
    }
    let mut committed = writers.stop();
    committed.jobs.extend(late);
    check(&instance, &mut conn, &committed, &[client]);
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert!(finished.warnings().len() < 30, "a few lines: {finished}");
}
