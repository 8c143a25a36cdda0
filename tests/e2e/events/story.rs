//! One job's whole way, from the INSERT to the client's line.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use serde_json::{Value as Json, json};

use super::{bell, resqd};
use crate::{instance::Instance, program::Program};

/// The states of a job `shop-17` as resq-client prints them. Each server has its own order of a JSON object's keys.
fn assert_story(stdout: &str, db_name: &str) {
    let row = |status: &str, attempts: u8, db_name: Option<&str>| {
        json!({"res_id": 1, "res_name": "shop-17", "res_type": "shop", "status": status, "attempts": attempts,
               "db_name": db_name, "last_error": null})
    };
    let told: Vec<(&str, Json)> = stdout
        .lines()
        .map(|line| {
            let (event, payload) = line.split_at(line.find('{').expect("an object"));
            (event.split_once(' ').expect("a time").1, serde_json::from_str(payload).expect("JSON"))
        })
        .collect();
    let expected = [
        ("New #1 ", row("new", 0, None)),
        ("InProgress #2 ", row("in_progress", 1, None)),
        ("Completed #3 ", row("done", 1, Some(db_name))),
    ];
    assert_eq!(told, expected);
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
    instance.app().query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('shop-17', 'shop')").unwrap();
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
    instance.app().query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('shop-17', 'shop')").unwrap();
    let finished = client.wait();
    // The polls are a minute apart.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_story(&finished.stdout, "rung_story_shop_17_1");
    assert_eq!(running.stop().code(), Some(0));
}
