//! `resqctl events`, and what `doctor` reports about the event log.

use mysql::prelude::Queryable;

use resq_test_support::{Doctor, Instance, Verdict, wait_until};

use super::{head_seq, publish, resqd};

#[test]
fn resqctl_events_prints_the_log_as_a_client_does() {
    let instance = Instance::ready("events_shown");
    let mut conn = instance.conn();
    assert_eq!(instance.resqctl(["events"]).ok(), "");
    publish(&mut conn, "A", "{ \"n\": 1 }");
    let unnumbered = instance.resqctl(["events"]).expect_code(0);
    assert_eq!(unnumbered.stdout, "");
    assert!(unnumbered.stderr.contains("1 event"), "{unnumbered}");
    let running = resqd(&instance);
    for (state, payload) in [("Error", "\"\\u001b[2J\u{1b}\""), ("Erratic", "3"), ("A", "4")] {
        let payload = payload.replace('\u{1b}', "\u{1f600}");
        publish(&mut conn, state, &payload);
    }
    wait_until("all to be numbered", || head_seq(&mut conn) == 4);

    let client = |json: bool| {
        let client = instance.resq_client(["--sub", "*", "--since", "0", "--count", "4"]);
        if json { client.arg("--json").ok() } else { client.ok() }
    };
    let (people, programs) = (client(false), client(true));
    assert_eq!(running.stop().code(), Some(0));
    assert_eq!(instance.resqctl(["events"]).ok(), people);
    assert_eq!(instance.resqctl(["events", "--json"]).ok(), programs);
    let line = |n: usize| format!("{}\n", people.lines().nth(n).unwrap());
    assert_eq!(instance.resqctl(["events", "--limit", "2"]).ok(), line(2) + &line(3), "the newest");
    assert_eq!(instance.resqctl(["events", "--since", "1", "--limit", "2"]).ok(), line(1) + &line(2), "the next");
    assert_eq!(instance.resqctl(["events", "--state", "A"]).ok(), line(0) + &line(3));
    assert_eq!(instance.resqctl(["events", "--state=Err*", "--since=2"]).ok(), line(2));
    assert_eq!(instance.resqctl(["events", "--since", "99"]).ok(), "");
    let wrong = instance.resqctl(["events", "--state", "' OR 1 = 1 #"]).expect_code(2);
    assert!(wrong.stderr.contains("--state"), "{wrong}");
}

#[test]
fn doctor_reports_what_the_event_log_lacks() {
    let instance = Instance::ready("events_doctor");
    let running = resqd(&instance);
    let doctor = |code| Doctor::of(instance.resqctl(["doctor"]).expect_code(code));
    let healthy = doctor(0);
    assert_eq!(["triggers", "publish", "broker"].map(|check| healthy.verdict(check)), [Verdict::Good; 3]);
    assert!(healthy.text("broker").contains(&instance.broker_socket().display().to_string()), "{}", healthy.finished);
    assert_eq!(running.stop().code(), Some(0));
    assert_eq!(doctor(0).verdict("broker"), Verdict::Warning);

    let mut conn = instance.conn();
    conn.query_drop("DROP TRIGGER res_queue_updated; DROP PROCEDURE publish").unwrap();
    let broken = doctor(1);
    assert_eq!(["triggers", "publish"].map(|check| broken.verdict(check)), [Verdict::Failed; 2]);
    assert!(broken.text("triggers").contains("res_queue_updated"), "{}", broken.finished);
    assert!(broken.text("triggers").contains("resqctl init"), "{}", broken.finished);
    instance.resqctl(["init"]).ok();
    instance.resqctl(["doctor"]).ok();
}
