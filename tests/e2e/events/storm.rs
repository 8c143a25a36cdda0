//! Never a phantom, never a miss: many writers whose transactions commit, roll back or stay open, three clients of
//! which one comes and goes, and a daemon that is killed again and again. In the end each client has exactly the
//! committed events, all in the same order. The tests run it small, the benchmark large.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use mysql::prelude::Queryable;

use crate::{
    instance::Instance,
    program::{Running, wait_at_most},
};

const WRITERS: u64 = 8;
/// How long all of it may take at the end, when nothing is written any more.
const CATCH_UP: Duration = Duration::from_secs(120);

pub struct Storm {
    pub transactions: u64,
    /// Of so many transactions one is held open for seconds.
    pub held_one_in: u64,
    pub kills: u64,
    pub seed: u64,
}

/// Committed events, and how often the third client began anew.
pub struct Weathered {
    pub committed: u64,
    pub resumed: u64,
}

impl Storm {
    /// `instance` is set up and no daemon runs on it.
    pub fn rage(&self, instance: &Instance) -> Weathered {
        println!("storm: seed {}", self.seed);
        let log = |name: &str| -> PathBuf {
            let path = instance.dir().join(name);
            File::create(&path).unwrap();
            path
        };
        let logs = [log("first"), log("second"), log("third")];
        let begun = AtomicU64::new(0);
        let over = AtomicBool::new(false);
        let mut resqd = daemon(instance);
        let (committed, count, resumed) = thread::scope(|scope| {
            let _steady = [client(instance, &logs[0], 0), client(instance, &logs[1], 0)];
            let resuming = scope.spawn(|| self.come_and_go(instance, &logs[2], &over));
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn({
                        let begun = &begun;
                        move || self.write(instance, writer, begun)
                    })
                })
                .collect();
            let mut random = fastrand::Rng::with_seed(self.seed);
            for kill in 1..=self.kills {
                let at = self.transactions * kill / (self.kills + 1) + random.u64(0..self.transactions / 50 + 1);
                wait_at_most(Duration::from_secs(600), "the next kill", || {
                    begun.load(Ordering::Relaxed) >= at.min(self.transactions)
                });
                drop(resqd); // by SIGKILL, and its end is waited for
                resqd = daemon(instance);
            }
            let committed: Vec<Vec<String>> =
                writers.into_iter().map(|writer| writer.join().expect("a writer's statements never fail")).collect();
            let count = committed.iter().map(|payloads| payloads.len() as u64).sum();
            for log in &logs[..2] {
                wait_at_most(CATCH_UP, "the last event", || last_seq(log) >= count);
            }
            over.store(true, Ordering::Relaxed);
            (committed, count, resuming.join().expect("the third client"))
        });
        for log in &logs {
            check(log, &committed);
        }
        let left: u64 = instance.conn().query_first("SELECT COUNT(*) FROM res_outbox").unwrap().unwrap();
        assert_eq!(left, 0, "the outbox is empty in the end");
        Weathered { committed: count, resumed }
    }

    /// One writer's share of the transactions; the payloads of what it committed.
    fn write(&self, instance: &Instance, writer: u64, begun: &AtomicU64) -> Vec<String> {
        let mut random = fastrand::Rng::with_seed(self.seed ^ ((writer + 1) << 32));
        let mut conn = instance.app();
        let mut committed = Vec::new();
        while begun.fetch_add(1, Ordering::Relaxed) < self.transactions {
            let payloads: Vec<String> =
                (0..random.u64(1..=5)).map(|_| format!("\"{writer}:{:016x}\"", random.u64(..))).collect();
            let mut script = "START TRANSACTION;".to_string();
            for payload in &payloads {
                script += &format!("CALL publish('S{writer}', '{payload}');");
            }
            if random.u64(0..self.held_one_in) == 0 {
                script += &format!("DO SLEEP({});", 1.0 + 2.0 * random.f64());
            }
            let rolls_back = random.u64(0..3) == 0;
            script += if rolls_back { "ROLLBACK" } else { "COMMIT" };
            conn.query_drop(script).unwrap();
            if !rolls_back {
                committed.extend(payloads);
            }
        }
        committed
    }

    /// A client that is killed at random moments and resumes behind the last line that it wrote.
    fn come_and_go(&self, instance: &Instance, log: &Path, over: &AtomicBool) -> u64 {
        let mut random = fastrand::Rng::with_seed(!self.seed);
        let mut resumed = 0;
        while !over.load(Ordering::Relaxed) {
            let client = client(instance, log, last_seq(log));
            let goal = last_seq(log) + random.u64(1..2_000);
            wait_at_most(CATCH_UP * 5, "events of the third client", || {
                last_seq(log) >= goal || over.load(Ordering::Relaxed)
            });
            client.signal("KILL");
            drop(client);
            // A kill may leave half a line.
            let whole = whole_lines(log);
            OpenOptions::new().write(true).open(log).unwrap().set_len(whole).unwrap();
            resumed += 1;
        }
        let end = last_seq(log);
        let _client = client(instance, log, end);
        let head: u64 = instance.conn().query_first("SELECT head_seq FROM res_log").unwrap().unwrap();
        wait_at_most(CATCH_UP, "the end of the third client", || last_seq(log) >= head);
        resumed
    }
}

fn daemon(instance: &Instance) -> Running {
    let mut resqd = instance.resqd().args(["--poll-ms", "200"]).spawn();
    resqd.wait_for_log("serving");
    resqd
}

/// resq-client, which appends to `log`.
fn client(instance: &Instance, log: &Path, since: u64) -> Running {
    let script = r#"exec "$0" --json --sub '*' --since "$1" >>"$2""#;
    let program = instance.program("sh").args(["-c", script, env!("CARGO_BIN_EXE_resq-client"), &since.to_string()]);
    program.arg(log).spawn()
}

fn whole_lines(log: &Path) -> u64 {
    let mut bytes = Vec::new();
    File::open(log).unwrap().read_to_end(&mut bytes).unwrap();
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end as u64 + 1)
}

/// The number in the last whole line; 0: there is none.
fn last_seq(log: &Path) -> u64 {
    let mut file = File::open(log).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(length.saturating_sub(1_000))).unwrap();
    let mut tail = String::new();
    file.read_to_string(&mut tail).unwrap();
    let Some(end) = tail.rfind('\n') else { return 0 };
    let line = tail[..end].lines().last().unwrap_or_default();
    seq_of(line)
}

fn seq_of(line: &str) -> u64 {
    let digits = line.strip_prefix(r#"{"seq":"#).and_then(|rest| rest.split(',').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("not an event: {line}"))
}

/// Each number once and in order; and of each writer exactly what it committed, in the order in which it wrote it.
fn check(log: &Path, committed: &[Vec<String>]) {
    let mut left: Vec<_> = committed.iter().map(|payloads| payloads.iter()).collect();
    for (line, seq) in BufReader::new(File::open(log).unwrap()).lines().zip(1..) {
        let line = line.unwrap();
        assert_eq!(seq_of(&line), seq, "{}", log.display());
        let payload = line.split(r#""payload":"#).nth(1).and_then(|rest| rest.strip_suffix('}')).unwrap();
        let writer: usize = payload[1..].split(':').next().unwrap().parse().unwrap();
        let next = left[writer].next();
        assert_eq!(Some(payload), next.map(String::as_str), "a phantom, a miss or out of order: {line}");
    }
    assert!(left.iter().all(|left| left.len() == 0), "{} misses some", log.display());
}
