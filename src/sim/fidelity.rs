//! Whether the simulated server behaves like a real one: the same random calls on both, one after the other, must return
//! the same and leave the same rows. Both clocks stand still during a call. This does not cover concurrent calls, except
//! for those that meet an application's open transaction.

mod calls;
mod compare;
mod consumers;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use crossbeam_channel::bounded;
use mysql::{Conn, prelude::Queryable};

use super::{
    FaultSchedule,
    log::SimEventLog,
    rows::Tx,
    session::Host,
    simulation::{self, Actors, NO_MACHINE, spawn_on, with},
    store::SimQueueStore,
};
use crate::{
    config::Database,
    db::{self, Db, Error, Link},
    events::log::SqlEventLog,
    queue::{
        Job, NoHooks, TransactionHooks,
        sql_store::{Claimer, SqlQueueStore},
        store::{Cursor, QueueStore},
    },
    resources::Templates,
    schema::install,
};

/// How many daemons make calls.
const DAEMONS: usize = 2;
/// How many workers each of them claims to have.
const WORKERS: u32 = 2;
/// How many calls a run makes.
const CALLS: usize = 300;
/// How far apart the same time may be on both, in µs, since simulated statements take time. Nothing becomes due this close
/// to a call.
const TOLERANCE_US: u64 = 100_000;
/// The simulation's time zero on the real server, in seconds since 1970.
const BASE_S: f64 = 1_700_000_000.0;
const DAY_US: u64 = 86_400_000_000;
/// A real day, in the simulation's shorter days.
const SHORT_DAYS: u32 = (DAY_US / super::log::DAY_US) as u32;
/// A reader outside of any transaction: none has this number.
const READER: Tx = Tx { number: 0, node: 0 };

/// A real server, which stops when this is dropped.
struct Real {
    script: Child,
    db: Db,
    skip_locked: bool,
    _dir: tempfile::TempDir,
}

