//! The frame of every fault: daemons, writers and recording clients on one installation; in each round one fault at a
//! random moment, and then the checks. Owns the processes; knows no fault.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use fastrand::Rng;
use resq_test_support::{Instance, RecordingClient, Running, templates, wait_at_most, wait_or_report};

use super::{
    checks::{self, Trace},
    workload::{self, Writer},
};

/// How long everything may take to finish after a fault: leases, pauses between attempts and reconnects add up, on a
/// machine that does other things as well.
pub const PATIENCE: Duration = Duration::from_secs(180);
const WRITERS: u64 = 2;
/// Of all writers in one round.
const TRANSACTIONS: u64 = 40;
pub const LEASE_S: u64 = 2;

/// Keeps a job in progress for a moment, with DDL before and after the row that counts the attempts.
const SLOW: (&str, &str) = ("res_tables/15.sql", "CREATE TABLE other (a INT PRIMARY KEY); DO SLEEP(0.03)");

type Env = Vec<(&'static str, String)>;

/// What runs, and how it is set up.
pub struct Scenario<'a> {
    /// `init` was run and no daemon is there.
    pub instance: &'a Instance<'a>,
    pub daemons: usize,
    /// The daemons' settings beside the instance's.
    pub daemon_env: Env,
    /// The clients' settings beside the instance's; by default they use the first daemon's socket.
    pub client_env: Env,
    /// Errors, as a regular expression, that the fault makes look like the template's: each counts as an attempt.
    pub counted: Option<&'static str>,
}

impl<'a> Scenario<'a> {
    pub fn new(instance: &'a Instance<'a>, daemons: usize) -> Scenario<'a> {
        Scenario { instance, daemons, daemon_env: Vec::new(), client_env: Vec::new(), counted: None }
    }

    /// Runs `FAULT_ROUNDS` rounds. `fault` causes and ends one fault, and returns the trace that it must leave.
    pub fn rounds(self, mut fault: impl FnMut(&mut System) -> Trace) {
        let rounds = rounds();
        let seed =
            std::env::var("RESQ_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().expect("a number"));
        println!("RESQ_SEED={seed} FAULT_ROUNDS={rounds}");
        let mut system = System::start(self, Rng::with_seed(seed));
        for round in 1..=rounds {
            println!("round {round}");
            system.round(&mut fault);
        }
        system.stop();
    }
}

/// How many rounds each fault has.
pub fn rounds() -> u64 {
    std::env::var("FAULT_ROUNDS").map_or(1, |text| text.parse().expect("FAULT_ROUNDS is a number"))
}

/// A daemon, and how much of its log belongs to earlier rounds.
struct Daemon {
    running: Running,
    read: usize,
}

/// What runs.
pub struct System<'a> {
    pub instance: &'a Instance<'a>,
    pub random: Rng,
    /// The first records all the time, the second is killed before each fault and resumes after it.
    pub clients: [RecordingClient; 2],
    daemons: Vec<Daemon>,
    daemon_env: Env,
    counted: Option<&'static str>,
    sql: PathBuf,
    /// What daemons logged in this round that were killed.
    log_of_killed: String,
}

impl<'a> System<'a> {
    fn start(scenario: Scenario<'a>, random: Rng) -> System<'a> {
        let Scenario { instance, daemons: count, daemon_env, client_env, counted } = scenario;
        workload::prepare(instance);
        let sql = instance.sql_dir(&templates::with(templates::COUNTING, &[SLOW]));
        let daemons: Vec<Daemon> = (0..count).map(|n| daemon(instance, &sql, n, &daemon_env)).collect();
        let clients = ["steady", "resuming"].map(|name| RecordingClient::start(instance, name, client_env.clone()));
        System { instance, random, clients, daemons, daemon_env, counted, sql, log_of_killed: String::new() }
    }

    /// The fault comes and goes at a random moment while writers write; in the end everything must be as it should be.
    fn round(&mut self, fault: &mut impl FnMut(&mut System) -> Trace) {
        self.log_of_killed.clear();
        for daemon in &mut self.daemons {
            daemon.read = daemon.running.stderr().len();
        }
        let moment = self.random.u64(1..TRANSACTIONS * 3 / 4);
        let begun = AtomicU64::new(0);
        let trace = thread::scope(|scope| {
            for _ in 0..WRITERS {
                let (mut writer, begun) = (Writer::new(self.instance, self.random.fork()), &begun);
                scope.spawn(move || writer.write(TRANSACTIONS / WRITERS, begun));
            }
            wait_at_most(PATIENCE, "the moment of the fault", || begun.load(Ordering::Relaxed) >= moment);
            self.clients[1].kill();
            fault(self)
        });
        self.clients[1].resume(self.instance);
        let mut conn = self.instance.conn();
        checks::wait_until_finished(&mut conn, &self.clients, || self.log());
        checks::jobs(self.instance, &mut conn, self.counted);
        for client in &self.clients {
            checks::events(&mut conn, client);
        }
        checks::log(&self.log(), trace);
    }

    fn stop(self) {
        for daemon in self.daemons {
            let finished = daemon.running.stop();
            assert_eq!(finished.code(), Some(0), "{finished}");
        }
    }

    /// What the daemons logged in this round.
    pub fn log(&self) -> String {
        let of_round = |daemon: &Daemon| daemon.running.stderr()[daemon.read..].to_string();
        self.daemons.iter().map(of_round).fold(self.log_of_killed.clone(), |all, one| all + &one)
    }

    /// Waits until the fault has left this trace in this round.
    pub fn wait_for(&self, trace: Trace) {
        self.repeat_until(trace, || ());
    }

    /// Calls `act` again and again until the fault has left this trace.
    pub fn repeat_until(&self, trace: Trace, mut act: impl FnMut()) {
        wait_or_report(PATIENCE, &format!("{trace:?}"), || {
            act();
            let log = self.log();
            if trace.is_in(&log) { Ok(()) } else { Err(log) }
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

    /// Kills daemon `n`, from 0, with SIGKILL.
    pub fn kill(&mut self, n: usize) {
        let daemon = self.daemons.remove(n);
        daemon.running.signal("KILL");
        self.log_of_killed += &daemon.running.wait().stderr[daemon.read..];
    }

    /// Starts a daemon in the place of one that was killed.
    pub fn restart(&mut self, n: usize) {
        self.daemons.insert(n, daemon(self.instance, &self.sql, n, &self.daemon_env));
    }
}

fn daemon(instance: &Instance, sql: &Path, n: usize, env: &Env) -> Daemon {
    let lease_s = LEASE_S.to_string();
    let mut program = instance.resqd().args(["--lease-s", &lease_s, "--poll-ms", "100", "--workers", "3", "--sql-dir"]);
    program = program.arg(sql);
    if n > 0 {
        program = program.env("RESQ_SOCKET", "");
    }
    let running = env.iter().fold(program, |program, (key, value)| program.env(key, value)).spawn_ready();
    Daemon { running, read: 0 }
}
