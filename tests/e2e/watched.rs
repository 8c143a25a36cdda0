//! Watched tables: their changes become events, from the binary log alone.

mod deaths;
mod failover;
mod faults;
mod positions;
mod rules;
mod transactions;
mod types;

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::MutexGuard};

use mysql::prelude::Queryable;
use resq_test_support::{DEADLINE, Instance, Program, Server, wait_at_most, wait_or_report};
use serde_json::Value as Json;

use super::{
    logging_servers::{Readers, logging_server},
    protocol::peer::{Address, Peer, Received, subscribe},
};

/// A server that logs what is needed, for one test at a time.
fn server() -> (&'static Server, MutexGuard<'static, ()>) {
    logging_server(Readers::WatchedTables)
}

/// An installation whose account may read the binary log.
fn instance<'a>(server: &'a Server, name: &str) -> Instance<'a> {
    let instance = Instance::on(server, name);
    instance.resqctl(["init"]).ok();
    let user = &instance.daemon.user;
    instance
        .server
        .conn()
        .query_drop(format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{user}'@'%'"))
        .unwrap();
    instance
}

/// A settings file with these tables to watch.
fn settings(instance: &Instance, watches: &str) -> PathBuf {
    let path = instance.dir().join("resq.toml");
    fs::write(&path, watches).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path
}

/// A resqd with this settings file that polls once a minute.
fn resqd(instance: &Instance, watches: &str) -> Program {
    let path = settings(instance, watches);
    instance.resqd().env("RESQ_CONFIG", path).args(["--poll-ms", "60000"])
}

/// A subscriber to these states, from the beginning of the log.
fn subscriber(instance: &Instance, states: &[&str]) -> Peer {
    let mut peer = Peer::greeted(&Address::Unix(instance.broker_socket()), 2);
    peer.send(&subscribe(0b11, 0, states));
    assert_eq!(peer.receive_past_pings(), Received::Subscribed(0));
    peer
}

/// The next event: its number, state and payload.
fn next(peer: &mut Peer) -> (u64, String, Json) {
    match peer.receive_past_pings() {
        Received::Event { seq, state, payload, .. } => {
            let json = serde_json::from_slice(&payload);
            (seq, state, json.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&payload))))
        }
        other => panic!("an event expected, not {other}"),
    }
}

/// Waits until this many events with a state like this are in the log; their states and payloads, in order.
fn events(instance: &Instance, like: &str, count: usize) -> Vec<(String, Json)> {
    let mut conn = instance.conn();
    let mut found: Vec<(String, String)> = Vec::new();
    wait_or_report(DEADLINE, "events", || {
        let read = format!("SELECT state, payload FROM res_event WHERE state LIKE '{like}' ORDER BY seq");
        found = conn.query(read).unwrap();
        if found.len() >= count { Ok(()) } else { Err(format!("{} of {count}: {found:?}", found.len())) }
    });
    assert_eq!(found.len(), count, "{found:?}");
    found.into_iter().map(|(state, payload)| (state, serde_json::from_str(&payload).expect(&payload))).collect()
}

/// Waits until a daemon has the lease and reads from a position.
fn wait_until_read(instance: &Instance) {
    let mut conn = instance.conn();
    wait_at_most(DEADLINE, "a daemon to read", || {
        let reads = "SELECT COUNT(*) FROM res_watch WHERE server IS NOT NULL AND lease_until > NOW(6)";
        conn.query_first::<u64, _>(reads).unwrap() == Some(1)
    });
}
