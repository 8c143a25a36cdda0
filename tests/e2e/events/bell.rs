//! Waking up by the loadable functions: everything here polls once a minute, so that what comes at once was rung for.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mysql::{Conn, prelude::Queryable};

use super::{next, publish, subscriber};
use crate::{
    instance::Instance,
    program::{Running, wait_at_most, wait_until},
    udf::{
        peer::{Peer, RING},
        rig::Rig,
    },
};

/// Long before the next poll.
const AT_ONCE: Duration = Duration::from_secs(20);

/// A server with the functions in it, which ring for one test's daemon at a time and for a peer that counts.
pub struct Tower(Rig);

pub fn tower() -> MutexGuard<'static, Tower> {
    static TOWER: OnceLock<Mutex<Tower>> = OnceLock::new();
    TOWER.get_or_init(|| Mutex::new(Tower(Rig::own()))).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tower {
    pub fn instance(&self, name: &str) -> Instance<'_> {
        let instance = Instance::on(&self.0.server, name);
        let (broker, peer) = (instance.broker_socket(), self.0.peer_path(0));
        // Read again as soon as an address has no connection, and the last test's daemon is gone.
        self.0.write_settings(&format!("addr = unix:{}\naddr = unix:{}\n", broker.display(), peer.display()), 0o640);
        instance.resqctl(["init"]).ok();
        instance
    }

    /// A daemon that the functions ring for.
    pub fn resqd(&self, instance: &Instance) -> Running {
        let mut resqd = instance.resqd().args(["--poll-ms", "60000", "-v"]).spawn();
        resqd.wait_for_log("serving");
        resqd.wait_for_log("resq_udf");
        resqd
    }
}

#[test]
fn ten_thousand_rows_start_jobs_at_once_by_a_few_rings() {
    let tower = tower();
    let instance = tower.instance("bulk");
    let sql = instance.sql_dir(&[("res_db/10.sql", "CREATE DATABASE {{RES_DB_NAME}}")]);
    let mut running = instance.resqd().args(["--poll-ms", "60000", "-v", "--sql-dir"]).arg(&sql).spawn();
    running.wait_for_log("resq_udf");
    let counter = Peer::listen(&tower.0.peer_path(0));
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
    // Claims and outcomes ring as well, by the same triggers: these are all rings since the start.
    let rings = counter.count(RING) - 1;
    let total = start.elapsed();
    println!("10,000 rows in {took:?}, {rings} rings in {total:?}");
    // Where a row takes as long as a commit, they ring as commits do: one a millisecond at most.
    let most = if took < Duration::from_secs(1) { 20 + total.as_millis() / 20 } else { total.as_millis() };
    assert!((1..=most).contains(&(rings as u128)), "{rings} rings in {total:?}");
    let events: u64 = conn
        .query_first("SELECT (SELECT COUNT(*) FROM res_outbox) + (SELECT COUNT(*) FROM res_event)")
        .unwrap()
        .unwrap();
    assert!(events > 10_000, "{events} events");
}

#[test]
fn no_insert_fails_while_the_functions_come_and_go_and_init_makes_sessions_see_them_again() {
    let tower = tower();
    let instance = tower.instance("comes_and_goes");
    instance.resqctl(["pause"]).ok();
    let running = tower.resqd(&instance);
    let register = tower.0.install();
    let mut admin = instance.conn();
    let mut old_session = instance.app();
    let insert = |conn: &mut Conn, n: u64| {
        conn.query_drop(format!("INSERT INTO res_queue (res_name) VALUES ('t{n}')")).expect("an INSERT never fails");
        publish(conn, "A", "1");
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
            tower.0.register(&register);
        }
        done.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().expect("no INSERT failed")).sum::<u64>() + 20
    });
    let rows: u64 = admin.query_first("SELECT COUNT(*) FROM res_queue").unwrap().unwrap();
    assert_eq!(rows, written);

    admin.query_drop("DROP FUNCTION resq_ring").unwrap();
    insert(&mut old_session, 0);
    // The plain CREATE FUNCTION of somebody who does not know what an open session remembers.
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
fn a_transaction_held_open_is_told_when_it_commits() {
    let tower = tower();
    let instance = tower.instance("held_open");
    let running = tower.resqd(&instance);
    let mut peer = subscriber(&instance.broker_socket(), 0);
    let mut held = instance.app();
    held.query_drop("START TRANSACTION").unwrap();
    publish(&mut held, "Held", "1");
    held.query_drop("INSERT INTO res_queue (res_name) VALUES ('held')").unwrap();
    // Longer than the looks that follow a bell.
    held.query_drop("DO SLEEP(3)").unwrap();
    let start = Instant::now();
    held.query_drop("COMMIT").unwrap();
    let states = [(); 4].map(|()| next(&mut peer).1);
    assert_eq!(states, ["Held", "New", "InProgress", "Completed"]);
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(running.stop().code(), Some(0));
}
