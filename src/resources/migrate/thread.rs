//! The daemon's thread that carries a rollout on: it offers idle workers a few databases at a time, puts back what lost daemons
//! had begun, and takes the rollout from wave to wave. Workers take jobs first, so no new resource waits for a rollout. Never
//! runs a migration itself.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, never};

use super::{
    attempts::{Attempt, Attempts, Inputs, Turn},
    lane::{self, Lane},
    ledger::Claim,
    look::look,
    recorder::Recorder,
    rules::{self, State, next_step, share},
    stop::Ended,
    store::{self, Rollout},
    work::{Candidate, Plan},
};
use crate::{
    base::{
        backoff::Backoff,
        clock::now,
        failure::Failure,
        heartbeat,
        threads::{Alarm, Thread, cannot_start},
        wakeup::Wakeup,
    },
    db::{BACKOFF, Db, Error, Link, OtherHosts, ThrottledWarning},
    queue::{Session, SideTask},
};

/// Connections that the thread needs of the pool.
pub const CONNECTIONS: u32 = 1;

/// How often it looks for a rollout without having been woken.
const IDLE_POLL: Duration = Duration::from_secs(5);
/// How often it looks at the open one: whether it still runs, and what daemons were lost.
const POLL: Duration = Duration::from_secs(1);
/// Databases that one task may begin, one after the other.
const TASK: usize = 32;
/// Fewer are not worth the end of a task.
const LEAST: usize = 4;
/// Databases that are read ahead for each task that may be under way.
const AHEAD: usize = 64;
/// How long stopping may take: its statements are short, but a server that hangs must not hold up the stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The running thread.
pub struct RolloutThread {
    thread: Thread,
    stopping: Arc<AtomicBool>,
}

/// What the thread is started with.
pub struct Parts {
    /// Receives what idle workers are to do.
    pub tasks: Sender<SideTask>,
    /// How many workers there are.
    pub workers: usize,
    /// The daemon, as in `res_daemon`.
    pub owner: String,
    /// A rollout was started, or goes on.
    pub wakeups: Receiver<()>,
    /// Notified after each database: there are events to number.
    pub to_sequencer: Wakeup,
    /// The cluster's other nodes.
    pub others: OtherHosts,
}

impl RolloutThread {
    /// Starts it.
    ///
    /// # Errors
    /// The system cannot start another thread.
    pub fn start(control: &Db, parts: Parts, alarm: &Alarm) -> Result<RolloutThread, Failure> {
        let stopping = Arc::new(AtomicBool::new(false));
        let role = Role::new(control, parts, stopping.clone());
        let thread = Thread::spawn_stoppable("rollouts", alarm, move |stopped| role.run(&stopped));
        Ok(RolloutThread { thread: thread.map_err(cannot_start)?, stopping })
    }

    /// Offers no further database. Those that workers have are left after the statement that is under way.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.stop(STOP_TIMEOUT);
    }
}

/// Databases of a rollout's wave that no task may begin yet.
#[derive(Default)]
struct Ahead {
    of: (u64, u32),
    databases: VecDeque<Candidate>,
    /// There were no more when they were read.
    are_all: bool,
}

struct Role {
    link: Link,
    global_db: String,
    parts: Parts,
    stopping: Arc<AtomicBool>,
    attempts: Attempts,
    ahead: Ahead,
    /// The rollout that is open, with its files once it runs.
    current: Option<(Rollout, Option<Arc<Plan>>)>,
    next_poll: Instant,
    /// No database can be begun before.
    quiet_until: Instant,
}

impl Role {
    fn new(control: &Db, parts: Parts, stopping: Arc<AtomicBool>) -> Role {
        let now = now();
        Role {
            link: Link::new(control),
            global_db: control.global_db().into(),
            attempts: Attempts::new(parts.tasks.clone()),
            parts,
            stopping,
            ahead: Ahead::default(),
            current: None,
            next_poll: now,
            quiet_until: now,
        }
    }

    fn run(mut self, stopped: &Receiver<()>) {
        let (mut warning, mut backoff): (_, Backoff) = (ThrottledWarning::default(), BACKOFF);
        loop {
            heartbeat::working();
            if now() >= self.next_poll {
                match self.poll() {
                    Ok(()) => backoff.reset(),
                    Err(error) => {
                        warning.warn("rollouts: cannot go on with a rollout", &error);
                        self.next_poll = now() + backoff.next(fastrand::f64());
                        self.quiet_until = self.next_poll;
                    }
                }
            }
            heartbeat::waiting();
            let may_offer = self.attempts.claims().len() < share(self.parts.workers) && now() >= self.quiet_until;
            let offer = self.runnable().filter(|_| may_offer);
            if let Some((plan, rollout)) = &offer {
                self.read_ahead(plan, rollout);
            }
            let wake = if self.quiet_until > now() { self.quiet_until.min(self.next_poll) } else { self.next_poll };
            let (parts, stopping, ahead) = (&self.parts, &self.stopping, &mut self.ahead.databases);
            let next = offer.map(|(plan, rollout)| move || task(plan, rollout.wave, parts, stopping, ahead));
            match self.attempts.wait(&Inputs { stopped, wakeups: &parts.wakeups, wake }, next) {
                Turn::Stopped => return,
                Turn::Woken(is_connected) => self.woken(is_connected),
                Turn::Ended(ended) => self.ended(ended),
                Turn::Taken | Turn::Due => {}
            }
        }
    }

    fn woken(&mut self, is_connected: bool) {
        if !is_connected {
            self.parts.wakeups = never();
        }
        self.next_poll = now();
        self.quiet_until = now();
    }

