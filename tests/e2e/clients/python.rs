//! `scripts/resq_client.py`, a client that was written from the protocol's page alone.

use super::daemon::Daemon;
use crate::program::Program;

fn script(daemon: &Daemon, states: &[&str]) -> Program {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/resq_client.py");
    Program::new("python3").args([path, &daemon.address().to_string()]).args(states)
}

#[test]
fn receives_resumes_and_answers_pings() {
    let mut daemon = Daemon::with_short_pings();
    let mut client = script(&daemon, &["Completed", "Err*"]).spawn();
    // It says nothing when it has subscribed: an ephemeral event that arrives tells.
    crate::program::wait_until("it to hear", || {
        daemon.trigger().args(["--state=Completed", "--payload=hello"]).ok();
        client.stdout().contains("0 Completed hello\n")
    });
    daemon.append("Suspended", "0");
    daemon.append("Error", r#"{"res_id":1}"#);
    client.wait_for_output("2 Error {\"res_id\":1}\n");
    daemon.wait_until_a_mute_peer_is_dropped();
    assert_eq!(client.stderr(), "", "it was dropped");
    daemon.go_away();
    daemon.append("Completed", "3");
    daemon.come_back();
    client.wait_for_output("3 Completed 3\n");
    daemon.go_away();
    daemon.come_back_with_another_log();
    daemon.append("Error", "new");
    client.wait_for_output("1 Error new\n");
    let durable: Vec<String> = client.stdout().lines().filter(|l| !l.starts_with('0')).map(String::from).collect();
    assert_eq!(durable, [r#"2 Error {"res_id":1}"#, "3 Completed 3", "1 Error new"]);
}

#[test]
fn ends_when_it_is_refused_for_good() {
    let daemon = Daemon::with_token("s3cret");
    let refused = script(&daemon, &["A"]).env("RESQ_TOKEN", "wrong").expect_code(1);
    assert!(refused.stderr.contains("refused, error 3"), "{refused}");
    let mut heard = script(&daemon, &["A"]).env("RESQ_TOKEN", "s3cret").spawn();
    crate::program::wait_until("it to hear", || {
        daemon.trigger().env("RESQ_TOKEN", "s3cret").args(["--state=A", "--payload=x"]).ok();
        heard.stdout().contains("0 A x\n")
    });
    assert!(heard.is_running());
}
