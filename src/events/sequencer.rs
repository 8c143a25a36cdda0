//! The journal's thread: looks when it is rung, numbers, tells. Owns the place up to which this daemon's subscribers
//! have been told. The thread only waits: all that is decided is decided in a turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, at, select};

use super::{
    Settings,
    log::EventLog,
    store::{Found, is_full},
    trace::EventTrace,
};
use crate::{
    base::backoff::Backoff,
    base::clock::now,
    base::poll_schedule::PollSchedule,
    base::wakeup::Wakeup,
    db::{BACKOFF, Error, ThrottledWarning},
    events::event::{Event, LogPublisher, PageRequest},
};

/// Events numbered in one transaction, or read in one page; in a simulation a few fill one.
const BATCH: usize = if cfg!(test) { 7 } else { 2000 };
/// Finding where the outbox begins may take at most this part of the time. In between, looks start at a floor: deleted
/// entries stay in the index until no snapshot needs them.
const FULL_LOOK_SHARE: u32 = 20;
/// The state of a job that waits to be claimed.
const NEW: &str = "New";
/// How long between two looks while a transaction that wrote events stays open, when its wakeup has long gone.
const OPEN_WRITERS_PAUSE: Duration = Duration::from_millis(250);
/// Between two full looks at least; longer than any transaction takes from drawing an id to writing its row.
const FLOOR_LAG: Duration = Duration::from_millis(200);
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNE_BATCH: usize = 1000;

pub struct Sequencer {
    log: Box<dyn EventLog>,
    log_publisher: LogPublisher,
    new_jobs: Wakeup,
    settings: Settings,
    /// Up to here everything is told.
    last_seq: u64,
    floor: Floor,
    next_full_look: Instant,
    /// The last page was full.
    more: bool,
    next_poll: Instant,
    next_prune: Instant,
    schedule: PollSchedule,
    /// A question that met a lost server is asked again when it is back.
    unanswered: Vec<PageRequest>,
    backoff: Backoff,
    warning: ThrottledWarning,
    trace: EventTrace,
}

impl Sequencer {
    pub fn new(log: Box<dyn EventLog>, settings: Settings, log_publisher: LogPublisher, new_jobs: Wakeup) -> Sequencer {
        let now = now();
        Sequencer {
            log,
            log_publisher,
            new_jobs,
            last_seq: settings.head.head_seq,
            floor: Floor::default(),
            next_full_look: now,
            more: false,
            next_poll: now,
            next_prune: now,
            schedule: PollSchedule::default(),
            unanswered: Vec::new(),
            backoff: BACKOFF,
            warning: ThrottledWarning::default(),
            trace: EventTrace::default(),
            settings,
        }
    }

    pub fn run(mut self, ear: &Receiver<()>, reads: &Receiver<PageRequest>, stopped: &Receiver<()>) {
        loop {
            let wake = self.turn();
            select! {
                recv(stopped) -> _ => break,
                recv(ear) -> _ => self.notified(),
                recv(reads) -> read => match read {
                    Ok(read) => self.asked(read),
                    // The broker has ended: nobody is left to tell.
                    Err(_) => break,
                },
                recv(at(wake)) -> _ => {}
            }
        }
        self.end();
    }

    /// There may be news.
    pub fn notified(&mut self) {
        self.schedule.notified(now());
    }

    /// The broker wants a page.
    pub fn asked(&mut self, read: PageRequest) {
        self.unanswered.push(read);
    }

    /// Does what is due; returns when to come again if nothing rings before.
    pub fn turn(&mut self) -> Instant {
        match self.do_what_is_due() {
            Ok(wake) => {
                self.backoff.reset();
                wake
            }
            Err(error) => {
                self.warning.warn("events can't be numbered or read", &error);
                now() + self.backoff.next(fastrand::f64())
            }
        }
    }

    /// What was committed before the stop is told before the broker ends.
    pub fn end(mut self) {
        self.next_full_look = now();
        loop {
            match self.look() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return log::warn!("the last events are told after the next start: {error}"),
            }
        }
    }

    fn do_what_is_due(&mut self) -> Result<Instant, Error> {
        while let Some(read) = self.unanswered.first() {
            self.answer(*read)?;
            self.unanswered.remove(0);
        }
        let due = now();
        if due >= self.next_poll || self.schedule.is_due(due) || self.more {
            if due >= self.next_poll {
                self.next_full_look = due;
            }
            self.more = self.look()?;
            self.next_poll = now() + self.settings.poll;
            // The wakeup is for a commit that may be far off yet.
            if !self.more && self.schedule.next().is_none() && self.log.oldest_unmoved()?.is_some() {
                self.schedule.poll_again_at(now() + OPEN_WRITERS_PAUSE);
            }
        }
        if due >= self.next_prune {
            self.prune()?;
        }
        if self.more {
            // Questions and the end have their turn in between.
            return Ok(due);
        }
        let wake = self.next_poll.min(self.next_prune);
        Ok(self.schedule.next().map_or(wake, |schedule| wake.min(schedule)))
    }

    /// Numbers a batch of what is committed and tells a page of what is new, whoever numbered it. True: there may be
    /// more.
    fn look(&mut self) -> Result<bool, Error> {
        let started = now();
        let full = started >= self.next_full_look;
        // A transaction open on another node may have begun below any floor.
        let floor = if full || self.settings.is_cluster { 0 } else { self.floor.id };
        let after_seq = self.last_seq;
        let Found { moved, events } = self.log.look(floor, after_seq, BATCH)?;
        self.floor.moved(moved);
        let looked = now();
        self.schedule.polled(looked);
        if full {
            let oldest = self.log.oldest_unmoved()?;
            self.floor.raise(oldest);
            self.next_full_look = looked + FLOOR_LAG.max((now() - looked) * FULL_LOOK_SHARE);
        }
        let more = is_full(&events, BATCH);
        self.tell(events);
        Ok(more)
    }

    fn tell(&mut self, events: Vec<Arc<Event>>) {
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
        // Numbers are dense, so only a log that was emptied or replaced under us can jump; a new start finds its feet.
        assert_eq!(first.seq, self.last_seq + 1, "the event log has a hole before {}", first.seq);
        self.last_seq = last.seq;
        self.schedule.found_work();
        // Its own wakeup rang before the commit, and where that was long ago nobody looks any more.
        if events.iter().any(|event| &*event.state == NEW) {
            self.new_jobs.notify();
        }
        if log::log_enabled!(log::Level::Info) {
            self.trace.print(&events);
        }
        self.log_publisher.live(events);
    }

    fn answer(&mut self, read: PageRequest) -> Result<(), Error> {
        let head = self.log.head()?;
        let events = self.log.read(read.after_seq, BATCH)?;
        // Pruned between the two: the page says so itself.
        let first_seq = events.first().map_or(head.first_seq, |first| match first.seq {
            seq if seq > read.after_seq + 1 => seq.max(head.first_seq),
            _ => head.first_seq.min(read.after_seq + 1),
        });
        self.log_publisher.page(read.after_seq, events, first_seq);
        Ok(())
    }

    /// One small piece; comes again at once while there is more.
    fn prune(&mut self) -> Result<(), Error> {
        let head = self.log.head()?;
        assert_eq!(head.log_id, self.settings.head.log_id, "the event log was replaced by another");
        let days = self.settings.retention_days;
        match self.log.prune(days, PRUNE_BATCH)? {
            Some(first_seq) => self.log_publisher.pruned(first_seq),
            None => {
                // Another daemon may have pruned.
                self.log_publisher.pruned(head.first_seq);
                self.next_prune = now() + PRUNE_EVERY;
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
