//! The programs over TLS: with certificates as a user makes them, and the errors that they end with.

use resq_test_support::Certificates;

use super::broker::TestBroker;

#[test]
fn programs_speak_tls_and_resume_over_a_restart() {
    let certificates = Certificates::shared();
    let mut daemon = TestBroker::with_tls(certificates);
    let trust = certificates.env();
    let mut client = daemon.client().envs(&trust).args(["--sub", "A", "Note", "--count", "4"]).spawn_ready();
    daemon.append("A", "1");
    daemon.trigger().envs(&trust).args(["--state=Note", "--payload=hello"]).ok();
    client.wait_for_output("Note #0 hello\n");
    daemon.stop();
    daemon.append("A", "2");
    daemon.start_again();
    client.wait_for_output("A #2 2\n");
    daemon.append("A", "3");
    let finished = client.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
}

#[test]
fn programs_end_with_what_is_wrong_and_what_to_do() {
    let (ours, others) = (Certificates::shared(), Certificates::new(&["127.0.0.1"]));
    let (tls, plain) = (TestBroker::with_tls(ours), TestBroker::start());
    let ca = |certificates: &Certificates| format!("--tls-ca={}", certificates.file("ca.pem").display());
    let (good, foreign) = (ca(ours), ca(&others));
    for (daemon, args, code, reason) in [
        (&tls, vec!["--tls=verify", &foreign], 3, "not trusted here; give that authority's by tls_ca"),
        (&tls, vec!["--tls=verify"], 3, "not trusted here"),
        (&tls, vec![], 1, "this address expects TLS; connect with --tls verify"),
        (&plain, vec!["--tls=verify", &good], 3, "it sent something else than TLS"),
        (&tls, vec!["--tls=verify", "--tls-ca=/nonexistent/ca"], 3, "/nonexistent/ca: cannot read it"),
        (&tls, vec!["--tls=yes"], 2, "expected off, required or verify"),
        (&tls, vec!["--tls=required", &good], 2, "client.tls_ca has no effect unless client.tls is verify"),
        (&tls, vec![&good], 2, "client.tls_ca has no effect"),
    ] {
        let client = daemon.client().args(&args).args(["--sub=A", "--timeout=20"]).expect_code(code);
        assert!(client.stderr.contains(reason), "{args:?}: {client}");
        let trigger = daemon.trigger().args(&args).args(["--state=A", "--payload=1"]).expect_code(code);
        assert!(trigger.stderr.contains(reason), "{args:?}: {trigger}");
    }
}
