//! Wakeups by the loadable functions: every daemon here polls once a minute, so that prompt reactions are due to a ring.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};

use resq_test_support::{Instance, Program, RING, Running, UdfPeer, UdfServer, templates, wait_at_most, wait_until};

use super::{next, publish, subscriber};

/// Long before the next poll.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A server with the loadable functions, which ring for one test's daemon at a time.
pub struct RingingServer(UdfServer);

pub fn ringing_server() -> MutexGuard<'static, RingingServer> {
    static SERVER: OnceLock<Mutex<RingingServer>> = OnceLock::new();
    SERVER.get_or_init(|| Mutex::new(RingingServer(UdfServer::own()))).lock().unwrap_or_else(PoisonError::into_inner)
}

impl RingingServer {
    /// An installation whose broker, and a peer that counts, are the addresses of the functions.
    pub fn instance(&self, name: &str) -> Instance<'_> {
        let instance = Instance::on(&self.0.server, name);
        let (broker, peer) = (instance.broker_socket(), self.0.peer_path(0));
        // They are read as soon as an address has no connection, and the last test's daemon is gone.
        self.0.write_settings(&format!("addr = unix:{}\naddr = unix:{}\n", broker.display(), peer.display()), 0o640);
        wait_until("the last test's daemon to be disconnected", || self.0.stats().connected == 0);
        instance.resqctl(["init"]).ok();
        instance
    }

    /// A daemon that polls once a minute, to which the functions have connected.
    pub fn resqd(&self, program: Program) -> Running {
        let running = program.args(["--poll-ms", "60000"]).spawn_ready();
        wait_until("the functions to connect", || self.0.stats().connected == 1);
        running
    }
}

#[test]
fn ten_thousand_rows_start_jobs_at_once_by_few_rings() {
    let server = ringing_server();
    let instance = server.instance("bulk");
    let sql = instance.sql_dir(templates::MINIMAL);
    let _running = server.resqd(instance.resqd().arg("--sql-dir").arg(&sql));
    let counter = UdfPeer::listen(&server.0.peer_path(0));
    wait_until("the ring of the connection", || counter.count(RING) == 1);
    let (mut conn, mut app) = (instance.conn(), instance.app());
    let started = |conn: &mut Conn| -> u64 {
        conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status <> 'new'").unwrap().unwrap()
    };
    let values: Vec<String> = (0..10_000).map(|n| format!("('b{n}')")).collect();
    let start = Instant::now();
    app.query_drop(format!("INSERT INTO res_queue (res_name) VALUES {}", values.join(","))).unwrap();
    let took = start.elapsed();
    wait_at_most(AT_ONCE, "jobs to start", || started(&mut conn) > 0);
    instance.resqctl(["pause"]).ok();
    // Claims and outcomes ring too, by the same triggers: these are all rings since the start.
    let rings = counter.count(RING) - 1;
    let total = start.elapsed();
    println!("10,000 rows in {took:?}, {rings} rings in {total:?}");
    // Where a row takes as long as a commit, rings are as frequent as commits: one per millisecond at most.
    let most = if took < Duration::from_secs(1) { 20 + total.as_millis() / 20 } else { total.as_millis() };
    assert!((1..=most).contains(&(rings as u128)), "{rings} rings in {total:?}");
    let events: u64 = conn
        .query_first("SELECT (SELECT COUNT(*) FROM res_outbox) + (SELECT COUNT(*) FROM res_event)")
        .unwrap()
        .unwrap();
    assert!(events > 10_000, "{events} events");
}

#[test]
fn inserts_never_fail_while_functions_are_dropped_and_created() {
    let server = ringing_server();
    let instance = server.instance("comes_and_goes");
    instance.resqctl(["pause"]).ok();
    let running = server.resqd(instance.resqd());
    let register = server.0.install();
    let mut admin = instance.conn();
    let mut old_session = instance.app();
    let insert = |conn: &mut Conn, n: u64| {
        server.0.call(|| {
            conn.query_drop(format!("INSERT INTO res_queue (res_name) VALUES ('t{n}')"))
                .expect("an INSERT never fails");
            publish(conn, "A", "1");
        });
    };
    let done = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let (mut conn, done, insert) = (instance.app(), &done, &insert);
                scope.spawn(move || {
                    let mut n = 0;
                    while !done.load(Ordering::Relaxed) {
                        insert(&mut conn, n);
                        n += 1;
                    }
                    n
                })
            })
            .collect();
        for round in 0..20 {
            for function in ["resq_ring", "resq_notify"] {
                admin.query_drop(format!("DROP FUNCTION {function}")).unwrap();
            }
            insert(&mut old_session, round);
            server.0.register(&register);
        }
        done.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("no INSERT failed")).sum::<u64>() + 20
    });
    let rows: u64 = admin.query_first("SELECT COUNT(*) FROM res_queue").unwrap().unwrap();
    assert_eq!(rows, written);

    admin.query_drop("DROP FUNCTION resq_ring").unwrap();
    insert(&mut old_session, 0);
    // A plain CREATE FUNCTION: open sessions still remember that the function was missing, until init.
    let create = register.lines().find(|line| line.starts_with("CREATE FUNCTION resq_ring")).expect("its line");
    admin.query_drop(create.trim_end_matches(';')).unwrap();
    instance.resqctl(["init"]).ok();
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let last = 2 * (written + 1) + 1;
    publish(&mut old_session, "Last", "1");
    let start = Instant::now();
    let mut seq = 0;
    while seq < last {
        seq = next(&mut peer).0;
    }
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(running.stop().code(), Some(0));
}

#[test]
fn a_long_transaction_is_delivered_when_it_commits() {
    let server = ringing_server();
    let instance = server.instance("held_open");
    let running = server.resqd(instance.resqd());
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let mut held = instance.app();
    held.query_drop("START TRANSACTION").unwrap();
    publish(&mut held, "Held", "1");
    held.query_drop("INSERT INTO res_queue (res_name) VALUES ('held')").unwrap();
    // 13 polls follow a ring; later ones are due to the open transaction.
    let mut conn = instance.conn();
    let mut polls = || {
        let (_, calls): (String, u64) =
            conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_call_procedure'").unwrap().expect("a counter");
        calls
    };
    let begun = polls();
    wait_until("the polls that follow a ring to be over", || polls() >= begun + 16);
    let start = Instant::now();
    held.query_drop("COMMIT").unwrap();
    let states = [(); 4].map(|()| next(&mut peer).1);
    assert_eq!(states, ["Held", "New", "InProgress", "Completed"]);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(running.stop().code(), Some(0));
}
