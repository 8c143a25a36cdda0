//! A running service: when jobs start, which are retried, and that several services never do a job twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use mysql::{Conn, prelude::Queryable};
use resq::config;
use resq::queue::JobError;

use resq_test_support::{Server, TestDatabase, assert_done_by_one_attempt_each, wait_at_most, wait_until};

use super::recording_handler::{Recorder, Serving, without_polling};

/// Far less than the minute between two polls.
const PROMPT: Duration = Duration::from_secs(10);

fn count(conn: &mut Conn, status: &str) -> u64 {
    conn.exec_first("SELECT COUNT(*) FROM res_queue WHERE status = ?", (status,)).unwrap().unwrap()
}

#[test]
fn delayed_row_starts_when_it_is_due_and_not_before() {
    let (database, recorder) = (TestDatabase::new(Server::shared(), "serve_delayed"), Recorder::new());
    let serving = Serving::start(&database, without_polling(), &recorder);
    let mut conn = database.bare();
    let started = Instant::now();
    conn.query_drop("INSERT INTO res_queue (res_id, res_name, run_at) VALUES (1, 'a', NOW(6) + INTERVAL 1 SECOND)")
        .unwrap();
    conn.query_drop("INSERT INTO res_queue (res_id, res_name) VALUES (2, 'b')").unwrap();
    serving.notify();
    wait_at_most(PROMPT, "both to be done", || count(&mut conn, "done") == 2);
    let runs = recorder.runs();
    assert_eq!(recorder.ids(), [2, 1]);
    assert!(runs[1].at.duration_since(started) >= Duration::from_millis(990), "{:?}", runs[1].at - started);
    serving.stop();
}

#[test]
fn late_and_urgent_rows_are_found_after_a_wakeup() {
    let (database, recorder) = (TestDatabase::new(Server::shared(), "serve_late"), Recorder::new());
    let serving = Serving::start(&database, without_polling(), &recorder);
    let (mut conn, mut late) = (database.bare(), database.bare());
    late.query_drop("START TRANSACTION").unwrap();
    late.query_drop("INSERT INTO res_queue (res_name) VALUES ('late')").unwrap();
    database.fill(2, "", "");
    serving.notify();
    if database.info.skip_locked {
        // Without SKIP LOCKED a claim waits for the uncommitted row.
        wait_at_most(PROMPT, "all but the late one", || count(&mut conn, "done") == 100);
    }
    // The wakeup comes before the commit: the service polls again for a while.
    serving.notify();
    late.query_drop("COMMIT").unwrap();
    wait_at_most(PROMPT, "the late one", || count(&mut conn, "done") == 101);
    conn.query_drop("INSERT INTO res_queue (res_name, priority) VALUES ('first', -1)").unwrap();
    serving.notify();
    wait_at_most(PROMPT, "the urgent one", || count(&mut conn, "done") == 102);
    serving.stop();
}

#[test]
fn urgent_row_overtakes_a_backlog() {
    let database = TestDatabase::new(Server::shared(), "serve_urgent");
    let gate = Arc::new(RwLock::new(()));
    let recorder = Recorder::ending({
        let gate = gate.clone();
        move |_| gate.read().map(drop).map_err(|_| JobError::Permanent("the test has failed".into()))
    });
    let mut conn = database.bare();
    database.fill(4, "", "");
    // However long the INSERT takes, what has started meanwhile goes no further.
    let closed = gate.write().unwrap();
    let serving = Serving::start(&database, without_polling(), &recorder);
    wait_until("a start", || !recorder.runs().is_empty());
    conn.query_drop("INSERT INTO res_queue (res_name, priority) VALUES ('urgent', -1)").unwrap();
    let urgent = conn.last_insert_id();
    drop(closed);
    wait_until("all to be done", || recorder.runs().len() == 10_001);
    let place = recorder.ids().iter().position(|id| *id == urgent);
    assert!(place.is_some_and(|place| place < 9_000), "{place:?} of 10,001");
    serving.stop();
}

