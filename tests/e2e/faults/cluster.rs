//! One node of a cluster dies: the daemon continues on another (`database.hosts`). On a single server the test prints that
//! there is nothing to test.

use mysql::prelude::Queryable;

use resq_test_support::{Instance, Server, wait_until};

use super::{checks::Trace, scenario::Scenario};

#[test]
fn node_of_a_cluster_is_killed() {
    let kind = Server::shared().kind();
    if !matches!(kind, "galera" | "group") {
        return println!("not tested: {kind} is not a cluster");
    }
    let server = Server::own();
    let instance = Instance::on(&server, "node_killed");
    instance.resqctl(["init"]).ok();
    let made = format!("SELECT value FROM `{}`.res_meta WHERE name = 'schema_version'", instance.global_db);
    wait_until("the tables at the second node", || {
        server.conn_to(2).query_first::<String, _>(&made).is_ok_and(|version| version.is_some())
    });
    // The applications use the first node, the daemon prefers the second.
    let hosts: Vec<String> = [2, 1, 3].map(|n| format!("127.0.0.1:{}", server.node(n).port)).to_vec();
    let daemon_env = vec![("RESQ_DB_HOSTS", hosts.join(","))];
    Scenario { daemon_env, ..Scenario::new(&instance, 1) }.rounds(|_| {
        server.kill9(2);
        server.restart(2);
        Trace::Any
    });
}
