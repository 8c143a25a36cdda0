//! One node of a cluster dies: the daemon goes on at another (`database.hosts`). On a single server there is nothing
//! to test, and this is said.

use crate::{instance::Instance, server::Server};

use super::trial::Setup;

#[test]
fn node_of_a_cluster_is_killed() {
    let kind = Server::shared().kind();
    if !matches!(kind, "galera" | "group") {
        return println!("not tested: {kind} is not a cluster");
    }
    let server = Server::own();
    let instance = Instance::on(&server, "node_killed");
    instance.resqctl(["init"]).ok();
    // The applications are at the first node, the daemon prefers the second.
    let hosts: Vec<String> = [2, 1, 3].map(|n| format!("127.0.0.1:{}", server.node(n).port)).to_vec();
    let daemon_env = vec![("RESQ_DB_HOSTS", hosts.join(","))];
    Setup { daemon_env, ..Setup::new(&instance, 1) }.rounds(|_| {
        server.kill9(2);
        server.restart(2);
        ""
    });
}
