//! resq-client: what it prints, when it exits, and what it survives.

use std::{os::unix::fs::PermissionsExt, sync::mpsc};

use resq::client::{Address, Delivery, Gap, Peer, Start, Subscriber, Subscription};
use resq_test_support::{DEADLINE, Program, binary};

use super::broker::TestBroker;

/// The numbers of the events printed as text, in order.
fn seqs(stdout: &str) -> Vec<u64> {
    stdout.lines().map(|line| line.split(['#', ' ']).nth(3).unwrap().parse().unwrap()).collect()
}

#[test]
fn client_prints_one_line_per_event_at_once() {
    let mut daemon = TestBroker::start();
    let mut text = daemon.subscribed(&["--sub", "Completed", "Err*"]);
    let mut program = daemon.subscribed(&["--json", "--sub=Completed", "--sub=Error"]);
    daemon.append("Suspended", "{}");
    daemon.append("Completed", r#"{ "res_id": 1 }"#);
    text.wait_for_output(&format!("{}\n", r#"2026-11-21T19:00:01.123456Z Completed #2 { "res_id": 1 }"#));
    program.wait_for_output(&format!(
        "{}\n",
        r#"{"seq":2,"time":"2026-11-21T19:00:01.123456Z","state":"Completed","payload":{"res_id":1}}"#
    ));
    daemon.append("Error", "not\njson\x1b[2J");
    text.wait_for_output("Error #3 not\\njson\\u{1b}[2J\n");
    program.wait_for_output(r#""state":"Error","payload":"not\njson\u001b[2J"}"#);
    assert_eq!(seqs(&text.stdout()), [2, 3], "only the states that it asked for");
}

#[test]
fn client_resumes_without_gap_or_repeat_after_restart() {
    let mut daemon = TestBroker::start();
    let mut client = daemon.subscribed(&["--sub", "A", "--count", "7"]);
    daemon.append("A", "{}");
    daemon.append("B", "{}");
    daemon.append("A", "{}");
    client.wait_for_output("#3");
    for _ in 0..2 {
        daemon.stop();
        daemon.append("A", "{}");
        daemon.append("A", "{}");
        daemon.start_again();
    }
    daemon.append("A", "{}");
    let finished = client.wait();
    assert_eq!((finished.code(), seqs(&finished.stdout)), (Some(0), vec![1, 3, 4, 5, 6, 7, 8]), "{finished}");
}

/// A subscriber of the library's in a thread, and what is delivered to it. `since`: None: from now on.
fn deliveries(daemon: &TestBroker, since: Option<u64>) -> mpsc::Receiver<Delivery> {
    let mut subscription = Subscription::to(["A"]);
    subscription.since = since.map_or(Start::Now, Start::After);
    let peer = Peer::new(Address::Unix(daemon.socket()), "library");
    let subscriber = Subscriber::connect(peer, subscription).unwrap();
    let (delivered, deliveries) = mpsc::channel();
    std::thread::spawn(move || subscriber.map_while(Result::ok).try_for_each(|delivery| delivered.send(delivery)));
    deliveries
}

fn seq(delivery: &Delivery) -> u64 {
    let Delivery::Event(event) = delivery else { panic!("an event expected, not {delivery:?}") };
    event.seq
}

#[test]
fn subscriber_of_a_quiet_state_resumes_from_the_pings() {
    let mut daemon = TestBroker::with_short_pings();
    let deliveries = deliveries(&daemon, None);
    for _ in 0..10 {
        daemon.append("B", "{}");
    }
    daemon.wait_until_a_mute_peer_is_dropped(); // so the subscriber was PINGed since
    daemon.stop();
    daemon.prune(9);
    daemon.append("A", "{}");
    daemon.start_again();
    // No gap: it misses none of the pruned events, which have another state.
    assert_eq!(seq(&deliveries.recv_timeout(DEADLINE).unwrap()), 11);
}

#[test]
fn another_log_is_read_from_its_beginning() {
    let mut daemon = TestBroker::start();
    let mut client = daemon.subscribed(&["--sub", "A", "--count", "3"]);
    daemon.append("A", "{}");
    daemon.append("A", "{}");
    client.wait_for_output("#2");
    daemon.stop();
    daemon.start_again_with_another_log();
    daemon.append("A", "{}");
    let finished = client.wait();
    assert_eq!((finished.code(), seqs(&finished.stdout)), (Some(0), vec![1, 2, 1]), "{finished}");
}

#[test]
fn since_reads_the_log_and_gaps_are_reported() {
    let mut daemon = TestBroker::start();
    (0..9).for_each(|_| daemon.append("A", "{}"));
    daemon.prune(4);
    let run = |since: &str| daemon.client().args(["--sub=A", "--count=2", "--timeout=1", "--since", since]).run();
    let all = run("0");
    assert_eq!((all.code(), seqs(&all.stdout)), (Some(0), vec![4, 5]), "{all}");
    assert_eq!(all.warnings().len(), 1, "{all}");
    assert_eq!(seqs(&run("7").stdout), [8, 9]);
    let beyond = run("99");
    assert_eq!((beyond.code(), beyond.stdout.as_str()), (Some(4), ""), "{beyond}");
    assert_eq!(beyond.warnings().len(), 1, "{beyond}");
    let gap = |since| deliveries(&daemon, Some(since)).recv_timeout(DEADLINE).unwrap();
    assert_eq!((gap(0), gap(99)), (Delivery::Gap(Gap::Pruned(4)), Delivery::Gap(Gap::BeyondHead(9))));
}

#[test]
fn durable_leaves_out_ephemeral_events() {
    let mut daemon = TestBroker::start();
    let client = daemon.subscribed(&["--sub", "A", "--durable", "--count", "1"]);
    daemon.trigger().args(["--state=A", "--payload=forged"]).ok();
    daemon.append("A", "true");
    let finished = client.wait();
    assert!(finished.stdout.ends_with("A #1 true\n") && !finished.stdout.contains("forged"), "{finished}");
}

#[test]
fn exit_code_says_why_the_client_ended() {
    let daemon = TestBroker::start_with(|config, _| config.states = Some(vec!["Error".into(), "Completed".into()]));
    daemon.client().args(["--sub=Error", "--timeout=0.1"]).expect_code(4);
    let typo = daemon.client().args(["--sub=Eror"]).expect_code(2);
    assert!(typo.stderr.contains("Error") && typo.stderr.contains("Completed"), "{typo}");
    daemon.client().args(["--sub", "a b"]).expect_code(2);
    daemon.client().expect_code(2);
    daemon.client().args(["--sub=Error", "--exec=/nonexistent/program"]).expect_code(2);
    daemon.client().args(["--sub=Error", "--name", &"x".repeat(65)]).expect_code(2);
    let absent = Program::new(binary("resq-client")).args(["--port=1", "--sub=A"]).expect_code(3);
    assert!(absent.stderr.starts_with("resq-client: ") && absent.stderr.contains("127.0.0.1:1"), "{absent}");
    assert_eq!(absent.stderr.lines().count(), 1, "{absent}");
}

#[test]
fn a_token_is_needed_where_the_daemon_has_one_and_never_printed() {
    let daemon = TestBroker::with_token("s3cret");
    let file = daemon.path("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let client = || daemon.client().arg("-v").args(["--sub=A", "--timeout=0.1"]);
    let without = client().expect_code(3);
    assert!(without.stderr.contains("--token-file"), "{without}");
    let wrong = client().env("RESQ_TOKEN", "wr0ng").expect_code(3);
    let right = client().arg("--token-file").arg(&file).env("RESQ_TOKEN", "wr0ng").expect_code(4);
    for finished in [wrong, right] {
        assert!(!finished.stderr.contains("wr0ng") && !finished.stderr.contains("s3cret"), "{finished}");
    }
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    client().arg("--token-file").arg(&file).expect_code(2);
}

#[test]
fn settings_come_from_file_environment_and_flag() {
    let daemon = TestBroker::start();
    let file = daemon.path("resq.toml");
    std::fs::write(&file, format!("[client]\nport = {}\n", daemon.address().port())).unwrap();
    let client = || Program::new(binary("resq-client")).args(["--sub=A", "--timeout=0.1"]);
    client().env("RESQ_CONFIG", &file).expect_code(4);
    client().arg("--config").arg(&file).env("RESQ_PORT", "1").expect_code(3);
    client().env("RESQ_PORT", "1").arg("--socket").arg(daemon.socket()).expect_code(4);
    let port = daemon.address().port().to_string();
    client().env("RESQ_CONFIG", "/dev/null").env("RESQ_PORT", port).expect_code(4);
    std::fs::write(&file, "[client]\nprot = 1\n").unwrap();
    let wrong = client().arg("--config").arg(&file).expect_code(2);
    for fact in ["resq.toml:2", "client.prot", "client.port"] {
        assert!(wrong.stderr.contains(fact), "{fact}: {wrong}");
    }
}

#[test]
fn the_log_goes_to_standard_error_and_to_a_file() {
    let daemon = TestBroker::start();
    let file = daemon.path("log");
    let client = || daemon.client().args(["--sub=A", "--timeout=0.1", "--log-file"]);
    for lines in 1..=2 {
        let finished = client().arg(&file).expect_code(4);
        let log = std::fs::read_to_string(&file).unwrap();
        assert_eq!(log.lines().count(), lines, "it is appended to: {log}");
        let last = log.lines().next_back().unwrap();
        // Each of the two has its own time.
        let (time, text) = last.split_once(' ').unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{log}");
        assert!(text.starts_with("[INFO ] ") && finished.stderr.contains(text), "{log}{finished}");
    }
    client().arg(daemon.path("none/log")).expect_code(2);
}

#[test]
fn client_exits_quietly_when_its_reader_is_gone() {
    let mut daemon = TestBroker::start();
    let port = daemon.address().port().to_string();
    let script = r#"{ "$0" --port "$1" -v --sub A; echo "exit $?" >&2; } | head -n 1"#;
    let mut shell = Program::new("sh").args(["-c", script, &binary("resq-client"), &port]).spawn_ready();
    daemon.append("A", "1");
    shell.wait_for_output("A #1 1\n");
    // Until head has exited, the pipe takes what is written.
    resq_test_support::wait_until("the client to end", || {
        daemon.append("A", "2");
        shell.stderr().contains("exit")
    });
    let finished = shell.wait();
    assert!(finished.stderr.ends_with("exit 0\n") && finished.warnings().is_empty(), "{finished}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    for name in ["resq-client", "resq-trigger"] {
        let help = Program::new(binary(name)).arg("--help").ok();
        assert!(help.starts_with(&format!("Usage: {name}")) && help.contains("RESQ_PORT"), "{help}");
        // The commit follows where make has built it.
        let version = Program::new(binary(name)).arg("--version").ok();
        let of_make = version.strip_suffix(")\n").and_then(|version| version.rsplit_once(" ("));
        let (version, commit) = of_make.unwrap_or((version.trim_end_matches('\n'), ""));
        assert_eq!(version, format!("{name} {}", env!("CARGO_PKG_VERSION")));
        assert!(commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{commit}");
        let wrong = Program::new(binary(name)).arg("--hots=x").expect_code(2);
        assert_eq!((wrong.stdout.as_str(), wrong.stderr.lines().count()), ("", 1), "{wrong}");
    }
}
