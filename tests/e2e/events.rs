//! The event log as its users see it: written in transactions, numbered after the commit, delivered to subscribers. Tests of
//! wakeups use a server with the loadable functions, the others poll often.

mod binlog_wakeups;
mod inspection;
mod lifecycle;
mod log;
mod pages;
mod payloads;
mod queue;
mod refused_rows;
mod restored;
mod retention;
mod wakeups;

use std::path::Path;

use mysql::{Conn, prelude::Queryable};

use resq_test_support::{Instance, Running};

use super::protocol::peer::{Address, Peer, Received, subscribe};

/// A resqd that polls often.
fn resqd(instance: &Instance) -> Running {
    resqd_at(instance, &instance.broker_socket())
}

fn resqd_at(instance: &Instance, socket: &Path) -> Running {
    instance.resqd().args(["--poll-ms", "20"]).env("RESQ_SOCKET", socket).spawn_ready()
}

/// A peer that has subscribed to every durable event after `since`, of which it has read none.
fn subscriber(socket: &Path, since: u64) -> Peer {
    let mut peer = Peer::greeted(&Address::Unix(socket.into()), 2);
    peer.send(&subscribe(0b11, since, &["*"]));
    assert_eq!(peer.receive_past_pings(), Received::Subscribed(since));
    peer
}

/// The next event: its number, state and payload.
fn next(peer: &mut Peer) -> (u64, String, String) {
    match peer.receive_past_pings() {
        Received::Event { seq, state, payload, .. } => (seq, state, String::from_utf8(payload).expect("UTF-8")),
        other => panic!("an event expected, not {other}"),
    }
}

fn publish(conn: &mut Conn, state: &str, payload: &str) {
    conn.exec_drop("CALL publish(?, ?)", (state, payload)).unwrap();
}

fn head_seq(conn: &mut Conn) -> u64 {
    conn.query_first("SELECT head_seq FROM res_log").unwrap().unwrap()
}
