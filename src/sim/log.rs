//! The event log on the simulated server, statement by statement as `events::store` sends them and as the procedure
//! `res_number` works inside the server.

use super::{
    rows::Tx,
    server::{Server, Stop},
    session::{Host, Session},
    simulation::with,
    tables::{Entry, LOG_ID, LogRow, ONE},
};
use crate::{
    db::{Error, Link, quarantine::Report},
    events::event::Event,
    events::{chosen_rows::Refused, log::EventLog, store::Polled, updates::LogHead},
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

pub fn event(seq: u64, entry: &Entry) -> Event<'static> {
    let payload = entry.outbox_id.to_string();
    Event::new(seq, entry.at, entry.state, payload.into_bytes())
}

fn page(server: &Server, tx: Tx, after_seq: u64, limit: usize) -> Vec<Event<'static>> {
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
        Ok(if is_others { Vec::new() } else { committed(server, tx, floor.saturating_add(1)..=u64::MAX, limit) })
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
        let seqs =
            |(n, (id, _)): (usize, &(u64, _))| if is_run { head + 1 + (id - first) } else { head + 1 + n as u64 };
        let seqs: Vec<u64> = entries.iter().enumerate().map(seqs).collect();
        append(server, tx, &seqs, &entries)?;
        Ok(entries.into_iter().map(|(id, _)| id).collect::<Vec<_>>())
    })?;
    if copied.len() as u64 != count {
        // Another daemon has numbered some of them.
        session.roll_back()?;
        return Ok(None);
    }
    last = copied.last().copied().unwrap_or(last);
    session.within(|server, tx| take_out(server, tx, &copied))?;
    session.commit()?;
    Ok(Some(last))
}

/// `INSERT INTO res_event`: refused whole if the server refuses one of the rows.
fn append(server: &mut Server, tx: Tx, seqs: &[u64], entries: &[(u64, Entry)]) -> Result<(), Stop> {
    if entries.iter().any(|(id, _)| server.refuses_event(Refused::Numbering, *id)) {
        return Err(Stop::Refused);
    }
    for (seq, (_, entry)) in seqs.iter().zip(entries) {
        server.events.lock(tx, *seq)?;
        let numbered_at = Some(server.now_us);
        server.events.set(tx, *seq, Some(Entry { numbered_at, ..entry.clone() }));
    }
    Ok(())
}

/// `DELETE` from `res_outbox`.
fn take_out(server: &mut Server, tx: Tx, ids: &[u64]) -> Result<(), Stop> {
    for id in ids {
        server.outbox.lock(tx, *id)?;
        server.outbox.set(tx, *id, None);
    }
    Ok(())
}

/// `chosen_rows::number`.
fn number_chosen(session: &mut Session, ids: &[u64]) -> Result<(), Error> {
    let me = session.number;
    session.begin()?;
    let log = session.within(|server, tx| {
        server.log.lock(tx, ONE)?;
        let log = server.log.get(tx, ONE).expect("the only row").clone();
        let log = LogRow { moved: Some((me, server.now_us)), ..log };
        server.log.set(tx, ONE, Some(log.clone()));
        Ok(log)
    })?;
    let entries = session.within(|server, tx| {
        let entries: Vec<(u64, Entry)> =
            ids.iter().filter_map(|id| Some((*id, server.outbox.get(tx, *id)?.clone()))).collect();
        entries.iter().try_for_each(|(id, _)| server.outbox.lock(tx, *id))?;
        Ok(entries)
    })?;
    if !entries.is_empty() {
        let head_seq = log.head_seq + entries.len() as u64;
        let seqs: Vec<u64> = (log.head_seq + 1..=head_seq).collect();
        session.within(|server, tx| append(server, tx, &seqs, &entries))?;
        let ids: Vec<u64> = entries.iter().map(|(id, _)| *id).collect();
        session.within(|server, tx| take_out(server, tx, &ids))?;
        session.within(|server, tx| {
            server.log.set(tx, ONE, Some(LogRow { head_seq, ..log.clone() }));
            Ok(())
        })?;
    }
    session.commit()
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

    /// The nodes see each other's commits at once.
    fn catch_up(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn oldest_unmoved(&mut self, excluded: &[u64]) -> Result<Option<u64>, Error> {
        self.link.run(|session| session.alone(|server, tx| Ok(server.outbox.least_uncommitted(tx.node, excluded))))
    }

    fn unnumbered(&mut self, floor: u64, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
        self.link.run(|session| {
            session.alone(|server, tx| {
                let ids = server.outbox.seen_by(tx).map(|(id, _)| id);
                Ok(ids.filter(|id| *id > floor && !excluded.contains(id)).take(limit).collect())
            })
        })
    }

    fn number(&mut self, ids: &[u64]) -> Result<(), Error> {
        self.link.run(|session| number_chosen(session, ids))
    }

    fn skip_taken(&mut self) -> Result<bool, Error> {
        panic!("a number was given twice")
    }

    fn read(&mut self, after_seq: u64, limit: usize) -> Result<Vec<Event<'static>>, Error> {
        self.link.run(|session| session.alone(|server, tx| Ok(page(server, tx, after_seq, limit))))
    }

    fn old(&mut self, days: u32, limit: usize, excluded: &[u64]) -> Result<Vec<u64>, Error> {
        self.link.run(|session| {
            session.alone(|server, tx| {
                let before = server.now_us.saturating_sub(u64::from(days) * DAY_US);
                let events = server.events.seen_by(tx).filter(|(seq, _)| !excluded.contains(seq)).take(limit.min(5));
                let old = events.take_while(|(_, entry)| entry.numbered_at < Some(before));
                Ok(old.map(|(seq, _)| seq).collect())
            })
        })
    }

    fn delete(&mut self, seqs: &[u64], excluded: &[u64]) -> Result<(), Error> {
        let (Some(&first), Some(&last)) = (seqs.first(), seqs.last()) else { return Ok(()) };
        self.link.run(|session| {
            session.begin()?;
            session.within(|server, tx| {
                let is_meant = |seq: &u64| (first..=last).contains(seq) && !excluded.contains(seq);
                let seqs: Vec<u64> = server.events.seen_by(tx).map(|(seq, _)| seq).filter(is_meant).collect();
                if seqs.iter().any(|seq| server.refuses_event(Refused::Deletion, *seq)) {
                    return Err(Stop::Refused);
                }
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
            session.commit()
        })
    }

    /// The list is for operators.
    fn report_set_aside(&mut self, _: Refused, _: &[Report<Refused>], _: &[u64]) -> Result<(), Error> {
        Ok(())
    }
}

/// Identifies a delivered event.
pub fn outbox_id(event: &Event) -> u64 {
    String::from_utf8_lossy(&event.payload).parse().expect("a number")
}
