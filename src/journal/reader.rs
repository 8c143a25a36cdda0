//! The journal's thread: looks when it is rung, numbers, tells. Owns the place up to which this daemon's subscribers
//! have been told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, after, select};
use mysql::Error;

use super::{Settings, store};
use crate::{
    bell::{Bell, Echo},
    broker::{Announcer, Event, Read},
    db::{Db, Link, Trouble, told},
    text::printable,
    wire::{MAX_FRAME, ServerMessage, split},
};

/// Events numbered in one transaction, or read in one page.
const BATCH: usize = 2000;
/// Finding where the outbox begins may take at most this part of the time. In between, looks start at a floor: deleted
/// entries stay in the index until no snapshot needs them.
const FULL_LOOK_SHARE: u32 = 20;
/// The state of a job that waits to be claimed.
const NEW: &str = "New";
/// How long between two looks while a transaction that wrote events stays open, when its bell has long gone.
const OPEN_WRITERS_PAUSE: Duration = Duration::from_millis(250);
/// Between two full looks at least; longer than any transaction takes from drawing an id to writing its row.
const FLOOR_LAG: Duration = Duration::from_millis(200);
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNE_BATCH: usize = 1000;
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Events printed to the log in a second; the rest are counted.
const PRINTED_A_SECOND: u32 = 50;

pub struct Reader {
    link: Link,
    announcer: Announcer,
    new_jobs: Bell,
    settings: Settings,
    /// Up to here everything is told.
    last_seq: u64,
    floor: Floor,
    next_full_look: Instant,
    /// The last page was full.
    more: bool,
    next_poll: Instant,
    next_prune: Instant,
    echo: Echo,
    printed: Printed,
}

impl Reader {
    pub fn new(db: &Db, settings: Settings, announcer: Announcer, new_jobs: Bell) -> Reader {
        let now = Instant::now();
        Reader {
            link: Link::new(db),
            announcer,
            new_jobs,
            last_seq: settings.head.head_seq,
            floor: Floor::default(),
            next_full_look: now,
            more: false,
            next_poll: now,
            next_prune: now,
            echo: Echo::default(),
            printed: Printed::default(),
            settings,
        }
    }

