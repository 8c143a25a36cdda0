//! The event log under stress: writers whose transactions commit, roll back or stay open, three clients of which one is
//! killed and resumes again and again, and a daemon that is killed too. In the end each client has exactly the committed
//! events, in one order. The tests run it small, the benchmark large.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use mysql::prelude::Queryable;

use crate::{
    exactness::EventOracle, instance::Instance, program::Running, recording_client::RecordingClient, wait::wait_at_most,
};

const WRITERS: u64 = 8;
/// How long the clients may take for the remaining events after the last write.
const CATCH_UP: Duration = Duration::from_secs(120);

pub struct Stress {
    pub transactions: u64,
    /// One in this many transactions stays open for seconds.
    pub held_one_in: u64,
    pub kills: u64,
    pub seed: u64,
}

/// The result of a run.
pub struct Summary {
    /// Committed events.
    pub committed: u64,
    /// How often the third client was killed and resumed.
    pub resumed: u64,
}

impl Stress {
    /// `instance` is set up, and no daemon runs on it.
    pub fn run(&self, instance: &Instance) -> Summary {
        println!("stress: seed {}", self.seed);
        let begun = AtomicU64::new(0);
        let over = AtomicBool::new(false);
        let mut resqd = Some(daemon(instance));
        let steady = ["first", "second"].map(|name| RecordingClient::start(instance, name, Vec::new()));
        let resuming = Mutex::new(RecordingClient::start(instance, "third", Vec::new()));
        let (committed, count, resumed) = thread::scope(|scope| {
            let resumer =
                scope.spawn(|| self.kill_and_resume(instance, &mut resuming.lock().expect("no panic"), &over));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let begun = &begun;
                    scope.spawn(move || self.write(instance, writer, begun))
                })
                .collect();
            let mut random = fastrand::Rng::with_seed(self.seed);
            for kill in 1..=self.kills {
                let at = self.transactions * kill / (self.kills + 1) + random.u64(0..self.transactions / 50 + 1);
                wait_at_most(Duration::from_secs(600), "the next kill", || {
                    begun.load(Ordering::Relaxed) >= at.min(self.transactions)
                });
                drop(resqd.take()); // SIGKILL; its end is waited for
                resqd = Some(daemon(instance));
            }
            let committed: Vec<Vec<String>> =
                writers.into_iter().map(|writer| writer.join().expect("a writer's statements never fail")).collect();
            let count = committed.iter().map(|tokens| tokens.len() as u64).sum();
            for client in &steady {
                wait_at_most(CATCH_UP, "the last event", || client.last_seq() >= count);
            }
            over.store(true, Ordering::Relaxed);
            (committed, count, resumer.join().expect("the third client"))
        });
        let mut conn = instance.conn();
        let [first, second] = &steady;
        for client in [first, second, &*resuming.lock().expect("no panic")] {
            wait_at_most(CATCH_UP, "the third client's last event", || client.last_seq() >= count);
            let mut oracle = EventOracle::new([].into());
            for (tokens, writer) in committed.iter().zip(0..) {
                oracle = oracle.with_writer(state(writer), tokens.clone());
            }
            client.for_each(|event| oracle.observe(event));
            oracle.finish(&mut conn);
        }
        let left: u64 = conn.query_first("SELECT COUNT(*) FROM res_outbox").unwrap().unwrap();
        assert_eq!(left, 0, "the outbox is empty in the end");
        drop(resqd);
        Summary { committed: count, resumed }
    }

    /// One writer's share of the transactions; returns the tokens that it committed, in order.
    fn write(&self, instance: &Instance, writer: u64, begun: &AtomicU64) -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(self.seed ^ ((writer + 1) << 32));
        let mut conn = instance.app();
        let mut committed = Vec::new();
        while begun.fetch_add(1, Ordering::Relaxed) < self.transactions {
            let tokens: Vec<String> = (0..random.u64(1..=5)).map(|_| format!("{:016x}", random.u64(..))).collect();
            let mut script = "START TRANSACTION;".to_string();
            for token in &tokens {
                script += &format!(r#"CALL publish('{}', '{{"token":"{token}"}}');"#, state(writer));
            }
            if random.u64(0..self.held_one_in) == 0 {
                script += &format!("DO SLEEP({});", 1.0 + 2.0 * random.f64());
            }
            let rolls_back = random.u64(0..3) == 0;
            script += if rolls_back { "ROLLBACK" } else { "COMMIT" };
            conn.query_drop(script).unwrap();
            if !rolls_back {
                committed.extend(tokens);
            }
        }
        committed
    }

    /// Kills and restarts the client at random moments; returns how often. It is running at the end.
    fn kill_and_resume(&self, instance: &Instance, client: &mut RecordingClient, over: &AtomicBool) -> u64 {
        let mut random = fastrand::Rng::with_seed(!self.seed);
        let mut resumed = 0;
        // On a busy machine all may be over before the first goal is reached.
        while resumed < 2 || !over.load(Ordering::Relaxed) {
            let goal = client.last_seq() + random.u64(1..2_000);
            wait_at_most(CATCH_UP * 5, "events of the third client", || {
                client.last_seq() >= goal || over.load(Ordering::Relaxed)
            });
            client.kill();
            client.resume(instance);
            resumed += 1;
        }
        resumed
    }
}

fn state(writer: u64) -> String {
    format!("{}.{writer}", EventOracle::OWN)
}

fn daemon(instance: &Instance) -> Running {
    instance.resqd().args(["--poll-ms", "200"]).spawn_ready()
}
