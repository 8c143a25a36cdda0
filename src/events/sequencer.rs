//! The role that numbers committed events and delivers them to the broker, answers page requests, and prunes. Owns the
//! number up to which this daemon has delivered. Never waits: its thread does, between one turn and the next.

use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, at, never, select};

use super::{
    floor::Floor,
    isolated_log::IsolatedLog,
    log::{Broken, EventLog, LogReplaced},
    numbered::Numbered,
    settings::{AHEAD_PAUSE, FLOOR_LAG, Inputs, OPEN_WRITERS_PAUSE, PRUNE_BATCH, PRUNE_EVERY, Settings, StateWatch},
    store::{Polled, is_full},
    trace::EventTrace,
};
use crate::{
    base::backoff::Backoff,
    base::clock::now,
    base::heartbeat,
    base::poll_schedule::PollSchedule,
    db::{BACKOFF, ErrorClass, ThrottledWarning},
    events::{
        event::Event,
        updates::{LogHead, LogPublisher, PageRequest},
    },
};

/// Events numbered in one transaction, or read in one page.
pub const BATCH: usize = 2000;
/// Finding where the outbox begins takes at most 1/20 of the time. Polls in between start at a floor, because deleted
/// entries stay in the index until no snapshot needs them.
const FULL_POLL_SHARE: u32 = 20;

/// What is found after `resqctl init --new-log`, or after another daemon has noticed.
const OTHER_IDENTITY: &str = "it has another identity";

/// Numbers, delivers, answers and prunes, one turn at a time.
pub struct Sequencer {
    log: IsolatedLog,
    log_publisher: LogPublisher,
    watches: Vec<StateWatch>,
    settings: Settings,
    /// Everything up to here is delivered.
    last_seq: u64,
    /// When the event `last_seq` was written; in another log, another event has that number. None: not known yet.
    last_at: Option<u64>,
    floor: Floor,
    next_full_poll: Instant,
    /// The last page was full, so that more may follow.
    more: bool,
    next_poll: Instant,
    next_prune: Instant,
    schedule: PollSchedule,
    /// Handed over and not looked at yet.
    numbered: Vec<Numbered>,
    /// Kept until answered, also while the server is lost.
    unanswered: Vec<PageRequest>,
    /// When those after a number that is not reached are due.
    next_ahead: Instant,
    backoff: Backoff,
    /// After an error, nothing is done before.
    retry_at: Option<Instant>,
    warning: ThrottledWarning,
    trace: EventTrace,
}

impl Sequencer {
    /// Begins after the head in `settings`. `watches` are notified of events with their states.
    pub fn new(
        log: Box<dyn EventLog>,
        settings: Settings,
        log_publisher: LogPublisher,
        watches: Vec<StateWatch>,
    ) -> Sequencer {
        let now = now();
        Sequencer {
            log: IsolatedLog::new(log),
            log_publisher,
            watches,
            last_seq: settings.head.head_seq,
            last_at: None,
            floor: Floor::default(),
            next_full_poll: now,
            more: false,
            next_poll: now,
            next_prune: now + settings.prune_after,
            schedule: PollSchedule::default(),
            numbered: Vec::new(),
            unanswered: Vec::new(),
            next_ahead: now,
            backoff: BACKOFF,
            retry_at: None,
            warning: ThrottledWarning::default(),
            trace: EventTrace::default(),
            settings,
        }
    }

