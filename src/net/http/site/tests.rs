//! Requests and their answers.

use super::*;
use crate::{base::health::Finding, config::Secret};
use std::time::Instant;

const FORM: &str = "application/x-www-form-urlencoded";

fn site(token: Option<&str>) -> Site {
    let access = Access { token: token.map(|token| Secret(token.into())), ..Access::default() };
    Site { access, ..Site::default() }
}

fn ask(site: &mut Site, line: &str, fields: &str, body: &str) -> Result<Reply, u16> {
    let head = Head::parse(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes()).unwrap();
    let arrival = Arrival { address: None, now: Instant::now(), unix_s: 1_800_000_000, is_encrypted: false };
    site.reply(&Request { head, body: body.into() }, arrival).map_err(|rejection| rejection.status)
}

fn text(reply: Result<Reply, u16>) -> String {
    let Ok(Reply::Response(response)) = reply else { panic!("{reply:?}") };
    String::from_utf8(response.encode(false, false).to_vec()).unwrap()
}

#[test]
fn readiness_names_what_is_wrong_to_those_who_may_read() {
    let mut site = site(Some("s3cret"));
    site.health.add(|| vec![Finding::blocking("database", "db1 is lost"), Finding::note("schema", "a trigger")]);
    site.health.serving();
    let closed = text(ask(&mut site, "GET /readyz", "", ""));
    assert!(
        closed.starts_with("HTTP/1.1 503 ") && closed.contains("\"database\"") && !closed.contains("db1"),
        "{closed}"
    );
    let open = text(ask(&mut site, "GET /readyz", "Authorization: Bearer s3cret\r\n", ""));
    let body = r#"{"ready":false,"reasons":[{"check":"database","reason":"db1 is lost"}],"#.to_string()
        + r#""warnings":[{"check":"schema","reason":"a trigger"}]}"#;
    assert!(open.ends_with(&format!("\r\n\r\n{body}\n")), "{open}");
    assert!(text(ask(&mut site, "GET /healthz", "", "")).contains("200 OK"));
}

#[test]
fn health_is_of_the_daemon_whose_broker_listens_there() {
    let mut site = site(None);
    site.brokers = vec!["tls://[::]:1300".into(), "/run/a socket".into()];
    site.health.serving();
    for (query, expected) in [
        ("", Ok(())),
        ("?broker=tls://%5B::%5D:1300", Ok(())),
        ("?broker=/run/a%20socket", Ok(())),
        ("?broker=127.0.0.1:1300", Err(421)),
        ("?broker=", Err(421)),
        ("?broker=/run/a%20socket&broker=/run/b", Err(400)),
        ("?a=b", Err(400)),
    ] {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(ask(&mut site, &format!("GET {path}{query}"), "", "").map(drop), expected, "{path}{query}");
        }
    }
}

#[test]
fn metrics_and_streams_need_a_right_where_a_token_is_set() {
    let (mut open, mut closed) = (site(None), site(Some("s3cret")));
    for line in ["GET /metrics", "GET /api/v1/stream", "GET /api/v1/series"] {
        assert!(ask(&mut open, line, "", "").is_ok(), "{line}");
        assert_eq!(ask(&mut closed, line, "", ""), Err(401), "{line}");
        assert!(ask(&mut closed, line, "Authorization: Bearer s3cret\r\n", "").is_ok(), "{line}");
    }
    let accept = "Accept: application/openmetrics-text\r\n";
    assert_eq!(ask(&mut open, "GET /metrics", accept, ""), Ok(Reply::Metrics(Format::OpenMetrics)));
    assert_eq!(ask(&mut open, "GET /metrics?a=b", "", ""), Err(400));
    assert_eq!(ask(&mut open, "GET /nothing", "", ""), Err(404));
}

#[test]
fn streams_begin_where_the_client_was() {
    let mut site = site(None);
    let stream = |patterns: &[&str], after_seq| {
        let patterns = patterns.iter().map(|pattern| pattern.to_string()).collect();
        Ok(Reply::Stream { patterns, after_seq, topics: Topics::default() })
    };
    let overview = Topics { overview: true, subscribers: false };
    let watch = Ok(Reply::Stream { patterns: Vec::new(), after_seq: None, topics: overview });
    for (query, fields, expected) in [
        ("", "", stream(&["*"], None)),
        ("?sub=Completed&sub=Err%2A&since=7", "", stream(&["Completed", "Err*"], Some(7))),
        ("?since=7", "Last-Event-ID: 9\r\n", stream(&["*"], Some(9))),
        ("?since=7", "Last-Event-ID:\r\n", stream(&["*"], Some(7))),
        ("", "Last-Event-ID: x\r\n", Err(400)),
        ("?watch=overview", "", watch),
        ("?watch=jobs", "", Err(400)),
        ("?since=-1", "", Err(400)),
        ("?after=1", "", Err(400)),
    ] {
        assert_eq!(ask(&mut site, &format!("GET /api/v1/stream{query}"), fields, ""), expected, "{query} {fields}");
    }
}

