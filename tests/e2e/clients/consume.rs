//! `resq-client --consumer`: what is acknowledged, what comes again, and who has the consumer.

use std::path::PathBuf;

use resq::events::consumers::Loss;
use resq_test_support::{wait_until, write_script};

use super::broker::TestBroker;

fn executable(daemon: &TestBroker, text: &str) -> PathBuf {
    let path = daemon.path("program");
    write_script(&path, &format!("cd {}\n{text}", daemon.directory.path().display()));
    path
}

fn out(daemon: &TestBroker) -> String {
    std::fs::read_to_string(daemon.path("out")).unwrap_or_default()
}

#[test]
fn printed_events_are_done_and_the_next_client_goes_on() {
    let mut daemon = TestBroker::start();
    (1..=5).for_each(|n| daemon.append("A", &n.to_string()));
    let client = |args: &[&str]| daemon.client().args(["--sub=A", "--consumer=c"]).args(args);
    let first = client(&["--since=0", "--count=2"]).ok();
    assert!(first.ends_with("A #2 2\n"), "{first}");
    assert_eq!(daemon.consumers.position("c"), Some(2), "stored when the client ends");
    let second = client(&["--since=0", "--count=1"]).ok();
    assert!(second.ends_with("A #3 3\n") && second.lines().count() == 1, "{second}");
    // A client that is killed has done what it printed, up to what was under way.
    let mut killed = client(&["--max-unacked=1"]).spawn_ready();
    killed.wait_for_output("A #5 5\n");
    killed.signal("KILL");
    killed.wait();
    wait_until("the position", || daemon.consumers.position("c") >= Some(4));
    daemon.stop();
    daemon.append("A", "6");
    daemon.start_again();
    let last = daemon.client().args(["--sub=A", "--consumer=c", "--timeout=10", "--count=1"]).ok();
    assert!(last.ends_with("A #5 5\n") || last.ends_with("A #6 6\n"), "{last}");
}

#[test]
fn failing_program_is_run_again_and_the_events_after_it_wait() {
    let mut daemon = TestBroker::start();
    (1..=3).for_each(|n| daemon.append("A", &n.to_string()));
    // Event 2 succeeds at the third run.
    let program = executable(&daemon, "echo $RESQ_SEQ >> out\n[ $RESQ_SEQ != 2 ] || [ $(grep -c 2 out) = 3 ]");
    let client = daemon.client().args(["--sub=A", "--consumer=c", "--since=0", "--count=3"]);
    let finished = client.arg("--exec").arg(&program).expect_code(0);
    assert_eq!(out(&daemon), "1\n2\n2\n2\n3\n");
    assert_eq!(finished.warnings().len(), 2, "{finished}");
    assert_eq!(finished.stdout.lines().count(), 3, "each is printed once: {finished}");
    assert_eq!(daemon.consumers.position("c"), Some(3));
}

#[test]
fn program_that_never_succeeds_keeps_the_position_or_is_skipped() {
    let mut daemon = TestBroker::start();
    (1..=3).for_each(|n| daemon.append("A", &n.to_string()));
    let program = executable(&daemon, "[ $RESQ_SEQ = 1 ]");
    let client = |args: &[&str]| {
        daemon.client().args(["--sub=A", "--consumer=c", "--since=0"]).args(args).arg("--exec").arg(&program)
    };
    let stuck = client(&["--timeout=1"]).expect_code(4);
    assert!(stuck.stderr.contains("before event 2 was done"), "{stuck}");
    wait_until("the position", || daemon.consumers.position("c") == Some(1));
    let skipping = client(&["--count=2", "--on-failure=skip"]).expect_code(0);
    assert!(skipping.stdout.contains("A #2 2\n") && skipping.stdout.contains("A #3 3\n"), "{skipping}");
    assert_eq!(daemon.consumers.position("c"), Some(3));
}

#[test]
fn newer_client_takes_over_and_an_operator_sends_the_client_back() {
    let mut daemon = TestBroker::start();
    (1..=2).for_each(|n| daemon.append("A", &n.to_string()));
    let client = || daemon.client().args(["--sub=A", "--consumer=c", "--since=0"]);
    let mut older = client().spawn_ready();
    older.wait_for_output("A #2 2\n");
    let mut newer = client().spawn_ready();
    let finished = older.wait();
    assert_eq!(finished.code(), Some(1), "{finished}");
    assert!(finished.stderr.contains("error 11") && finished.stderr.contains("its own name"), "{finished}");
    // Moved back: both events come again.
    daemon.consumers.take_away("c", Some(0), Loss::Moved);
    newer.wait_for_output("A #1 1\n");
    newer.wait_for_output("A #2 2\n");
    assert_eq!(daemon.consumers.taken("c"), 3);
    // Removed: it begins where --since says.
    daemon.consumers.take_away("c", None, Loss::Moved);
    wait_until("both events once more", || newer.stdout().matches("A #2 2\n").count() == 2);
    assert!(newer.is_running());
}

#[test]
fn wrong_use_is_refused() {
    let daemon = TestBroker::start();
    let client = || daemon.client().arg("--sub=A");
    for args in [
        &["--consumer=a b"][..],
        &["--consumer="],
        &["--consumer=c", "--max-unacked=0"],
        &["--consumer=c", "--max-unacked=10001"],
        &["--consumer=c", "--on-failure=ignore"],
        &["--on-failure=skip"],
        &["--since=yesterday"],
        &["--since=2026-11-25"],
    ] {
        client().args(args).expect_code(2);
    }
    let long = "x".repeat(65);
    client().args(["--consumer", &long]).expect_code(2);
    // Ages and times are accepted; the log's events are of this time.
    client().args(["--since=2h", "--timeout=0.1"]).expect_code(4);
}

#[test]
fn since_takes_a_time() {
    let mut daemon = TestBroker::start();
    daemon.append("A", "1");
    let client = |since| daemon.client().args(["--sub=A", "--count=1", "--timeout=1", "--since", since]);
    assert!(client("2026-11-21T19:00:01.123456Z").ok().ends_with("A #1 1\n"));
    client("2026-11-21T19:00:01.123457Z").expect_code(4);
}
