//! The dispatcher: claims what the workers can start and hands it to them; promotes delayed jobs whose time has come
//! and rescues those whose daemon is gone. Owns the claims from the table to the channel; never runs a job.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, after, never, select};

use super::{
    handler::Handler,
    job::{Buffer, Job},
    lease::Lease,
    store::{self, Claimer, Cursor},
};
use crate::{
    bell::{Bell, Echo},
    db::{Class, Link, Trouble, class, told},
};

/// A look at the whole queue may take at most this part of the time; between two of them claims go on from the
/// last place.
const FULL_LOOK_SHARE: u32 = 20;
/// Delayed rows that come due closer together than this start together.
const SHORTEST_TICK: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The ends of the channels that the dispatcher holds.
pub struct Ends {
    /// Bounded at the largest [`Buffer`], so that a send never waits.
    pub jobs: Sender<Job>,
    /// The workers' end: what is in it at the stop is given back.
    pub unstarted: Receiver<Job>,
    pub news: Receiver<()>,
    pub slots: Receiver<()>,
    /// Heard when jobs are left to be tried again.
    pub retried: Receiver<()>,
    pub changed: Bell,
    pub stop: Receiver<()>,
}

pub struct Dispatcher {
    link: Link,
    claimer: Claimer,
    handler: Arc<dyn Handler>,
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
    /// Claims whose COMMIT got no answer: taken or not, they are given back before the next.
    doubtful: Vec<u64>,
    /// As last seen, for the log; what counts is what a claim sees.
    paused: bool,
}

impl Dispatcher {
    pub fn new(
        link: Link,
        claimer: Claimer,
        handler: Arc<dyn Handler>,
        lease: Arc<Lease>,
        ends: Ends,
        workers: usize,
        tick: Duration,
    ) -> Self {
        let now = Instant::now();
        Dispatcher {
            link,
            claimer,
            handler,
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
        }
    }

    /// Runs until it is told to stop; then gives back what no worker has started.
    pub fn run(mut self) {
        let mut pause = Duration::from_millis(50);
        let mut trouble = Trouble::default();
        loop {
            let wake = match self.turn() {
                Ok(wake) => {
                    pause = Duration::from_millis(50);
                    wake
                }
                Err(error) => {
                    trouble.tell("the queue can't be read or claimed from", &error);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    // Whoever rings meanwhile does not make it come sooner.
                    match self.ends.stop.recv_timeout(pause) {
                        Err(RecvTimeoutError::Timeout) => continue,
                        _ => break,
                    }
                }
            };
            select! {
                recv(self.ends.stop) -> _ => break,
                recv(self.ends.news) -> rung => match rung {
                    Ok(()) => self.echo.rung(Instant::now()),
                    // Whoever rang has ended.
                    Err(_) => self.ends.news = never(),
                },
                recv(self.ends.retried) -> _ => self.unplanned = true,
                recv(self.ends.slots) -> _ => {}
                recv(after(wake.saturating_duration_since(Instant::now()))) -> _ => {}
            }
        }
        self.give_back();
    }

    /// Does what is due; returns when to come again if nothing rings before.
    fn turn(&mut self) -> Result<Instant, mysql::Error> {
        while let Some(&claim_id) = self.doubtful.last() {
            self.give_back_claim(claim_id, None)?;
            self.doubtful.pop();
        }
        if Instant::now() >= self.next_tick {
            self.tick()?;
        }
        loop {
            let now = Instant::now();
            let room = self.buffer.room(self.ends.jobs.len());
            let due = self.hungry || self.echo.is_due(now);
            if room == 0 || !due || !self.lease.is_valid() {
                break;
            }
            self.look(room)?;
        }
        if self.unplanned {
            self.plan()?;
        }
        // With no room the slots' bell comes first; the look that is due waits for it.
        let echo = self.echo.next().filter(|_| self.buffer.room(self.ends.jobs.len()) > 0);
        Ok(echo.map_or(self.next_tick, |echo| echo.min(self.next_tick)))
    }

    /// What is looked after without a bell: the pause switch, lost jobs, delayed ones, and rows nobody rang for.
    fn tick(&mut self) -> Result<(), mysql::Error> {
        let paused = self.link.run(store::paused)?;
        if paused != self.paused {
            log::warn!("the queue is {}", if paused { "paused: no new claims" } else { "resumed" });
            self.paused = paused;
        }
        let rescued = self.link.run(store::rescue)?;
        if rescued > 0 {
            log::warn!("{rescued} jobs of a daemon whose lease ran out are back in the queue");
        }
        while self.link.run(|conn| self.claimer.promote(conn))? {}
        self.next_tick = Instant::now() + self.tick;
        self.hungry = true;
        self.next_full_look = Instant::now();
        self.unplanned = true;
        Ok(())
    }

    /// The next tick comes no later than the next delayed row is due.
    fn plan(&mut self) -> Result<(), mysql::Error> {
        if let Some(due) = self.link.run(store::next_due)? {
            self.next_tick = self.next_tick.min(Instant::now() + due.max(SHORTEST_TICK));
        }
        self.unplanned = false;
        Ok(())
    }

    fn look(&mut self, room: usize) -> Result<(), mysql::Error> {
        let started = Instant::now();
        let full = !self.claimer.skip_locked || self.cursor.is_none() || started >= self.next_full_look;
        let from = if full { None } else { self.cursor };
        let claim_id = fastrand::u64(1..);
        let (claimer, handler) = (&self.claimer, &self.handler);
        let claimed =
            self.link.run(|conn| claimer.claim(conn, claim_id, room, from, |conn, jobs| handler.reserve(conn, jobs)));
        let (jobs, last) = claimed.inspect_err(|error| {
            if class(error) == Class::Lost {
                self.doubtful.push(claim_id);
            }
        })?;
        let now = Instant::now();
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

    fn give_back_claim(&mut self, claim_id: u64, ids: Option<&[u64]>) -> Result<(), mysql::Error> {
        let handler = &self.handler;
        self.link.run(|conn| store::give_back(conn, claim_id, ids, |conn| handler.release(conn, claim_id, ids)))
    }

    fn give_back(mut self) {
        let unstarted: Vec<Job> = self.ends.unstarted.try_iter().collect();
        let mut given = 0;
        for jobs in unstarted.chunk_by(|a, b| a.claim_id == b.claim_id) {
            let ids: Vec<u64> = jobs.iter().map(|job| job.id).collect();
            match self.give_back_claim(jobs[0].claim_id, Some(&ids)) {
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
