//! `resqctl init` on several nodes at once: DDL runs on all nodes, and a server lock holds back the sessions of one only.

use resq_test_support::{Doctor, Instance, Server, Verdict};

use super::{alone, on};

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn init_on_all_nodes_at_once_leaves_everything_in_order() {
    let _alone = alone();
    let instance = Instance::new("init_nodes");
    // The first round creates everything, the others upgrade it.
    for round in 1..=2 {
        let running: Vec<_> =
            [1, 2, 3].iter().map(|n| on(instance.resqctl(["init"]), Server::shared(), &[*n]).spawn()).collect();
        for program in running {
            let finished = program.wait();
            assert_eq!(finished.code(), Some(0), "round {round}: {finished}");
        }
        let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(0));
        let checks = ["tables", "procedures", "triggers", "publish"];
        assert_eq!(checks.map(|check| doctor.verdict(check)), [Verdict::Good; 4], "{}", doctor.finished);
    }
    instance.resqctl(["add", "a"]).ok();
    assert!(instance.resqctl(["events"]).run().stderr.contains("1 event"));
}
