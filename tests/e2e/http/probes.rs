//! Health, readiness and metrics: while all is well, while the database hangs, while a row is refused, during a drain.

use std::{collections::BTreeMap, net::TcpListener};

use mysql::prelude::Queryable;
use resq_test_support::{
    Answer, DEADLINE, FaultProxy, HttpPeer, Instance, http, templates, wait_or_report, wait_until,
};

use super::resqd;

/// Waits until a probe answers so; reports what it answered instead.
fn wait_for(port: u16, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let mut answer = None;
    wait_or_report(DEADLINE, path, || {
        let latest = http(port, &format!("GET {path}"), "");
        let found = wanted(&latest);
        let report = format!("{} {}", latest.status, latest.body);
        answer = Some(latest);
        if found { Ok(()) } else { Err(report) }
    });
    answer.expect("it answered")
}

fn has(answer: &Answer, list: &str, check: &str, words: &str) -> bool {
    let json = answer.json();
    let found = json[list].as_array().into_iter().flatten();
    found
        .into_iter()
        .any(|found| found["check"] == check && found["reason"].as_str().is_some_and(|r| r.contains(words)))
}

/// Name and labels of each sample, with its value.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let samples = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
        (name, value.parse().expect("a number"))
    });
    samples.collect()
}

#[test]
fn hanging_database_makes_the_daemon_unready_and_not_dead() {
    let instance = Instance::ready("http_hang");
    let proxy = FaultProxy::to(instance.server.port());
    let (resqd, port) = resqd(&instance);
    let _resqd = resqd.env("MYSQL_PORT", proxy.port.to_string()).args(["--lease-s", "60"]).spawn_ready();
    let ready = wait_for(port, "/readyz", |answer| answer.status == 200);
    assert_eq!(ready.json()["reasons"], serde_json::json!([]));
    // Its statements get no answer until the system gives the connections up.
    proxy.drop_silently();
    let unready = wait_for(port, "/readyz", |answer| answer.status == 503);
    assert!(has(&unready, "reasons", "database", ""), "{}", unready.body);
    assert_eq!(http(port, "GET /healthz", "").status, 200, "what hangs is not the daemon");
    let text = http(port, "GET /metrics", "").body;
    assert_eq!((samples(&text)["resq_database_up"], samples(&text)["resq_lease_valid"]), (0.0, 1.0));
    wait_for(port, "/readyz", |answer| answer.status == 200);
}

#[test]
fn readiness_ends_with_the_drain_and_names_refused_jobs() {
    let instance = Instance::ready("http_drain");
    let hold = templates::hold("http_drain");
    let sql = instance.sql_dir(&templates::with(templates::MINIMAL, &[("res_tables/10.sql", &hold)]));
    let mut held = instance.server.conn();
    held.query_drop("DO GET_LOCK('http_drain', 60)").unwrap();
    let mut conn = instance.conn();
    conn.query_drop(
        "CREATE TRIGGER refuse BEFORE UPDATE ON res_queue FOR EACH ROW \
         BEGIN IF NEW.res_name = 'bad' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF; END",
    )
    .unwrap();
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.arg("--sql-dir").arg(&sql).spawn_ready();
    instance.resqctl(["add", "bad"]).ok();
    instance.resqctl(["add", "good"]).ok();
    let ready = wait_for(port, "/readyz", |answer| has(answer, "warnings", "set_aside", "not this one"));
    assert_eq!(ready.status, 200, "one refused row stops nothing");
    let busy = |answer: &Answer| samples(&answer.body)["resq_workers_busy"] == 1.0;
    wait_for(port, "/metrics", busy);
    resqd.signal("TERM");
    let unready = wait_for(port, "/readyz", |answer| answer.status == 503);
    assert!(has(&unready, "reasons", "stage", "stopping"), "{}", unready.body);
    assert_eq!(http(port, "GET /healthz", "").status, 200, "a drain is progress");
    held.query_drop("DO RELEASE_LOCK('http_drain')").unwrap();
    assert_eq!(resqd.wait().code(), Some(0));
}

