//! Exactness through the death of daemons, servers and nodes, while applications write.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{DEADLINE, Instance, Running, Server, is_cluster, wait_at_most};
use serde_json::Value as Json;

use super::{instance, resqd, server, wait_until_read};
use crate::cluster;

const WRITERS: usize = 3;
/// Written in each round.
const TRANSACTIONS: u64 = 300;
/// Rows of a transaction that is larger than what resqd holds of one.
const LARGE: u64 = 2_500;

/// Who dies.
#[derive(Clone, Copy, Debug)]
enum Victim {
    /// One of two daemons: the other takes over.
    Daemon(usize),
    /// The server, or a node of a cluster, which then starts again.
    Node(usize),
}

/// Ends the writers when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes numbered rows on node 1, several in a transaction of which some are rolled back, until `over`; a server that is
/// gone is waited for. What was committed is what the table holds.
fn write(server: &Server, writer: usize, over: &AtomicBool, allowed: &AtomicU64, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed + writer as u64);
    let mut conn: Option<Conn> = None;
    while !over.load(Ordering::Relaxed) {
        if allowed.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
            continue;
        }
        let Some(session) = &mut conn else {
            conn = server.try_conn(1).ok();
            thread::yield_now();
            continue;
        };
        let count = if random.u8(0..100) == 0 { LARGE } else { random.u64(1..5) };
        let rows: Vec<String> = (0..count).map(|_| format!("({writer})")).collect();
        let end = if random.u8(0..4) == 0 { "ROLLBACK" } else { "COMMIT" };
        let sql = format!("START TRANSACTION; INSERT INTO wexact.t (writer) VALUES {}; {end}", rows.join(","));
        match session.query_drop(sql) {
            Ok(()) => drop(allowed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))),
            Err(_) => conn = None,
        }
    }
}

/// Every row that the table holds is exactly one event, those of each writer in the order of their ids, and no row that it
/// does not hold is any.
fn assert_exact(instance: &Instance) {
    let mut conn = instance.server.conn();
    let rows: Vec<(u64, usize)> = conn.query("SELECT id, writer FROM wexact.t ORDER BY id").unwrap();
    let mut log = instance.conn();
    wait_at_most(DEADLINE * 2, "the last event", || {
        log.query_first::<usize, _>("SELECT COUNT(*) FROM res_event").unwrap().unwrap() >= rows.len()
    });
    let found: Vec<(u64, String, String)> =
        log.query("SELECT seq, state, payload FROM res_event ORDER BY seq").unwrap();
    let mut ids: Vec<Vec<u64>> = vec![Vec::new(); WRITERS];
    for (place, (seq, state, payload)) in found.iter().enumerate() {
        assert_eq!((*seq, state.as_str()), (place as u64 + 1, "t.insert"), "{payload}");
        let after = serde_json::from_str::<Json>(payload).unwrap()["after"].clone();
        ids[after["writer"].as_u64().unwrap() as usize].push(after["id"].as_u64().unwrap());
    }
    for (writer, ids) in ids.iter().enumerate() {
        let expected: Vec<u64> = rows.iter().filter(|(_, w)| *w == writer).map(|(id, _)| *id).collect();
        assert_eq!(*ids, expected, "writer {writer}");
    }
    println!("{} rows, each one event", rows.len());
}

/// Kills the victims one after the other under load, in a random order, until `rounds` have died. `options` are the
/// server's. A daemon of a cluster prefers node 2 or 3, and goes on where it can.
fn survive(server: &Server, name: &str, options: &[&str], victims: &[Victim], rounds: usize) {
    let seed = std::env::var("RESQ_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("RESQ_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let instance = instance(server, name);
    server
        .conn()
        .query_drop("CREATE DATABASE wexact; CREATE TABLE wexact.t (id BIGINT AUTO_INCREMENT PRIMARY KEY, writer INT)")
        .unwrap();
    let start = |n: usize| -> Running {
        let program = resqd(&instance, "[[watch]]\ntable = 'wexact.t'\n");
        let program = if is_cluster() { cluster::on(program, server, &[[2, 3, 1], [3, 2, 1]][n]) } else { program };
        program.env("RESQ_SOCKET", instance.dir().join(format!("{n}.sock"))).spawn_ready()
    };
    let mut daemons = vec![Some(start(0))];
    wait_until_read(&instance);
    daemons.push(Some(start(1)));
    let (over, allowed) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut order: Vec<Victim> = Vec::new();
    thread::scope(|scope| {
        // Also after a panic, since the writers are waited for.
        let _over = Over(&over);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (over, allowed) = (&over, &allowed);
                scope.spawn(move || write(server, writer, over, allowed, seed))
            })
            .collect();
        for _ in 0..rounds {
            if order.is_empty() {
                order = victims.to_vec();
                random.shuffle(&mut order);
            }
            let victim = order.pop().expect("it was filled");
            // It dies somewhere in what is written in this round.
            let left = random.u64(..TRANSACTIONS);
            println!("{victim:?}, {left} transactions before the end");
            allowed.store(TRANSACTIONS, Ordering::Relaxed);
            wait_at_most(DEADLINE * 2, "the moment", || allowed.load(Ordering::Relaxed) <= left);
            match victim {
                Victim::Daemon(n) => {
                    drop(daemons[n].take()); // SIGKILL
                    daemons[n] = Some(start(n));
                }
                Victim::Node(n) => {
                    server.kill9(n);
                    server.restart_with(n, options);
                }
            }
        }
        wait_at_most(DEADLINE * 2, "the rest of the transactions", || allowed.load(Ordering::Relaxed) == 0);
        over.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
    assert_exact(&instance);
}

/// On a server that loses nothing when it is killed.
fn survive_alone(rounds: usize) {
    let mut options = Server::logging_options().to_vec();
    options.extend(["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"]);
    let server = Server::with_options(&options);
    survive(&server, "wexact", &options, &[Victim::Daemon(0), Victim::Daemon(1), Victim::Node(1)], rounds);
}

fn survive_in_cluster(name: &str, rounds: usize) {
    let (server, _turn) = server();
    let _alone = cluster::alone();
    let victims = [Victim::Daemon(0), Victim::Node(2), Victim::Daemon(1), Victim::Node(3)];
    survive(server, name, Server::logging_options(), &victims, rounds);
    server.conn().query_drop("DROP DATABASE wexact").unwrap();
}

#[test]
fn events_are_exact_through_the_death_of_daemons_and_of_the_server() {
    if !is_cluster() {
        survive_alone(3);
    }
}

#[test]
#[ignore = "needs a cluster: TEST_SERVER=galera or group"]
fn events_are_exact_through_the_death_of_daemons_and_nodes() {
    survive_in_cluster("wnodes", 4);
}

/// `TEST_SERVER=mysql97 cargo test --release --test e2e -- --ignored twenty_deaths_in_full`
#[test]
#[ignore = "takes minutes"]
fn events_are_exact_through_twenty_deaths_in_full() {
    if is_cluster() { survive_in_cluster("wtwenty", 20) } else { survive_alone(20) }
}
