//! The JSON interface over HTTP: what it reads and does on a real queue, and in what order it answers.

use mysql::prelude::Queryable;
use resq_test_support::{Answer, HttpPeer, Instance, http, templates, wait_until};
use serde_json::json;

use super::resqd;

const TOKEN: &str = "Authorization: Bearer s3cret\r\n";

fn post(port: u16, path: &str, token: &str, body: &str) -> Answer {
    let mut peer = HttpPeer::connect(port);
    let kind = "Content-Type: application/json\r\n";
    peer.request(&format!("POST {path}"), &format!("{token}{kind}Content-Length: {}\r\n", body.len()));
    peer.send(body);
    peer.answer()
}

#[test]
fn jobs_are_added_followed_and_changed_with_a_trace() {
    let instance = Instance::ready("http_api");
    let (resqd, port) = resqd(&instance);
    let sql = instance.sql_dir(templates::MINIMAL);
    let resqd = resqd.arg("--sql-dir").arg(&sql).env("RESQ_HTTP_TOKEN", "s3cret");
    let resqd = resqd.env("RESQ_HTTP_READ_TOKEN", "reader").spawn_ready();
    let read = "Authorization: Bearer reader\r\n";
    let body = r#"{"name":"<script>alert(1)</script>\r\nX: y","reason":"a \"test\""}"#;
    assert_eq!(post(port, "/api/v1/jobs", read, body).status, 403, "a reader may not act");
    assert_eq!(post(port, "/api/v1/jobs", "", body).status, 401);
    let added = post(port, "/api/v1/jobs", TOKEN, body);
    assert_eq!(added.status, 201, "{}", added.body);
    let id = added.json()["res_id"].as_u64().unwrap();
    let mut conn = instance.conn();
    wait_until("the job to be done", || {
        conn.query_first("SELECT 1 FROM res_queue WHERE status = 'done'").unwrap() == Some(1)
    });
    let job = http(port, &format!("GET /api/v1/jobs/{id}"), read);
    assert_eq!((job.status, job.fields["content-type"].as_str()), (200, "application/json"), "{}", job.body);
    assert!(!job.fields.contains_key("x") && job.body.contains("<script>"), "a name is text in a string: {}", job.body);
    let audit = http(port, "GET /api/v1/audit", read).json();
    let who = audit["actions"][0]["who"].as_str().unwrap_or_default().to_string();
    assert!(who.contains("via http from 127.0.0.1"), "{audit}");
    assert_eq!(audit["actions"][0]["reason"], json!("a \"test\""));
    for (line, status) in [
        ("GET /api/v1/openapi.json", 200),
        ("GET /api/v1/status", 200),
        ("GET /api/v1/jobs?status=done&limit=1", 200),
        ("GET /api/v1/jobs?status=lost", 400),
        ("GET /api/v1/jobs/x", 404),
        ("GET /api/v1/nothing", 404),
        ("GET /api/v1/jobs/../status", 404),
        ("GET /api/v1/queue/pause", 405),
        ("DELETE /api/v1/jobs/1", 405),
    ] {
        let answer = http(port, line, read);
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.fields.contains_key("allow"), status == 405, "{line}");
    }
    assert_eq!(post(port, "/api/v1/queue/pause", TOKEN, "").status, 200);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_meta WHERE name = 'paused'").unwrap(), Some(1));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn answers_of_the_database_keep_the_order_of_their_requests() {
    let instance = Instance::ready("http_order");
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.spawn_ready();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut peer = HttpPeer::connect(port);
    let paths = ["/api/v1/status", "/healthz", "/api/v1/jobs", "/nothing", "/api/v1/nothing", "/api/v1/daemons"];
    peer.send(paths.map(get).concat());
    let answers = paths.map(|_| peer.answer());
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 200, 200, 404, 404, 200]);
    let parts = ["", "alive", "jobs", "error", "error", "daemons"];
    for (answer, part) in answers.iter().zip(parts).skip(1) {
        assert!(answer.json().get(part).is_some(), "{part}: {}", answer.body);
    }
    assert_eq!(post(port, "/api/v1/queue/pause", "", "").status, 403, "without a token nothing may act");
    // One that leaves before its answer costs nothing.
    HttpPeer::connect(port).send(get("/api/v1/status"));
    assert_eq!(http(port, "GET /api/v1/status", "").status, 200);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn action_on_all_that_match_is_done_by_the_daemon() {
    let instance = Instance::ready("http_batch");
    let mut conn = instance.conn();
    let rows = vec!["('e', 'gone', 'error')"; 1200].join(", ");
    conn.query_drop(format!("INSERT INTO res_queue (res_name, res_type, status) VALUES {rows}")).unwrap();
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.env("RESQ_HTTP_TOKEN", "s3cret").spawn_ready();
    assert_eq!(post(port, "/api/v1/queue/pause", TOKEN, "").status, 200);
    let dry = post(port, "/api/v1/jobs/retry", TOKEN, r#"{"filter":{"type":"gone"},"dry_run":true}"#);
    assert_eq!((dry.status, &dry.json()["count"]), (200, &json!(1200)));
    let begun = post(port, "/api/v1/jobs/retry", TOKEN, r#"{"filter":{"type":"gone"},"reason":"mended"}"#);
    assert_eq!(begun.status, 202, "{}", begun.body);
    let batch = begun.json()["batch"].clone();
    wait_until("its end", || {
        let newest = http(port, "GET /api/v1/audit?limit=1", TOKEN).json()["actions"][0].clone();
        newest["id"] == batch && newest["count"] == 1200 && newest["batch"]["ended_at"].is_string()
    });
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status = 'new'").unwrap(), Some(1200));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn subscribers_are_listed_with_what_they_want() {
    let instance = Instance::ready("http_who");
    let (resqd, port) = resqd(&instance);
    let _resqd = resqd.spawn_ready();
    let list = || http(port, "GET /api/v1/subscribers", "").json();
    assert_eq!(list(), json!({"subscribers": [], "count": 0}));
    let _client = instance.resq_client(["-v", "--name", "till", "--durable", "--sub", "Err*", "New"]).spawn_ready();
    let mut stream = HttpPeer::connect(port);
    stream.request("GET /api/v1/stream?sub=*", "");
    wait_until("both", || list()["count"] == 2);
    let listed = list()["subscribers"].clone();
    let by =
        |protocol: &str| listed.as_array().unwrap().iter().find(|one| one["protocol"] == protocol).unwrap().clone();
    let (client, stream) = (by("rsq/1"), by("sse"));
    assert_eq!(client["name"], "till");
    assert_eq!((&client["states"], &client["lag"]), (&json!(["New", "Err*"]), &json!(0)));
    assert_eq!((&client["durable_only"], &stream["states"]), (&json!(true), &json!(["*"])));
    assert!(stream["name"].is_null(), "{stream}");
}

#[test]
fn request_that_hangs_holds_up_none_that_needs_no_database() {
    let instance = Instance::ready("http_hung_read");
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.env("RESQ_HTTP_TOKEN", "s3cret").spawn_ready();
    let (mut hold, mut conn) = (instance.conn(), instance.conn());
    conn.query_drop("INSERT INTO res_queue (res_name, status) VALUES ('a', 'done')").unwrap();
    hold.query_drop("LOCK TABLES res_audit WRITE, res_error WRITE, res_quarantine WRITE").unwrap();
    let waiting = ["audit", "jobs/1", "status"].map(|path| {
        let mut waiting = HttpPeer::connect(port);
        waiting.request(&format!("GET /api/v1/{path}"), TOKEN);
        waiting
    });
    assert_eq!(http(port, "GET /healthz", "").status, 200);
    // What acts has a thread of its own.
    let counted = post(port, "/api/v1/jobs/retry", TOKEN, r#"{"ids":[1],"dry_run":true}"#);
    assert_eq!((counted.status, &counted.json()["count"]), (200, &json!(0)));
    // The server stops each query by itself.
    for mut waiting in waiting {
        let stopped = waiting.answer();
        assert!(stopped.status == 503 && stopped.body.contains("too long"), "{}", stopped.body);
    }
    hold.query_drop("UNLOCK TABLES").unwrap();
    assert_eq!(http(port, "GET /api/v1/audit", TOKEN).status, 200);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn what_the_server_refuses_and_what_waits_longest_is_shown() {
    let instance = Instance::ready("http_refused");
    let mut conn = instance.conn();
    instance.resqctl(["pause"]).ok();
    // A job that was retried just now has a smaller number than one that has waited for two hours.
    let jobs =
        "INSERT INTO res_queue (res_name, updated_at) VALUES ('retried', NOW()), ('old', NOW() - INTERVAL 2 HOUR)";
    conn.query_drop(jobs).unwrap();
    conn.query_drop(
        "CREATE TRIGGER refuse BEFORE INSERT ON res_event FOR EACH ROW \
         BEGIN IF NEW.state = 'Bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this event'; END IF; END",
    )
    .unwrap();
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.args(["--poll-ms", "50"]).spawn_ready();
    conn.query_drop("CALL publish('Bad', '{}')").unwrap();
    let mut status = json!(null);
    wait_until("the event to be set aside", || {
        status = http(port, "GET /api/v1/status", "").json();
        !status["events_set_aside"].as_array().unwrap().is_empty()
    });
    let event = &status["events_set_aside"][0];
    assert_eq!((&event["state"], &event["refused"]), (&json!("Bad"), &json!("numbering")), "{status}");
    let waited = status["oldest_waiting_s"].as_u64().unwrap();
    assert!((7_200..7_500).contains(&waited), "{status}");
    let mut page = HttpPeer::connect(port);
    page.request("GET /api/v1/stream?watch=overview", "");
    page.answer();
    let (_, message) = page.message(&mut None).expect("the state at a glance");
    let warnings = message["overview"]["warnings"].to_string();
    assert!(warnings.contains("outbox row") && warnings.contains("not this event"), "{message}");
    assert_eq!(message["overview"]["oldest_waiting_s"].as_u64().map(|s| s / 3_600), Some(2), "{message}");
    assert_eq!(resqd.stop().code(), Some(0));
}
