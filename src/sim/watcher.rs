//! Events that a daemon numbers apart from its sequencer and hands over to it, as its reader of watched tables does. The
//! shipped parts are the way to the sequencer, and what that makes of it.

use crossbeam_channel::Receiver;

use super::{
    fault_schedule::FAULTY_US,
    log::event,
    session::{Host, Session},
    simulation::{sleep_about, with},
    tables::{Entry, LOG_ID, LogRow, ONE, WATCHED},
    waits::{is_disconnected, wait_for_any},
};
use crate::{
    db::{Error, Link},
    events::numbered::{HandOver, Numbered},
};

/// Numbers events now and then, until the queue has ended or faults are over.
pub fn watch(host: &Host, hand_over: &HandOver, ended: &Receiver<()>) {
    let mut link = Link::new(host);
    while with(|sim| sim.now_us < FAULTY_US) {
        let until_us = with(|sim| sim.now_us + sim.rng.u64(0..800_000));
        wait_for_any(until_us, &[ended]);
        if is_disconnected(ended) {
            return;
        }
        let numbered = link.run(number);
        // Polls and others' batches come in between.
        sleep_about([0, 0, 2_000, 100_000][with(|sim| sim.rng.usize(..4))]);
        match numbered {
            Ok(numbered) => hand_over.give(numbered),
            Err(_) => hand_over.announce(),
        }
    }
}

/// `watch_store::number`.
fn number(session: &mut Session) -> Result<Numbered, Error> {
    let count = with(|sim| sim.rng.u64(1..5));
    session.begin()?;
    let head_seq = session.within(|server, tx| {
        server.log.lock(tx, ONE)?;
        let log = server.log.get(tx, ONE).expect("the only row").clone();
        let head_seq = log.head_seq;
        server.log.set(tx, ONE, Some(LogRow { head_seq: head_seq + count, ..log }));
        Ok(head_seq)
    })?;
    let (after_at, events) = session.within(|server, tx| {
        let mut events = Vec::new();
        for seq in head_seq + 1..=head_seq + count {
            let at = server.now_us;
            let entry = Entry { outbox_id: server.draw_id(), state: WATCHED, job: None, at, numbered_at: Some(at) };
            server.events.lock(tx, seq)?;
            server.events.set(tx, seq, Some(entry.clone()));
            events.push(event(seq, &entry));
        }
        Ok((server.events.get(tx, head_seq).map(|entry| entry.at), events))
    })?;
    session.commit()?;
    Ok(Numbered { log_id: LOG_ID, after_at, events })
}
