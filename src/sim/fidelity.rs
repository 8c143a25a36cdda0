//! Whether the server in memory is like a real one: the same calls on both, one after the other, have to return the same
//! and leave the same rows. Both clocks stand still during a call. What this does not reach are calls that run into each
//! other: of those only an application's open transaction is here.

mod calls;
mod compare;

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
    store::SimQueueStore,
    world::{self, Actors, NOBODY, spawn_on, with},
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

/// How many daemons call.
const DAEMONS: usize = 2;
const CALLS: usize = 300;
/// Statements in memory take their time; nothing becomes due so close to a call, in µs.
const BLUR_US: u64 = 100_000;
/// The real clock's zero, in seconds since 1970.
const BASE_S: f64 = 1_700_000_000.0;
const DAY_US: u64 = 86_400_000_000;
/// A real day in the days of the simulation, which are short.
const SHORT_DAYS: u32 = (DAY_US / super::log::DAY_US) as u32;
/// Who only looks: no transaction has this number.
const LOOK: Tx = Tx { number: 0, node: 0 };

/// A server that ends with this value.
struct Real {
    script: Child,
    db: Db,
    skips: bool,
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
        let port = line.split(' ').next().and_then(|port| port.parse().ok()).expect("its messages are above");
        let config = Database { host: "127.0.0.1".into(), port, user: "root".into(), ..Database::default() };
        let db = Db::open(&config, 16).unwrap();
        let server = db::ServerInfo::ask(&mut db.any().unwrap()).unwrap();
        install::init(&db, &server, &Templates::load(None).unwrap()).unwrap();
        Real { script, db, skips: server.skip_locked, _dir: dir }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// The same thing twice: in memory, where an actor uses it, and on the server.
struct Pair<S, R>(Arc<Mutex<S>>, R);

/// What has a connection whose clock can be stopped.
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
        self.link_for_tests()
    }
}

/// An application's transaction that is open on both.
struct Open {
    tx: Tx,
    conn: db::Conn,
}

struct Likeness {
    rng: fastrand::Rng,
    actors: Actors,
    now_us: u64,
    db: Db,
    conn: db::Conn,
    tables: Vec<Pair<SimQueueStore, SqlQueueStore>>,
    logs: Vec<Pair<SimEventLog, SqlEventLog>>,
    skips: bool,
    open: Option<Open>,
    /// The outbox ids in memory, by those of the server.
    ids: BTreeMap<u64, u64>,
    /// Jobs that were claimed, whoever has them now.
    held: Vec<Job>,
    cursor: Option<Cursor>,
    claims: u64,
}

/// Stops a connection's clock.
fn set_clock(conn: &mut Conn, now_us: u64) -> Result<(), Error> {
    Ok(conn.query_drop(format!("SET timestamp = {:.6}", BASE_S + now_us as f64 / 1e6))?)
}

fn same<T: PartialEq + Debug>(what: &str, memory: &T, server: &T) {
    assert!(memory == server, "{what}\nin memory:     {memory:?}\non the server: {server:?}");
}

/// Some µs from now, on both the same but for the blur.
fn same_time(what: &str, memory: Option<i64>, server: Option<i64>) {
    let distance = memory.zip(server).map(|(a, b)| a.abs_diff(b));
    assert!(memory.is_some() == server.is_some(), "{what}: {memory:?} in memory, {server:?} on the server");
    assert!(distance.is_none_or(|us| us < BLUR_US), "{what}: {memory:?} in memory, {server:?} on the server");
}

