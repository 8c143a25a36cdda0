//! resq-trigger: one event from its arguments, many from lines, and an exit code that says whether they arrived.

use resq_test_support::{Program, binary};

use super::broker::TestBroker;

#[test]
fn event_reaches_only_its_subscribers() {
    let daemon = TestBroker::start();
    let client = daemon.subscribed(&["--sub", "Suspended", "--count", "2"]);
    daemon.trigger().args(["--state=Other", "--payload=x"]).ok();
    daemon.trigger().args(["--state", "Suspended", "--payload", "{\"test\":\"T7\"}"]).ok();
    let by_socket = Program::new(binary("resq-trigger")).arg("--socket").arg(daemon.socket());
    by_socket.args(["--name=t", "--state=Suspended", "--payload=", "-vv"]).ok();
    let finished = client.wait();
    let lines: Vec<&str> = finished.stdout.lines().filter_map(|line| line.split_once(' ')).map(|(_, l)| l).collect();
    assert_eq!(lines, ["Suspended #0 {\"test\":\"T7\"}", "Suspended #0 "]);
}

#[test]
fn lines_are_published_in_order_and_confirmed() {
    let daemon = TestBroker::start();
    let client = daemon.subscribed(&["--sub", "A", "--count", "2000"]);
    let input: String = (0..2000).map(|n| format!("A {n}\nB {n}\r\n\n")).collect();
    let finished = daemon.trigger().run_with(&input);
    assert_eq!(finished.code(), Some(0), "{finished}");
    let finished = client.wait();
    let payloads: Vec<&str> = finished.stdout.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert!(payloads.iter().enumerate().all(|(n, p)| *p == n.to_string()) && payloads.len() == 2000, "{finished}");
}

#[test]
fn line_is_sent_at_once_and_the_connection_kept() {
    let daemon = TestBroker::with_short_pings();
    let mut client = daemon.subscribed(&["--sub", "A"]);
    let mut trigger = daemon.trigger().spawn();
    trigger.write("A first\n").unwrap();
    client.wait_for_output("#0 first\n");
    daemon.wait_until_a_mute_peer_is_dropped();
    trigger.write("A second\n").unwrap();
    client.wait_for_output("#0 second\n");
    trigger.close_stdin();
    let finished = trigger.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
}

#[test]
fn wrong_line_is_named_by_its_number_and_ends_the_run() {
    let daemon = TestBroker::start();
    let client = daemon.subscribed(&["--sub", "A", "--count", "1"]);
    let finished = daemon.trigger().run_with("A good\na/b bad\nA never\n");
    assert_eq!(finished.code(), Some(1), "{finished}");
    assert!(finished.stderr.contains("line 2") && finished.stderr.contains("\"a/b\""), "{finished}");
    assert!(client.wait().stdout.ends_with("#0 good\n"));
}

#[test]
fn exit_code_says_whether_the_event_was_accepted() {
    let mut daemon = TestBroker::start_with(|config, _| {
        config.states = Some(vec!["Error".into()]);
        config.token = Some(resq::config::Secret("s3cret".into()));
    });
    let one = || daemon.trigger().args(["--state=Error", "--payload=x"]);
    one().env("RESQ_TOKEN", "s3cret").ok();
    one().expect_code(3);
    daemon.trigger().args(["--state=Eror", "--payload=x"]).env("RESQ_TOKEN", "s3cret").expect_code(2);
    daemon.trigger().args(["--state=a b", "--payload=x"]).expect_code(2);
    daemon.trigger().args(["--state=Error"]).expect_code(2);
    Program::new(binary("resq-trigger")).args(["--state=Error", "--payload=x"]).expect_code(2);
    let mut waiting = daemon.trigger().env("RESQ_TOKEN", "s3cret").arg("-v").spawn();
    waiting.write("Error x\n").unwrap();
    daemon.stop();
    let _ = waiting.write("Error y\n");
    waiting.close_stdin();
    let finished = waiting.wait();
    assert_eq!(finished.code(), Some(3), "unconfirmed events are not reported as published: {finished}");
    daemon.trigger().args(["--state=Error", "--payload=x"]).expect_code(3);
}
