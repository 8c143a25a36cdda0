//! The page that resqd serves, in a real browser.

mod consumers;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Browser, Instance, ROOT, Running, http, own_port, wait_until};
use serde_json::{Value as Json, json};

/// The views, each with an expression that holds once it is shown.
const VIEWS: [(&str, &str); 8] = [
    ("overview", "document.querySelector('.headline[data-level]')"),
    ("jobs", "document.querySelector('tbody')"),
    ("jobs/1", "document.querySelector('.timeline li')"),
    ("databases", "document.querySelector('tbody')"),
    ("rollouts", "document.querySelector('tbody')"),
    ("audit", "document.querySelector('tbody')"),
    ("events", "document.querySelector('.tail')"),
    ("subscribers", "document.querySelector('tbody')"),
];

fn resqd(instance: &Instance, port: u16) -> Running {
    let program = instance.resqd().env("RESQ_HTTP", format!("127.0.0.1:{port}")).args(["--poll-ms", "50"]);
    program.env("RESQ_HTTP_TOKEN", "acts").env("RESQ_HTTP_READ_TOKEN", "reads").spawn_ready()
}

fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}/")
}

/// A browser that has logged in by the link with a token.
fn browser(port: u16, token: &str) -> Browser {
    let browser = Browser::open();
    browser.go(&format!("{}#token={token}", address(port)));
    browser.wait_for("document.body.dataset.right !== 'none' && document.querySelector('.headline')");
    browser
}

fn show(browser: &Browser, port: u16, view: &str, shown: &str) {
    browser.go(&format!("{}#/{view}", address(port)));
    browser.wait_for(shown);
    browser.wait_for(&format!("document.getElementById('main').dataset.shown === '#/{view}'"));
    browser.wait_for("document.getElementById('connection').dataset.state === 'live'");
}

fn publish(conn: &mut Conn, state: &str, payload: &Json) {
    conn.exec_drop("CALL publish(?, ?)", (state, payload.to_string())).unwrap();
}

/// The numbers of the events shown, newest first.
fn shown_numbers(browser: &Browser) -> Vec<u64> {
    let numbers =
        browser.run("return [...document.querySelectorAll('.tail li[data-seq]')].map((li) => li.dataset.seq);");
    numbers.as_array().unwrap().iter().map(|number| number.as_str().unwrap().parse().unwrap()).collect()
}

