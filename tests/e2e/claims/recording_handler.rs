//! A handler that records the jobs that it was given, and a service that runs it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use resq::base::threads::alarm;
use resq::base::wakeup::{Wakeup, wakeup};
use resq::config;
use resq::queue::{Handler, Job, JobError, JobResult, Service, Session, Wakeups};

use resq_test_support::TestDatabase;

/// One run of a job.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: u64,
    pub attempt: u32,
    pub at: Instant,
}

type End = dyn Fn(&Job) -> Result<(), JobError> + Send + Sync;

/// Records every run, then calls the test's closure.
#[derive(Clone)]
pub struct Recorder {
    runs: Arc<Mutex<Vec<Run>>>,
    end: Arc<End>,
}

impl Recorder {
    /// Every job succeeds.
    pub fn new() -> Recorder {
        Recorder::ending(|_| Ok(()))
    }

    /// Every job ends with the result of `end`, which may also wait.
    pub fn ending(end: impl Fn(&Job) -> Result<(), JobError> + Send + Sync + 'static) -> Recorder {
        Recorder { runs: Arc::default(), end: Arc::new(end) }
    }

    pub fn runs(&self) -> Vec<Run> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ids in the order in which they were run.
    pub fn ids(&self) -> Vec<u64> {
        self.runs().iter().map(|run| run.id).collect()
    }
}

impl Handler for Recorder {
    fn run(&self, job: &Job, _session: &mut Session) -> JobResult {
        let run = Run { id: job.id, attempt: job.attempt, at: Instant::now() };
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).push(run);
        (self.end)(job).map(|()| None)
    }
}

/// A service on `database`'s queue, no thread of which may panic.
pub struct Serving {
    service: Service,
    wake_dispatcher: Wakeup,
    panicked: Receiver<String>,
}

impl Serving {
    pub fn start(database: &TestDatabase, queue: config::Queue, handler: &Recorder) -> Serving {
        Serving::start_over(&database.db, database, queue, handler)
    }

    /// The same through another connection to the server.
    pub fn start_over(db: &resq::db::Db, database: &TestDatabase, queue: config::Queue, handler: &Recorder) -> Serving {
        let (alarm, panicked) = alarm();
        let (wake_dispatcher, to_dispatcher) = wakeup();
        let wakeups = Wakeups { to_dispatcher, ..Wakeups::default() };
        let handler = Arc::new(handler.clone());
        let service = Service::start(db, &database.info, &queue, handler, wakeups, &alarm).expect("a lease");
        Serving { service, wake_dispatcher, panicked }
    }

    /// As the event of a new row would.
    pub fn notify(&self) {
        self.wake_dispatcher.notify();
    }

    pub fn stop(self) {
        assert!(self.service.drain(Duration::from_secs(30)), "every outcome is written");
        assert!(self.panicked.is_empty(), "no thread panicked");
    }
}

/// Settings under which the service polls so seldom that it reacts to wakeups only.
pub fn without_polling() -> config::Queue {
    config::Queue { poll: Duration::from_secs(60), lease: Duration::from_secs(3600), ..config::Queue::default() }
}
