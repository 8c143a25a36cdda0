//! The JSON interface below HTTP: what is answered has the described shape, and what acts is done and audited.

use std::collections::BTreeSet;

use mysql::prelude::Queryable;
use resq::api::{answer::Api, call::Request, document::DOCUMENT};
use resq_test_support::{Server, TestDatabase, wait_until};
use serde_json::{Value as Json, json};

struct Client {
    api: Api,
    document: Json,
}

impl Client {
    fn new(database: &TestDatabase) -> Client {
        let document = serde_json::from_str(DOCUMENT).unwrap();
        Client { api: Api::new(&database.db, &database.db), document }
    }

    /// Reads, and compares the answer with its description.
    fn get(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, Json) {
        let parameters = parameters.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        self.answer("get", Request { path: path.into(), parameters, ..Request::default() })
    }

    fn post(&self, path: &str, body: Json) -> (u16, Json) {
        let body = body.to_string().into_bytes();
        self.answer("post", Request { acts: true, path: path.into(), body, who: "alice".into(), ..Request::default() })
    }

    fn answer(&self, method: &str, request: Request) -> (u16, Json) {
        let answer = self.api.answer(&request);
        let body: Json = serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body));
        let template: Vec<&str> =
            request.path.split('/').map(|part| if part.parse::<u64>().is_ok() { "{id}" } else { part }).collect();
        let responses = &self.document["paths"][template.join("/")][method]["responses"];
        let status = answer.status.to_string();
        let described = if responses[&status].is_null() { &responses["default"] } else { &responses[&status] };
        self.compare(&request.path, &described["content"]["application/json"]["schema"], &body);
        (answer.status, body)
    }

    /// The keys of every object are those that are described.
    fn compare(&self, at: &str, schema: &Json, value: &Json) {
        let schema = match schema["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.trim_start_matches('#')).unwrap(),
            None => schema,
        };
        if let (Some(described), Some(found)) = (schema["properties"].as_object(), value.as_object()) {
            let described: BTreeSet<&String> = described.keys().collect();
            assert_eq!(found.keys().collect::<BTreeSet<_>>(), described, "{at}: {value}");
            found
                .iter()
                .for_each(|(key, value)| self.compare(&format!("{at}.{key}"), &schema["properties"][key], value));
        }
        value.as_array().into_iter().flatten().for_each(|item| self.compare(at, &schema["items"], item));
    }
}

