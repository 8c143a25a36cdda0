//! What is refused: foreign names, other sites, malformed, oversized and slow requests, tricks with paths. Whatever a
//! client sends, the next one is served.

use resq_test_support::{HttpPeer, Instance, http};

use super::resqd;

/// The statuses of all answers to these bytes, until the connection ends or the last request is answered.
fn statuses(port: u16, bytes: &[u8], answers: usize) -> Vec<u16> {
    let mut peer = HttpPeer::connect(port);
    peer.send(bytes);
    (0..answers).map(|_| peer.answer().status).collect()
}

#[test]
fn refused_requests_get_their_status_and_disturb_no_other() {
    let instance = Instance::ready("http_refusals");
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.spawn_ready();
    for (status, line, fields) in [
        (200, "GET /healthz", ""),
        (421, "GET /healthz", "Host: evil.example\r\n"),
        (405, "POST /healthz", ""),
        (405, "DELETE /metrics", ""),
        (405, "POST /", ""),
        (404, "GET /healthz/../metrics", ""),
        (404, "GET /%68ealthz", ""),
        (404, "GET //healthz", ""),
        (404, "GET /etc/passwd", ""),
        (400, "GET http://localhost/healthz", ""),
        (400, "GET /healthz?a=b", ""),
        (400, "GET /api/v1/stream?sub=a%20b", ""),
        (400, "GET /api/v1/stream?since=-1", ""),
        (400, "GET /api/v1/stream", "Last-Event-ID: 1 OR 1\r\n"),
        (403, "POST /login", "Sec-Fetch-Site: cross-site\r\n"),
        (403, "POST /login", "Origin: http://evil.example\r\n"),
        (415, "POST /login", ""),
        (413, "POST /login", "Content-Length: 65537\r\n"),
        (400, "POST /login", "Content-Length: 1\r\nContent-Length: 1\r\n"),
        (400, "POST /login", "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        (501, "POST /login", "Transfer-Encoding: gzip\r\n"),
        (417, "POST /login", "Expect: magic\r\n"),
    ] {
        let host = if fields.starts_with("Host") { "" } else { "Host: localhost\r\n" };
        let found = statuses(port, format!("{line} HTTP/1.1\r\n{host}{fields}\r\n").as_bytes(), 1);
        assert_eq!(found, [status], "{line} {fields}");
    }
    let long = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(8_192));
    assert_eq!(statuses(port, long.as_bytes(), 1), [431]);
    assert_eq!(statuses(port, b"GET /healthz HTTP/1.1\nHost: localhost\n\n", 1), [400]);
    assert_eq!(
        statuses(port, b"POST /login HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 1),
        [400]
    );
    assert_eq!(statuses(port, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 1), [400]);
    assert_eq!(http(port, "GET /healthz", "").status, 200);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn requests_sent_at_once_are_answered_in_order_until_one_is_wrong() {
    let instance = Instance::ready("http_pipeline");
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.spawn_ready();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let chunked = "POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let mut all = [&get("/healthz"), chunked, &get("/nothing"), &get("/readyz")].concat();
    let mut expected = vec![200, 415, 404, 200];
    all += &get("/healthz").repeat(100);
    expected.extend([200; 100]);
    all += "GARBAGE\r\n\r\n";
    all += &get("/healthz");
    expected.push(400);
    let mut peer = HttpPeer::connect(port);
    peer.send(&all);
    let found: Vec<u16> = expected.iter().map(|_| peer.answer().status).collect();
    assert_eq!(found, expected);
    assert!(peer.is_closed(), "nothing is read behind what is malformed");
    let mut old = HttpPeer::connect(port);
    old.send("GET /healthz HTTP/1.0\r\n\r\n");
    assert_eq!((old.answer().status, old.is_closed()), (200, true));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn slow_requests_end_and_silent_connections_too() {
    let instance = Instance::ready("http_slow");
    let (resqd, port) = resqd(&instance);
    let resqd = resqd.spawn_ready();
    let (mut head, mut body, mut silent) = (HttpPeer::connect(port), HttpPeer::connect(port), HttpPeer::connect(port));
    head.send("GET /healthz HTTP/1.1\r\nHost: local");
    body.send("POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nto");
    // 10 s, 20 s, 10 s.
    assert_eq!((head.answer().status, head.is_closed()), (408, true));
    assert!(silent.is_closed());
    assert_eq!((body.answer().status, body.is_closed()), (408, true));
    assert_eq!(resqd.stop().code(), Some(0));
}
