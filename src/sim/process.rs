//! One daemon: the shipped dispatcher, workers, completer, lease renewer, sequencer and keeper, each an actor instead of a
//! thread, wired as `Service` and `SequencerThread` wire them. Only the threads' loops are replaced: an actor waits for
//! what its thread would wait for.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use crossbeam_channel::{Receiver, TryRecvError, bounded, unbounded};

use super::{
    consumer::{self, SimConsumers},
    log::SimEventLog,
    session::Host,
    simulation::{sleep_about, spawn, spawn_on, wait, with, world_us},
    store::SimQueueStore,
    subscriber::Subscriber,
    waits::{is_disconnected, wait_for_any},
    watcher::watch,
    work::Work,
};
use crate::{
    base::wakeup::wakeup,
    config::Database,
    db::Db,
    events::numbered::hand_over,
    events::updates::LogPublisher,
    events::{Inputs, Settings, StateWatch, consumers::Keeper, log::EventLog, sequencer::Sequencer},
    queue::{
        Load, QUEUE_STATE_NEW, Session, Validity,
        completer::Completer,
        dispatcher::{self, Dispatcher, Outputs, Wait},
        job::Job,
        lease::LeaseRenewer,
        outcome::FinishedAttempt,
        prefetch::Prefetch,
        probing::Streak,
        worker::Worker,
    },
};

/// Events in a batch: few, so that pages and batches are often full.
const SMALL_BATCH: usize = 7;

/// The settings of all daemons of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub skip_locked: bool,
    pub workers: usize,
    pub poll: Duration,
    pub lease_s: u32,
    pub max_attempts: u32,
    pub retention_days: u32,
}

/// Starts the actors of a daemon on the current machine. Does nothing if the server can't be reached.
fn start(plan: &Plan, daemon_id: u64) {
    let host = Host { nodes: plan.nodes };
    let Ok(head) = SimEventLog::new(&host).head() else { return };
    let store = || Box::new(SimQueueStore::new(&host, daemon_id, plan.workers as u32, plan.skip_locked));
    let Ok(renewer) = LeaseRenewer::acquire(store(), plan.lease_s) else { return };
    let lease = renewer.validity.clone();

    let (stop, stopped) = bounded(0);
    let (to_dispatcher, new_jobs) = wakeup();
    let (job_committed, committed) = wakeup();
    let (to_sequencer, unnumbered) = wakeup();
    let (to_claim, slots) = wakeup();
    let (to_replan, retried) = wakeup();
    let (job_in, job_out) = bounded(Prefetch::capacity(plan.workers));
    let (outcome_in, outcome_out) = bounded::<FinishedAttempt>(Prefetch::LARGEST);
    let (request_in, requests) = bounded(64);
    let (update_in, updates) = unbounded();

    let streak = Streak::default();
    let outputs = Outputs {
        jobs: job_in,
        unstarted: job_out.clone(),
        to_sequencer: to_sequencer.clone(),
        metrics: Arc::default(),
        streak: streak.clone(),
    };
    let inputs = dispatcher::Inputs { new_jobs, committed, slots, retried, stop: stopped.clone() };
    let poll = dispatcher::poll_interval(plan.poll, Duration::from_secs(plan.lease_s.into()));
    let dispatcher = Dispatcher::new(store(), &lease, outputs, plan.workers, poll);
    spawn(move || dispatch(dispatcher, &inputs));

    let load = Arc::new(Load::new(&job_out));
    for _ in 0..plan.workers {
        let worker = Worker {
            handler: Arc::new(Work { daemon_id }),
            session: Session::new(nowhere(), &lease, &load),
            finished: outcome_in.clone(),
            slots: to_claim.clone(),
            streak: streak.clone(),
            metrics: Arc::default(),
        };
        let jobs = job_out.clone();
        spawn(move || work(worker, &jobs));
    }
    let (queue_alive, queue_ended) = bounded(0);
    let completer = Completer::new(store(), to_sequencer.clone(), to_replan, plan.max_attempts, Arc::default());
    spawn(move || {
        complete(completer, &outcome_out);
        drop(queue_alive);
    });
    spawn({
        let lease = lease.clone();
        move || watch_lease(&lease, daemon_id)
    });
    spawn({
        let queue_ended = queue_ended.clone();
        move || renew(renewer, &queue_ended)
    });

    let (consumer_request_in, consumer_requests) = bounded(2);
    let (consumer_answer_in, consumer_answers) = unbounded();
    let keeper = Keeper::new(Box::new(SimConsumers::new(&host)), move |answer| {
        let _ = consumer_answer_in.send(answer);
    });
    spawn({
        let queue_ended = queue_ended.clone();
        move || consumer::keep(keeper, &consumer_requests, &queue_ended)
    });
    spawn({
        let queue_ended = queue_ended.clone();
        move || consumer::connect(&consumer_request_in, &consumer_answers, &queue_ended)
    });

    let (hand_over, numbered) = hand_over(to_sequencer.clone());
    spawn({
        let (host, queue_ended) = (host.clone(), queue_ended.clone());
        move || watch(&host, &hand_over, &queue_ended)
    });
    let settings = Settings {
        poll: plan.poll,
        retention_days: plan.retention_days,
        prune_after: Duration::ZERO,
        batch: SMALL_BATCH,
        is_cluster: plan.nodes > 1,
        head,
    };
    let watches = vec![StateWatch { state: QUEUE_STATE_NEW, wakeup: to_dispatcher.clone() }];
    let log_publisher = LogPublisher::new(update_in, || {});
    let sequencer = Sequencer::new(Box::new(SimEventLog::new(&host)), settings, log_publisher, watches);
    let subscriber = Subscriber::new(head, updates, request_in);
    let inputs = Inputs { wakeups: unnumbered, numbered, page_requests: requests };
    spawn(move || sequence(sequencer, subscriber, &inputs, &queue_ended));
    with(|sim| {
        let machine = &mut sim.machines[sim.current];
        machine.wakeups = vec![to_dispatcher, job_committed, to_sequencer];
        machine.stop = Some(stop);
    });
}

