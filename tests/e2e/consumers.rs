//! Positions that the server keeps for consumers: through crashes, takeovers and pruning, and as operators see them.

mod crashes;
mod operators;
mod several;

use std::path::Path;

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Instance, Running, wait_until};

use super::protocol::peer::{Address, Peer, Received, ack, consume, ping};

pub const NOW: (u8, u64) = (0, 0);
pub const BEGINNING: (u8, u64) = (1, 0);

fn resqd_at(instance: &Instance, socket: &Path) -> Running {
    instance.resqd().args(["--poll-ms", "20"]).env("RESQ_SOCKET", socket).spawn_ready()
}

fn resqd(instance: &Instance) -> Running {
    resqd_at(instance, &instance.broker_socket())
}

/// A connection that holds a consumer of every state, and the consumer's position.
pub fn take(socket: &Path, name: &str, start: (u8, u64), max_unacked: u16) -> (Peer, u64) {
    let mut peer = Peer::greeted(&Address::Unix(socket.into()), 2);
    peer.send(&consume(0, name, start, max_unacked, &["*"]));
    match peer.receive_past_pings() {
        Received::Consuming(seq) => (peer, seq),
        other => panic!("CONSUMING expected, not {other}"),
    }
}

/// The number of the next event.
pub fn next(peer: &mut Peer) -> u64 {
    match peer.receive_past_pings() {
        Received::Event { seq, .. } => seq,
        other => panic!("an event expected, not {other}"),
    }
}

/// Reads these events.
pub fn read(peer: &mut Peer, seqs: std::ops::RangeInclusive<u64>) {
    seqs.for_each(|seq| assert_eq!(next(peer), seq));
}

/// Appends events and waits until a daemon has numbered them.
fn append(conn: &mut Conn, events: u64) {
    let head = head_seq(conn);
    let rows = vec!["('A', '1')"; events as usize].join(",");
    conn.query_drop(format!("INSERT INTO res_outbox (state, payload) VALUES {rows}")).unwrap();
    wait_until("the events to be numbered", || head_seq(conn) == head + events);
}

fn head_seq(conn: &mut Conn) -> u64 {
    conn.query_first("SELECT head_seq FROM res_log").unwrap().unwrap()
}

fn stored(conn: &mut Conn, name: &str) -> Option<u64> {
    conn.exec_first("SELECT position FROM res_consumer WHERE name = ?", (name,)).unwrap()
}

fn wait_until_stored(conn: &mut Conn, name: &str, position: u64) {
    wait_until("the position to be stored", || stored(conn, name) == Some(position));
}

/// Waits until the server has acted on everything sent so far; drops the events that arrive meanwhile.
pub fn settle(peer: &mut Peer) {
    peer.send(&ping(4711));
    while peer.receive_past_pings() != Received::Pong(4711) {}
}

/// Reads until the server has closed; returns the last ERROR.
pub fn refused(peer: &mut Peer) -> u16 {
    let mut code = 0;
    loop {
        match peer.receive_past_pings() {
            Received::Error(found, _) => code = found,
            Received::End => return code,
            _ => {}
        }
    }
}