#[test]
fn failing_job_is_retried_with_growing_pauses_up_to_its_limit() {
    let database = TestDatabase::new(Server::shared(), "serve_retry");
    let recorder = Recorder::ending(|job| match job.name.as_str() {
        "hopeless" => Err(JobError::Permanent("never".into())),
        "shaky" if job.attempt == 3 => Ok(()),
        "panicking" => panic!("on purpose"),
        _ => Err(JobError::Failed(format!("attempt {}", job.attempt))),
    });
    let mut conn = database.bare();
    conn.query_drop(
        "INSERT INTO res_queue (res_id, res_name, max_attempts) VALUES \
         (1, 'hopeless', NULL), (2, 'shaky', NULL), (3, 'two', 2), (4, 'panicking', 1)",
    )
    .unwrap();
    let serving = Serving::start(&database, without_polling(), &recorder);
    wait_at_most(PROMPT, "every end", || count(&mut conn, "done") + count(&mut conn, "error") == 4);
    serving.stop();
    let rows: Vec<(String, String, u32, Option<String>)> =
        conn.query("SELECT res_name, status, attempts, last_error FROM res_queue ORDER BY res_id").unwrap();
    let row = |name: &str, status: &str, attempts, error: Option<&str>| {
        (name.to_string(), status.to_string(), attempts, error.map(str::to_string))
    };
    assert_eq!(
        rows,
        [
            row("hopeless", "error", 1, Some("never")),
            row("shaky", "done", 3, None),
            row("two", "error", 2, Some("attempt 2")),
            row("panicking", "error", 1, Some("the handler panicked: on purpose")),
        ]
    );
    let errors: Vec<(u32, String)> =
        conn.query("SELECT attempt, message FROM res_error WHERE res_id = 2 ORDER BY id").unwrap();
    assert_eq!(errors, [(1, "attempt 1".to_string()), (2, "attempt 2".to_string())]);
    let shaky: Vec<_> = recorder.runs().into_iter().filter(|run| run.id == 2).collect();
    assert_eq!(shaky.iter().map(|run| run.attempt).collect::<Vec<_>>(), [1, 2, 3]);
    // The pauses are 1 s, then 2 s, of which the upper half is random.
    assert!(shaky[1].at - shaky[0].at >= Duration::from_millis(490), "{shaky:?}");
    assert!(shaky[2].at - shaky[1].at >= Duration::from_millis(990), "{shaky:?}");
}

#[test]
fn jobs_of_an_expired_lease_are_reclaimed() {
    let (database, recorder) = (TestDatabase::new(Server::shared(), "serve_reclaim"), Recorder::new());
    let mut conn = database.bare();
    conn.query_drop("INSERT INTO res_daemon (owner, lease_until) VALUES ('gone', NOW(6) + INTERVAL 1 SECOND)").unwrap();
    conn.query_drop(
        "INSERT INTO res_queue (res_name, status, attempts, owner, claim_id) VALUES ('a', 'in_progress', 1, 'gone', 7)",
    )
    .unwrap();
    let serving = Serving::start(
        &database,
        config::Queue { poll: Duration::from_millis(100), lease: Duration::from_secs(5), ..config::Queue::default() },
        &recorder,
    );
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('b')").unwrap();
    wait_until("the other job", || count(&mut conn, "done") == 1);
    assert_eq!(count(&mut conn, "in_progress"), 1, "its lease lasts");
    wait_until("the end of the lease", || count(&mut conn, "done") == 2);
    assert_eq!(recorder.runs().last().map(|run| (run.id, run.attempt)), Some((1, 1)), "an interruption is no attempt");
    serving.stop();
}

/// Two services on one queue, with jobs arriving while they work; each claims with SKIP LOCKED or by token.
fn share(name: &str, skip_locked: impl Fn(bool) -> [bool; 2]) {
    let mut database = TestDatabase::new(Server::shared(), name);
    let recorder = Recorder::new();
    let mut conn = database.bare();
    database.fill(3, "", "");
    let serving: Vec<Serving> = skip_locked(database.info.skip_locked)
        .into_iter()
        .map(|skip_locked| {
            database.info.skip_locked = skip_locked;
            Serving::start(&database, without_polling(), &recorder)
        })
        .collect();
    for _ in 0..4 {
        database.fill(3, "", "");
        serving.iter().for_each(Serving::notify);
    }
    wait_until("all to be done", || count(&mut conn, "done") == 5_000);
    serving.into_iter().for_each(Serving::stop);
    let mut ids = recorder.ids();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((recorder.runs().len(), ids.len()), (5_000, 5_000), "none twice, none left out");
    assert_done_by_one_attempt_each(&mut conn);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_error").unwrap(), Some(0));
}

#[test]
fn two_services_do_5000_jobs_once_each() {
    share("serve_two", |can| [can, can]);
}

#[test]
fn claims_by_token_do_5000_jobs_once_each() {
    share("serve_token", |_| [false, false]);
}

#[test]
fn claims_by_token_and_with_skip_locked_work_together() {
    share("serve_both", |can| [can, false]);
}

#[test]
fn stopped_service_runs_nothing_more() {
    let database = TestDatabase::new(Server::shared(), "serve_stop");
    let go = Arc::new(AtomicBool::new(false));
    let held = go.clone();
    let recorder = Recorder::ending(move |_| {
        wait_until("permission to continue", || held.load(Ordering::Relaxed));
        Ok(())
    });
    let mut conn = database.bare();
    database.fill(2, "", "");
    let serving = Serving::start(&database, config::Queue { workers: 2, ..without_polling() }, &recorder);
    wait_until("both workers to have one", || recorder.runs().len() == 2);
    wait_until("more to be claimed ahead", || count(&mut conn, "in_progress") > 2);
    let stopping = std::thread::spawn(move || serving.stop());
    wait_until("the rest to be released", || count(&mut conn, "in_progress") == 2);
    go.store(true, Ordering::Relaxed);
    stopping.join().unwrap();
    assert_eq!(recorder.runs().len(), 2);
    assert_eq!((count(&mut conn, "done"), count(&mut conn, "new")), (2, 98));
}
