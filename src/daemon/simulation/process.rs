//! One life of a daemon: the real dispatcher, workers, completer, lease and journal, each an actor instead of a thread,
//! wired as `Service` and `Journal` wire them. What is left out are the threads' loops: here an actor waits for what its
//! thread would wait for.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use crossbeam_channel::{Receiver, TryRecvError, bounded, unbounded};

use super::{
    log::SimLog,
    session::Host,
    subscriber::Subscriber,
    table::SimTable,
    work::Work,
    world::{pass, spawn, spawn_on, wait, with, world_us},
};
use crate::{
    bell::bell,
    broker::{Announcer, Read},
    db::Db,
    journal::{Settings, log::Log, reader::Reader},
    queue::{
        Session,
        completer::Completer,
        dispatcher::{Dispatcher, Ears, Ends, Wait},
        job::{Buffer, Job, Outcome},
        lease::Renewer,
        worker::Worker,
    },
};

/// What all daemons of a run go by.
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

/// Starts a daemon on the machine whose turn it is, as its owner number `life`. Ends where the server can't be had.
fn start(plan: &Plan, life: u64) {
    let host = Host { nodes: plan.nodes };
    let Ok(head) = SimLog::new(&host).head() else { return };
    let table = || Box::new(SimTable::new(&host, life, plan.skip_locked));
    let Ok(renewer) = Renewer::take(table(), plan.lease_s) else { return };
    let lease = renewer.lease.clone();

    let (stop, stopped) = bounded(0);
    let (news, news_ear) = bell();
    let (changed, changed_ear) = bell();
    let (slots, slots_ear) = bell();
    let (retried, retried_ear) = bell();
    let (job_in, job_out) = bounded(Buffer::LARGEST.max(plan.workers * 2));
    let (outcome_in, outcome_out) = bounded::<Outcome>(Buffer::LARGEST);
    let (ask, reads) = bounded(64);
    let (tell, told) = unbounded();

    let ends = Ends { jobs: job_in, unstarted: job_out.clone(), changed: changed.clone() };
    let ears = Ears { news: news_ear, slots: slots_ear, retried: retried_ear, stop: stopped.clone() };
    let tick = plan.poll.min(Duration::from_millis(u64::from(plan.lease_s) * 500));
    let dispatcher = Dispatcher::new(table(), lease.clone(), ends, plan.workers, tick);
    spawn(move || dispatch(dispatcher, &ears));

    for _ in 0..plan.workers {
        let worker = Worker {
            handler: Arc::new(Work { life }),
            session: Session::new(nowhere(), lease.clone()),
            outcomes: outcome_in.clone(),
            slots: slots.clone(),
        };
        let jobs = job_out.clone();
        spawn(move || work(worker, &jobs));
    }
    let (queue_alive, queue_ended) = bounded(0);
    let completer = Completer::new(table(), changed.clone(), retried, plan.max_attempts);
    spawn(move || {
        complete(completer, &outcome_out);
        drop(queue_alive);
    });
    spawn({
        let queue_ended = queue_ended.clone();
        move || keep(renewer, &queue_ended)
    });

    let settings = Settings { poll: plan.poll, retention_days: plan.retention_days, is_cluster: plan.nodes > 1, head };
    let announcer = Announcer::overheard_by(tell, waker());
    let reader = Reader::new(Box::new(SimLog::new(&host)), settings, announcer, news.clone());
    let subscriber = Subscriber::new(head, told, ask);
    spawn(move || journal(reader, subscriber, &changed_ear, &reads, &queue_ended));
    with(|world| {
        let machine = &mut world.machines[world.current];
        machine.bells = vec![news, changed];
        machine.stop = Some(stop);
    });
}

/// Nobody connects anywhere here.
fn nowhere() -> &'static Db {
    static NOWHERE: OnceLock<Db> = OnceLock::new();
    NOWHERE.get_or_init(Db::nowhere)
}

/// Who is woken by it has no poll to wait in.
fn waker() -> &'static Arc<mio::Waker> {
    static WAKER: OnceLock<(mio::Poll, Arc<mio::Waker>)> = OnceLock::new();
    let new = || {
        let poll = mio::Poll::new().expect("a poll");
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).expect("a waker");
        (poll, Arc::new(waker))
    };
    &WAKER.get_or_init(new).1
}

