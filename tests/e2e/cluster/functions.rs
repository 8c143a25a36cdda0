//! The loadable functions on one node only: nothing fails on the others, and `resqctl doctor` says which nodes lack them.

use mysql::prelude::Queryable;
use resq_test_support::{Doctor, Instance, Server, Verdict, install_functions};

use super::{alone, check, client, daemon, on, writers::Writers};

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn functions_on_one_node_are_not_replicated_and_no_insert_needs_them() {
    let _alone = alone();
    let instance = Instance::ready("functions");
    let server = Server::shared();
    let socket = instance.broker_socket();
    install_functions(server, 2, &format!("addr = unix:{}\n", socket.display()));
    // The daemon is on a node without them.
    let resqd = daemon(&instance, &[1, 2, 3], &socket);
    let client = client(&instance, &socket, "client");
    let writers = Writers::start(&instance, &[1, 2, 3]);
    writers.wait_for_more(60);
    let committed = writers.stop();
    let mut conn = instance.conn();
    check(&instance, &mut conn, &committed, &[client]);

    for (n, expected) in [(1, 0), (2, 3), (3, 0)] {
        let registered = "SELECT COUNT(*) FROM mysql.func WHERE name LIKE 'resq%'";
        assert_eq!(server.conn_to(n).query_first(registered).unwrap(), Some(expected), "functions of node {n}");
    }
    let doctor = Doctor::of(on(instance.resqctl(["doctor"]), server, &[1, 2, 3]).run());
    assert_eq!(doctor.verdict("functions"), Verdict::Warning, "{}", doctor.finished);
    let parts: Vec<&str> = doctor.text("functions").split("; ").collect();
    for (n, is_loaded) in [(1, false), (2, true), (3, false)] {
        let part = parts.iter().find(|part| part.contains(&format!("127.0.0.1:{} ", server.node(n).port)));
        assert_eq!(part.map(|part| part.contains("\"connected\":1")), Some(is_loaded), "{}", doctor.finished);
    }
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let mut node = server.conn_to(2);
    for function in ["resq_notify", "resq_ring", "resq_stats"] {
        let variable = if server.kind() == "galera" { "wsrep_on" } else { "sql_log_bin" };
        node.query_drop(format!("SET SESSION {variable} = 0")).unwrap();
        node.query_drop(format!("DROP FUNCTION {function}")).unwrap();
    }
}
