//! The frame of every fault: daemons, writers and listeners on one installation; in each round one fault at a random
//! moment, and then the checks. Owns the processes; knows no fault.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use fastrand::Rng;

use crate::{
    instance::Instance,
    program::{Running, wait_at_most, wait_or_tell},
};

use super::{
    check,
    listener::Listener,
    workload::{self, Writer},
};

/// For everything to be finished after a fault: leases, pauses between attempts and reconnects come on top of each
/// other, on a machine that does other things as well.
pub const PATIENCE: Duration = Duration::from_secs(180);
const WRITERS: u64 = 2;
/// Of all writers in one round.
const TRANSACTIONS: u64 = 40;
pub const LEASE_S: u64 = 2;

/// A group takes no rows into a table without a primary key.
const BUILT: &str = "CREATE TABLE built (n INT AUTO_INCREMENT PRIMARY KEY, res_id BIGINT); \
                     CREATE TABLE other (a INT PRIMARY KEY); DO SLEEP(0.03)";

type Env = Vec<(&'static str, String)>;

/// How a trial is set up.
pub struct Setup<'a> {
    /// `init` was run and no daemon is there.
    pub instance: &'a Instance<'a>,
    pub daemons: usize,
    /// The daemons' settings beside the instance's.
    pub daemon_env: Env,
    /// The listeners' settings beside the instance's; by default they use the first daemon's socket.
    pub listener_env: Env,
    /// Errors, as a regular expression, that the fault makes look like the template's: each counts as an attempt.
    pub counted: Option<&'static str>,
}

impl<'a> Setup<'a> {
    pub fn new(instance: &'a Instance<'a>, daemons: usize) -> Setup<'a> {
        Setup { instance, daemons, daemon_env: Vec::new(), listener_env: Vec::new(), counted: None }
    }

    /// Runs `FAULT_ROUNDS` rounds. `fault` makes and ends one fault, and returns what the log has to say of it.
    pub fn rounds(self, mut fault: impl FnMut(&mut Trial) -> &'static str) {
        let rounds = rounds();
        let seed =
            std::env::var("RESQ_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
        println!("RESQ_SEED={seed} FAULT_ROUNDS={rounds}");
        let mut trial = Trial::start(self, Rng::with_seed(seed));
        for round in 1..=rounds {
            println!("round {round}");
            trial.round(&mut fault);
        }
        trial.stop();
    }
}

/// How often each fault comes.
pub fn rounds() -> u64 {
    std::env::var("FAULT_ROUNDS").map_or(1, |text| text.parse().expect("FAULT_ROUNDS is a number"))
}

/// A daemon and what was said before it was started, or before the round.
struct Daemon {
    running: Running,
    read: usize,
}

pub struct Trial<'a> {
    pub instance: &'a Instance<'a>,
    pub random: Rng,
    /// The first listens all the time, the second is killed before each fault and resumes after it.
    pub listeners: [Listener; 2],
    daemons: Vec<Daemon>,
    daemon_env: Env,
    counted: Option<&'static str>,
    sql: PathBuf,
    /// What daemons logged that are no more, in this round.
    last_words: String,
}

impl<'a> Trial<'a> {
    fn start(setup: Setup<'a>, random: Rng) -> Trial<'a> {
        let Setup { instance, daemons: count, daemon_env, listener_env, counted } = setup;
        workload::prepare(instance);
        let sql = instance.sql_dir(&[
            ("res_db/10.sql", "CREATE DATABASE {{RES_DB_NAME}}"),
            ("res_tables/10.sql", BUILT),
            ("res_tables/20.sql", "INSERT INTO built (res_id) VALUES ({{RES_ID}})"),
        ]);
        let daemons: Vec<Daemon> = (0..count).map(|n| daemon(instance, &sql, n, &daemon_env)).collect();
        let listeners = ["steady", "resuming"].map(|name| Listener::start(instance, name, listener_env.clone()));
        Trial { instance, random, listeners, daemons, daemon_env, counted, sql, last_words: String::new() }
    }

    /// Writers write; at a random moment of it the fault comes and goes; in the end all is well.
    fn round(&mut self, fault: &mut impl FnMut(&mut Trial) -> &'static str) {
        self.last_words.clear();
        for daemon in &mut self.daemons {
            daemon.read = daemon.running.stderr().len();
        }
        let moment = self.random.u64(1..TRANSACTIONS * 3 / 4);
        let begun = AtomicU64::new(0);
        let told = thread::scope(|scope| {
            for _ in 0..WRITERS {
                let (mut writer, begun) = (Writer::new(self.instance, self.random.fork()), &begun);
                scope.spawn(move || writer.write(TRANSACTIONS / WRITERS, begun));
            }
            wait_at_most(PATIENCE, "the moment of the fault", || begun.load(Ordering::Relaxed) >= moment);
            self.listeners[1].kill();
            fault(self)
        });
        self.listeners[1].resume(self.instance);
        let mut conn = self.instance.conn();
        check::wait_until_finished(&mut conn, &self.listeners, || self.log());
        check::jobs(self.instance, &mut conn, self.counted);
        for listener in &self.listeners {
            check::events(&mut conn, listener);
        }
        check::log(&self.log(), told);
    }

    fn stop(self) {
        for daemon in self.daemons {
            let finished = daemon.running.stop();
            assert_eq!(finished.code(), Some(0), "{finished}");
        }
    }

    /// What the daemons said in this round.
    pub fn log(&self) -> String {
        let said = |daemon: &Daemon| daemon.running.stderr()[daemon.read..].to_string();
        self.daemons.iter().map(said).fold(self.last_words.clone(), |all, one| all + &one)
    }

    /// Waits until a daemon says so, in this round; `|` parts what will do.
    pub fn wait_for_log(&self, texts: &str) {
        self.repeat_until_log(texts, || ());
    }

    /// Does it again and again until a daemon says so.
    pub fn repeat_until_log(&self, texts: &str, mut act: impl FnMut()) {
        wait_or_tell(PATIENCE, texts, || {
            act();
            let log = self.log();
            if check::says(&log, texts) { Ok(()) } else { Err(log) }
        });
    }

    /// The process number of daemon `n`, from 0.
    pub fn pid(&self, n: usize) -> u32 {
        self.daemons[n].running.pid()
    }

    /// Sends `STOP`, `CONT`, … to daemon `n`, from 0.
    pub fn signal(&self, n: usize, name: &str) {
        self.daemons[n].running.signal(name);
    }

    /// Ends daemon `n`, from 0, as a crash does.
    pub fn kill(&mut self, n: usize) {
        let daemon = self.daemons.remove(n);
        daemon.running.signal("KILL");
        self.last_words += &daemon.running.wait().stderr[daemon.read..];
    }

    /// Starts a daemon in the place of one that was killed.
    pub fn restart(&mut self, n: usize) {
        self.daemons.insert(n, daemon(self.instance, &self.sql, n, &self.daemon_env));
    }
}

fn daemon(instance: &Instance, sql: &std::path::Path, n: usize, env: &Env) -> Daemon {
    let lease_s = LEASE_S.to_string();
    let mut program = instance.resqd().args(["--lease-s", &lease_s, "--poll-ms", "100", "--workers", "3", "--sql-dir"]);
    program = program.arg(sql);
    if n > 0 {
        program = program.env("RESQ_SOCKET", "");
    }
    let mut running = env.iter().fold(program, |program, (key, value)| program.env(key, value)).spawn();
    running.wait_for_log("serving");
    Daemon { running, read: 0 }
}