    /// The thread: a turn after each of the inputs or due time, until `stopped` or the page requests are disconnected.
    ///
    /// # Errors
    /// The log was replaced.
    pub fn run(mut self, mut inputs: Inputs, stopped: &Receiver<()>) -> Result<(), LogReplaced> {
        loop {
            heartbeat::working();
            let wake = self.turn()?;
            heartbeat::waiting();
            if self.retry_at.is_some() {
                // What arrives meanwhile stays in its channel, which is bounded.
                match stopped.recv_deadline(wake) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    _ => break,
                }
            }
            select! {
                recv(stopped) -> _ => break,
                recv(inputs.wakeups) -> _ => self.notified(),
                recv(inputs.numbered) -> numbered => match numbered {
                    Ok(numbered) => self.handed_over(numbered),
                    // No other thread numbers events.
                    Err(_) => inputs.numbered = never(),
                },
                recv(inputs.page_requests) -> request => match request {
                    Ok(request) => self.page_requested(request),
                    // The broker has ended.
                    Err(_) => break,
                },
                recv(at(wake)) -> _ => {}
            }
        }
        self.end();
        Ok(())
    }

    /// A wakeup arrived: there may be events to number.
    pub fn notified(&mut self) {
        self.schedule.notified(now());
    }

    /// Another thread of this daemon has numbered events; the next turn delivers them.
    pub fn handed_over(&mut self, numbered: Numbered) {
        self.numbered.push(numbered);
    }

    /// The broker asks for a page; the next turn answers.
    pub fn page_requested(&mut self, request: PageRequest) {
        self.unanswered.push(request);
    }

    /// Does what is due. Returns when the next turn is due unless a wakeup or a page request arrives first; after an error,
    /// they bring it forward no more.
    ///
    /// # Errors
    /// The log was replaced.
    pub fn turn(&mut self) -> Result<Instant, LogReplaced> {
        if let Some(at) = self.retry_at.filter(|at| *at > now()) {
            return Ok(at);
        }
        self.retry_at = None;
        match self.do_what_is_due() {
            Ok(wake) => {
                self.backoff.reset();
                Ok(wake)
            }
            Err(Broken::Database(error)) => {
                self.warning.warn("event log: cannot number or read events", &error);
                // What the turn would have delivered.
                self.more = true;
                let at = now() + self.backoff.next(fastrand::f64());
                self.retry_at = Some(at);
                Ok(at)
            }
            Err(Broken::Replaced(replaced)) => Err(replaced),
        }
    }

    /// Delivers what was committed before the stop.
    pub fn end(mut self) {
        self.next_full_poll = now();
        loop {
            match self.poll() {
                Ok(true) => {}
                // The next daemon notices a log that was replaced just now.
                Ok(false) | Err(Broken::Replaced(_)) => return,
                Err(Broken::Database(error)) => {
                    return log::warn!(
                        "event log: could not deliver the last events before stopping, {error}; they will be delivered after \
                         the next start"
                    );
                }
            }
        }
    }

    fn do_what_is_due(&mut self) -> Result<Instant, Broken> {
        self.deliver_numbered()?;
        self.answer_up_to(self.last_seq)?;
        let due = now();
        if self.log.retry_at().is_some_and(|at| at <= due) && self.log.retry()? {
            self.more = true;
        }
        if due >= self.next_poll || self.schedule.is_due(due) || self.more {
            if due >= self.next_poll {
                self.next_full_poll = due;
            }
            self.more = self.poll()?;
            self.next_poll = now() + self.settings.poll;
            // The wakeup announced a commit that may still be far off.
            if !self.more && self.schedule.next().is_none() && self.log.oldest_unmoved()?.is_some() {
                self.schedule.poll_again_at(now() + OPEN_WRITERS_PAUSE);
            }
        }
        if !self.unanswered.is_empty() && !self.more && due >= self.next_ahead {
            self.answer_ahead()?;
        }
        if due >= self.next_prune {
            match self.prune() {
                // Delivery does not depend on it.
                Err(Broken::Database(error)) if error.class() == ErrorClass::Permanent => {
                    log::warn!("event log: cannot delete old events: {error}; trying again in a minute");
                    self.next_prune = now() + PRUNE_EVERY;
                }
                done => done?,
            }
        }
        if self.more {
            // Due at once, but page requests and the stop have their turn first.
            return Ok(due);
        }
        let ahead = (!self.unanswered.is_empty()).then_some(self.next_ahead);
        let wake = self.log.retry_at().into_iter().chain(ahead).fold(self.next_poll.min(self.next_prune), Instant::min);
        Ok(self.schedule.next().map_or(wake, |schedule| wake.min(schedule)))
    }

    /// Numbers a batch of committed events and delivers the next page of the log. True: more may follow.
    fn poll(&mut self) -> Result<bool, Broken> {
        let started = now();
        let full = started >= self.next_full_poll;
        // A transaction that is open on another node may have begun below any floor.
        let floor = if full || self.settings.is_cluster { 0 } else { self.floor.id };
        let after_seq = self.last_seq;
        let Polled { numbered_up_to, after_at, log_id, events } =
            self.log.poll(floor, after_seq, self.settings.batch)?;
        self.floor.numbered(numbered_up_to);
        let polled = now();
        self.schedule.polled(polled);
        if full {
            let oldest = self.log.oldest_unmoved()?;
            self.floor.raise(oldest, polled);
            self.next_full_poll = polled + FLOOR_LAG.max((now() - polled) * FULL_POLL_SHARE);
        }
        let more = is_full(&events, self.settings.batch);
        log_id.map_or(Ok(()), |log_id| self.verify_identity(log_id))?;
        self.verify(after_at, &events)?;
        self.deliver(events);
        Ok(more)
    }

    /// Delivers what was handed over and follows the last event delivered, after the same checks as a page that is read.
    fn deliver_numbered(&mut self) -> Result<(), Broken> {
        for Numbered { log_id, after_at, events } in std::mem::take(&mut self.numbered) {
            let (Some(first), Some(last)) = (events.first(), events.last()) else { continue };
            if first.seq == self.last_seq + 1 {
                self.verify_identity(log_id)?;
                self.verify(after_at, &events)?;
                self.deliver(events);
            } else if last.seq > self.last_seq {
                // Behind events that are numbered and not read yet; a poll reads all of them.
                self.more = true;
            }
        }
        Ok(())
    }

    fn verify_identity(&mut self, log_id: u64) -> Result<(), Broken> {
        match log_id == self.settings.head.log_id {
            true => Ok(()),
            false => self.replaced(None, OTHER_IDENTITY.into()),
        }
    }

    /// Makes sure that the log is the one that was served so far. `after_at`: when the event `last_seq` was written,
    /// according to the log as it is now; `events`: those after it.
    fn verify(&mut self, after_at: Option<u64>, events: &[Event<'static>]) -> Result<(), Broken> {
        match (self.last_at, after_at) {
            (Some(known), Some(now)) if known != now => {
                return self.replaced(None, format!("event {} is another one than before", self.last_seq));
            }
            // It is pruned, or the log is shorter than it was.
            (_, None) if self.last_seq > 0 => {
                let head = self.log.log.head()?;
                self.check_head(head)?;
            }
            _ => {}
        }
        self.last_at = after_at;
        match events.first() {
            // Numbers are dense.
            Some(first) if first.seq != self.last_seq + 1 => {
                self.replaced(None, format!("event {} follows event {}", first.seq, self.last_seq))
            }
            _ => Ok(()),
        }
    }

    fn check_head(&mut self, head: LogHead) -> Result<(), Broken> {
        self.verify_identity(head.log_id)?;
        if head.head_seq < self.last_seq {
            let found = format!("it ends at event {}, after event {} was delivered", head.head_seq, self.last_seq);
            return self.replaced(Some(self.last_seq), found);
        }
        Ok(())
    }

    /// Gives the log a new identity unless it has one. `behind`: only if it really ends before this number, which a node
    /// that lags behind its cluster only seems to.
    fn replaced(&mut self, behind: Option<u64>, found: String) -> Result<(), Broken> {
        let known = self.settings.head.log_id;
        if self.log.log.renew_log_id(known, behind)? || self.log.log.head()?.log_id != known {
            return Err(Broken::Replaced(LogReplaced { found }));
        }
        Ok(())
    }

    fn deliver(&mut self, events: Vec<Event<'static>>) {
        let Some(last) = events.last() else { return };
        (self.last_seq, self.last_at) = (last.seq, Some(last.unix_time_us));
        self.schedule.found_work();
        // The writer's own wakeup was sent before its commit; after a long transaction it has no effect any more.
        for watch in &self.watches {
            if events.iter().any(|event| &*event.state == watch.state) {
                watch.wakeup.notify();
            }
        }
        if log::log_enabled!(log::Level::Info) {
            self.trace.log(&events);
        }
        self.log_publisher.live(events);
    }

    /// Answers the requests after numbers up to `reached`.
    fn answer_up_to(&mut self, reached: u64) -> Result<(), Broken> {
        while let Some(place) = self.unanswered.iter().position(|request| request.after_seq <= reached) {
            self.answer(self.unanswered[place])?;
            self.unanswered.remove(place);
        }
        Ok(())
    }

    /// Answers requests after numbers that this daemon has not reached. Another daemon may have, and on a cluster another
    /// node, so the log is read up to its end first; then the answers are final.
    fn answer_ahead(&mut self) -> Result<(), Broken> {
        if let Err(error) = self.log.log.catch_up() {
            // No other subscriber waits for this.
            log::debug!("event log: cannot find out whether it reaches as far as a client has read: {error}");
            self.next_ahead = now() + AHEAD_PAUSE;
            return Ok(());
        }
        while self.poll()? {}
        self.answer_up_to(u64::MAX)
    }

    fn answer(&mut self, PageRequest { after_seq }: PageRequest) -> Result<(), Broken> {
        let head = self.log.log.head()?;
        self.check_head(head)?;
        // Below its first number, the log may still hold events that the server refuses to delete.
        let events = self.log.log.read(after_seq.max(head.first_seq.saturating_sub(1)), self.settings.batch)?;
        // Events pruned between the two queries are missing from the page.
        let first_seq = events.first().map_or(head.first_seq, |first| match first.seq {
            seq if seq - 1 > after_seq => seq.max(head.first_seq),
            _ => head.first_seq.min(after_seq.saturating_add(1)),
        });
        self.log_publisher.page(after_seq, events, first_seq);
        Ok(())
    }

    /// Deletes one batch; due again at once while there may be more.
    fn prune(&mut self) -> Result<(), Broken> {
        let head = self.log.log.head()?;
        self.check_head(head)?;
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

#[cfg(test)]
mod tests;