    /// The plan of the rollout, if it runs.
    fn runnable(&self) -> Option<(Arc<Plan>, Rollout)> {
        let (rollout, plan) = self.current.as_ref()?;
        plan.clone().filter(|_| rollout.state == State::Running).map(|plan| (plan, *rollout))
    }

    /// Reads databases for the next tasks while those before still have some to do. None found is no answer: there may be some
    /// that are begun step by step.
    fn read_ahead(&mut self, plan: &Plan, rollout: &Rollout) {
        let of = (rollout.id, rollout.wave);
        if self.ahead.of != of {
            self.ahead = Ahead { of, ..Ahead::default() };
        }
        let limit = AHEAD * share(self.parts.workers);
        let left = self.ahead.databases.len();
        if left > limit / 2 || left > 0 && self.ahead.are_all {
            return;
        }
        let can_open = plan.files.iter().any(|file| file.is_plain);
        // Without an answer, each database is claimed by itself; what the error means shows there.
        let found = can_open.then(|| self.link.run(|conn| store::candidates(conn, rollout, limit)));
        let mut found = found.and_then(Result::ok).unwrap_or_default();
        self.ahead.are_all = found.len() < limit;
        let known: HashSet<&String> = (self.attempts.claims().values().flatten())
            .chain(self.ahead.databases.iter().map(|known| &known.database.db_name))
            .collect();
        found.retain(|one| !known.contains(&one.database.db_name));
        // Without an answer, each statement is recorded by itself.
        let _ = self.link.run(|conn| look(conn, plan, &mut found));
        // Other daemons read the same.
        fastrand::shuffle(&mut found);
        self.ahead.databases.extend(found);
    }

    fn ended(&mut self, ended: Option<Ended>) {
        match ended {
            None => {}
            Some(Ended::Recorded) => {
                self.parts.to_sequencer.notify();
                if self.quiet_until > now() {
                    self.next_poll = now(); // it may have been the last of its wave
                }
            }
            // What is next is decided when it is read anew.
            Some(Ended::Nothing) => self.next_poll = now(),
            Some(Ended::Lost) => {
                self.next_poll = now();
                self.quiet_until = now() + POLL;
            }
        }
    }

    /// Reads the open rollout, puts back what was lost, and takes it a step on where no database can be begun.
    fn poll(&mut self) -> Result<(), Error> {
        let Some(rollout) = self.link.run(store::current)? else {
            self.current = None;
            self.next_poll = now() + IDLE_POLL;
            return Ok(());
        };
        self.next_poll = now() + POLL;
        let (owner, claims) = (&self.parts.owner, self.attempts.claims().keys().copied().collect::<Vec<_>>());
        let reclaimed = self.link.run(|conn| store::reclaim(conn, &rollout, owner, &claims))?;
        if reclaimed > 0 {
            log::warn!(
                "rollout {}: attempts were lost; their databases are tried again databases={reclaimed}",
                rollout.id
            );
        }
        let known = self.current.take().filter(|(before, _)| before.id == rollout.id).and_then(|(_, plan)| plan);
        let plan = match known {
            None if rollout.state == State::Running => {
                let files = self.link.run(|conn| store::files(conn, rollout.id))?;
                let (global_db, others) = (self.global_db.clone(), self.parts.others.clone());
                Some(Arc::new(Plan::new(rollout.id, global_db, files, others)))
            }
            known => known,
        };
        self.current = Some((rollout, plan));
        if rollout.state == State::Running {
            self.step(rollout)?;
        }
        Ok(())
    }

    fn step(&mut self, rollout: Rollout) -> Result<(), Error> {
        let waves = self.link.run(|conn| store::waves(conn, rollout.id))?;
        let step = next_step(rollout.wave, rollout.confirm_canary, &waves);
        if step != rules::Step::Wait {
            self.link.run(|conn| store::take(conn, &rollout, step))?;
            self.parts.to_sequencer.notify();
            log::info!("rollout {}: wave {} is done", rollout.id, rollout.wave);
            self.next_poll = now();
            return Ok(());
        }
        let retry = self.link.run(|conn| store::next_retry_ms(conn, &rollout))?;
        self.quiet_until = now() + retry.map_or(POLL, Duration::from_millis);
        Ok(())
    }
}

/// A task for some of the databases that were read, or if there are none for the next that can be claimed.
fn task(
    plan: Arc<Plan>,
    wave: u32,
    parts: &Parts,
    stopping: &Arc<AtomicBool>,
    ahead: &mut VecDeque<Candidate>,
) -> Attempt {
    let fair = ahead.len().div_ceil(2 * share(parts.workers)).clamp(LEAST, TASK);
    let candidates: VecDeque<Candidate> = ahead.drain(..fair.min(ahead.len())).collect();
    let claim = Claim::new(&plan.global_db, plan.rollout, &parts.owner);
    let (id, stopping, to_sequencer) = (claim.id, stopping.clone(), parts.to_sequencer.clone());
    let databases = candidates.iter().map(|one| one.database.db_name.clone()).collect();
    let run = move |session: &mut Session| {
        let (plan, claim, stopping) = (&*plan, &claim, &*stopping);
        let on_migrated = || to_sequencer.notify();
        let recorder =
            Recorder { plan, claim, session, stopping, held: None, on_migrated: &on_migrated, has_recorded: false };
        lane::run(Lane { recorder, wave, candidates })
    };
    Attempt { claim: id, databases, run: Box::new(run) }
}
