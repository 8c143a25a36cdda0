//! Several daemons, each on its own node, on one queue and one event log.

use mysql::prelude::Queryable;
use resq_test_support::{
    Instance, RecordingClient, Server, assert_databases_are_exact, sessions, templates, wait_until, wait_until_all_done,
};

use super::{CATCH_UP, alone, check, client, daemon, resqd_with, wait_until_used, writers::Writers};

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

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn session_that_a_killed_daemon_left_on_another_node_is_ended_before_its_job_is_repeated() {
    let _alone = alone();
    let instance = Instance::ready("left");
    let server = Server::shared();
    // A wait that does not notice that its client is gone; it locks a row, and on node 3 there is nothing to wait for.
    let hold = "SET SESSION innodb_lock_wait_timeout = 600; \
                SELECT value FROM {{GLOBAL_DB_NAME}}.res_meta WHERE name = 'schema_version' FOR UPDATE";
    let later = [("res_tables/15.sql", hold), ("res_tables/30.sql", "CREATE TABLE after_the_hold (a INT PRIMARY KEY)")];
    let set = templates::with(templates::COUNTING, &later);
    let mut lock = server.conn_to(2);
    lock.query_drop(format!(
        "START TRANSACTION; SELECT * FROM {}.res_meta WHERE name = 'schema_version' FOR UPDATE",
        instance.global_db
    ))
    .unwrap();
    let socket = instance.broker_socket();
    let killed = resqd_with(&instance, &[2, 3, 1], &socket, &set).spawn_ready();
    instance.resqctl(["add", "a"]).ok();
    let (mut conn, mut second) = (instance.conn(), server.conn_to(2));
    let held = format!("SELECT COUNT(*) FROM {} WHERE user = ? AND db = 'left_a' AND command = 'Query'", sessions());
    let mut held = || second.exec_first::<u64, _, _>(&held, (&instance.daemon.user,)).unwrap();
    let begun = "SELECT COUNT(*) FROM information_schema.TABLES WHERE table_schema = 'left_a' AND table_name = 'built'";
    wait_until("the job to be held", || conn.query_first(begun).unwrap() == Some(1) && held() == Some(1));
    killed.signal("KILL");
    killed.wait();
    let resqd = resqd_with(&instance, &[3, 1, 2], &socket, &set).spawn_ready();
    wait_until_all_done(&mut conn, 1, CATCH_UP);
    assert_eq!(held(), Some(0), "what the killed daemon left");
    lock.query_drop("ROLLBACK").unwrap();
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert_databases_are_exact(&instance, &mut conn);
}
