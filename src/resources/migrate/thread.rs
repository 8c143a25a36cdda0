//! The daemon's thread that carries a rollout on: it offers idle workers one database at a time, puts back what lost daemons
//! had begun, and takes the rollout from wave to wave. Workers take jobs first, so no new resource waits for a rollout. Never
//! runs a migration itself.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, at, never, select, unbounded};

use super::{
    attempt::{self, Ended, Plan},
    ledger::Claim,
    rules::{self, State, next_step, share},
    store::{self, Rollout},
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

struct Role {
    link: Link,
    global_db: String,
    parts: Parts,
    stopping: Arc<AtomicBool>,
    ended: (Sender<Report>, Receiver<Report>),
    /// The claims of attempts that are under way.
    claims: BTreeSet<u64>,
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
            parts,
            stopping,
            ended: unbounded(),
            claims: BTreeSet::new(),
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
            let may_offer = self.claims.len() < share(self.parts.workers) && now() >= self.quiet_until;
            let next = self.runnable().filter(|_| may_offer);
            let wake = if self.quiet_until > now() { self.quiet_until.min(self.next_poll) } else { self.next_poll };
            let Some((plan, wave)) = next else {
                select! {
                    recv(stopped) -> _ => return,
                    recv(self.parts.wakeups) -> woken => self.woken(woken.is_ok()),
                    recv(self.ended.1) -> ended => self.ended(ended.ok()),
                    recv(at(wake)) -> _ => {}
                }
                continue;
            };
            let tasks = self.parts.tasks.clone();
            select! {
                recv(stopped) -> _ => return,
                recv(self.parts.wakeups) -> woken => self.woken(woken.is_ok()),
                recv(self.ended.1) -> ended => self.ended(ended.ok()),
                // Made when a worker takes it, not before: a task that is dropped reports its end, which would be the next
                // thing to wake up for.
                send(tasks, self.task(plan, wave)) -> sent => {
                    if sent.is_err() {
                        return; // the workers have ended
                    }
                }
                recv(at(wake)) -> _ => {}
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

    /// The plan and wave of the rollout, if it runs.
    fn runnable(&self) -> Option<(Arc<Plan>, u32)> {
        let (rollout, plan) = self.current.as_ref()?;
        plan.clone().filter(|_| rollout.state == State::Running).map(|plan| (plan, rollout.wave))
    }

    /// An attempt at the next database.
    fn task(&mut self, plan: Arc<Plan>, wave: u32) -> SideTask {
        let claim = Claim::new(&plan.global_db, plan.rollout, &self.parts.owner);
        let (id, stopping) = (claim.id, self.stopping.clone());
        self.claims.insert(id);
        // Reports also if the task is dropped unstarted.
        let mut on_end = OnEnd { sender: self.ended.0.clone(), report: Report { claim: id, ended: None } };
        let task = move |session: &mut Session| {
            on_end.is(Ended::Lost);
            on_end.is(attempt::run(&plan, &claim, wave, session, &stopping));
        };
        Box::new(task)
    }

    fn ended(&mut self, report: Option<Report>) {
        let Some(Report { claim, ended }) = report else { return };
        self.claims.remove(&claim);
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
        let (owner, claims) = (&self.parts.owner, self.claims.iter().copied().collect::<Vec<_>>());
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
                Some(Arc::new(Plan { rollout: rollout.id, global_db, files, others }))
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

/// How an attempt ended.
#[derive(Clone, Copy)]
struct Report {
    claim: u64,
    /// None: it never began.
    ended: Option<Ended>,
}

/// Sends the report, whatever becomes of the task.
struct OnEnd {
    sender: Sender<Report>,
    report: Report,
}

impl OnEnd {
    fn is(&mut self, ended: Ended) {
        self.report.ended = Some(ended);
    }
}

impl Drop for OnEnd {
    fn drop(&mut self) {
        let _ = self.sender.send(self.report);
    }
}
