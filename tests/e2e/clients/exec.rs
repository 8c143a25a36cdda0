//! `resq-client --exec`: one program for each durable event, in order, with the event and without the secrets.

use std::path::PathBuf;

use resq_test_support::{wait_until, write_script};

use super::broker::TestBroker;

/// A shell script in the daemon's folder that appends what it prints to `out` there.
fn script(daemon: &TestBroker, text: &str) -> PathBuf {
    let path = daemon.path("program");
    let out = daemon.path("out");
    write_script(&path, &format!("{{ {text}\n}} >> {}", out.display()));
    path
}

fn out(daemon: &TestBroker) -> String {
    std::fs::read_to_string(daemon.path("out")).unwrap_or_default()
}

#[test]
fn exec_runs_for_durable_events_in_order_and_survives_failures() {
    let mut daemon = TestBroker::start();
    let program = script(&daemon, "echo \"$RESQ_SEQ $RESQ_TIME $RESQ_STATE $RESQ_PAYLOAD $(cat)\"; exit \"$RESQ_SEQ\"");
    let client = daemon.subscribed(&["--sub=A", "--count=4", "--exec", program.to_str().unwrap()]);
    daemon.append("A", "0");
    daemon.append("A", "$(reboot)");
    daemon.trigger().args(["--state=A", "--payload=ephemeral"]).ok();
    daemon.append("A", "'\"; exit");
    let finished = client.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let line = |seq, payload: &str| format!("{seq} 2026-11-21T19:00:01.123456Z A {payload} {payload}\n");
    assert_eq!(out(&daemon), [line(1, "0"), line(2, "$(reboot)"), line(3, "'\"; exit")].concat());
    // Events 1, 2 and 3 exit with their numbers.
    assert_eq!(finished.warnings().len(), 3, "{finished}");
    assert!(finished.stdout.contains("A #0 ephemeral\n"), "{finished}");
}

#[test]
fn exec_hides_secrets_and_large_payloads_from_the_environment() {
    let mut daemon = TestBroker::with_token("s3cret");
    let program = script(&daemon, "env; echo \"read $(wc -c)\"");
    let client = daemon.client().args(["--sub=A", "--count=1"]).arg("--exec").arg(&program);
    let secrets = [("RESQ_TOKEN", "s3cret"), ("MYSQL_PASSWORD", "s3cret"), ("MYSQL_PWD", "s3cret")];
    let client = secrets.into_iter().fold(client, |client, (name, value)| client.env(name, value));
    let client = client.env("RESQ_PAYLOAD", "stale").env("KEPT", "yes").spawn_ready();
    daemon.append("A", &format!("\"{}\"", "x".repeat(100_000)));
    let finished = client.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let out = out(&daemon);
    assert!(out.contains("KEPT=yes") && out.contains("RESQ_SEQ=1") && out.contains("read 100002"), "{out}");
    assert!(!out.contains("s3cret") && !out.contains("RESQ_PAYLOAD"), "{out}");
}

#[test]
fn slow_program_does_not_cost_the_connection() {
    let mut daemon = TestBroker::with_short_pings();
    let go = daemon.path("go");
    let program = script(&daemon, &format!("echo started; until [ -e {} ]; do sleep 0.01; done", go.display()));
    let client = daemon.subscribed(&["--sub=A", "--count=2", "--exec", program.to_str().unwrap()]);
    daemon.append("A", "1");
    wait_until("the program to start", || out(&daemon).contains("started"));
    daemon.wait_until_a_mute_peer_is_dropped();
    daemon.trigger().args(["--state=A", "--payload=while busy"]).ok();
    std::fs::write(&go, "").unwrap();
    let finished = client.wait();
    assert!(finished.stdout.ends_with("A #0 while busy\n"), "{finished}");
    assert!(finished.warnings().is_empty(), "it had to reconnect: {finished}");
}
