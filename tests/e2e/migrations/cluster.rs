//! A node of a cluster dies during a rollout. On a single server this is listed as ignored.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{DEADLINE, Server, sessions, templates, wait_at_most, wait_until};

use super::{
    crash::{COUNTING, assert_exact},
    fleet::{Fleet, stop},
};
use crate::cluster::{alone, on};

/// A session on node `n`, in the fleet's global database.
fn conn_to(fleet: &Fleet<'_>, n: usize) -> Conn {
    let mut conn = fleet.instance.server.conn_to(n);
    conn.query_drop(format!("USE `{}`", fleet.instance.global_db)).unwrap();
    conn
}

/// More rounds: `RESQ_ROUNDS=10`.
#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn node_killed_at_a_random_moment_of_a_rollout_costs_and_repeats_no_statement() {
    let _alone = alone();
    let server = Server::shared();
    let rounds = std::env::var("RESQ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    for round in 1..=rounds {
        let fleet = Fleet::new(&format!("rollout_node{round}"), 20);
        fleet.add(COUNTING);
        let mut conn = fleet.conn();
        // One daemon's workers are on the node that dies, the other's are not.
        let daemons = [[2, 3, 1], [3, 1, 2]].map(|nodes| on(fleet.resqd(), server, &nodes).spawn_ready());
        fleet.start(["--wave", "10"]);
        let migrated = fastrand::usize(1..12);
        wait_until("the moment", || fleet.with_state(&mut conn, "migrated").len() >= migrated);
        server.kill9(2);
        println!("{}: killed node 2 after {migrated} databases", server.kind());
        fleet.wait_for(&mut conn, "finished");
        server.restart(2);
        for n in 1..=3 {
            let mut conn = conn_to(&fleet, n);
            wait_at_most(3 * DEADLINE, "the node to have everything", || fleet.versions(&mut conn) == [(2, 20)]);
            assert_exact(&fleet, &mut conn, 20);
        }
        daemons.into_iter().for_each(stop);
    }
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn node_killed_behind_a_statement_that_is_not_recorded_as_done_is_left_and_the_statement_repeated() {
    let _alone = alone();
    let server = Server::shared();
    let fleet = Fleet::new("rollout_inside", 3);
    let mut conn = fleet.conn();
    // The lock is of this node only: elsewhere the statement ends at once.
    let mut lock = server.conn_to(2);
    lock.query_drop("DO GET_LOCK('rollout_inside', 600)").unwrap();
    let hold = templates::hold("rollout_inside");
    let first = format!(
        "CREATE TABLE counter (id INT PRIMARY KEY, n INT); INSERT INTO counter VALUES (1, 0); UPDATE counter SET n = n + 12; \
         ALTER TABLE a ADD x INT; {hold}; ALTER TABLE b ADD y INT"
    );
    fleet.add(&[("res_migrations/0001_one.sql", &first), ("res_migrations/0002_two.sql", "DROP TABLE c")]);
    let resqd = on(fleet.resqd(), server, &[2, 3, 1]).spawn_ready();
    fleet.start([]);
    wait_until("the canary to be held", || fleet.instance.sessions_at_a_user_lock(&mut server.conn_to(2)).len() == 1);
    // The ALTER before the lock took effect; that is not recorded yet.
    let ledger = "SELECT number, statement, is_done FROM res_ledger";
    wait_until("its record on another node", || conn.query_first(ledger).unwrap() == Some((1, 4, false)));
    // On another node nothing is locked, yet the half of a migration is no drift.
    let check = || fleet.instance.resqctl(["check", "--all"]).arg("--sql-dir").arg(&fleet.sql);
    let checked = check().expect_code(1);
    assert!(checked.stdout.contains("2 as they should be, 0 different, 1 unknown"), "{checked}");
    server.kill9(2);
    fleet.wait_for(&mut conn, "finished");
    assert!(check().ok().contains("3 as they should be"));
    server.restart(2);
    for n in 1..=3 {
        let mut conn = conn_to(&fleet, n);
        wait_at_most(3 * DEADLINE, "the node to have everything", || fleet.versions(&mut conn) == [(2, 3)]);
        assert_exact(&fleet, &mut conn, 3);
    }
    stop(resqd);
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn statement_that_a_killed_daemon_left_on_another_node_is_ended_before_it_is_repeated() {
    let server = Server::shared();
    if server.kind() == "galera" {
        return println!(
            "not tested: on Galera no statement waits for a transaction of its node, and DDL runs one by one"
        );
    }
    let _alone = alone();
    let fleet = Fleet::new("rollout_left", 1);
    let mut conn = fleet.conn();
    // An application's transaction on node 2 holds up the statement there, and no other node's.
    let mut application = server.conn_to(2);
    application.query_drop(format!("START TRANSACTION; SELECT * FROM `{}`.b", fleet.database(1))).unwrap();
    let first = "CREATE TABLE counter (id INT PRIMARY KEY, n INT); INSERT INTO counter VALUES (1, 12); \
                 SET SESSION lock_wait_timeout = 600; ALTER TABLE a ADD x INT; ALTER TABLE b ADD y INT";
    fleet.add(&[("res_migrations/0001_one.sql", first), ("res_migrations/0002_two.sql", "DROP TABLE c")]);
    let killed = on(fleet.resqd(), server, &[2, 3, 1]).spawn_ready();
    fleet.start([]);
    let mut second = server.conn_to(2);
    let sql = format!("SELECT COUNT(*) FROM {} WHERE user = ? AND state LIKE 'Waiting for table%'", sessions());
    let mut held = || second.exec_first::<u64, _, _>(&sql, (&fleet.instance.daemon.user,)).unwrap().unwrap();
    wait_until("the statement to wait", || held() == 1);
    killed.signal("KILL");
    killed.wait();
    let resqd = on(fleet.resqd(), server, &[3, 1, 2]).spawn_ready();
    wait_until("the statement to be ended", || held() == 0);
    fleet.wait_for(&mut conn, "finished");
    application.query_drop("COMMIT").unwrap();
    for n in 1..=3 {
        let mut conn = conn_to(&fleet, n);
        wait_at_most(3 * DEADLINE, "the node to have everything", || fleet.versions(&mut conn) == [(2, 1)]);
        assert_exact(&fleet, &mut conn, 1);
    }
    let online = "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE member_state = 'ONLINE'";
    assert_eq!(conn.query_first(online).unwrap(), Some(3));
    stop(resqd);
}