/// A pool that is never used: the simulated handler needs no connection. Making it takes random numbers, so that it is made
/// before the seed of the first run is set.
pub fn nowhere() -> &'static Db {
    static NOWHERE: OnceLock<Db> = OnceLock::new();
    NOWHERE.get_or_init(|| Db::open_lazily(&Database::default(), 1))
}

/// Receives a wakeup, unless it is lost.
fn woken(wakeups: &Receiver<()>) -> bool {
    wakeups.try_recv().is_ok() && !with(|sim| sim.chance(sim.faults.lost_wakeup))
}

fn woken_without_reason() -> bool {
    with(|sim| sim.chance(sim.faults.false_wakeup))
}

fn dispatch(mut dispatcher: Dispatcher, inputs: &dispatcher::Inputs) {
    loop {
        let Wait { until, ignore_wakeups } = dispatcher.turn();
        let until_us = world_us(until);
        match ignore_wakeups {
            true => wait_for_any(until_us, &[&inputs.stop]),
            false => wait_for_any(
                until_us,
                &[&inputs.stop, &inputs.new_jobs, &inputs.committed, &inputs.retried, &inputs.slots],
            ),
        }
        if is_disconnected(&inputs.stop) {
            break;
        }
        if !ignore_wakeups {
            if woken(&inputs.new_jobs) || woken_without_reason() {
                dispatcher.notified();
            }
            if inputs.retried.try_recv().is_ok() {
                dispatcher.retried();
            }
            if woken(&inputs.committed) {
                dispatcher.committed();
            }
            let _ = inputs.slots.try_recv();
        }
    }
    dispatcher.release_unstarted();
}

/// Receives from a channel; None: it is empty and its senders are gone.
fn receive<T: Send + 'static>(from: &Receiver<T>) -> Option<T> {
    loop {
        match from.try_recv() {
            Ok(value) => return Some(value),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => wait_for_message(from),
        }
    }
}

/// Waits for half a second at most, since a sender may end without a message.
fn wait_for_message<T: Send + 'static>(from: &Receiver<T>) {
    let waiting = from.clone();
    let until_us = with(|sim| sim.now_us) + 500_000;
    wait(until_us, Some(Box::new(move || !waiting.is_empty())));
}