/// Waits like a `select!` on channels that only wake.
fn listen(until_us: u64, ears: &[&Receiver<()>]) {
    let ears: Vec<Receiver<()>> = ears.iter().map(|ear| (*ear).clone()).collect();
    wait(until_us, Some(Box::new(move || ears.iter().any(|ear| !ear.is_empty() || is_over(ear)))));
}

/// Whether the other end of a channel is gone that never carries anything.
fn is_over(ear: &Receiver<()>) -> bool {
    ear.is_empty() && ear.capacity() == Some(0) && ear.try_recv() == Err(TryRecvError::Disconnected)
}

fn heard(ear: &Receiver<()>) -> bool {
    ear.try_recv().is_ok() && !with(|world| world.chance(world.faults.lost_bell))
}

fn misheard() -> bool {
    with(|world| world.chance(world.faults.false_bell))
}

fn dispatch(mut dispatcher: Dispatcher, ears: &Ears) {
    loop {
        let Wait { until, is_deaf } = dispatcher.turn();
        let until_us = world_us(until);
        match is_deaf {
            true => listen(until_us, &[&ears.stop]),
            false => listen(until_us, &[&ears.stop, &ears.news, &ears.retried, &ears.slots]),
        }
        if is_over(&ears.stop) {
            break;
        }
        if !is_deaf {
            if heard(&ears.news) || misheard() {
                dispatcher.rung();
            }
            if ears.retried.try_recv().is_ok() {
                dispatcher.retried();
            }
            let _ = ears.slots.try_recv();
        }
    }
    dispatcher.give_back();
}

/// Takes what comes through a channel until its other ends are gone.
fn take<T: Send + 'static>(from: &Receiver<T>) -> Option<T> {
    loop {
        match from.try_recv() {
            Ok(value) => return Some(value),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {
                let waiting = from.clone();
                let until_us = with(|world| world.now_us) + 500_000;
                wait(until_us, Some(Box::new(move || !waiting.is_empty())));
            }
        }
    }
}

fn work(mut worker: Worker, jobs: &Receiver<Job>) {
    while let Some(job) = take(jobs) {
        if !worker.take(job) {
            return;
        }
    }
}

fn complete(mut completer: Completer, outcomes: &Receiver<Outcome>) {
    while let Some(first) = take(outcomes) {
        pass(3_000);
        let most = with(|world| world.rng.usize(0..8));
        let mut batch = vec![first];
        batch.extend(outcomes.try_iter().take(most));
        completer.record(batch);
    }
}

/// Renews until the queue's other roles have ended.
fn keep(mut renewer: Renewer, ended: &Receiver<()>) {
    let mut pause = renewer.third();
    loop {
        let until_us = with(|world| world.now_us) + pause.as_micros() as u64;
        listen(until_us, &[ended]);
        if is_over(ended) {
            return renewer.end();
        }
        pause = renewer.turn();
    }
}

fn journal(
    mut reader: Reader,
    mut subscriber: Subscriber,
    ear: &Receiver<()>,
    reads: &Receiver<Read>,
    ended: &Receiver<()>,
) {
    loop {
        let wake = reader.turn();
        subscriber.listen();
        let until_us = world_us(wake);
        let (bell, asked, over) = (ear.clone(), reads.clone(), ended.clone());
        let ready = move || !bell.is_empty() || !asked.is_empty() || is_over(&over);
        wait(until_us, Some(Box::new(ready)));
        if is_over(ended) {
            break;
        }
        if heard(ear) || misheard() {
            reader.rung();
        }
        if let Ok(read) = reads.try_recv() {
            reader.asked(read);
        }
    }
    reader.end();
    subscriber.listen();
    // The process is over.
    with(|world| world.kill(world.current));
}

/// Ends the process in order.
pub fn stop(machine: usize) {
    with(|world| world.machines[machine].stop = None);
}

pub fn is_running(machine: usize) -> bool {
    with(|world| world.machines[machine].life != 0)
}

/// Begins a daemon on `machine`, where none is running. A start that fails leaves none.
pub fn boot(machine: usize, plan: &Plan) {
    let life = with(|world| {
        world.lives += 1;
        world.machines[machine].life = world.lives;
        world.lives
    });
    let plan = plan.clone();
    spawn_on(machine, move || start_or_end(&plan, life));
}

fn start_or_end(plan: &Plan, life: u64) {
    start(plan, life);
    if with(|world| world.machines[world.current].bells.is_empty()) {
        with(|world| world.kill(world.current));
    }
}
