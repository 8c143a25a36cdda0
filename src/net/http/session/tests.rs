//! Any bytes in any pieces, and the timers with a simulated clock.

use super::*;
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const STUCK: Duration = Duration::from_secs(60);

/// Requests (path and body) and, at the end, the status that refuses the rest.
type Seen = (Vec<(String, Vec<u8>)>, Option<u16>);

/// What a connection makes of these pieces, with each request answered at once.
fn seen<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Seen {
    let (limits, now) = (Limits::default(), Instant::now());
    let mut session = Session::new(now, &limits);
    let mut requests = Vec::new();
    for piece in pieces {
        session.receive(piece);
        loop {
            match session.next(&limits, now) {
                Input::Incomplete => break,
                Input::Continue => {}
                Input::Request(request) => {
                    requests.push((request.head.path, request.body));
                    session.answered(&limits, now);
                }
                Input::Rejected(rejection) => return (requests, Some(rejection.status)),
            }
        }
    }
    (requests, None)
}

fn request(path: &str, chunks: Option<&[Vec<u8>]>, length: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = format!("POST {path} HTTP/1.1\r\nHost: h\r\n").into_bytes();
    match (chunks, length) {
        (Some(chunks), _) => {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        (None, Some(body)) => {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            bytes.extend_from_slice(body);
        }
        (None, None) => bytes.extend_from_slice(b"\r\n"),
    }
    bytes
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_are_read_alike(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(&b"\r\n: /GET 1.HTP?"[..])], 0..300),
        at in 0usize..300,
    ) {
        let whole = seen([&bytes[..]]);
        prop_assert_eq!(&whole, &seen(bytes.chunks(1)));
        let (first, second) = bytes.split_at(at.min(bytes.len()));
        prop_assert_eq!(whole, seen([first, second]));
    }

    #[test]
    fn pipelined_requests_are_read_in_order_in_any_pieces(
        requests in prop::collection::vec(
            (
                "/[a-z]{1,5}",
                prop::option::of(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4)),
                prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
            ),
            1..6,
        ),
        size in 1usize..60,
    ) {
        let expected: Vec<(String, Vec<u8>)> = requests
            .iter()
            .map(|(path, chunks, length)| {
                let body = chunks.as_ref().map(|chunks| chunks.concat()).or_else(|| length.clone());
                (path.clone(), body.unwrap_or_default())
            })
            .collect();
        let bytes: Vec<u8> = requests
            .iter()
            .flat_map(|(path, chunks, length)| request(path, chunks.as_deref(), length.as_deref()))
            .collect();
        prop_assert_eq!(&(expected.clone(), None), &seen(bytes.chunks(size)));
        prop_assert_eq!((expected, None), seen([&bytes[..]]));
    }
}

#[test]
fn long_heads_are_refused_before_they_end() {
    let line = b"X-Y: 0123456789\r\n".repeat(MAX_HEAD / 16 + 1);
    assert_eq!(seen([&b"GET / HTTP/1.1\r\n"[..], &line]).1, Some(431));
    let fits = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(MAX_HEAD - 27));
    assert_eq!(seen([fits.as_bytes()]).1, None);
    let long = fits.replace(" HTTP", "x HTTP");
    assert_eq!((seen([long.as_bytes()]).1, seen(long.as_bytes().chunks(1)).1), (Some(431), Some(431)));
}

#[test]
fn next_request_waits_until_the_one_before_it_is_answered() {
    let (limits, now) = (Limits::default(), Instant::now());
    let mut session = Session::new(now, &limits);
    session.receive(&[request("/a", None, None), request("/b", None, None)].concat());
    assert!(matches!(session.next(&limits, now), Input::Request(request) if request.head.path == "/a"));
    assert!(!session.is_reading());
    assert_eq!(session.next(&limits, now), Input::Incomplete);
    session.answered(&limits, now);
    assert!(matches!(session.next(&limits, now), Input::Request(request) if request.head.path == "/b"));
}

#[test]
fn awaited_answer_belongs_to_its_request_and_is_due() {
    let (limits, now) = (Limits::default(), Instant::now());
    let mut session = Session::new(now, &limits);
    session.receive(&request("/a", None, None));
    assert!(matches!(session.next(&limits, now), Input::Request(_)));
    let asked = Asked { serial: 7, closes: false, is_head: false, until: now + 30 * SECOND };
    session.ask(asked);
    assert_eq!((session.asked(7), session.asked(6)), (Some(asked), None));
    assert_eq!(session.due(STUCK), Some(now + 30 * SECOND));
    assert_eq!(session.tick(&limits, STUCK, now + 29 * SECOND), Due::Nothing);
    assert!(matches!(session.tick(&limits, STUCK, now + 30 * SECOND), Due::Reject(late) if late.status == 503));
    session.answered(&limits, now);
    assert_eq!(session.asked(7), None);
}