    pub fn run(mut self, ear: &Receiver<()>, reads: &Receiver<Read>, stopped: &Receiver<()>) {
        let mut pause = Duration::from_millis(50);
        let mut trouble = Trouble::default();
        // A question that met a lost server is asked again when it is back.
        let mut unanswered: Vec<Read> = Vec::new();
        loop {
            let wake = match self.turn(&mut unanswered) {
                Ok(wake) => {
                    pause = Duration::from_millis(50);
                    wake
                }
                Err(error) => {
                    trouble.tell("events can't be numbered or read", &error);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    Instant::now() + pause
                }
            };
            select! {
                recv(stopped) -> _ => break,
                recv(ear) -> _ => self.echo.rung(Instant::now()),
                recv(reads) -> read => match read {
                    Ok(read) => unanswered.push(read),
                    // The broker has ended: nobody is left to tell.
                    Err(_) => break,
                },
                recv(after(wake.saturating_duration_since(Instant::now()))) -> _ => {}
            }
        }
        // What was committed before the stop is told before the broker ends.
        self.next_full_look = Instant::now();
        loop {
            match self.look() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return log::warn!("the last events are told after the next start: {}", told(&error)),
            }
        }
    }

    /// Does what is due; returns when to come again if nothing rings before.
    fn turn(&mut self, unanswered: &mut Vec<Read>) -> Result<Instant, Error> {
        while let Some(read) = unanswered.first() {
            self.answer(*read)?;
            unanswered.remove(0);
        }
        let now = Instant::now();
        if now >= self.next_poll || self.echo.is_due(now) || self.more {
            if now >= self.next_poll {
                self.next_full_look = now;
            }
            self.more = self.look()?;
            self.next_poll = Instant::now() + self.settings.poll;
            // The bell is for a commit that may be far off yet.
            if !self.more && self.echo.next().is_none() && self.link.run(store::oldest_unmoved)?.is_some() {
                self.echo.again_at(Instant::now() + OPEN_WRITERS_PAUSE);
            }
        }
        if now >= self.next_prune {
            self.prune()?;
        }
        if self.more {
            // Questions and the end have their turn in between.
            return Ok(now);
        }
        let wake = self.next_poll.min(self.next_prune);
        Ok(self.echo.next().map_or(wake, |echo| wake.min(echo)))
    }

    /// Numbers a batch of what is committed and tells a page of what is new, whoever numbered it. True: there may be
    /// more.
    fn look(&mut self) -> Result<bool, Error> {
        let started = Instant::now();
        let full = started >= self.next_full_look;
        let floor = if full { 0 } else { self.floor.id };
        let after_seq = self.last_seq;
        let store::Found { moved, events } = self.link.run(|conn| store::look(conn, floor, after_seq, BATCH))?;
        self.floor.moved(moved);
        let now = Instant::now();
        self.echo.looked(now);
        if full {
            let oldest = self.link.run(store::oldest_unmoved)?;
            self.floor.raise(oldest);
            self.next_full_look = now + FLOOR_LAG.max(now.elapsed() * FULL_LOOK_SHARE);
        }
        let more = store::is_full(&events, BATCH);
        self.tell(events);
        Ok(more)
    }

    fn tell(&mut self, events: Vec<Arc<Event>>) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        // Numbers are dense, so only a log that was emptied or replaced under us can jump; a new start finds its feet.
        assert_eq!(first.seq, self.last_seq + 1, "the event log has a hole before {}", first.seq);
        self.last_seq = last.seq;
        self.echo.found();
        // Its own bell rang before the commit, and where that was long ago nobody looks any more.
        if events.iter().any(|event| &*event.state == NEW) {
            self.new_jobs.ring();
        }
        if log::log_enabled!(log::Level::Info) {
            self.printed.print(&events);
        }
        self.announcer.live(events);
    }

    fn answer(&mut self, read: Read) -> Result<(), Error> {
        let head = self.link.run(store::head)?;
        let events = self.link.run(|conn| store::read(conn, read.after_seq, BATCH))?;
        // Pruned between the two: the page says so itself.
        let first_seq = events.first().map_or(head.first_seq, |first| match first.seq {
            seq if seq > read.after_seq + 1 => seq.max(head.first_seq),
            _ => head.first_seq.min(read.after_seq + 1),
        });
        self.announcer.page(read.after_seq, events, first_seq);
        Ok(())
    }

    /// One small piece; comes again at once while there is more.
    fn prune(&mut self) -> Result<(), Error> {
        let head = self.link.run(store::head)?;
        assert_eq!(head.log_id, self.settings.head.log_id, "the event log was replaced by another");
        let days = self.settings.retention_days;
        match self.link.run(|conn| store::prune(conn, days, PRUNE_BATCH))? {
            Some(first_seq) => self.announcer.pruned(first_seq),
            None => {
                // Another daemon may have pruned.
                self.announcer.pruned(head.first_seq);
                self.next_prune = Instant::now() + PRUNE_EVERY;
            }
        }
        Ok(())
    }
}

/// Where looks that are not full ones start: below every event of a transaction that is open, so that what commits late
/// is not overtaken by what it caused.
#[derive(Default)]
struct Floor {
    id: u64,
    /// The floor as of the last full look. A transaction may have drawn its id then and not written it yet.
    next: u64,
    greatest_moved: u64,
}

impl Floor {
    fn moved(&mut self, id: Option<u64>) {
        self.greatest_moved = self.greatest_moved.max(id.unwrap_or(0));
    }

    /// `oldest`: the least id that is there, of an open transaction or not.
    fn raise(&mut self, oldest: Option<u64>) {
        let now = oldest.map_or(self.greatest_moved, |id| id - 1);
        self.id = self.next.min(now);
        self.next = now;
    }
}

/// Events in the log for people, a bounded number a second.
struct Printed {
    since: Instant,
    count: u32,
}

impl Default for Printed {
    fn default() -> Self {
        Printed { since: Instant::now(), count: 0 }
    }
}

impl Printed {
    fn print(&mut self, events: &[Arc<Event>]) {
        for event in events {
            if self.since.elapsed() >= Duration::from_secs(1) {
                if self.count > PRINTED_A_SECOND {
                    log::info!("and {} more events", self.count - PRINTED_A_SECOND);
                }
                (self.since, self.count) = (Instant::now(), 0);
            }
            self.count += 1;
            if self.count <= PRINTED_A_SECOND
                && let Some(ServerMessage::Event { state, payload, .. }) = decode(&event.frame)
            {
                log::info!("{state} #{} {}", event.seq, printable(&String::from_utf8_lossy(payload)));
            }
        }
    }
}

fn decode(frame: &[u8]) -> Option<ServerMessage<'_>> {
    let (frame, _) = split(frame, MAX_FRAME).ok()??;
    ServerMessage::decode(frame).ok()?
}