impl Likeness {
    fn new(real: &Real, rng: fastrand::Rng, skips: bool) -> Likeness {
        let host = Host { nodes: 1 };
        let hooks: Arc<dyn TransactionHooks> = Arc::new(NoHooks);
        let store = |owner: u64| {
            let claimer = Claimer { owner: owner.to_string(), skip_locked: skips };
            let memory = SimQueueStore::new(&host, owner, skips);
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
        Likeness {
            rng,
            actors: Actors::default(),
            now_us: 0,
            db: real.db.clone(),
            conn,
            tables: (1..=DAEMONS as u64).map(store).collect(),
            logs: (0..DAEMONS).map(log).collect(),
            skips,
            open: None,
            ids: BTreeMap::new(),
            held: Vec::new(),
            cursor: None,
            claims: 0,
        }
    }

    /// Time passes, to a moment when nothing is about to become due.
    fn tick(&mut self) {
        let most = match self.rng.u8(0..40) {
            0 => 2 * DAY_US,
            1..10 => 20_000,
            10..20 => 250_000,
            _ => 3_000_000,
        };
        self.now_us = self.now_us.max(with(|world| world.now_us)) + self.rng.u64(0..most);
        let due: Vec<u64> = with(|world| {
            let jobs = world.server.jobs.all_committed().filter_map(|(_, row)| row.run_at);
            let leases = world.server.leases.all_committed().map(|(_, until)| *until);
            let pruned = world.server.events.all_committed().map(|(_, entry)| entry.at + DAY_US);
            let turn = world.server.log.all_committed().filter_map(|(_, log)| Some(log.moved?.1 + super::log::TURN_US));
            let forgotten = world.server.leases.all_committed().map(|(_, until)| *until + DAY_US);
            jobs.chain(leases).chain(pruned).chain(turn).chain(forgotten).collect()
        });
        while due.iter().any(|us| us.abs_diff(self.now_us) < BLUR_US) {
            self.now_us += BLUR_US;
        }
        with(|world| {
            (world.now_us, world.server.now_us) = (self.now_us, self.now_us);
        });
        set_clock(&mut self.conn, self.now_us).unwrap();
    }

    /// A call on both.
    fn both<S: Send + 'static, R: Clocked, T: Send + 'static>(
        &mut self,
        twin: impl FnOnce(&mut Likeness) -> &mut Pair<S, R>,
        memory: impl FnOnce(&mut S) -> Result<T, Error> + Send + 'static,
        server: impl FnOnce(&mut R) -> Result<T, Error>,
    ) -> (T, T) {
        let now_us = self.now_us;
        let Pair(shared, real) = twin(self);
        let shared = shared.clone();
        real.link().run(|conn| set_clock(conn, now_us)).unwrap();
        let server = server(real).unwrap();
        let (answer, answers) = bounded(1);
        spawn_on(NOBODY, move || answer.send(memory(&mut shared.lock().unwrap())).unwrap());
        while answers.is_empty() {
            self.actors.take_turns();
        }
        (answers.recv().unwrap().unwrap(), server)
    }

    fn on_table<T: Send + 'static>(
        &mut self,
        call: impl Fn(&mut dyn QueueStore) -> Result<T, Error> + Clone + Send + 'static,
    ) -> (T, T) {
        let (n, memory) = (self.rng.usize(..DAEMONS), call.clone());
        self.both(|twins| &mut twins.tables[n], move |table| memory(table), |table| call(table))
    }

    /// Ids of the outbox and days are not the same numbers on both.
    fn on_log<T: Send + 'static>(
        &mut self,
        memory: impl FnOnce(&mut SimEventLog) -> Result<T, Error> + Send + 'static,
        server: impl FnOnce(&mut SqlEventLog) -> Result<T, Error>,
    ) -> (T, T) {
        let n = self.rng.usize(..DAEMONS);
        self.both(|twins| &mut twins.logs[n], memory, server)
    }
}

/// One run with claims of one kind.
fn run(real: &Real, seed: u64, skips: bool) {
    world::begin(seed, 0, FaultSchedule::default());
    with(|world| world.server.oracle.is_causal = true);
    let mut both = Likeness::new(real, fastrand::Rng::with_seed(seed), skips);
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
    world::end();
    println!("with SKIP LOCKED: {skips}; calls that did something, of all: {calls:?}");
}

#[test]
#[ignore = "needs a server; scripts/test.sh has one"]
fn the_server_in_memory_does_what_a_server_does() {
    let seed = std::env::var("RESQ_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("RESQ_SEED={seed}");
    let real = Real::start();
    run(&real, seed, false);
    if real.skips {
        run(&real, seed, true);
    }
}
