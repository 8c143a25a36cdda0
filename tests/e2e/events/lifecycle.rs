//! The whole life of one job, from the INSERT to the client's line.

use std::time::{Duration, Instant};

use mysql::prelude::Queryable;
use serde_json::{Value as Json, json};

use resq_test_support::{Instance, Program};

use super::{resqd, wakeups::ringing_server};

/// The states of a job `shop-17` as resq-client prints them. Servers differ in the order of a JSON object's keys.
fn assert_lifecycle(stdout: &str, db_name: &str) {
    let row = |status: &str, attempts: u8, db_name: Option<&str>| {
        json!({"res_id": 1, "res_name": "shop-17", "res_type": "shop", "status": status, "attempts": attempts,
               "db_name": db_name, "last_error": null})
    };
    let received: Vec<(&str, Json)> = stdout
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
    assert_eq!(received, expected);
}

fn client(instance: &Instance) -> Program {
    instance.resq_client(["-v", "--count", "3", "--sub", "New", "InProgress", "Completed", "Error"])
}

#[test]
fn job_reaches_the_client_by_polling() {
    let instance = Instance::ready("polled_lifecycle");
    let running = resqd(&instance);
    let client = client(&instance).spawn_ready();
    instance.app().query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('shop-17', 'shop')").unwrap();
    assert_lifecycle(&client.wait().stdout, "polled_lifecycle_shop_17_1");
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn job_reaches_the_client_by_wakeups_alone() {
    let server = ringing_server();
    let instance = server.instance("rung_lifecycle");
    let running = server.resqd(instance.resqd());
    let client = client(&instance).spawn_ready();
    let start = Instant::now();
    instance.app().query_drop("INSERT INTO res_queue (res_name, res_type) VALUES ('shop-17', 'shop')").unwrap();
    let finished = client.wait();
    // The polls are a minute apart.
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_lifecycle(&finished.stdout, "rung_lifecycle_shop_17_1");
    assert_eq!(running.stop().code(), Some(0));
}
