//! resq-client: what it prints, when it ends, and what it survives.

use std::os::unix::fs::PermissionsExt;

use super::daemon::Daemon;
use crate::program::Program;

/// The numbers of the events printed for people, in order.
fn seqs(stdout: &str) -> Vec<u64> {
    stdout.lines().map(|line| line.split(['#', ' ']).nth(3).unwrap().parse().unwrap()).collect()
}

#[test]
fn prints_a_line_for_each_event_of_its_states_at_once() {
    let mut daemon = Daemon::start();
    let mut people = daemon.subscribed(&["--sub", "Completed", "Err*"]);
    let mut program = daemon.subscribed(&["--json", "--sub=Completed", "--sub=Error"]);
    daemon.append("Suspended", "{}");
    daemon.append("Completed", r#"{ "res_id": 1 }"#);
    people.wait_for_output(&format!("{}\n", r#"2026-11-21T19:00:01.123456Z Completed #2 { "res_id": 1 }"#));
    program.wait_for_output(&format!(
        "{}\n",
        r#"{"seq":2,"time":"2026-11-21T19:00:01.123456Z","state":"Completed","payload":{"res_id":1}}"#
    ));
    daemon.append("Error", "not\njson\x1b[2J");
    people.wait_for_output("Error #3 not\\njson\\u{1b}[2J\n");
    program.wait_for_output(r#""state":"Error","payload":"not\njson\u001b[2J"}"#);
    assert_eq!(seqs(&people.stdout()), [2, 3], "what it did not ask for stays away");
}

#[test]
fn loses_and_repeats_nothing_when_the_daemon_restarts() {
    let mut daemon = Daemon::start();
    let mut client = daemon.subscribed(&["--sub", "A", "--count", "7"]);
    daemon.append("A", "{}");
    daemon.append("B", "{}");
    daemon.append("A", "{}");
    client.wait_for_output("#3");
    for _ in 0..2 {
        daemon.go_away();
        daemon.append("A", "{}");
        daemon.append("A", "{}");
        daemon.come_back();
    }
    daemon.append("A", "{}");
    let finished = client.wait();
    assert_eq!((finished.code(), seqs(&finished.stdout)), (Some(0), vec![1, 3, 4, 5, 6, 7, 8]), "{finished}");
    assert!(finished.stderr.contains("connecting again"), "{finished}");
}

#[test]
fn a_client_on_a_quiet_topic_resumes_from_the_pings() {
    let mut daemon = Daemon::with_short_pings();
    let mut client = daemon.subscribed(&["--sub", "A", "--count", "1"]);
    for _ in 0..10 {
        daemon.append("B", "{}");
    }
    daemon.wait_until_a_mute_peer_is_dropped(); // so this client was PINGed since
    daemon.go_away();
    daemon.prune(9);
    daemon.append("A", "{}");
    daemon.come_back();
    client.wait_for_log("after event 10");
    let finished = client.wait();
    assert_eq!((finished.code(), seqs(&finished.stdout)), (Some(0), vec![11]), "{finished}");
    assert!(!finished.stderr.contains("gap"), "what it did not ask for is no loss: {finished}");
}

#[test]
fn another_log_is_told_and_read_from_its_beginning() {
    let mut daemon = Daemon::start();
    let mut client = daemon.subscribed(&["--sub", "A", "--count", "3"]);
    daemon.append("A", "{}");
    daemon.append("A", "{}");
    client.wait_for_output("#2");
    daemon.go_away();
    daemon.come_back_with_another_log();
    daemon.append("A", "{}");
    let finished = client.wait();
    assert_eq!((finished.code(), seqs(&finished.stdout)), (Some(0), vec![1, 2, 1]), "{finished}");
    assert!(finished.stderr.contains("another event log"), "{finished}");
}

#[test]
fn since_reads_the_log_and_gaps_are_told() {
    let mut daemon = Daemon::start();
    (0..9).for_each(|_| daemon.append("A", "{}"));
    daemon.prune(4);
    let run = |since: &str| daemon.client().args(["--sub=A", "--count=2", "--timeout=1", "--since", since]).run();
    let all = run("0");
    assert_eq!((all.code(), seqs(&all.stdout)), (Some(0), vec![4, 5]), "{all}");
    assert!(all.stderr.contains("gap: all events before #4 are gone"), "{all}");
    assert_eq!(seqs(&run("7").stdout), [8, 9]);
    let beyond = run("99");
    assert_eq!((beyond.code(), beyond.stdout.as_str()), (Some(4), ""), "{beyond}");
    assert!(beyond.stderr.contains("gap: the log ends at #9"), "{beyond}");
}

#[test]
fn durable_leaves_out_what_anybody_could_have_sent() {
    let mut daemon = Daemon::start();
    let client = daemon.subscribed(&["--sub", "A", "--durable", "--count", "1"]);
    daemon.trigger().args(["--state=A", "--payload=forged"]).ok();
    daemon.append("A", "true");
    let finished = client.wait();
    assert!(finished.stdout.ends_with("A #1 true\n") && !finished.stdout.contains("forged"), "{finished}");
}

#[test]
fn exit_codes_tell_why_it_ended() {
    let daemon = Daemon::start_with(|config, _| config.states = Some(vec!["Error".into(), "Completed".into()]));
    let late = daemon.client().args(["--sub=Error", "--timeout=0.1"]).expect_code(4);
    assert!(late.stderr.contains("resq-client: time is up; 0 events came"), "{late}");
    let typo = daemon.client().args(["--sub=Eror"]).expect_code(2);
    assert!(typo.stderr.contains("Error") && typo.stderr.contains("Completed"), "it names the states: {typo}");
    daemon.client().args(["--sub", "a b"]).expect_code(2);
    daemon.client().expect_code(2);
    daemon.client().args(["--sub=Error", "--exec=/nonexistent/program"]).expect_code(2);
    daemon.client().args(["--sub=Error", "--name", &"x".repeat(65)]).expect_code(2);
    let nobody = Program::new(env!("CARGO_BIN_EXE_resq-client")).args(["--port=1", "--sub=A"]).expect_code(3);
    assert!(nobody.stderr.starts_with("resq-client: no connection to resqd at 127.0.0.1:1:"), "{nobody}");
    assert_eq!(nobody.stderr.lines().count(), 1, "{nobody}");
}

#[test]
fn a_token_is_needed_where_the_daemon_has_one_and_never_printed() {
    let daemon = Daemon::with_token("s3cret");
    let file = daemon.path("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    let client = || daemon.client().arg("-v").args(["--sub=A", "--timeout=0.1"]);
    let without = client().expect_code(3);
    assert!(without.stderr.contains("--token-file"), "it says how: {without}");
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
    let daemon = Daemon::start();
    let file = daemon.path("resq.toml");
    std::fs::write(&file, format!("[client]\nport = {}\n", daemon.address().port())).unwrap();
    let client = || Program::new(env!("CARGO_BIN_EXE_resq-client")).args(["--sub=A", "--timeout=0.1"]);
    client().env("RESQ_CONFIG", &file).expect_code(4);
    client().arg("--config").arg(&file).env("RESQ_PORT", "1").expect_code(3);
    client().env("RESQ_PORT", "1").arg("--socket").arg(daemon.socket()).expect_code(4);
    let port = daemon.address().port().to_string();
    client().env("RESQ_CONFIG", "/dev/null").env("RESQ_PORT", port).expect_code(4);
    std::fs::write(&file, "[client]\nprot = 1\n").unwrap();
    let wrong = client().arg("--config").arg(&file).expect_code(2);
    assert!(wrong.stderr.contains("resq.toml:2: unknown setting client.prot; did you mean client.port?"), "{wrong}");
}

#[test]
fn the_log_goes_to_standard_error_and_to_a_file() {
    let daemon = Daemon::start();
    let file = daemon.path("log");
    let client = || daemon.client().args(["--sub=A", "--timeout=0.1", "--log-file"]);
    for lines in 1..=2 {
        let finished = client().arg(&file).expect_code(4);
        let log = std::fs::read_to_string(&file).unwrap();
        assert_eq!(log.lines().count(), lines, "it is appended to: {log}");
        let last = log.lines().next_back().unwrap();
        // Each of the two writes its own time.
        let (time, text) = last.split_once(' ').unwrap();
        assert!(time.starts_with("20") && time.ends_with('Z'), "{log}");
        assert!(text.starts_with("[INFO ] subscribed at") && finished.stderr.contains(text), "{log}{finished}");
    }
    client().arg(daemon.path("none/log")).expect_code(2);
}

#[test]
fn ends_quietly_when_its_reader_goes_away() {
    let mut daemon = Daemon::start();
    let port = daemon.address().port().to_string();
    let script = r#"{ "$0" --port "$1" -v --sub A; echo "exit $?" >&2; } | head -n 1"#;
    let mut shell = Program::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_resq-client"), &port]).spawn();
    shell.wait_for_log("subscribed at");
    daemon.append("A", "1");
    shell.wait_for_output("A #1 1\n");
    // Until head has ended there is a pipe to write to.
    crate::program::wait_until("the client to end", || {
        daemon.append("A", "2");
        shell.stderr().contains("exit")
    });
    let finished = shell.wait();
    assert!(finished.stderr.ends_with("exit 0\n") && !finished.stderr.contains("panic"), "{finished}");
}

#[test]
fn help_and_version_are_for_standard_output() {
    for (program, name) in
        [(env!("CARGO_BIN_EXE_resq-client"), "resq-client"), (env!("CARGO_BIN_EXE_resq-trigger"), "resq-trigger")]
    {
        let help = Program::new(program).arg("--help").ok();
        assert!(help.starts_with(&format!("Usage: {name}")) && help.contains("RESQ_PORT"), "{help}");
        assert_eq!(Program::new(program).arg("--version").ok(), format!("{name} {}\n", env!("CARGO_PKG_VERSION")));
        let wrong = Program::new(program).arg("--hots=x").expect_code(2);
        assert_eq!((wrong.stdout.as_str(), wrong.stderr.lines().count()), ("", 1), "{wrong}");
    }
}
