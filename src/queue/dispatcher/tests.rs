//! The dispatcher against a store without a server.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use crossbeam_channel::bounded;

use super::{
    super::{claim_ids::ClaimIds, outcome::JobError, outcome::Outcome, store::Change, store::Claim, store::Reclaimed},
    *,
};
use crate::{
    base::{
        clock::virtual_clock::{self, Clock},
        wakeup::wakeup,
    },
    db::quarantine::Report,
};

const POLL: Duration = Duration::from_secs(3_600);

thread_local! {
    /// By how much this thread's clock is ahead.
    static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A clock that moves as fast as the dispatcher waits.
const HURRIED: Clock = Clock { now: || Instant::now() + AHEAD.get(), sleep: |pause| AHEAD.set(AHEAD.get() + pause) };

/// A queue without an end, whose workers start `started` jobs while a claim runs.
struct Endless {
    unstarted: Receiver<Job>,
    started: usize,
    limits: Arc<Mutex<Vec<usize>>>,
    /// Delayed rows that are due, which another session holds.
    due: Vec<u64>,
    polls: Arc<AtomicU32>,
}

impl QueueStore for Endless {
    #[rustfmt::skip]
    fn claim(&mut self, tries: &mut ClaimIds, limit: usize, _: Option<Cursor>, _: &[u64]) -> Result<Claim, Error> {
        let claim_id = tries.draw();
        self.unstarted.try_iter().take(self.started).for_each(drop);
        self.limits.lock().unwrap().push(limit);
        let (name, res_type) = (String::new(), String::new());
        let job = Job { id: 1, name, res_type, url: None, attempt: 1, max_attempts: None, interruptions: 0, claim_id };
        Ok(Claim { jobs: vec![job; limit], cursor: None })
    }
    #[rustfmt::skip]
    fn is_paused(&mut self) -> Result<bool, Error> { self.polls.fetch_add(1, Relaxed); Ok(false) }
    #[rustfmt::skip]
    fn reclaim_expired(&mut self, _: &[u64]) -> Result<Reclaimed, Error> { Ok(Reclaimed::default()) }
    #[rustfmt::skip]
    fn due(&mut self, _: usize, _: &[u64]) -> Result<Vec<u64>, Error> { Ok(self.due.clone()) }
    #[rustfmt::skip]
    fn promote(&mut self, _: &[u64]) -> Result<u64, Error> { Ok(0) }
    #[rustfmt::skip]
    fn next_due(&mut self, _: &[u64]) -> Result<Option<Duration>, Error> {
        Ok(self.due.first().map(|_| Duration::ZERO))
    }
    #[rustfmt::skip]
    fn claim_ids(&mut self, _: &mut ClaimIds, _: &[u64]) -> Result<Vec<Job>, Error> { Ok(Vec::new()) }
    #[rustfmt::skip]
    fn ready(&mut self, _: usize, _: Option<Cursor>, _: &[u64]) -> Result<Vec<Cursor>, Error> { Ok(Vec::new()) }
    #[rustfmt::skip]
    fn holding(&mut self, _: &[u64]) -> Result<Vec<u64>, Error> { Ok(Vec::new()) }
    #[rustfmt::skip]
    fn claimed(&mut self, _: u64) -> Result<Vec<u64>, Error> { Ok(Vec::new()) }
    #[rustfmt::skip]
    fn release_claimed(&mut self, _: u64, _: Option<&[u64]>) -> Result<(), Error> { Ok(()) }
    #[rustfmt::skip]
    fn finish(&mut self, _: &[Outcome]) -> Result<usize, Error> { Ok(0) }
    #[rustfmt::skip]
    fn report_set_aside(&mut self, _: &[Report<Change>], _: &[u64]) -> Result<(), Error> { Ok(()) }
    #[rustfmt::skip]
    fn renew_lease(&mut self, _: u32) -> Result<(), Error> { Ok(()) }
    #[rustfmt::skip]
    fn end_lease(&mut self) -> Result<(), Error> { Ok(()) }
    #[rustfmt::skip]
    fn end_expired_sessions(&mut self) -> Result<(), Error> { Ok(()) }
}

fn dispatcher(store: Endless, jobs: Sender<Job>, streak: Streak) -> Dispatcher {
    let unstarted = store.unstarted.clone();
    let outputs = Outputs { jobs, unstarted, to_sequencer: wakeup().0, metrics: Arc::default(), streak };
    let lease = Validity::new();
    lease.extend(now(), Duration::from_secs(3_600));
    Dispatcher::new(Box::new(store), &lease, outputs, 5, POLL)
}

fn endless(unstarted: &Receiver<Job>, started: usize, limits: &Arc<Mutex<Vec<usize>>>) -> Endless {
    let (unstarted, limits) = (unstarted.clone(), limits.clone());
    Endless { unstarted, started, limits, due: Vec::new(), polls: Arc::default() }
}

#[test]
fn claims_grow_if_the_workers_start_all_jobs_while_one_runs() {
    for (started, grows) in [(Prefetch::LARGEST, true), (4, false)] {
        let (jobs, unstarted) = bounded(Prefetch::capacity(5));
        let limits = Arc::<Mutex<Vec<usize>>>::default();
        let store = endless(&unstarted, started, &limits);
        let mut dispatcher = dispatcher(store, jobs, Streak::default());
        for _ in 0..20 {
            dispatcher.turn();
            unstarted.try_iter().take(unstarted.len() / 2).for_each(drop);
        }
        assert_eq!(limits.lock().unwrap().iter().any(|limit| *limit > 100), grows, "{started} started");
    }
}

#[test]
fn claims_pause_while_every_attempt_is_postponed() {
    let (jobs, unstarted) = bounded(Prefetch::capacity(5));
    let limits = Arc::<Mutex<Vec<usize>>>::default();
    let streak = Streak::default();
    let store = endless(&unstarted, 0, &limits);
    let mut dispatcher = dispatcher(store, jobs, streak.clone());
    for _ in 0..100 {
        streak.record(&Err(JobError::Postponed("x".into())));
    }
    for _ in 0..1_000 {
        let wait = dispatcher.turn();
        unstarted.try_iter().for_each(drop);
        assert!(wait.until > now(), "it spins");
    }
    assert_eq!(*limits.lock().unwrap(), [1], "one job shows whether the server can run jobs again");
    streak.record(&Ok(None));
    dispatcher.turn();
    assert!(limits.lock().unwrap().last() > Some(&1), "at once");
}

#[test]
fn delayed_job_whose_row_is_locked_costs_few_polls() {
    virtual_clock::set(HURRIED);
    let (jobs, unstarted) = bounded(Prefetch::capacity(5));
    let store = Endless { due: vec![7], ..endless(&unstarted, 0, &Arc::default()) };
    let polls = store.polls.clone();
    let mut dispatcher = dispatcher(store, jobs, Streak::default());
    let started = now();
    while now() - started < POLL {
        let Wait { until, ignore_wakeups } = dispatcher.turn();
        assert!(!ignore_wakeups);
        virtual_clock::sleep(until.saturating_duration_since(now()));
    }
    virtual_clock::set(virtual_clock::REAL);
    // The pauses double from 20 ms to the time between two polls.
    let polls = polls.load(Relaxed);
    assert!((15..=20).contains(&polls), "{polls} polls");
}