#[test]
fn client_that_waits_for_permission_gets_it_once() {
    let (limits, now) = (Limits::default(), Instant::now());
    let mut session = Session::new(now, &limits);
    session.receive(b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(session.next(&limits, now), Input::Continue);
    assert_eq!(session.next(&limits, now), Input::Incomplete);
    session.receive(b"ab");
    assert!(matches!(session.next(&limits, now), Input::Request(request) if request.body == b"ab"));
}

#[test]
fn slow_and_silent_connections_end() {
    let (limits, start) = (Limits::default(), Instant::now());
    let status = |due: Due| match due {
        Due::Reject(rejection) => rejection.status,
        Due::Close => 0,
        _ => 1,
    };
    let mut session = Session::new(start, &limits);
    assert_eq!(session.due(STUCK), Some(start + 10 * SECOND));
    assert_eq!(status(session.tick(&limits, STUCK, start + 9 * SECOND)), 1);
    assert_eq!(status(session.tick(&limits, STUCK, start + 10 * SECOND)), 0, "nothing was sent");
    session.receive(b"GET / HT");
    assert_eq!(session.next(&limits, start + 9 * SECOND), Input::Incomplete);
    assert_eq!(status(session.tick(&limits, STUCK, start + 10 * SECOND)), 408, "no byte prolongs it");
    session.receive(b"TP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n");
    assert_eq!(session.next(&limits, start), Input::Incomplete);
    assert_eq!(session.due(STUCK), Some(start + 20 * SECOND));
    assert_eq!(status(session.tick(&limits, STUCK, start + 20 * SECOND)), 408);
    session.receive(b"a");
    assert!(matches!(session.next(&limits, start), Input::Request(_)));
    assert_eq!(session.due(STUCK), None, "an answer takes as long as it takes");
    session.answered(&limits, start);
    assert_eq!(session.due(STUCK), Some(start + 60 * SECOND));
    assert_eq!(status(session.tick(&limits, STUCK, start + 60 * SECOND)), 0);
}

#[test]
fn stream_gets_comments_while_it_is_quiet_and_ends_when_it_is_stuck() {
    let (limits, start) = (Limits::default(), Instant::now());
    let mut session = Session::new(start, &limits);
    session.stream(&limits, start);
    session.wrote(true, false, start + 10 * SECOND);
    assert_eq!(session.due(STUCK), Some(start + 15 * SECOND));
    assert_eq!(session.tick(&limits, STUCK, start + 15 * SECOND), Due::Nothing, "an event is a sign of life");
    assert_eq!(session.due(STUCK), Some(start + 25 * SECOND));
    assert_eq!(session.tick(&limits, STUCK, start + 25 * SECOND), Due::Comment);
    session.wrote(false, true, start + 25 * SECOND);
    session.wrote(false, true, start + 40 * SECOND);
    assert_eq!(session.tick(&limits, STUCK, start + 84 * SECOND), Due::Comment);
    assert_eq!(session.tick(&limits, STUCK, start + 85 * SECOND), Due::Close);
    session.close(start + 87 * SECOND);
    assert_eq!(session.due(STUCK), Some(start + 87 * SECOND));
    assert_eq!(session.tick(&limits, STUCK, start + 87 * SECOND), Due::Close);
}

#[test]
fn answers_are_written_to_their_end_before_the_connection_ends() {
    const FAREWELL: Duration = Duration::from_secs(2);
    let (limits, start) = (Limits::default(), Instant::now());
    let mut session = Session::new(start, &limits);
    session.close_after_answers(FAREWELL, start);
    // A slow client takes a part every ten seconds.
    for second in (0..600).step_by(10) {
        let now = start + second * SECOND;
        session.wrote(true, true, now);
        assert_eq!(session.tick(&limits, STUCK, now + 9 * SECOND), Due::Nothing, "{second}");
    }
    let last = start + 600 * SECOND;
    session.wrote(false, true, last);
    assert_eq!(session.due(STUCK), Some(start + 590 * SECOND + STUCK));
    assert_eq!(session.tick(&limits, STUCK, start + 590 * SECOND + STUCK), Due::Close, "nothing was accepted for long");
    session.wrote(true, false, last);
    assert_eq!(session.due(STUCK), Some(last + FAREWELL));
    assert_eq!(session.tick(&limits, STUCK, last + FAREWELL), Due::Close);
    // A daemon that stops waits no longer than that.
    session.wrote(true, true, last);
    session.close(last + FAREWELL);
    assert_eq!(session.due(STUCK), Some(last + FAREWELL));
    session.wrote(true, true, last + SECOND);
    assert_eq!(session.tick(&limits, STUCK, last + FAREWELL), Due::Close);
}
