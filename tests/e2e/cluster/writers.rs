//! Applications that write jobs and events on several nodes at once, and record what they have committed.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};
use resq::db::{ErrorClass, run_script};
use resq_test_support::{EventOracle, Instance, wait_at_most};

/// What was committed: names of jobs, tokens of events.
#[derive(Default)]
pub struct Committed {
    pub jobs: BTreeSet<String>,
    pub events: BTreeSet<String>,
    /// The longest transaction: how long the cluster itself accepted nothing.
    pub longest: Duration,
}

/// One writer on each of some nodes, slow enough for the daemons to keep up.
pub struct Writers {
    over: Arc<AtomicBool>,
    /// Transactions committed so far.
    pub written: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Committed>>,
}

impl Writers {
    /// `nodes` live as long as this does.
    pub fn start(instance: &Instance, nodes: &[usize]) -> Writers {
        let (over, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = nodes.iter().map(|node| {
            let mut conn = instance.server.conn_to(*node);
            conn.query_drop(format!("USE `{}`", instance.global_db)).unwrap();
            let (over, written, node) = (over.clone(), written.clone(), *node);
            thread::spawn(move || write(&mut conn, node, &over, &written))
        });
        let threads = threads.collect();
        Writers { over, written, threads }
    }

    /// Waits for so many transactions more.
    pub fn wait_for_more(&self, transactions: u64) {
        let goal = self.written.load(Ordering::Relaxed) + transactions;
        wait_at_most(Duration::from_secs(120), "the writers", || self.written.load(Ordering::Relaxed) >= goal);
    }

    pub fn stop(self) -> Committed {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Committed::default();
        for thread in self.threads {
            let own = thread.join().expect("a writer on a living node");
            all.jobs.extend(own.jobs);
            all.events.extend(own.events);
            all.longest = all.longest.max(own.longest);
        }
        all
    }
}

fn write(conn: &mut Conn, node: usize, over: &AtomicBool, written: &AtomicU64) -> Committed {
    let mut committed = Committed::default();
    let mut random = fastrand::Rng::new();
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let rolls_back = random.u8(0..5) == 0;
        // Not DO SLEEP: on Galera, DO hides that another node's commit has rolled the transaction back.
        let (job, token) = (format!("w{node}n{n}"), format!("{node}:{n}"));
        let script = format!(
            "START TRANSACTION; INSERT INTO res_queue (res_name) VALUES ('{job}'); \
             CALL publish('{}.{node}', '{{\"token\":\"{token}\"}}'); SELECT SLEEP({}); {}",
            EventOracle::OWN,
            random.f64() / 5.0,
            if rolls_back { "ROLLBACK" } else { "COMMIT" },
        );
        let start = Instant::now();
        run_until_accepted(conn, &script);
        committed.longest = committed.longest.max(start.elapsed());
        if !rolls_back {
            committed.jobs.insert(job);
            committed.events.insert(token);
        }
        written.fetch_add(1, Ordering::Relaxed);
    }
    committed
}

/// Runs a transaction again until it did not conflict with another node's.
pub fn run_until_accepted(conn: &mut Conn, script: &str) {
    loop {
        match run_script(conn, script) {
            Ok(()) => return,
            Err(failed) => {
                assert_eq!(failed.error.class(), ErrorClass::Retry, "{}", failed.error);
                conn.query_drop("ROLLBACK").unwrap();
            }
        }
    }
}