#[test]
fn answers_have_the_described_fields_and_integers_lose_nothing() {
    let database = TestDatabase::new(Server::shared(), "answers");
    let (client, mut conn) = (Client::new(&database), database.bare());
    conn.query_drop(
        "INSERT INTO res_queue (res_id, res_name, status, res_type, last_error) VALUES (7, 'a', 'error', 'shop', 'x'); \
         INSERT INTO res_queue (res_id, res_name) VALUES (9007199254740993, 'b'); \
         INSERT INTO res_error (res_id, attempt, message) VALUES (7, 1, 'x'); \
         INSERT INTO res_daemon (owner, lease_until) VALUES ('d', NOW(6) + INTERVAL 10 SECOND); \
         INSERT INTO res_quarantine (res_id, owner, what, message) VALUES (9007199254740993, 'd', 'claim', 'no'); \
         INSERT INTO res_database (db_name, res_id, res_type, template_version, claim_id, dropping_at) \
           VALUES ('res_a', 7, 'shop', '', 0, NOW(6)), ('res_b', 8, 'blog', '', 0, NULL); \
         CALL publish('Own', '{\"n\": 1}'); CALL res_number(0, 100, @last)",
    )
    .unwrap();
    let (_, jobs) = client.get("/jobs", &[]);
    assert_eq!((&jobs["jobs"][0]["res_id"], &jobs["jobs"][1]["res_id"]), (&json!("9007199254740993"), &json!(7)));
    let (_, page) = client.get("/jobs", &[("limit", "1")]);
    assert_eq!(page["next"], "9007199254740993");
    let (_, rest) = client.get("/jobs", &[("after", "9007199254740993")]);
    assert_eq!((&rest["jobs"][0]["res_id"], &rest["next"]), (&json!(7), &Json::Null));
    let (_, job) = client.get("/jobs/7", &[]);
    assert_eq!((&job["errors"][0]["message"], &job["events_complete"]), (&json!("x"), &json!(true)));
    assert_eq!(job["events"][0]["state"], "Error");
    assert_eq!(job["events"].as_array().unwrap().len(), 1, "{job}");
    assert_eq!(client.get("/jobs/9007199254740993", &[]).1["events"][0]["state"], "New");
    assert_eq!(client.get("/jobs/8", &[]).0, 404);

    let (_, status) = client.get("/status", &[]);
    assert_eq!(
        (&status["jobs"]["new"], &status["jobs"]["error"], &status["head_seq"]),
        (&json!(1), &json!(1), &json!(3))
    );
    assert_eq!(
        (&status["set_aside"][0]["res_id"], &status["dropping"][0]["db_name"]),
        (&json!("9007199254740993"), &json!("res_a"))
    );
    assert_eq!(client.get("/daemons", &[]).1["daemons"][0]["owner"], "d");
    for (parameters, expected) in [
        (&[][..], vec!["res_a", "res_b"]),
        (&[("type", "shop")], vec!["res_a"]),
        (&[("name", "res_b")], vec!["res_b"]),
        (&[("name", "re%")], vec![]),
        (&[("after", "res_a")], vec!["res_b"]),
        (&[("limit", "1")], vec!["res_a"]),
    ] {
        let (_, found) = client.get("/databases", parameters);
        let names: Vec<&str> =
            found["databases"].as_array().unwrap().iter().map(|one| one["db_name"].as_str().unwrap()).collect();
        assert_eq!(names, expected, "{parameters:?}");
        assert_eq!(found["next"], if parameters == [("limit", "1")] { json!("res_a") } else { Json::Null });
    }
    for (parameters, states, next) in [
        (&[][..], vec!["Error", "New", "Own"], 3),
        (&[("since", "1")], vec!["New", "Own"], 3),
        (&[("since", "0"), ("limit", "2")], vec!["Error", "New"], 2),
        (&[("limit", "1")], vec!["Own"], 3),
        (&[("since", "0"), ("state", "O*")], vec!["Own"], 3),
        (&[("state", "Nothing")], vec![], 3),
        (&[("since", "99")], vec![], 99),
    ] {
        let (_, found) = client.get("/events", parameters);
        let found_states: Vec<&str> =
            found["events"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
        assert_eq!((found_states, &found["next"]), (states, &json!(next)), "{parameters:?}");
    }
    assert_eq!(client.get("/events", &[("state", "a b")]).0, 400);
    assert_eq!(client.get("/openapi.json", &[]).1["openapi"], "3.1.0");
}

#[test]
fn actions_are_done_and_audited_with_who_and_why() {
    let database = TestDatabase::new(Server::shared(), "answers_act");
    let (client, mut conn) = (Client::new(&database), database.bare());
    let (status, added) = client.post("/jobs", json!({"name": "a", "delay_s": 60, "reason": "new"}));
    assert_eq!((status, &added["res_id"]), (201, &json!(1)));
    assert_eq!(client.post("/jobs/cancel", json!({"filter": {"name": "a"}, "dry_run": true})).1["count"], 1);
    assert_eq!(client.post("/jobs/cancel", json!({"ids": [1, 2]})).1["count"], 1);
    assert_eq!(client.post("/jobs/cancel", json!({"ids": [1]})).1["count"], 0);
    assert_eq!(client.post("/jobs/retry", json!({"ids": ["1"], "dry_run": true})).1["count"], 1);
    assert_eq!(client.post("/queue/pause", json!({"reason": "night"})), (200, json!({"paused": true})));
    assert_eq!(client.get("/status", &[]).1["paused"], true);
    assert_eq!(client.post("/queue/resume", json!({})), (200, json!({"paused": false})));
    let (status, batch) = client.post("/jobs/retry", json!({"filter": {}}));
    assert_eq!((status, &batch["count"]), (202, &Json::Null));
    let (_, audit) = client.get("/audit", &[("limit", "1")]);
    let newest = &audit["actions"][0];
    assert_eq!((&newest["id"], &newest["who"], &newest["action"]), (&batch["batch"], &json!("alice"), &json!("retry")));
    assert_eq!((&newest["batch"]["ended_at"], &newest["target"]), (&Json::Null, &json!("status=error")));
    assert_eq!(client.post("/databases/1/drop", json!({"after": "7d"})).0, 409);
    assert_eq!(client.post("/databases/1/restore", json!({})).0, 409);
    assert_eq!(client.post("/databases/1/drop", json!({})).1, json!({"databases": 0, "jobs": 1, "marked": 0}));
    assert_eq!(client.post("/databases/1/drop", json!({})).0, 404);
    conn.query_drop("INSERT INTO res_queue (res_id, res_name, status) VALUES (5, 'r', 'in_progress')").unwrap();
    let (status, refused) = client.post("/databases/5/drop", json!({}));
    assert!(status == 409 && refused["error"].as_str().unwrap().contains("in progress"), "{refused}");
    let audited: Vec<(String, u64, Option<String>)> =
        conn.query("SELECT action, count, reason FROM res_audit ORDER BY id").unwrap();
    let audited: Vec<(&str, u64, Option<&str>)> =
        audited.iter().map(|(a, n, r)| (a.as_str(), *n, r.as_deref())).collect();
    assert_eq!(
        audited,
        [
            ("add", 1, Some("new")),
            ("cancel", 1, None),
            ("cancel", 0, None),
            ("pause", 0, Some("night")),
            ("resume", 0, None),
            ("retry", 0, None),
            ("drop", 1, None),
            ("drop", 0, None),
        ]
    );
}

#[test]
fn history_of_a_job_is_found_among_many_other_events() {
    let database = TestDatabase::new(Server::shared(), "answers_many");
    let (client, mut conn) = (Client::new(&database), database.bare());
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('a'); CALL res_number(0, 100, @last)").unwrap();
    // An hour of events of others, then this job is done.
    conn.query_drop(
        "UPDATE res_queue SET created_at = NOW() - INTERVAL 1 HOUR; UPDATE res_event SET numbered_at = NOW(6) - INTERVAL 1 HOUR",
    )
    .unwrap();
    database.fill(4, ", status", ", 'done'");
    database.fill(4, ", status", ", 'done'");
    database.fill(4, ", status", ", 'done'");
    wait_until("the events of others to be numbered", || {
        conn.query_drop("CALL res_number(0, 2000, @last)").unwrap();
        conn.query_first("SELECT COUNT(*) FROM res_outbox").unwrap() == Some(0)
    });
    conn.query_drop(
        "UPDATE res_event SET numbered_at = NOW(6) - INTERVAL 30 MINUTE WHERE seq > 1; \
         UPDATE res_queue SET status = 'done' WHERE res_id = 1; CALL res_number(0, 100, @last)",
    )
    .unwrap();
    let (_, job) = client.get("/jobs/1", &[]);
    let states: Vec<&str> =
        job["events"].as_array().unwrap().iter().map(|event| event["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["New", "Completed"], "from both ends of its life");
    assert_eq!(job["events_complete"], false, "more than is searched lies between them");
}
