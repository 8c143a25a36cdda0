//! A subscriber through crashes of the real daemon: what the database has numbered reaches it, each number once.

use crate::{
    instance::Instance,
    program::{Running, wait_until},
};

const RESOURCES: usize = 20;

fn count(client: &Running, state: &str) -> usize {
    client.stdout().matches(&format!(r#""state":"{state}""#)).count()
}

#[test]
fn a_subscriber_misses_nothing_and_hears_nothing_twice_when_resqd_is_killed() {
    let instance = Instance::ready("client_restart");
    let start = || {
        let mut resqd = instance.resqd().args(["--lease-s", "2", "--poll-ms", "100"]).spawn();
        resqd.wait_for_log("listening on");
        resqd
    };
    let mut resqd = start();
    let mut client = instance.resq_client(["-v", "--json", "--sub", "*", "--since", "0"]).spawn();
    client.wait_for_log("subscribed at");
    for round in 0..4 {
        for n in 0..RESOURCES / 4 {
            instance.resqctl(["add", &format!("r{round}_{n}")]).ok();
        }
        let before = client.stdout().len();
        wait_until("news", || client.stdout().len() > before);
        resqd.signal("KILL"); // in the midst of the jobs
        resqd.wait();
        resqd = start();
    }
    wait_until("all resources to be completed", || count(&client, "Completed") == RESOURCES);
    let finished = resqd.stop();
    assert_eq!(finished.code(), Some(0), "{finished}");
    let stdout = client.stdout();
    let seqs =
        stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap());
    let seqs: Vec<u64> = seqs.collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "every number once, and in order");
    // A job whose daemon died is new again: each time of being new ends in one claim.
    assert_eq!(count(&client, "New"), count(&client, "InProgress"), "{stdout}");
    assert!(!client.stderr().contains("gap"), "{}", client.stderr());
}
