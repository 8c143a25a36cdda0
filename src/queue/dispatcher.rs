//! The dispatcher: claims what the workers can start and hands it to them; promotes delayed jobs whose time has come
//! and rescues those whose daemon is gone. Owns the claims from the table to the channel; never runs a job. Its thread
//! only waits: all that is decided is decided in a turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, at, never, select};

use super::{
    job::{Buffer, Job},
    lease::Lease,
    store::Cursor,
    table::Table,
};
use crate::{
    bell::{Bell, Echo},
    clock::{Pauses, now},
    db::{Class, Trouble, class, told},
};

/// A look at the whole queue may take at most this part of the time; between two of them claims go on from the
/// last place.
const FULL_LOOK_SHARE: u32 = 20;
/// Delayed rows that come due closer together than this start together.
const SHORTEST_TICK: Duration = Duration::from_millis(10);

/// A COMMIT without an answer is carried out within this time or never: longer than a cluster takes to shut out a node,
/// and than a connection that has broken stays unnoticed.
const DOUBT: Duration = Duration::from_secs(60);

/// What the thread listens to between two turns.
pub struct Ears {
    pub news: Receiver<()>,
    pub slots: Receiver<()>,
    /// Heard when jobs are left to be tried again.
    pub retried: Receiver<()>,
    pub stop: Receiver<()>,
}

/// Where claimed jobs go.
pub struct Ends {
    /// Bounded at the largest [`Buffer`], so that a send never waits.
    pub jobs: Sender<Job>,
    /// The workers' end: what is in it at the stop is given back.
    pub unstarted: Receiver<Job>,
    /// Rung after each commit that took jobs.
    pub changed: Bell,
}

/// When the next turn is.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub until: Instant,
    /// Whoever rings before does not make it come sooner: the server is in trouble.
    pub is_deaf: bool,
}

pub struct Dispatcher {
    table: Box<dyn Table>,
    lease: Arc<Lease>,
    ends: Ends,
    buffer: Buffer,
    /// How long between two looks without a bell.
    tick: Duration,
    next_tick: Instant,
    /// There may be delayed rows that `next_tick` was not set for.
    unplanned: bool,
    echo: Echo,
    /// There may be more rows than the last claim took.
    hungry: bool,
    cursor: Option<Cursor>,
    next_full_look: Instant,
    /// Claims whose COMMIT got no answer, and until when they are looked after: taken or not, they are given back before
    /// the next, and then at each tick, since a node that was cut off may carry the COMMIT out later.
    doubtful: Vec<(u64, Instant)>,
    /// As last seen, for the log; what counts is what a claim sees.
    paused: bool,
    pauses: Pauses,
    trouble: Trouble,
}

impl Dispatcher {
    pub fn new(table: Box<dyn Table>, lease: Arc<Lease>, ends: Ends, workers: usize, tick: Duration) -> Dispatcher {
        let now = now();
        Dispatcher {
            table,
            lease,
            ends,
            buffer: Buffer::new(workers),
            tick,
            next_tick: now,
            unplanned: true,
            echo: Echo::default(),
            hungry: true,
            cursor: None,
            next_full_look: now,
            doubtful: Vec::new(),
            paused: false,
            pauses: Pauses::default(),
            trouble: Trouble::default(),
        }
    }

    /// Runs until it is told to stop; then gives back what no worker has started.
    pub fn run(mut self, mut ears: Ears) {
        loop {
            let Wait { until, is_deaf } = self.turn();
            if is_deaf {
                match ears.stop.recv_deadline(until) {
                    Err(RecvTimeoutError::Timeout) => continue,
                    _ => break,
                }
            }
            select! {
                recv(ears.stop) -> _ => break,
                recv(ears.news) -> rung => match rung {
                    Ok(()) => self.rung(),
                    // Whoever rang has ended.
                    Err(_) => ears.news = never(),
                },
                recv(ears.retried) -> _ => self.retried(),
                recv(ears.slots) -> _ => {}
                recv(at(until)) -> _ => {}
            }
        }
        self.give_back();
    }

    /// There may be new jobs.
    pub fn rung(&mut self) {
        self.echo.rung(now());
    }

    /// Jobs were left to be tried again.
    pub fn retried(&mut self) {
        self.unplanned = true;
    }

