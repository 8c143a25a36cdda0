//! The attempts at databases that this daemon offers to its workers and that they have under way. Decides not whether one is
//! to be offered; knows neither rollouts nor the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use crossbeam_channel::{Receiver, Sender, at, select, unbounded};

use super::stop::Ended;
use crate::queue::{Session, SideTask};

/// What a worker is to do.
pub(super) struct Attempt {
    /// Its claim.
    pub claim: u64,
    /// The databases that it may begin; none: the next that can be claimed.
    pub databases: BTreeSet<String>,
    /// Begins them.
    pub run: Box<dyn FnOnce(&mut Session) -> Ended + Send>,
}

/// What ended a wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The thread is to stop, or the workers have ended.
    Stopped,
    /// A rollout was started, or goes on. False: nothing wakes the thread any more.
    Woken(bool),
    /// An attempt has ended so; None: it never began.
    Ended(Option<Ended>),
    /// A worker has taken the attempt.
    Taken,
    /// The time has come.
    Due,
}

/// What the thread waits for besides the ends of attempts.
pub(super) struct Inputs<'a> {
    /// It is to stop.
    pub stopped: &'a Receiver<()>,
    /// A rollout was started, or goes on.
    pub wakeups: &'a Receiver<()>,
    /// The next thing to do is due.
    pub wake: Instant,
}

/// Those under way, and the way to workers.
pub(super) struct Attempts {
    tasks: Sender<SideTask>,
    reports: (Sender<Report>, Receiver<Report>),
    claims: BTreeMap<u64, BTreeSet<String>>,
}

impl Attempts {
    /// None yet. Workers receive them from the other end of `tasks`.
    pub fn new(tasks: Sender<SideTask>) -> Attempts {
        Attempts { tasks, reports: unbounded(), claims: BTreeMap::new() }
    }

    /// The claims of those under way, with the databases that each may begin.
    pub fn claims(&self) -> &BTreeMap<u64, BTreeSet<String>> {
        &self.claims
    }

    /// Waits until something happens, and meanwhile offers the attempt to workers, if there is one.
    pub fn wait(&mut self, inputs: &Inputs<'_>, next: Option<impl FnOnce() -> Attempt>) -> Turn {
        let Inputs { stopped, wakeups, wake } = *inputs;
        let reports = self.reports.1.clone();
        let Some(next) = next else {
            return select! {
                recv(stopped) -> _ => Turn::Stopped,
                recv(wakeups) -> woken => Turn::Woken(woken.is_ok()),
                recv(reports) -> report => report.map_or(Turn::Stopped, |report| self.ended(report)),
                recv(at(wake)) -> _ => Turn::Due,
            };
        };
        let tasks = self.tasks.clone();
        select! {
            recv(stopped) -> _ => Turn::Stopped,
            recv(wakeups) -> woken => Turn::Woken(woken.is_ok()),
            recv(reports) -> report => report.map_or(Turn::Stopped, |report| self.ended(report)),
            // Made when a worker takes it, not before: a task that is dropped reports its end, which would be the next thing
            // to wake up for.
            send(tasks, self.task(next())) -> sent => if sent.is_ok() { Turn::Taken } else { Turn::Stopped },
            recv(at(wake)) -> _ => Turn::Due,
        }
    }

    fn task(&mut self, Attempt { claim, databases, run }: Attempt) -> SideTask {
        self.claims.insert(claim, databases);
        // Reports also if the task is dropped unstarted.
        let mut on_end = OnEnd { sender: self.reports.0.clone(), report: Report { claim, ended: None } };
        Box::new(move |session| {
            on_end.is(Ended::Lost);
            on_end.is(run(session));
        })
    }

    fn ended(&mut self, Report { claim, ended }: Report) -> Turn {
        self.claims.remove(&claim);
        Turn::Ended(ended)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::{bounded, never};

    use super::*;
    use crate::base::clock::now;

    fn attempt() -> Attempt {
        Attempt { claim: 7, databases: BTreeSet::new(), run: Box::new(|_| Ended::Recorded) }
    }

    #[test]
    fn attempt_that_no_worker_takes_leaves_nothing_to_wake_up_for() {
        let (tasks, _no_worker_is_idle) = bounded(0);
        let mut attempts = Attempts::new(tasks);
        let never = never();
        for _ in 0..3 {
            let inputs = Inputs { stopped: &never, wakeups: &never, wake: now() };
            assert_eq!(attempts.wait(&inputs, Some(attempt)), Turn::Due);
            assert!(attempts.reports.1.is_empty() && attempts.claims().is_empty());
        }
    }

    #[test]
    fn attempt_that_is_taken_is_under_way_until_it_is_dropped() {
        let (tasks, idle) = bounded(0);
        let mut attempts = Attempts::new(tasks);
        let never = never();
        let inputs = Inputs { stopped: &never, wakeups: &never, wake: now() + Duration::from_secs(60) };
        let worker = std::thread::spawn(move || idle.recv().unwrap());
        assert_eq!(attempts.wait(&inputs, Some(attempt)), Turn::Taken);
        assert_eq!(attempts.claims().keys().collect::<Vec<_>>(), [&7]);
        drop(worker.join().unwrap());
        assert_eq!(attempts.wait(&inputs, None::<fn() -> Attempt>), Turn::Ended(None));
        assert!(attempts.claims().is_empty());
        // The worker has ended.
        assert_eq!(attempts.wait(&inputs, Some(attempt)), Turn::Stopped);
    }
}