#[test]
fn acting_needs_the_right_and_a_body_of_json() {
    let mut site = site(Some("s3cret"));
    site.access.read_token = Some(Secret("reader".into()));
    let json = "Content-Type: application/json\r\n";
    let (act, read) = ("Authorization: Bearer s3cret\r\n", "Authorization: Bearer reader\r\n");
    for (line, fields, body, expected) in [
        ("GET /api/v1/jobs?name=a%20b", read.to_string(), "", None),
        ("GET /api/v1/jobs", String::new(), "", Some(401)),
        ("POST /api/v1/queue/pause", act.to_string(), "", None),
        ("POST /api/v1/queue/pause", read.to_string(), "", Some(403)),
        ("POST /api/v1/jobs", format!("{act}{json}"), "{}", None),
        ("POST /api/v1/jobs", act.to_string(), "{}", Some(415)),
        ("POST /api/v1/jobs", format!("{act}{json}Origin: http://evil.example\r\n"), "{}", Some(403)),
    ] {
        let asked = ask(&mut site, line, &fields, body);
        assert_eq!(asked.as_ref().err().copied(), expected, "{line} {fields}");
        if let Ok(reply) = asked {
            let Reply::Ask(asked) = reply else { panic!("{reply:?}") };
            assert_eq!((asked.acts, asked.body.as_slice()), (line.starts_with("POST"), body.as_bytes()));
            assert!(line.contains(&asked.path), "{asked:?}");
        }
    }
    assert_eq!(
        ask(&mut self::site(None), "POST /api/v1/queue/pause", "", ""),
        Err(403),
        "without a token nothing acts"
    );
}

#[test]
fn page_is_open_and_says_who_may_act() {
    let right = |token, fields: &str| text(ask(&mut site(token), "GET /login", fields, ""));
    for (token, fields, expected) in [
        (None, "", r#"{"login":false,"right":"read"}"#),
        (Some("s3cret"), "", r#"{"login":true,"right":null}"#),
        (Some("s3cret"), "Authorization: Bearer s3cret\r\n", r#"{"login":true,"right":"act"}"#),
        (Some("s3cret"), "Cookie: resq_login=act.1.2\r\n", r#"{"login":true,"right":null}"#),
    ] {
        let answer = right(token, fields);
        assert!(answer.ends_with(&format!("{expected}\n")), "{answer}");
    }
    let page = text(ask(&mut site(Some("s3cret")), "GET /", "", ""));
    assert!(page.contains("Content-Security-Policy: default-src 'none'; script-src 'self';"), "{page}");
}

#[test]
fn login_gives_a_cookie_for_a_token_and_for_nothing_else() {
    let mut site = site(Some("s3 c&ret"));
    let login =
        |site: &mut Site, kind: &str, body: &str| ask(site, "POST /login", &format!("Content-Type: {kind}\r\n"), body);
    let page = text(login(&mut site, FORM, "token=s3+c%26ret"));
    assert!(page.starts_with("HTTP/1.1 303 ") && page.contains("\r\nLocation: /\r\n"), "{page}");
    let api = text(login(&mut site, "application/json; charset=utf-8", r#"{"token":"s3 c&ret"}"#));
    assert!(api.ends_with("{\"right\":\"act\"}\n"), "{api}");
    for answer in [&page, &api] {
        let line = answer.lines().find(|line| line.starts_with("Set-Cookie: ")).unwrap();
        assert!(line.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{line}");
        let cookie = line["Set-Cookie: ".len()..].split(';').next().unwrap();
        assert!(ask(&mut site, "GET /metrics", &format!("Cookie: {cookie}\r\n"), "").is_ok());
    }
    assert!(text(ask(&mut site, "POST /logout", "", "")).contains("Set-Cookie: resq_login=; Path=/; Max-Age=0;"));
    for (kind, body, status) in [
        (FORM, "token=wrong", 401),
        (FORM, "tokens=x", 400),
        ("application/json", "{", 400),
        ("application/json", "{\"token\":7}", 400),
        ("text/plain", "token=s3", 415),
    ] {
        assert_eq!(login(&mut site, kind, body), Err(status), "{kind} {body}");
    }
    assert_eq!(ask(&mut site, "POST /login", "Sec-Fetch-Site: cross-site\r\n", "token=x"), Err(403));
}