    /// Does what is due; returns when to come again.
    pub fn turn(&mut self) -> Wait {
        match self.do_what_is_due() {
            Ok(until) => {
                self.pauses = Pauses::default();
                Wait { until, is_deaf: false }
            }
            Err(error) => {
                self.trouble.tell("the queue can't be read or claimed from", &error);
                Wait { until: now() + self.pauses.grow(), is_deaf: true }
            }
        }
    }

    fn do_what_is_due(&mut self) -> Result<Instant, mysql::Error> {
        if now() >= self.next_tick {
            self.tick()?;
        }
        loop {
            let room = self.buffer.room(self.ends.jobs.len());
            let due = self.hungry || self.echo.is_due(now());
            if room == 0 || !due || !self.lease.is_valid() {
                break;
            }
            self.look(room)?;
        }
        if self.unplanned {
            self.plan()?;
        }
        // With no room the slots' bell comes first, without a lease its renewal: the look that is due waits for them.
        let may_look = self.buffer.room(self.ends.jobs.len()) > 0 && self.lease.is_valid();
        let echo = self.echo.next().filter(|_| may_look);
        Ok(echo.map_or(self.next_tick, |echo| echo.min(self.next_tick)))
    }

    /// What is looked after without a bell: the pause switch, lost jobs, delayed ones, and rows nobody rang for.
    fn tick(&mut self) -> Result<(), mysql::Error> {
        self.give_back_doubtful()?;
        let paused = self.table.is_paused()?;
        if paused != self.paused {
            log::warn!("the queue is {}", if paused { "paused: no new claims" } else { "resumed" });
            self.paused = paused;
        }
        let rescued = self.table.rescue()?;
        if rescued > 0 {
            log::warn!("{rescued} jobs of a daemon whose lease ran out are back in the queue");
        }
        while self.table.promote()? {}
        self.next_tick = now() + self.tick;
        self.hungry = true;
        self.next_full_look = now();
        self.unplanned = true;
        Ok(())
    }

    fn give_back_doubtful(&mut self) -> Result<(), mysql::Error> {
        for (claim_id, _) in &self.doubtful {
            self.table.give_back(*claim_id, None)?;
        }
        let now = now();
        self.doubtful.retain(|(_, until)| *until > now);
        Ok(())
    }

    /// The next tick comes no later than the next delayed row is due.
    fn plan(&mut self) -> Result<(), mysql::Error> {
        if let Some(due) = self.table.next_due()? {
            self.next_tick = self.next_tick.min(now() + due.max(SHORTEST_TICK));
        }
        self.unplanned = false;
        Ok(())
    }

    fn look(&mut self, room: usize) -> Result<(), mysql::Error> {
        let started = now();
        let full = self.cursor.is_none() || started >= self.next_full_look;
        let from = if full { None } else { self.cursor };
        let claim_id = fastrand::u64(1..);
        let (jobs, last) = self.table.claim(claim_id, room, from).inspect_err(|error| {
            if class(error) == Class::Lost {
                self.doubtful.push((claim_id, now() + DOUBT));
                self.next_tick = now();
            }
        })?;
        let now = now();
        self.echo.looked(now);
        if full {
            self.next_full_look = now + (now - started) * FULL_LOOK_SHARE;
        }
        self.hungry = jobs.len() == room;
        if self.hungry {
            self.buffer.claimed(self.ends.jobs.len());
        } else if !full {
            // Behind the last place there is no more; what came in before it is for the next full look.
            self.echo.again_at(self.next_full_look);
        }
        self.cursor = last.or(self.cursor);
        if !jobs.is_empty() {
            self.echo.found();
            self.ends.changed.ring();
        }
        for job in jobs {
            if self.ends.jobs.send(job).is_err() {
                break;
            }
        }
        // What was rung for and is not here may be a delayed row.
        self.unplanned |= !self.hungry;
        Ok(())
    }

    /// What no worker has started goes back to the queue.
    pub fn give_back(mut self) {
        let unstarted: Vec<Job> = self.ends.unstarted.try_iter().collect();
        let mut given = 0;
        for jobs in unstarted.chunk_by(|a, b| a.claim_id == b.claim_id) {
            let ids: Vec<u64> = jobs.iter().map(|job| job.id).collect();
            match self.table.give_back(jobs[0].claim_id, Some(&ids)) {
                Ok(()) => given += ids.len(),
                Err(error) => {
                    log::warn!("{} claimed jobs come back when the lease ends: {}", ids.len(), told(&error));
                }
            }
        }
        if given > 0 {
            log::info!("{given} claimed jobs that were not started are back in the queue");
        }
    }
}
