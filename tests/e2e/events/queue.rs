//! A job's changes of status as events: whatever makes them, and whatever names and texts the row holds.

use mysql::prelude::Queryable;
use serde_json::{Value as Json, json};

use resq_test_support::Instance;

use super::{next, resqd, subscriber};

fn payload(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_change_of_status_is_one_event_with_the_row() {
    let instance = Instance::ready("statuses");
    instance.resqctl(["pause"]).ok();
    let _resqd = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let mut conn = instance.conn();
    // Its owner has a lease, or the daemon would reclaim the job.
    conn.query_drop("INSERT INTO res_daemon (owner, lease_until) VALUES ('test', NOW(6) + INTERVAL 1 HOUR)").unwrap();
    conn.query_drop("INSERT INTO res_queue (res_id, res_name, res_type) VALUES (1, 'a \u{1f600}\"\\n', 'shop')")
        .unwrap();
    for set in [
        "status = 'in_progress', attempts = 1, owner = 'test'",
        "status = 'in_progress'",
        "res_url = 'http://x/'",
        "status = 'done', db_name = 'shop_1'",
        "status = NULL",
        "status = 'error', last_error = 'it \"broke\"\n'",
        "status = 'new', last_error = NULL",
    ] {
        conn.query_drop(format!("UPDATE res_queue SET {}", set.replace('\n', "\\n"))).unwrap();
    }
    conn.query_drop("INSERT INTO res_queue (res_id, res_name, status) VALUES (2, 'null', NULL)").unwrap();
    conn.query_drop("UPDATE res_queue SET res_url = 'x' WHERE res_id = 2; DELETE FROM res_queue WHERE res_id = 2")
        .unwrap();
    conn.query_drop("INSERT INTO res_queue (res_id, res_name, status) VALUES (3, 'made done', 'done')").unwrap();

    let row = |id: u64, name: &str, kind: &str, status: &str, attempts: u64, db: Json, error: Json| {
        json!({"res_id": id, "res_name": name, "res_type": kind, "status": status, "attempts": attempts,
               "db_name": db, "last_error": error})
    };
    let (name, db) = ("a \u{1f600}\"\n", || json!("shop_1"));
    for (seq, state, expected) in [
        (1, "New", row(1, name, "shop", "new", 0, Json::Null, Json::Null)),
        (2, "InProgress", row(1, name, "shop", "in_progress", 1, Json::Null, Json::Null)),
        (3, "Completed", row(1, name, "shop", "done", 1, db(), Json::Null)),
        (4, "Error", row(1, name, "shop", "error", 1, db(), json!("it \"broke\"\n"))),
        (5, "New", row(1, name, "shop", "new", 1, db(), Json::Null)),
        (6, "Completed", row(3, "made done", "default", "done", 0, Json::Null, Json::Null)),
    ] {
        let event = next(&mut peer);
        assert_eq!((event.0, event.1.as_str(), payload(&event.2)), (seq, state, expected));
    }
}

#[test]
fn cancelled_job_is_error_and_retried_one_is_new() {
    let instance = Instance::ready("cancelled");
    instance.resqctl(["pause"]).ok();
    let _resqd = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let id = instance.resqctl(["add", "a"]).ok().trim().to_string();
    instance.resqctl(["cancel", &id]).ok();
    instance.resqctl(["retry", &id]).ok();
    let events = [(); 3].map(|()| next(&mut peer));
    assert_eq!(events.each_ref().map(|event| event.1.as_str()), ["New", "Error", "New"]);
    assert!(payload(&events[1].2)["last_error"].is_string(), "{}", events[1].2);
    assert_eq!(payload(&events[2].2)["attempts"], 0);
}

#[test]
fn umlauts_of_a_latin1_table_are_utf8_in_json() {
    let instance = Instance::new("latin");
    let mut conn = instance.server.conn();
    conn.query_drop(
        "CREATE DATABASE resq_latin DEFAULT CHARSET latin1; USE resq_latin; \
         CREATE TABLE res_queue (res_id INT AUTO_INCREMENT PRIMARY KEY, res_name VARCHAR(255) NOT NULL, \
           status ENUM('new','in_progress','done','error') DEFAULT 'new', res_url VARCHAR(500), \
           created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, \
           updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) DEFAULT CHARSET latin1",
    )
    .unwrap();
    instance.resqctl(["init"]).ok();
    let resqd = resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    instance.app().query_drop("INSERT INTO res_queue (res_name) VALUES ('M\u{fc}nchen \u{df}')").unwrap();
    for state in ["New", "InProgress", "Completed"] {
        let event = next(&mut peer);
        assert_eq!((event.1.as_str(), &payload(&event.2)["res_name"]), (state, &json!("M\u{fc}nchen \u{df}")));
    }
    assert_eq!(resqd.stop().code(), Some(0));
}
