//! Whether the server in memory is like a real one: the same calls on both, one after the other, have to return the same
//! and leave the same rows. Both clocks stand still during a call. What this does not reach are calls that run into each
//! other: of those only an application's open transaction is here.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use crossbeam_channel::bounded;
use mysql::{Conn, Error, prelude::Queryable};

use super::{
    Faults,
    log::SimLog,
    people,
    rows::Tx,
    server::{LogRow, ONE},
    session::Host,
    table::SimTable,
    witness::{ByHand, Kind},
    world::{self, Actors, NOBODY, spawn_on, with},
};
use crate::{
    config::Database,
    db::{self, Db, Link},
    journal::{
        log::{Log, SqlLog},
        store::Found,
    },
    provision::{Templates, init},
    queue::{
        Ending, Handler, Job, JobError, Queue, Session, Status,
        job::{Ended, Outcome, next},
        store::{Claimer, Cursor},
        table::{SqlTable, Table},
    },
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
        let server = db::Server::ask(&mut db.any().unwrap()).unwrap();
        init::init(&db, &server, &Templates::load(None).unwrap()).unwrap();
        Real { script, db, skips: server.skip_locked, _dir: dir }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

/// Makes nothing beside the rows of the queue.
struct Nothing;

impl Handler for Nothing {
    fn run(&self, _: &Job, _: &mut Session) -> Result<Option<String>, JobError> {
        unreachable!("nobody works here")
    }
}

/// The same thing twice: in memory, where an actor uses it, and on the server.
struct Twin<S, R>(Arc<Mutex<S>>, R);

/// What has a connection whose clock can be stopped.
trait Clocked {
    fn link(&mut self) -> &mut Link;
}

impl Clocked for SqlTable {
    fn link(&mut self) -> &mut Link {
        self.link_for_tests()
    }
}

impl Clocked for SqlLog {
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
    tables: Vec<Twin<SimTable, SqlTable>>,
    logs: Vec<Twin<SimLog, SqlLog>>,
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
    conn.query_drop(format!("SET timestamp = {:.6}", BASE_S + now_us as f64 / 1e6))
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
        let handler: Arc<dyn Handler> = Arc::new(Nothing);
        let table = |owner: u64| {
            let claimer = Claimer { owner: owner.to_string(), skip_locked: skips };
            let memory = SimTable::new(&host, owner, skips);
            Twin(Arc::new(Mutex::new(memory)), SqlTable::new(&real.db, &claimer, &handler))
        };
        let log = |_| Twin(Arc::new(Mutex::new(SimLog::new(&host))), SqlLog::new(&real.db));
        let mut conn = real.db.global().unwrap();
        conn.query_drop(
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
            tables: (1..=DAEMONS as u64).map(table).collect(),
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
        twin: impl FnOnce(&mut Likeness) -> &mut Twin<S, R>,
        memory: impl FnOnce(&mut S) -> Result<T, Error> + Send + 'static,
        server: impl FnOnce(&mut R) -> Result<T, Error>,
    ) -> (T, T) {
        let now_us = self.now_us;
        let Twin(shared, real) = twin(self);
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
        call: impl Fn(&mut dyn Table) -> Result<T, Error> + Clone + Send + 'static,
    ) -> (T, T) {
        let (n, memory) = (self.rng.usize(..DAEMONS), call.clone());
        self.both(|twins| &mut twins.tables[n], move |table| memory(table), |table| call(table))
    }

    /// Ids of the outbox and days are not the same numbers on both.
    fn on_log<T: Send + 'static>(
        &mut self,
        memory: impl FnOnce(&mut SimLog) -> Result<T, Error> + Send + 'static,
        server: impl FnOnce(&mut SqlLog) -> Result<T, Error>,
    ) -> (T, T) {
        let n = self.rng.usize(..DAEMONS);
        self.both(|twins| &mut twins.logs[n], memory, server)
    }

    /// What the daemons do; true if it came to something.
    fn daemon_calls(&mut self) -> (&'static str, bool) {
        match self.rng.u8(0..12) {
            0 | 1 => {
                self.claims += 1;
                let (claim_id, limit) = (self.claims, self.rng.usize(1..5));
                let after = self.cursor.take().filter(|_| self.rng.bool());
                let (memory, server) = self.on_table(move |table| table.claim(claim_id, limit, after));
                same("claimed", &memory, &server);
                self.cursor = server.1;
                let is_new = !server.0.is_empty();
                self.held.extend(server.0);
                ("claim", is_new)
            }
            2 | 3 => {
                let endings = self.endings();
                let (memory, server) = self.on_table(move |table| table.finish(&endings));
                same("finished", &memory, &server);
                ("finish", server > 0)
            }
            4 => {
                self.let_go_of_locked();
                let Some(claim_id) = self.rng.choice(&self.held).map(|job| job.claim_id) else {
                    return ("give back", false);
                };
                let some = self.held.iter().filter(|job| job.claim_id == claim_id && self.rng.bool()).map(|job| job.id);
                let ids = Some(some.collect::<Vec<_>>()).filter(|ids| !ids.is_empty());
                self.on_table(move |table| table.give_back(claim_id, ids.as_deref()));
                ("give back", true)
            }
            5 => {
                let (memory, server) = self.on_table(|table| table.rescue());
                same("rescued", &memory, &server);
                ("rescue", server > 0)
            }
            6 => {
                let (memory, server) = self.on_table(|table| table.promote());
                same("promoted", &memory, &server);
                let us = |due: Option<Duration>| due.map(|due| due.as_micros() as i64);
                let (memory, server) = self.on_table(|table| table.next_due());
                same_time("next due", us(memory), us(server));
                ("promote", server.is_some())
            }
            7 => {
                let lease_s = self.rng.u32(2..8);
                self.on_table(move |table| table.renew_lease(lease_s));
                ("renew", true)
            }
            8 => {
                match self.rng.u8(0..4) {
                    0 => drop(self.on_table(|table| table.end_lease())),
                    _ => {
                        let (memory, server) = self.on_table(|table| table.is_paused());
                        same("paused", &memory, &server);
                    }
                }
                ("end or look", true)
            }
            9 | 10 => {
                let floor = self.floor();
                let head = with(|world| world.server.witness.head_seq());
                let (after_seq, limit) = (self.rng.u64(0..=head), self.rng.usize(1..20));
                let seen = |found: Found| (found.moved, found.events.iter().map(|event| event.seq).collect::<Vec<_>>());
                let (memory, mut server) = self.on_log(
                    move |log| log.look(floor.0, after_seq, limit).map(seen),
                    |log| log.look(floor.1, after_seq, limit).map(seen),
                );
                server.0 = server.0.map(|id| self.ids[&id]);
                same("numbered and read", &memory, &server);
                ("number", server.0.is_some())
            }
            _ => {
                let limit = self.rng.usize(1..6);
                let (memory, server) = self.on_log(move |log| log.prune(SHORT_DAYS, limit), |log| log.prune(1, limit));
                same("pruned", &memory, &server);
                ("prune", server.is_some())
            }
        }
    }

    /// Ends of some attempts, of which some have lost their job.
    fn endings(&mut self) -> Vec<Ending> {
        let mut endings: Vec<Ending> = Vec::new();
        self.let_go_of_locked();
        for _ in 0..self.rng.usize(1..4).min(self.held.len()) {
            let n = self.rng.usize(..self.held.len());
            let job = if self.rng.u8(0..5) > 0 { self.held.swap_remove(n) } else { self.held[n].clone() };
            let error = "no luck".to_string();
            let ended = match self.rng.u8(0..6) {
                0..3 => Ended::Done { db_name: None },
                3 => Ended::Failed { error, permanent: false },
                4 => Ended::Failed { error, permanent: true },
                _ => Ended::Interrupted { why: error },
            };
            let outcome = Outcome { job, ended };
            let next = next(&outcome, 3, self.rng.f64());
            if endings.iter().all(|ending| ending.outcome.job.id != outcome.job.id) {
                let (job, kind) = (&outcome.job, Kind::of(&outcome.ended));
                with(|world| world.server.witness.ran(job.id, job.claim_id, kind));
                endings.push(Ending { outcome, next });
            }
            if self.held.is_empty() {
                break;
            }
        }
        endings
    }

    /// Forgets attempts whose jobs an application has locked since they were lost: a call for them would wait for it.
    fn let_go_of_locked(&mut self) {
        let free = self.free_jobs(|_| true);
        self.held.retain(|job| free.contains(&job.id));
    }

    /// An outbox id below every event that has no number, in memory and on the server.
    fn floor(&mut self) -> (u64, u64) {
        let (memory, server) = self.on_log(|log| log.oldest_unmoved(), |log| log.oldest_unmoved());
        same("the oldest without a number", &memory, &server.map(|id| self.ids[&id]));
        let below = self.ids.iter().rfind(|(id, _)| server.is_none_or(|oldest| **id < oldest));
        below.filter(|_| self.rng.bool()).map_or((0, 0), |(server, memory)| (*memory, *server))
    }

    /// What applications and operators do; true if it came to something.
    fn other_calls(&mut self) -> (&'static str, bool) {
        match self.rng.u8(0..10) {
            0..5 => {
                self.write();
                ("write", true)
            }
            5 => {
                let what = if self.rng.bool() { ByHand::Cancel } else { ByHand::Retry };
                let ids: Vec<u64> = self.free_jobs(|_| true);
                let Some(&id) = self.rng.choice(&ids) else { return ("by hand", false) };
                let memory =
                    with(|world| world.server.alone(0, |server, tx| people::change(server, tx, id, what))).unwrap();
                let mut queue = Queue::on(&self.db);
                queue.with(|conn| set_clock(conn, self.now_us)).unwrap();
                let server = if what == ByHand::Cancel { queue.cancel(&[id]) } else { queue.retry(&[id]) };
                same("changed by hand", &(memory as u64), &server.unwrap());
                ("by hand", memory > 0)
            }
            6 => {
                let is_paused = self.rng.u8(0..3) == 0;
                with(|world| world.server.alone(0, |server, tx| people::set_paused(server, tx, is_paused))).unwrap();
                let mut queue = Queue::on(&self.db);
                if is_paused { queue.pause() } else { queue.resume() }.unwrap();
                ("pause", is_paused)
            }
            _ => (if self.open.is_some() { "end" } else { "open" }, self.open_or_end()),
        }
    }

    /// A job or an event, in the open transaction or in one of its own.
    fn write(&mut self) {
        let Likeness { rng, open, conn, now_us, .. } = self;
        let open = open.as_mut().filter(|_| rng.bool());
        let own = open.is_none();
        let tx = open.as_ref().map_or_else(|| with(|world| world.server.begin(0)), |open| open.tx);
        let conn = open.map_or(conn, |open| &mut open.conn);
        set_clock(conn, *now_us).unwrap();
        if rng.u8(0..3) == 0 {
            with(|world| world.server.publish(tx, "Told", None));
            conn.query_drop("CALL publish('Told', '1')").unwrap();
        } else {
            let delay_us = Some(rng.u64(0..4_000_000)).filter(|_| rng.u8(0..4) == 0);
            let max_attempts = *rng.choice(&[None, Some(1), Some(3)]).expect("one of them");
            let priority = rng.i64(0..3);
            let id = with(|world| people::insert(&mut world.server, tx, delay_us, max_attempts, priority)).unwrap();
            conn.exec_drop(
                "INSERT INTO res_queue (res_id, res_name, priority, run_at, max_attempts) \
                 VALUES (?, ?, ?, NOW(6) + INTERVAL ? MICROSECOND, ?)",
                (id, format!("job-{id}"), priority, delay_us, max_attempts),
            )
            .unwrap();
        }
        if own {
            with(|world| world.server.commit(tx)).unwrap();
        }
    }

    /// Committed jobs that nobody has locked.
    fn free_jobs(&self, is_wanted: impl Fn(Status) -> bool) -> Vec<u64> {
        with(|world| {
            let server = &mut world.server;
            let tx = server.begin(0);
            let jobs =
                server.jobs.all_committed().filter(|(id, row)| is_wanted(row.status) && server.jobs.is_free(tx, *id));
            let ids = jobs.map(|(id, _)| id).collect();
            server.roll_back(tx);
            ids
        })
    }

    /// Begins a transaction that locks a job and stays open, or ends it. Without SKIP LOCKED a claim would wait for it.
    fn open_or_end(&mut self) -> bool {
        if let Some(Open { tx, mut conn }) = self.open.take() {
            let commits = self.rng.bool();
            with(|world| match commits {
                true => world.server.commit(tx).unwrap(),
                false => world.server.roll_back(tx),
            });
            conn.query_drop(if commits { "COMMIT" } else { "ROLLBACK" }).unwrap();
            return commits;
        }
        if self.skips {
            let mut conn = self.db.global().unwrap();
            conn.query_drop("START TRANSACTION").unwrap();
            let tx = with(|world| world.server.begin(0));
            let ids = self.free_jobs(|status| status == Status::New);
            if let Some(&id) = self.rng.choice(&ids) {
                with(|world| world.server.jobs.lock(tx, id)).unwrap();
                let lock = "SELECT res_id FROM res_queue FORCE INDEX (PRIMARY) WHERE res_id = ? FOR UPDATE";
                conn.exec_drop(lock, (id,)).unwrap();
            }
            self.open = Some(Open { tx, conn });
        }
        self.skips
    }

    /// Everything that is in the tables.
    fn compare(&mut self) {
        type Columns = (u64, String, i64, u32, Option<u32>, u32, Option<String>, Option<u64>);
        const US: &str = "TIMESTAMPDIFF(MICROSECOND, NOW(6), ";
        set_clock(&mut self.conn, self.now_us).unwrap();
        let from_now = |us: u64| us as i64 - self.now_us as i64;
        let server: Vec<(Columns, Option<i64>)> = self
            .conn
            .query_map(
                format!(
                    "SELECT res_id, status, priority, attempts, max_attempts, interruptions, owner, claim_id, {US} run_at) \
                     FROM res_queue ORDER BY res_id"
                ),
                |(a, b, c, d, e, f, g, h, due)| ((a, b, c, d, e, f, g, h), due),
            )
            .unwrap();
        let memory: Vec<(Columns, Option<i64>)> = with(|world| {
            let jobs = world.server.jobs.all_committed().map(|(id, row)| {
                let owner = row.owner.map(|owner| owner.to_string());
                let (status, counted) = (row.status.as_str().to_string(), (row.attempts, row.max_attempts));
                let columns = (id, status, row.priority, counted.0, counted.1, row.interruptions, owner, row.claim_id);
                (columns, row.run_at.map(from_now))
            });
            jobs.collect()
        });
        same("jobs", &memory.len(), &server.len());
        for ((memory, memory_due), (server, server_due)) in memory.into_iter().zip(server) {
            same("a job", &memory, &server);
            same_time(&format!("run_at of {server:?}"), memory_due, server_due);
        }

        // What is long over may be forgotten.
        let leases =
            format!("SELECT owner, {US} lease_until) FROM res_daemon WHERE lease_until >= NOW(6) - INTERVAL 1 DAY");
        let server: BTreeMap<u64, i64> = self.conn.query(leases).unwrap().into_iter().collect();
        let memory: BTreeMap<u64, i64> = with(|world| {
            let leases = world.server.leases.all_committed().map(|(owner, until)| (owner, from_now(*until)));
            leases.filter(|(_, until)| *until >= -(DAY_US as i64)).collect()
        });
        for owner in 1..=DAEMONS as u64 {
            same_time(&format!("the lease of {owner}"), memory.get(&owner).copied(), server.get(&owner).copied());
        }

        let server: (u64, u64) = self.conn.query_first("SELECT head_seq, first_seq FROM res_log").unwrap().unwrap();
        let memory = with(|world| {
            let LogRow { head_seq, first_seq, .. } = world.server.log.committed(ONE).expect("the only row").clone();
            (head_seq, first_seq)
        });
        same("the log", &memory, &server);
        const JOB: &str = "CAST(JSON_VALUE(payload, '$.res_id') AS UNSIGNED)";
        let events = format!("SELECT seq, state, {JOB} FROM res_event ORDER BY seq");
        let server: Vec<(u64, String, Option<u64>)> = self.conn.query(events).unwrap();
        let memory: Vec<(u64, String, Option<u64>)> = with(|world| {
            let events = world.server.events.all_committed();
            events.map(|(seq, entry)| (seq, entry.state.to_string(), entry.job)).collect()
        });
        same("events", &memory, &server);

        // First by their order, those not committed among them; that says which is which.
        self.conn.query_drop("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED").unwrap();
        let server: Vec<u64> = self.conn.query("SELECT id FROM res_outbox ORDER BY id").unwrap();
        let memory = with(|world| {
            let tx = Tx { number: 0, node: 0 };
            world.server.outbox.touched(tx, |_| true)
        });
        same("ids in the outbox", &memory.len(), &server.len());
        self.ids.extend(server.into_iter().zip(memory));
        let outbox = format!("SELECT id, state, {JOB} FROM res_outbox ORDER BY id");
        let server: Vec<(u64, String, Option<u64>)> = self.conn.query(outbox).unwrap();
        let server: Vec<_> = server.into_iter().map(|(id, state, job)| (self.ids[&id], state, job)).collect();
        let memory: Vec<_> = with(|world| {
            let outbox = world.server.outbox.all_committed();
            outbox.map(|(id, entry)| (id, entry.state.to_string(), entry.job)).collect()
        });
        same("the outbox", &memory, &server);
    }
}

/// One run with claims of one kind.
fn run(real: &Real, seed: u64, skips: bool) {
    world::begin(seed, 0, Faults::default());
    with(|world| world.server.witness.is_causal = true);
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
