//! The event log on the simulated server, statement by statement as `events::store` sends them and as the procedure
//! `res_number` works inside the server.

use std::sync::Arc;

use super::{
    rows::Tx,
    server::Server,
    session::{Host, Session},
    simulation::with,
    tables::{Entry, LOG_ID, LogRow, ONE},
};
use crate::{
    db::{Error, Link},
    events::event::{Event, SharedEvent},
    events::{log::EventLog, store::Polled, updates::LogHead},
};

/// A day, in µs: shortened, so that pruning happens within a run.
pub const DAY_US: u64 = 120_000_000;
/// After numbering events, a session keeps doing so for this long, in µs; the others leave it to that one.
pub const TURN_US: u64 = 200_000;

pub struct SimEventLog {
    link: Link<Host>,
}

impl SimEventLog {
    pub fn new(host: &Host) -> SimEventLog {
        SimEventLog { link: Link::new(host) }
    }
}

fn event(seq: u64, entry: &Entry) -> SharedEvent {
    let payload = entry.outbox_id.to_string();
    Arc::new(Event::new(seq, entry.at, entry.state, payload.into_bytes()))
}

fn page(server: &Server, tx: Tx, after_seq: u64, limit: usize) -> Vec<SharedEvent> {
    let events = server.events.seen_by(tx).filter(|(seq, _)| *seq > after_seq);
    events.take(limit).map(|(seq, entry)| event(seq, entry)).collect()
}

/// The committed events with outbox ids in `ids`, in their order.
fn committed(server: &Server, tx: Tx, ids: std::ops::RangeInclusive<u64>, limit: usize) -> Vec<(u64, Entry)> {
    let entries = server.outbox.seen_by(tx).filter(|(id, _)| ids.contains(id));
    entries.take(limit).map(|(id, entry)| (id, entry.clone())).collect()
}

/// `res_number`: returns the greatest outbox id that it numbered.
fn number(session: &mut Session, floor: u64, limit: usize) -> Result<Option<u64>, Error> {
    let me = session.number;
    let seen = session.alone(|server, tx| {
        let moved = server.log.get(tx, ONE).and_then(|log| log.moved);
        let is_others = moved.is_some_and(|(mover, at_us)| mover != me && server.now_us - at_us <= TURN_US);
        Ok(if is_others { Vec::new() } else { committed(server, tx, floor + 1..=u64::MAX, limit) })
    })?;
    let (Some((first, _)), Some((last, _))) = (seen.first(), seen.last()) else { return Ok(None) };
    let (first, mut last, count) = (*first, *last, seen.len() as u64);
    let is_run = count == last - first + 1;
    session.begin()?;
    let head = session.within(|server, tx| {
        server.log.lock(tx, ONE)?;
        let log = server.log.get(tx, ONE).expect("the only row").clone();
        let head_seq = log.head_seq;
        server.log.set(tx, ONE, Some(LogRow { head_seq: head_seq + count, moved: Some((me, server.now_us)), ..log }));
        Ok(head_seq)
    })?;
    let copied = session.within(|server, tx| {
        let entries = match is_run {
            true => committed(server, tx, first..=last, usize::MAX),
            // An event committed after the count may precede the first.
            false => committed(server, tx, floor + 1..=last, count as usize),
        };
        for (n, (id, entry)) in entries.iter().enumerate() {
            let seq = if is_run { head + 1 + (id - first) } else { head + 1 + n as u64 };
            server.events.lock(tx, seq)?;
            let numbered_at = Some(server.now_us);
            server.events.set(tx, seq, Some(Entry { numbered_at, ..entry.clone() }));
        }
        Ok(entries.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
    })?;
    if copied.len() as u64 != count {
        // Another daemon has numbered some of them.
        session.roll_back()?;
        return Ok(None);
    }
    last = copied.last().copied().unwrap_or(last);
    session.within(|server, tx| {
        for id in &copied {
            server.outbox.lock(tx, *id)?;
            server.outbox.set(tx, *id, None);
        }
        Ok(())
    })?;
    session.commit()?;
    Ok(Some(last))
}

impl EventLog for SimEventLog {
    fn head(&mut self) -> Result<LogHead, Error> {
        self.link.run(|session| {
            session.alone(|server, tx| {
                let LogRow { head_seq, first_seq, .. } = server.log.get(tx, ONE).expect("the only row").clone();
                Ok(LogHead { log_id: LOG_ID, first_seq, head_seq })
            })
        })
    }

    fn poll(&mut self, floor: u64, after_seq: u64, limit: usize) -> Result<Polled, Error> {
        self.link.run(|session| {
            let numbered_up_to = number(session, floor, limit)?;
            let events = session.alone(|server, tx| Ok(page(server, tx, after_seq, limit)))?;
            let after_at = session.alone(|server, tx| Ok(server.events.get(tx, after_seq).map(|entry| entry.at)))?;
            Ok(Polled { numbered_up_to, after_at, log_id: Some(LOG_ID), events })
        })
    }

    fn renew_log_id(&mut self, _: u64, unless_reached: Option<u64>) -> Result<bool, Error> {
        let head = with(|sim| sim.server.oracle.head_seq());
        assert!(unless_reached.is_some_and(|seq| seq <= head), "the log was taken for another one");
        Ok(false)
    }

    fn oldest_unmoved(&mut self) -> Result<Option<u64>, Error> {
        self.link.run(|session| session.alone(|server, tx| Ok(server.outbox.least_uncommitted(tx.node))))
    }

    fn read(&mut self, after_seq: u64, limit: usize) -> Result<Vec<SharedEvent>, Error> {
        self.link.run(|session| session.alone(|server, tx| Ok(page(server, tx, after_seq, limit))))
    }

    fn prune(&mut self, days: u32, limit: usize) -> Result<Option<u64>, Error> {
        self.link.run(|session| {
            let limit = limit.min(5);
            let old = session.alone(|server, tx| {
                let before = server.now_us.saturating_sub(u64::from(days) * DAY_US);
                let old =
                    server.events.seen_by(tx).take(limit).take_while(|(_, entry)| entry.numbered_at < Some(before));
                Ok(old.last().map(|(seq, _)| seq))
            })?;
            let Some(last) = old else { return Ok(None) };
            session.begin()?;
            session.within(|server, tx| {
                let seqs: Vec<u64> =
                    server.events.seen_by(tx).map(|(seq, _)| seq).take_while(|seq| *seq <= last).collect();
                for seq in seqs {
                    server.events.lock(tx, seq)?;
                    server.events.set(tx, seq, None);
                }
                Ok(())
            })?;
            session.within(|server, tx| {
                server.log.lock(tx, ONE)?;
                let log = server.log.get(tx, ONE).expect("the only row").clone();
                server.log.set(tx, ONE, Some(LogRow { first_seq: log.first_seq.max(last + 1), ..log }));
                Ok(())
            })?;
            session.commit()?;
            Ok(Some(last + 1))
        })
    }
}

/// Identifies a delivered event.
pub fn outbox_id(event: &Event) -> u64 {
    String::from_utf8_lossy(&event.payload).parse().expect("a number")
}
