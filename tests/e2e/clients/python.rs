//! `scripts/resq_client.py`, a client that was written from the protocol's page alone.

use resq_test_support::{Certificates, Program};

use super::broker::TestBroker;

fn script(daemon: &TestBroker, states: &[&str]) -> Program {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/resq_client.py");
    Program::new("python3").args([path, &daemon.address().to_string()]).args(states)
}

#[test]
fn receives_resumes_and_answers_pings() {
    let mut daemon = TestBroker::with_short_pings();
    let mut client = script(&daemon, &["Completed", "Err*"]).spawn();
    // It prints nothing when it has subscribed: an ephemeral event that arrives shows it.
    resq_test_support::wait_until("it to receive", || {
        daemon.trigger().args(["--state=Completed", "--payload=hello"]).ok();
        client.stdout().contains("0 Completed hello\n")
    });
    daemon.append("Suspended", "0");
    daemon.append("Error", r#"{"res_id":1}"#);
    client.wait_for_output("2 Error {\"res_id\":1}\n");
    daemon.wait_until_a_mute_peer_is_dropped();
    assert_eq!(client.stderr(), "", "it was dropped");
    daemon.stop();
    daemon.append("Completed", "3");
    daemon.start_again();
    client.wait_for_output("3 Completed 3\n");
    daemon.stop();
    daemon.start_again_with_another_log();
    daemon.append("Error", "new");
    client.wait_for_output("1 Error new\n");
    let durable: Vec<String> = client.stdout().lines().filter(|l| !l.starts_with('0')).map(String::from).collect();
    assert_eq!(durable, [r#"2 Error {"res_id":1}"#, "3 Completed 3", "1 Error new"]);
}

#[test]
fn receives_by_tls_from_a_daemon_that_it_trusts() {
    let (ours, others) = (Certificates::shared(), Certificates::new(&["127.0.0.1"]));
    let daemon = TestBroker::with_tls(ours);
    let client = script(&daemon, &["A"]).envs(&ours.env()).spawn();
    resq_test_support::wait_until("it to receive", || {
        daemon.trigger().envs(&ours.env()).args(["--state=A", "--payload=x"]).ok();
        client.stdout().contains("0 A x\n")
    });
    let deceived = script(&daemon, &["A"]).envs(&others.env()).spawn();
    resq_test_support::wait_until("it to refuse", || deceived.stderr().contains("CERTIFICATE_VERIFY_FAILED"));
}

#[test]
fn acknowledges_what_it_printed_as_a_consumer() {
    let mut daemon = TestBroker::start();
    let start = |daemon: &TestBroker, taken: usize| {
        let client = script(daemon, &["A"]).env("RESQ_CONSUMER", "py").spawn();
        resq_test_support::wait_until("it to consume", || daemon.consumers.taken("py") == taken);
        client
    };
    let mut client = start(&daemon, 1);
    daemon.append("A", "1");
    client.wait_for_output("1 A 1\n");
    resq_test_support::wait_until("the position", || daemon.consumers.position("py") == Some(1));
    client.signal("KILL");
    client.wait();
    daemon.append("A", "2");
    let mut client = start(&daemon, 2);
    client.wait_for_output("2 A 2\n");
    assert_eq!(client.stdout(), "2 A 2\n");
    daemon.stop();
    daemon.append("A", "3");
    daemon.start_again();
    client.wait_for_output("3 A 3\n");
}

#[test]
fn ends_when_it_is_refused_for_good() {
    let daemon = TestBroker::with_token("s3cret");
    let refused = script(&daemon, &["A"]).env("RESQ_TOKEN", "wrong").expect_code(1);
    assert!(refused.stderr.contains("3"), "the code of ERROR: {refused}");
    let mut client = script(&daemon, &["A"]).env("RESQ_TOKEN", "s3cret").spawn();
    resq_test_support::wait_until("it to receive", || {
        daemon.trigger().env("RESQ_TOKEN", "s3cret").args(["--state=A", "--payload=x"]).ok();
        client.stdout().contains("0 A x\n")
    });
    assert!(client.is_running());
}
