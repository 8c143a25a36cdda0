//! The event log as its users see it: written in transactions, numbered after the commit, told to subscribers. With
//! the loadable functions on a server of their own where a test is about waking up, by quick polling elsewhere.

mod bell;
mod log;
mod look;
mod pages;
mod payloads;
mod queue;
mod storm;
mod story;

use std::path::Path;

use mysql::{Conn, prelude::Queryable};

use super::{
    instance::Instance,
    program::Running,
    protocol::peer::{Address, Heard, Peer, subscribe},
};

/// A resqd that finds what is new by looking often, and claims no jobs unless the test says so.
fn resqd(instance: &Instance) -> Running {
    resqd_at(instance, &instance.broker_socket())
}

fn resqd_at(instance: &Instance, socket: &Path) -> Running {
    let mut resqd = instance.resqd().args(["--poll-ms", "20"]).env("RESQ_SOCKET", socket).spawn();
    resqd.wait_for_log("serving");
    resqd
}

/// Subscribed to every durable event after `since`; what comes first is not yet read.
fn subscriber(socket: &Path, since: u64) -> Peer {
    let mut peer = Peer::greeted(&Address::Unix(socket.into()), 2);
    peer.send(&subscribe(0b11, since, &["*"]));
    assert_eq!(peer.hear_answering(), Heard::Subscribed(since));
    peer
}

/// The next event: its number, state and payload.
fn next(peer: &mut Peer) -> (u64, String, String) {
    match peer.hear_answering() {
        Heard::Event { seq, state, payload, .. } => (seq, state, String::from_utf8(payload).expect("UTF-8")),
        other => panic!("an event expected, not {other}"),
    }
}

fn publish(conn: &mut Conn, state: &str, payload: &str) {
    conn.exec_drop("CALL publish(?, ?)", (state, payload)).unwrap();
}

fn head_seq(conn: &mut Conn) -> u64 {
    conn.query_first("SELECT head_seq FROM res_log").unwrap().unwrap()
}