fn work(mut worker: Worker, jobs: &Receiver<Job>) {
    while let Some(job) = receive(jobs) {
        if !worker.run_job(job) {
            return;
        }
    }
}

fn complete(mut completer: Completer, outcomes: &Receiver<FinishedAttempt>) {
    loop {
        completer.retry_refused();
        let first = match outcomes.try_recv() {
            Ok(first) => first,
            Err(TryRecvError::Disconnected) => return completer.finish(),
            Err(TryRecvError::Empty) => {
                wait_for_message(outcomes);
                continue;
            }
        };
        sleep_about(3_000);
        let most = with(|sim| sim.rng.usize(0..8));
        let mut batch = vec![first];
        batch.extend(outcomes.try_iter().take(most));
        completer.record(batch);
    }
}

/// Renews the lease until the queue's other roles have ended.
fn renew(mut renewer: LeaseRenewer, ended: &Receiver<()>) {
    let mut pause = renewer.renew_interval();
    loop {
        let until_us = with(|sim| sim.now_us) + pause.as_micros() as u64;
        wait_for_any(until_us, &[ended]);
        if is_disconnected(ended) {
            return renewer.end();
        }
        pause = renewer.turn();
    }
}

/// Looks, just after each moment at which the server lets the lease expire, whether the daemon still relies on it: a handler
/// rarely starts within the small part of a lease by which a clock can be wrong.
fn watch_lease(lease: &Validity, daemon_id: u64) {
    let until_us = || with(|sim| sim.server.leases.committed(daemon_id).map(|lease| lease.until_us));
    // None: the daemon has ended it.
    while let Some(expected_us) = until_us() {
        wait(expected_us + 1, None);
        let is_clock_right = with(|sim| {
            let machine = &sim.machines[sim.current];
            machine.clock_stops == machine.renewed_after_stops
        });
        if until_us() == Some(expected_us) {
            assert!(!is_clock_right || !lease.is_valid(), "daemon {daemon_id} relies on a lease that has expired");
            sleep_about(100_000);
        }
    }
}

fn sequence(mut sequencer: Sequencer, mut subscriber: Subscriber, inputs: &Inputs, ended: &Receiver<()>) {
    let Inputs { wakeups, numbered, page_requests } = inputs;
    loop {
        let wake = sequencer.turn().expect("the log stays the same");
        subscriber.receive();
        let until_us = world_us(wake);
        let (wakeup, batches, pages, stop) = (wakeups.clone(), numbered.clone(), page_requests.clone(), ended.clone());
        let ready = move || !wakeup.is_empty() || !batches.is_empty() || !pages.is_empty() || is_disconnected(&stop);
        wait(until_us, Some(Box::new(ready)));
        if is_disconnected(ended) {
            break;
        }
        if woken(wakeups) || woken_without_reason() {
            sequencer.notified();
        }
        if let Ok(numbered) = numbered.try_recv() {
            sequencer.handed_over(numbered);
        }
        if let Ok(request) = page_requests.try_recv() {
            sequencer.page_requested(request);
        }
    }
    sequencer.end();
    subscriber.receive();
    // The process ends.
    with(|sim| sim.kill(sim.current));
}

/// Stops the daemon in order.
pub fn stop(machine: usize) {
    with(|sim| sim.machines[machine].stop = None);
}

pub fn is_running(machine: usize) -> bool {
    with(|sim| sim.machines[machine].daemon_id != 0)
}

/// Starts a daemon on `machine`, where none is running. If the start fails, none is running afterwards.
pub fn boot(machine: usize, plan: &Plan) {
    let daemon_id = with(|sim| {
        sim.daemons_started += 1;
        sim.machines[machine].daemon_id = sim.daemons_started;
        sim.daemons_started
    });
    let plan = plan.clone();
    spawn_on(machine, move || start_or_end(&plan, daemon_id));
}

fn start_or_end(plan: &Plan, daemon_id: u64) {
    start(plan, daemon_id);
    if with(|sim| sim.machines[sim.current].wakeups.is_empty()) {
        with(|sim| sim.kill(sim.current));
    }
}
