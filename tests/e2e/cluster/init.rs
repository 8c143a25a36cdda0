//! `resqctl init` while the node that it uses is lost: running it again on another node completes it.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, wait_at_most, wait_until};

use super::{CATCH_UP, Hanging, alone, check, client, daemon, on, ready::wait_for_status_on, writers::Writers};

/// (how much of the schema is there when the node is lost, whether it is killed or hangs).
const LOSSES: &[(&str, bool)] = &[("res_queue", true), ("res_queue", false), ("res_event", true), ("res_event", false)];

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn init_that_lost_its_node_is_completed_by_another_run() {
    let _alone = alone();
    for (number, (table, is_killed)) in LOSSES.iter().enumerate() {
        println!("{} once {table} is there", if *is_killed { "killed" } else { "hanging" });
        let instance = Instance::new(&format!("init{number}"));
        lose_while_init_runs(&instance, table, *is_killed);
        if number == LOSSES.len() - 1 {
            serves(&instance);
        }
    }
}

fn lose_while_init_runs(instance: &Instance, table: &str, is_killed: bool) {
    let server = instance.server;
    let mut conn = server.conn_to(2);
    let mut running = on(instance.resqctl(["init"]), server, &[2, 3]).spawn();
    let is_there = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
    wait_until("that much of the schema", || {
        !running.is_running()
            || conn.exec_first::<u64, _, _>(is_there, (&instance.global_db, table)).unwrap() == Some(1)
    });
    let hanging = (!is_killed).then(|| Hanging::new(server.node(2).pid));
    if is_killed {
        server.kill9(2);
    }
    // On another node, with the lost one first in the list.
    wait_at_most(CATCH_UP, "init on another node", || {
        on(instance.resqctl(["init"]), server, &[2, 3]).run().code() == Some(0)
    });
    drop(hanging);
    if is_killed {
        server.restart(2);
        server.trust_creators_of_triggers(2);
    }
    // It may have ended well before the fault, and ends in any case.
    running.wait();
    wait_for_status_on(instance, 2, "");
    on(instance.resqctl(["init"]), server, &[2]).ok();
}

fn serves(instance: &Instance) {
    let resqd = daemon(instance, &[2, 3, 1], &instance.broker_socket());
    let client = client(instance, &instance.broker_socket(), "client");
    let writers = Writers::start(instance, &[1, 2]);
    writers.wait_for_more(20);
    let committed = writers.stop();
    check(instance, &mut instance.conn(), &committed, &[client]);
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
}