#[test]
fn metrics_count_what_happened() {
    let instance = Instance::ready("http_metrics");
    let sql = instance.sql_dir(&templates::with(templates::MINIMAL, &[("res_tables/10.sql", "SELECT 1;")]));
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.arg("--sql-dir").arg(&sql).args(["--workers", "3"]).spawn_ready();
    for name in ["a", "b", "c"] {
        instance.resqctl(["add", name]).ok();
    }
    instance.resqctl(["add", "late", "--delay", "3600"]).ok();
    instance.resqctl(["add", "x", "--type", "unknown"]).ok();
    let mut conn = instance.conn();
    wait_until("all jobs to end", || {
        conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status IN ('done', 'error')").unwrap() == Some(4)
    });
    let expected = [
        ("resq_jobs{status=\"new\"}", 1.0),
        ("resq_jobs{status=\"in_progress\"}", 0.0),
        ("resq_jobs{status=\"error\"}", 1.0),
        ("resq_jobs{status=\"done\"}", 3.0),
        ("resq_oldest_waiting_seconds", 0.0),
        ("resq_job_wait_seconds_count{type=\"default\"}", 3.0),
        ("resq_job_run_seconds_count{type=\"default\"}", 3.0),
        ("resq_jobs_finished_total{outcome=\"error\"}", 1.0),
        ("resq_attempts_failed_total", 1.0),
        ("resq_workers", 3.0),
        ("resq_workers_busy", 0.0),
        ("resq_paused", 0.0),
        ("resq_outbox_rows", 0.0),
        ("resq_events_total{state=\"Completed\"}", 3.0),
        ("resq_event_head", 13.0),
        ("resq_event_delay_seconds_count", 13.0),
        ("resq_subscribers", 0.0),
        ("resq_deliveries_total", 0.0),
        ("resq_database_up", 1.0),
        ("resq_lease_valid", 1.0),
    ];
    let is_expected = |answer: &Answer| {
        let samples = samples(&answer.body);
        expected.iter().all(|(name, value)| samples.get(name) == Some(value))
    };
    let answer = wait_for(port, "/metrics", is_expected);
    assert_eq!(answer.fields["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let open = http(port, "GET /metrics", "Accept: application/openmetrics-text\r\n");
    assert!(open.fields["content-type"].starts_with("application/openmetrics-text") && open.body.ends_with("# EOF\n"));
    assert_eq!(http(port, "HEAD /healthz", "").fields["content-length"], "28");
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn default_address_may_be_taken_and_a_chosen_one_may_not() {
    let instance = Instance::ready("http_taken");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = instance.resqd().env("RESQ_HTTP", &address).expect_code(1);
    assert!(refused.stderr.contains(&address), "{refused}");
    let exposed = instance.resqd().env("RESQ_HTTP", "0.0.0.0:0").expect_code(2);
    assert!(exposed.stderr.contains("http.token"), "{exposed}");
    // Whether this test gets the default address or another process has it, resqd starts.
    let default = TcpListener::bind("127.0.0.1:1301");
    let resqd = instance.resqd().env("RESQ_HTTP", "").spawn_ready();
    drop(default);
    assert_eq!(resqd.stop().code(), Some(0));
    let none = instance.dir().join("none.toml");
    std::fs::write(&none, "[http]\nlisten = []\n").unwrap();
    let resqd = instance.resqd().env("RESQ_HTTP", "").arg("--config").arg(&none).spawn_ready();
    assert_eq!(resqd.stop().warnings(), Vec::<&str>::new());
}

#[test]
fn token_opens_what_loopback_alone_does_not() {
    let instance = Instance::ready("http_token");
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.env("RESQ_HTTP_TOKEN", "s3cret").env("RESQ_HTTP_READ_TOKEN", "reader").spawn_ready();
    for (fields, status) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: Bearer reader\r\n", 200),
        ("Authorization: Bearer s3cret\r\n", 200),
    ] {
        assert_eq!(http(port, "GET /metrics", fields).status, status, "{fields}");
    }
    let probe = http(port, "GET /readyz", "");
    assert_eq!((probe.status, &probe.json()["ready"]), (200, &serde_json::json!(true)), "a probe needs no token");
    let mut peer = HttpPeer::connect(port);
    let body = "token=reader";
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    peer.request("POST /login", &format!("{kind}Content-Length: {}\r\n", body.len()));
    peer.send(body);
    let cookie = peer.answer().fields["set-cookie"].split(';').next().unwrap().to_string();
    peer.request("GET /metrics", &format!("Cookie: {cookie}\r\n"));
    assert_eq!(peer.answer().status, 200, "on the same connection");
    (0..6).for_each(|_| drop(http(port, "GET /metrics", "Authorization: Bearer guess\r\n")));
    let slowed = http(port, "GET /metrics", "Authorization: Bearer s3cret\r\n");
    assert_eq!((slowed.status, slowed.fields.contains_key("retry-after")), (429, true));
    peer.request("GET /metrics", &format!("Cookie: {cookie}\r\n"));
    assert_eq!(peer.answer().status, 200, "a login goes on");
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0));
    assert!(!finished.stderr.contains("s3cret") && !finished.stderr.contains("guess"), "{finished}");
}
