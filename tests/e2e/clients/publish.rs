//! resq-trigger: one event from its arguments, many from lines, and an exit code that says whether they arrived.

use super::daemon::Daemon;
use crate::program::Program;

#[test]
fn publishes_one_event_to_who_asked_for_it() {
    let daemon = Daemon::start();
    let client = daemon.subscribed(&["--sub", "Suspended", "--count", "2"]);
    daemon.trigger().args(["--state=Other", "--payload=x"]).ok();
    daemon.trigger().args(["--state", "Suspended", "--payload", "{\"test\":\"T7\"}"]).ok();
    let by_socket = Program::new(env!("CARGO_BIN_EXE_resq-trigger")).arg("--socket").arg(daemon.socket());
    by_socket.args(["--name=t", "--state=Suspended", "--payload=", "-vv"]).ok();
    let finished = client.wait();
    let lines: Vec<&str> = finished.stdout.lines().filter_map(|line| line.split_once(' ')).map(|(_, l)| l).collect();
    assert_eq!(lines, ["Suspended #0 {\"test\":\"T7\"}", "Suspended #0 "]);
}

#[test]
fn publishes_lines_in_order_and_ends_when_all_were_taken() {
    let daemon = Daemon::start();
    let client = daemon.subscribed(&["--sub", "A", "--count", "2000"]);
    let input: String = (0..2000).map(|n| format!("A {n}\nB {n}\r\n\n")).collect();
    let finished = daemon.trigger().run_with(&input);
    assert_eq!(finished.code(), Some(0), "{finished}");
    let finished = client.wait();
    let payloads: Vec<&str> = finished.stdout.lines().filter_map(|line| line.rsplit(' ').next()).collect();
    assert!(payloads.iter().enumerate().all(|(n, p)| *p == n.to_string()) && payloads.len() == 2000, "{finished}");
}

#[test]
fn sends_a_line_at_once_and_stays_connected_while_none_comes() {
    let daemon = Daemon::with_short_pings();
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
fn a_wrong_line_is_told_by_its_number_and_ends_it() {
    let daemon = Daemon::start();
    let client = daemon.subscribed(&["--sub", "A", "--count", "1"]);
    let finished = daemon.trigger().run_with("A good\na/b bad\nA never\n");
    assert_eq!(finished.code(), Some(1), "{finished}");
    assert!(finished.stderr.contains("line 2: \"a/b\" is not a state"), "{finished}");
    assert!(finished.stderr.contains("events published before it: 1"), "{finished}");
    assert!(client.wait().stdout.ends_with("#0 good\n"));
}

#[test]
fn exit_codes_tell_whether_it_was_handed_over() {
    let mut daemon = Daemon::start_with(|config, _| {
        config.states = Some(vec!["Error".into()]);
        config.token = Some(resq::config::Secret("s3cret".into()));
    });
    let one = || daemon.trigger().args(["--state=Error", "--payload=x"]);
    one().env("RESQ_TOKEN", "s3cret").ok();
    one().expect_code(3);
    daemon.trigger().args(["--state=Eror", "--payload=x"]).env("RESQ_TOKEN", "s3cret").expect_code(2);
    daemon.trigger().args(["--state=a b", "--payload=x"]).expect_code(2);
    daemon.trigger().args(["--state=Error"]).expect_code(2);
    Program::new(env!("CARGO_BIN_EXE_resq-trigger")).args(["--state=Error", "--payload=x"]).expect_code(2);
    let mut waiting = daemon.trigger().env("RESQ_TOKEN", "s3cret").arg("-v").spawn();
    waiting.write("Error x\n").unwrap();
    daemon.go_away();
    let _ = waiting.write("Error y\n");
    waiting.close_stdin();
    let finished = waiting.wait();
    assert_eq!(finished.code(), Some(3), "what was not confirmed is not said to be: {finished}");
    daemon.trigger().args(["--state=Error", "--payload=x"]).expect_code(3);
}
