//! A server that accepts connections and does not answer: every program gives up in time, with exit code 3.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use resq::{
    base::failure::{Exit, Failure},
    config::Database,
    db::{Db, Link},
};
use resq_test_support::{Instance, Server, signal, wait_until};

#[test]
fn programs_give_up_a_server_that_hangs() {
    let server = Server::own();
    let instance = Instance::on(&server, "hangs");
    instance.resqctl(["init"]).ok();
    let pid = server.node(1).pid;
    signal(pid, "STOP");
    let programs = [
        instance.resqctl(["status"]).spawn(),
        instance.resqctl(["init"]).spawn(),
        instance.resqctl(["doctor"]).spawn(),
        instance.resqd().spawn(),
    ];
    for program in programs {
        let finished = program.wait();
        assert_eq!(finished.code(), Some(3), "{finished}");
    }
    signal(pid, "CONT");
    // Its cluster may have excluded it meanwhile.
    wait_until("the server to serve", || instance.resqctl(["status"]).run().code() == Some(0));
}

#[test]
fn a_statement_without_an_answer_is_given_up() {
    let server = Server::shared();
    let config =
        Database { host: "127.0.0.1".into(), port: server.port(), global_db: "mysql".into(), ..Database::default() };
    let db = Db::open_within(&config, 1, Some(Duration::from_millis(500))).expect("the server runs");
    let mut link = Link::new(&db);
    let start = Instant::now();
    let error = link.run(|conn| Ok(conn.query_drop("DO SLEEP(60)")?)).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(50), "after {:?}", start.elapsed());
    assert_eq!(Failure::from(error).exit, Exit::Unreachable);
}
