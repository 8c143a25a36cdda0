//! One job's whole way, from the INSERT to the client's line.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;

use super::{bell, resqd};
use crate::{instance::Instance, program::Program};

/// The states of a job `shop-17` as resq-client prints them, without the time.
fn assert_story(stdout: &str, db_name: &str) {
    let row = |status: &str, attempts: u8, db: &str| {
        format!(
            r#"{{"res_id": 1, "res_name": "shop-17", "res_type": "shop", "status": "{status}", "attempts": {attempts}, "db_name": {db}, "last_error": null}}"#
        )
    };
    let told: Vec<&str> = stdout.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    let db = format!("\"{db_name}\"");
    let expected = [
        ("New", 1, row("new", 0, "null")),
        ("InProgress", 2, row("in_progress", 1, "null")),
        ("Completed", 3, row("done", 1, &db)),
    ];
    assert_eq!(told, expected.map(|(state, seq, row)| format!("{state} #{seq} {row}")));
}

fn client(instance: &Instance) -> Program {
    instance.resq_client(["-v", "--count", "3", "--sub", "New", "InProgress", "Completed", "Error"])
}

#[test]
fn from_the_insert_to_the_clients_line_by_polling() {
    let instance = Instance::ready("polled_story");
    let running = resqd(&instance);
    let mut client = client(&instance).spawn();
    client.wait_for_log("subscribed at");
    instance.conn().query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('shop-17', 'shop')").unwrap();
    assert_story(&client.wait().stdout, "polled_story_shop_17_1");
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn from_the_insert_to_the_clients_line_by_the_bell_alone() {
    let tower = bell::tower();
    let instance = tower.instance("rung_story");
    let running = tower.resqd(&instance);
    let mut client = client(&instance).spawn();
    client.wait_for_log("subscribed at");
    let start = Instant::now();
    instance.conn().query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('shop-17', 'shop')").unwrap();
    let finished = client.wait();
    // The polls are a minute apart.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_story(&finished.stdout, "rung_story_shop_17_1");
    assert_eq!(running.stop().code(), Some(0));
}