#[test]
fn every_view_is_shown_under_its_policy_without_an_error() {
    let instance = Instance::ready("dash_views");
    let port = own_port();
    let resqd = resqd(&instance, port);
    instance.resqctl(["add", "one"]).ok();
    let browser = browser(port, "reads");
    assert_eq!(browser.run("return location.hash;"), "#/overview", "the token stays in no address");
    for width in [1280, 360] {
        browser.resize(width, 800);
        for (view, shown) in VIEWS {
            show(&browser, port, view, shown);
            let is_too_wide = browser.run("return document.documentElement.scrollWidth > innerWidth;");
            assert_eq!(is_too_wide, json!(false), "{view} at {width} pixels");
        }
    }
    let hosts =
        browser.run("return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).host);");
    let hosts: BTreeSet<&str> = hosts.as_array().unwrap().iter().filter_map(Json::as_str).collect();
    assert_eq!(hosts, BTreeSet::from([format!("127.0.0.1:{port}").as_str()]));
    assert_eq!(browser.errors(), Vec::<String>::new());
    // What the policy forbids does not happen, also if the page were made to try it.
    browser.run(
        "try { document.body.innerHTML = '<img src=x onerror=\"window.ran = 1\">'; } catch { window.refused = 1; }",
    );
    assert_eq!(browser.run("return [window.ran ?? 0, window.refused ?? 0];"), json!([0, 1]));
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn login_gives_the_rights_of_its_token() {
    let instance = Instance::ready("dash_login");
    let port = own_port();
    let resqd = resqd(&instance, port);
    let browser = Browser::open();
    browser.go(&address(port));
    browser.type_into("input[name=token]", "wrong");
    browser.click("form button[type=submit]");
    browser.wait_for("document.querySelector('.login .error').textContent.includes('wrong token')");
    browser.type_into("input[name=token]", "reads");
    browser.click("form button[type=submit]");
    browser.wait_for("document.body.dataset.right === 'read' && document.querySelector('.headline')");
    assert_eq!(browser.run("return document.querySelector('.act') === null;"), json!(true), "nothing to act with");
    // What a page forbids is no protection: resqd refuses it.
    let pause = "const request = new XMLHttpRequest(); request.open('POST', '/api/v1/queue/pause', false); \
                 request.send(); return request.status;";
    assert_ne!(browser.run(pause), json!(200));
    assert_eq!(browser.run("return document.cookie;"), "", "no script reads the login");
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn overview_follows_the_queue_and_shows_names_as_text() {
    let instance = Instance::ready("dash_overview");
    let port = own_port();
    let resqd = resqd(&instance, port);
    let mut conn = instance.conn();
    instance.resqctl(["pause"]).ok();
    let browser = browser(port, "reads");
    browser.wait_for("document.querySelector('.headline').dataset.level === 'warn'");
    browser.wait_for("document.querySelector('.concerns').textContent.includes('paused')");
    instance.resqctl(["resume"]).ok();
    browser.wait_for("document.querySelector('.headline').textContent === 'All is well'");
    let markup = "<img src=x onerror=window.ran=1>";
    conn.exec_drop("INSERT INTO res_queue (res_name, res_type) VALUES (?, 'missing')", (markup,)).unwrap();
    browser.wait_for("document.querySelector('a[href*=\"status=error\"] .number').textContent === '1'");
    show(&browser, port, "events", "document.querySelectorAll('.tail li').length > 2");
    // As the name, the type and the error of a job, as a database, as the reason of an action, and as a subscriber's name.
    let cancel = format!("UPDATE res_queue SET last_error = '{markup}'");
    conn.query_drop(cancel).unwrap();
    instance.resqctl(["pause", "--reason", markup]).ok();
    instance.resqctl(["resume"]).ok();
    let _client = instance.resq_client(["-v", "--name", markup, "--sub", "Err*"]).spawn_ready();
    for view in ["events", "jobs", "jobs/1", "audit", "subscribers"] {
        show(&browser, port, view, "true");
        browser.wait_for(&format!("document.querySelector('main').innerText.includes('{markup}')"));
        let found = browser.run("return [window.ran ?? 0, document.querySelectorAll('main img').length];");
        assert_eq!(found, json!([0, 0]), "{view}");
    }
    assert_eq!(browser.errors(), Vec::<String>::new());
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn job_added_elsewhere_appears_at_once() {
    let instance = Instance::ready("dash_jobs");
    let port = own_port();
    let resqd = resqd(&instance, port);
    let browser = browser(port, "reads");
    show(&browser, port, "jobs", "document.querySelector('.empty:not([hidden])')");
    browser.run(
        "new MutationObserver(() => { if (document.querySelector('tr[data-id]')) window.seen ??= Date.now(); })\
         .observe(document.querySelector('main'), { childList: true, subtree: true });",
    );
    let mut conn = instance.conn();
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as f64;
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('elsewhere')").unwrap();
    let seen = browser.wait_for("window.seen").as_f64().unwrap();
    // 500 ms at most on a quiet machine; this one may be busy with other tests.
    println!("shown after {} ms", seen - before);
    browser.wait_for("document.querySelector('tr[data-id] .status.done')");
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn all_that_match_are_counted_then_retried_and_audited() {
    let instance = Instance::ready("dash_retry");
    let port = own_port();
    let resqd = resqd(&instance, port);
    let mut conn = instance.conn();
    let rows: Vec<String> = (0..120).map(|n| format!("('{}-{n}', 'missing')", ["a", "b"][n % 2])).collect();
    conn.query_drop(format!("INSERT INTO res_queue (res_name, res_type) VALUES {}", rows.join(","))).unwrap();
    let browser = browser(port, "acts");
    browser.wait_for("document.querySelector('a[href*=\"status=error\"] .number').textContent === '120'");
    show(&browser, port, "jobs?status=error&name=a-", "document.querySelector('tr[data-id]')");
    browser.click("[data-act=retry-all]");
    let asked = browser.wait_for("document.querySelector('dialog h2').textContent");
    assert_eq!(asked, "Retry 60 jobs?");
    browser.type_into("dialog input", "the templates are there now");
    browser.click("dialog button[value=yes]");
    let audited = "SELECT who, reason FROM res_audit WHERE action = 'retry'";
    let mut row: Option<(String, Option<String>)> = None;
    wait_until("the action", || {
        row = conn.query_first(audited).unwrap();
        row.is_some()
    });
    let (who, reason) = row.unwrap();
    assert_eq!((who.starts_with("token via http"), reason.as_deref()), (true, Some("the templates are there now")));
    wait_until("all of them retried", || {
        let again =
            "SELECT COUNT(*) FROM res_error WHERE res_id IN (SELECT res_id FROM res_queue WHERE res_name LIKE 'a-%')";
        conn.query_first::<u64, _>(again).unwrap() == Some(120)
    });
    let others =
        "SELECT COUNT(*) FROM res_error WHERE res_id IN (SELECT res_id FROM res_queue WHERE res_name LIKE 'b-%')";
    assert_eq!(conn.query_first::<u64, _>(others).unwrap(), Some(60));
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn open_page_survives_restarts_without_a_lost_or_repeated_event() {
    let instance = Instance::ready("dash_restart");
    let port = own_port();
    let mut daemon = resqd(&instance, port);
    let mut conn = instance.conn();
    let browser = browser(port, "reads");
    show(&browser, port, "events", "document.querySelector('.tail')");
    let mut published = 0;
    for round in 0..3 {
        for _ in 0..40 {
            publish(&mut conn, "Own.dash", &json!({ "n": published }));
            published += 1;
        }
        if round == 1 {
            drop(daemon); // killed
        } else {
            assert_eq!(daemon.stop().code(), Some(0));
        }
        (0..10).for_each(|n| publish(&mut conn, "Own.down", &json!({ "n": n })));
        published += 10;
        daemon = resqd(&instance, port);
        browser.wait_for(&format!("document.querySelector('.tail').dataset.received === '{published}'"));
    }
    let expected: Vec<u64> = (1..=published).rev().collect();
    assert_eq!(shown_numbers(&browser), expected);
    drop(browser);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn open_page_begins_again_in_a_log_that_was_replaced() {
    let instance = Instance::ready("dash_other");
    let port = own_port();
    let daemon = resqd(&instance, port);
    let mut conn = instance.conn();
    let browser = browser(port, "reads");
    show(&browser, port, "events", "document.querySelector('.tail')");
    (0..7).for_each(|n| publish(&mut conn, "Own.old", &json!({ "n": n })));
    browser.wait_for("document.querySelector('.tail').dataset.received === '7'");
    assert_eq!(daemon.stop().code(), Some(0));
    // As after a restore of an older backup: the log is shorter, and other events have its numbers.
    conn.query_drop("DELETE FROM res_event").unwrap();
    conn.query_drop("UPDATE res_log SET head_seq = 0, first_seq = 1").unwrap();
    instance.resqctl(["init", "--new-log"]).ok();
    (0..9).for_each(|n| publish(&mut conn, "Own.new", &json!({ "n": n })));
    let daemon = resqd(&instance, port);
    browser.wait_for("document.querySelector('.tail .gap')?.textContent.includes('replaced')");
    browser.wait_for("document.querySelector('.tail').dataset.received === '16'");
    let numbers: Vec<u64> = (1..=9).rev().chain((1..=7).rev()).collect();
    assert_eq!(shown_numbers(&browser), numbers);
    drop(browser);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// As a page of anyone's would follow the stream: by what the browser has for it, which reconnects by itself.
#[test]
fn event_source_of_the_browser_resumes_by_itself() {
    let instance = Instance::ready("dash_source");
    let port = own_port();
    let mut daemon = resqd(&instance, port);
    let mut conn = instance.conn();
    let browser = browser(port, "reads");
    browser.run(
        "window.got = []; window.opened = 0; \
         const source = new EventSource('/api/v1/stream?sub=Own.es&since=0'); \
         source.addEventListener('open', () => { window.opened += 1; }); \
         source.addEventListener('Own.es', (event) => window.got.push([event.lastEventId, JSON.parse(event.data).payload.n])); \
         source.addEventListener('gap', (event) => window.got.push(event.data));",
    );
    let mut published = 0;
    for round in 0..2 {
        for _ in 0..20 {
            publish(&mut conn, "Own.es", &json!({ "n": published }));
            published += 1;
        }
        browser.wait_for(&format!("window.got.length === {published}"));
        match round {
            0 => drop(daemon), // killed
            _ => assert_eq!(daemon.stop().code(), Some(0)),
        }
        publish(&mut conn, "Own.es", &json!({ "n": published }));
        published += 1;
        daemon = resqd(&instance, port);
        browser.wait_for(&format!("window.got.length === {published} && window.opened === {}", round + 2));
    }
    let expected: Vec<Json> = (0..published).map(|n| json!([(n + 1).to_string(), n])).collect();
    assert_eq!(browser.run("return window.got;"), json!(expected));
    drop(browser);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn ten_thousand_events_do_not_freeze_the_tail() {
    let instance = Instance::ready("dash_tail");
    let port = own_port();
    let resqd = resqd(&instance, port);
    let mut conn = instance.conn();
    let browser = browser(port, "reads");
    show(&browser, port, "events", "document.querySelector('.tail')");
    browser.run(
        "window.worst = 0; let last = performance.now(); \
         (function frame() { const now = performance.now(); window.worst = Math.max(window.worst, now - last); last = now; \
         requestAnimationFrame(frame); })();",
    );
    let row = r#"('Burst', '{"big": 12345678901234567890}')"#;
    conn.query_drop(format!("INSERT INTO res_outbox (state, payload) VALUES {}", vec![row; 10_000].join(","))).unwrap();
    browser.wait_for("document.querySelector('.tail').dataset.received === '10000'");
    let numbers = shown_numbers(&browser);
    assert_eq!((numbers.len(), numbers[0]), (1_000, 10_000), "the newest ones, within bounds");
    assert_eq!(numbers.windows(2).filter(|pair| pair[0] != pair[1] + 1).count(), 0);
    let payload = browser.run("return document.querySelector('.tail li code').textContent;");
    assert_eq!(payload, r#"{"big":12345678901234567890}"#, "numbers stay exact");
    let worst_ms = browser.run("return window.worst;").as_f64().unwrap();
    assert!(worst_ms < 2_000.0, "a frame took {worst_ms} ms");
    // Paused, it draws nothing and keeps what arrives.
    browser.click(".filters button");
    publish(&mut conn, "After", &json!({}));
    browser.wait_for("document.querySelector('main [role=status]').textContent.includes('paused, 1 waiting')");
    assert_eq!(shown_numbers(&browser)[0], 10_000);
    browser.click(".filters button");
    browser.wait_for("document.querySelector('.tail li').dataset.seq === '10001'");
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn closed_page_leaves_no_stream() {
    let instance = Instance::ready("dash_idle");
    let port = own_port();
    let resqd = resqd(&instance, port);
    let browser = browser(port, "reads");
    let subscribers = |field: &str| {
        let answer = http(port, "GET /metrics", "Authorization: Bearer reads\r\n");
        let line = answer.body.lines().find_map(|line| line.strip_prefix(field).map(str::to_string));
        line.and_then(|value| value.trim().parse::<u64>().ok())
    };
    show(&browser, port, "events", "document.querySelector('.tail')");
    wait_until("the page's subscription", || subscribers("resq_subscribers ") == Some(1));
    browser.go("about:blank");
    wait_until("no subscription", || subscribers("resq_subscribers ") == Some(0));
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}

/// Writes a picture of each view, light and dark, into SCREENSHOTS: `make screenshots`.
#[test]
#[ignore = "makes pictures for the documentation"]
fn screenshots() {
    let folder = std::env::var("SCREENSHOTS").unwrap_or_else(|_| format!("{ROOT}/target/screenshots"));
    let folder = Path::new(&folder);
    fs::create_dir_all(folder).unwrap();
    let instance = Instance::ready("dash_pictures");
    let port = own_port();
    let resqd = resqd(&instance, port);
    let mut conn = instance.conn();
    let browser = browser(port, "acts");
    browser.resize(1280, 860);
    // Two minutes with an open page, so that the charts have something to show: some jobs after each point, and a few that fail.
    for point in 1..=12 {
        wait_until("a point of the series", || {
            let series = http(port, "GET /api/v1/series", "Authorization: Bearer reads\r\n").json();
            series["columns"]["time"].as_array().is_some_and(|times| times.len() >= point)
        });
        let rows: Vec<String> = (0..5 + 37 * point % 90).map(|n| format!("('shop-{point}-{n}', 'default')")).collect();
        let failing = if point % 5 == 0 { ", ('blog-1', 'missing')" } else { "" };
        conn.query_drop(format!("INSERT INTO res_queue (res_name, res_type) VALUES {}{failing}", rows.join(",")))
            .unwrap();
    }
    for theme in ["light", "dark"] {
        browser.run(&format!("localStorage.setItem('resq-theme', '{theme}'); location.reload();"));
        for (view, shown) in VIEWS {
            show(&browser, port, view, shown);
            browser.screenshot(&folder.join(format!("{}-{theme}.png", view.replace('/', "-"))));
        }
    }
    drop(browser);
    assert_eq!(resqd.stop().code(), Some(0));
}