impl Real {
    fn start() -> Real {
        let kind = std::env::var("TEST_SERVER").unwrap_or_else(|_| "mariadb1011".into());
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut script = Command::new("bash")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/testdb.sh"))
            .args(["hold", &kind])
            .arg(dir.path().join("server"))
            .env("FAST", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash runs scripts/testdb.sh");
        let mut line = String::new();
        BufReader::new(script.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let port = line.split(' ').next().and_then(|port| port.parse().ok()).expect("a port; see the messages above");
        let config = Database { host: "127.0.0.1".into(), port, user: "root".into(), ..Database::default() };
        let db = Db::open(&config, 16).unwrap();
        let server = db::ServerInfo::query(&mut db.any().unwrap()).unwrap();
        install::init(&db, &server, &Templates::load(None).unwrap()).unwrap();
        Real { script, db, skip_locked: server.skip_locked, _dir: dir }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// The same store twice: on the simulated server, where an actor uses it, and on the real one.
struct Pair<S, R>(Arc<Mutex<S>>, R);

/// A store whose connection's clock can be stopped.
trait Clocked {
    fn link(&mut self) -> &mut Link;
}

impl Clocked for SqlQueueStore {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

impl Clocked for SqlEventLog {
    fn link(&mut self) -> &mut Link {
        &mut self.link
    }
}

/// An application's transaction, open on both servers.
struct Open {
    tx: Tx,
    conn: db::Conn,
}

/// Both servers, and what the calls so far led to.
struct Fidelity {
    rng: fastrand::Rng,
    actors: Actors,
    now_us: u64,
    db: Db,
    conn: db::Conn,
    queues: Vec<Pair<SimQueueStore, SqlQueueStore>>,
    logs: Vec<Pair<SimEventLog, SqlEventLog>>,
    skip_locked: bool,
    open: Option<Open>,
    /// The simulated outbox ids, by those of the real server.
    ids: BTreeMap<u64, u64>,
    /// Jobs that were claimed, even if another daemon holds them by now.
    held: Vec<Job>,
    cursor: Option<Cursor>,
    claims: u64,
}

/// Stops the clock of a real session at this time of the simulation.
fn set_clock(conn: &mut Conn, now_us: u64) -> Result<(), Error> {
    Ok(conn.query_drop(format!("SET timestamp = {:.6}", BASE_S + now_us as f64 / 1e6))?)
}

fn same<T: PartialEq + Debug>(what: &str, memory: &T, server: &T) {
    assert!(memory == server, "{what}\nsimulated: {memory:?}\nreal:      {server:?}");
}

/// Compares two times in µs from now, which may differ by the tolerance.
fn same_time(what: &str, memory: Option<i64>, server: Option<i64>) {
    let distance = memory.zip(server).map(|(a, b)| a.abs_diff(b));
    assert!(memory.is_some() == server.is_some(), "{what}: simulated {memory:?}, real {server:?}");
    assert!(distance.is_none_or(|us| us < TOLERANCE_US), "{what}: simulated {memory:?}, real {server:?}");
}

impl Fidelity {
    fn new(real: &Real, rng: fastrand::Rng, skip_locked: bool) -> Fidelity {
        with(|sim| sim.server.oracle.workers = WORKERS);
        let host = Host { nodes: 1 };
        let hooks: Arc<dyn TransactionHooks> = Arc::new(NoHooks);
        let store = |owner: u64| {
            let claimer = Claimer { owner: owner.to_string(), workers: WORKERS, skip_locked };
            let memory = SimQueueStore::new(&host, owner, WORKERS, skip_locked);
            Pair(Arc::new(Mutex::new(memory)), SqlQueueStore::new(&real.db, &claimer, &hooks))
        };
        let log = |_| Pair(Arc::new(Mutex::new(SimEventLog::new(&host))), SqlEventLog::new(&real.db));
        let mut conn = real.db.global().unwrap();
        db::run_script(
            &mut conn,
            "DELETE FROM res_queue; DELETE FROM res_error; DELETE FROM res_daemon; DELETE FROM res_outbox; \
             DELETE FROM res_event; UPDATE res_log SET head_seq = 0, first_seq = 1, mover = NULL, moved_at = NULL; \
             DELETE FROM res_meta WHERE name = 'paused'",
        )
        .unwrap();
        Fidelity {
            rng,
            actors: Actors::default(),
            now_us: 0,
            db: real.db.clone(),
            conn,
            queues: (1..=DAEMONS as u64).map(store).collect(),
            logs: (0..DAEMONS).map(log).collect(),
            skip_locked,
            open: None,
            ids: BTreeMap::new(),
            held: Vec::new(),
            cursor: None,
            claims: 0,
        }
    }

    /// Moves both clocks on, to a moment when nothing is about to become due.
    fn tick(&mut self) {
        let most = match self.rng.u8(0..40) {
            0 => 2 * DAY_US,
            1..10 => 20_000,
            10..20 => 250_000,
            _ => 3_000_000,
        };
        self.now_us = self.now_us.max(with(|sim| sim.now_us)) + self.rng.u64(0..most);
        let due: Vec<u64> = with(|sim| {
            let jobs = sim.server.jobs.all_committed().filter_map(|(_, row)| row.run_at);
            let leases = sim.server.leases.all_committed().map(|(_, lease)| lease.until_us);
            let pruned = sim.server.events.all_committed().filter_map(|(_, entry)| Some(entry.numbered_at? + DAY_US));
            let turn = sim.server.log.all_committed().filter_map(|(_, log)| Some(log.moved?.1 + super::log::TURN_US));
            let forgotten = sim.server.leases.all_committed().map(|(_, lease)| lease.until_us + DAY_US);
            jobs.chain(leases).chain(pruned).chain(turn).chain(forgotten).collect()
        });
        while due.iter().any(|us| us.abs_diff(self.now_us) < TOLERANCE_US) {
            self.now_us += TOLERANCE_US;
        }
        with(|sim| {
            (sim.now_us, sim.server.now_us) = (self.now_us, self.now_us);
        });
        set_clock(&mut self.conn, self.now_us).unwrap();
    }

    /// Makes a call on both servers; returns both answers.
    fn both<S: Send + 'static, R: Clocked, T: Send + 'static>(
        &mut self,
        pair: impl FnOnce(&mut Fidelity) -> &mut Pair<S, R>,
        memory: impl FnOnce(&mut S) -> Result<T, Error> + Send + 'static,
        server: impl FnOnce(&mut R) -> Result<T, Error>,
    ) -> (T, T) {
        let now_us = self.now_us;
        let Pair(shared, real) = pair(self);
        let shared = shared.clone();
        real.link().run(|conn| set_clock(conn, now_us)).unwrap();
        let server = server(real).unwrap();
        let (answer, answers) = bounded(1);
        spawn_on(NO_MACHINE, move || answer.send(memory(&mut shared.lock().unwrap())).unwrap());
        while answers.is_empty() {
            self.actors.run_one_turn();
        }
        (answers.recv().unwrap().unwrap(), server)
    }

    fn on_queue<T: Send + 'static>(
        &mut self,
        call: impl Fn(&mut dyn QueueStore) -> Result<T, Error> + Clone + Send + 'static,
    ) -> (T, T) {
        let (n, memory) = (self.rng.usize(..DAEMONS), call.clone());
        self.both(|both| &mut both.queues[n], move |queue| memory(queue), |queue| call(queue))
    }

    /// Takes a call for each, since outbox ids and days are different numbers on the two servers.
    fn on_log<T: Send + 'static>(
        &mut self,
        memory: impl FnOnce(&mut SimEventLog) -> Result<T, Error> + Send + 'static,
        server: impl FnOnce(&mut SqlEventLog) -> Result<T, Error>,
    ) -> (T, T) {
        let n = self.rng.usize(..DAEMONS);
        self.both(|both| &mut both.logs[n], memory, server)
    }
}

/// One run, with one way of claiming.
fn run(real: &Real, seed: u64, skip_locked: bool) {
    simulation::begin(seed, Vec::new(), FaultSchedule::default());
    with(|sim| sim.server.oracle.is_causal = true);
    let mut both = Fidelity::new(real, fastrand::Rng::with_seed(seed), skip_locked);
    let mut calls: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for _ in 0..CALLS {
        both.tick();
        let (call, did) = if both.rng.u8(0..3) > 0 { both.daemon_calls() } else { both.other_calls() };
        let counts = calls.entry(call).or_default();
        *counts = (counts.0 + usize::from(did), counts.1 + 1);
        both.compare();
    }
    both.actors.kill_all();
    drop(both);
    simulation::end();
    println!("with SKIP LOCKED: {skip_locked}; calls that did something, of all: {calls:?}");
}

#[test]
#[ignore = "needs a server; scripts/test.sh has one"]
fn simulated_server_behaves_like_a_real_one() {
    let seed = std::env::var("RESQ_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("RESQ_SEED={seed}");
    let real = Real::start();
    consumers::compare(&real.db);
    run(&real, seed, false);
    if real.skip_locked {
        run(&real, seed, true);
    }
}
