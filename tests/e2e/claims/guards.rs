//! Fencing, statement by statement: a worker that lost its job changes nothing, and a lost daemon's jobs are reclaimed.

use std::sync::Arc;

use mysql::{Conn, prelude::Queryable};
use resq::queue::claim_ids::ClaimIds;
use resq::queue::outcome::{FinishedAttempt, Next};
use resq::queue::sql_store::SqlQueueStore;
use resq::queue::store::QueueStore;
use resq::queue::{Job, JobError, NoHooks, Outcome};

use resq_test_support::{Server, TestDatabase};

/// `count` jobs, claimed in one claim by an owner that has a lease.
fn claimed(name: &str, count: usize) -> (TestDatabase, Conn, Vec<Job>) {
    let database = TestDatabase::new(Server::shared(), name);
    let mut conn = database.bare();
    for number in 0..count {
        conn.exec_drop("INSERT INTO res_queue (res_name) VALUES (?)", (format!("g{number}"),)).unwrap();
    }
    store(&database, "us").renew_lease(30).unwrap();
    let jobs = claim(&database, "us", 70);
    assert_eq!(jobs.len(), count);
    (database, conn, jobs)
}

fn store(database: &TestDatabase, owner: &str) -> SqlQueueStore {
    super::store(database, owner, Arc::new(NoHooks))
}

fn claim(database: &TestDatabase, owner: &str, claim_id: u64) -> Vec<Job> {
    store(database, owner).claim(&mut ClaimIds::beginning_with(claim_id), 100, None, &[]).unwrap().jobs
}

fn done(job: &Job) -> Outcome {
    let result = Ok(Some(format!("made by {}", job.claim_id)));
    Outcome::new(FinishedAttempt { job: job.clone(), result }, Next::Done)
}

fn finish(database: &TestDatabase, outcomes: &[Outcome]) -> usize {
    store(database, "us").finish(outcomes).unwrap()
}

/// (status, attempts, interruptions, whether it is ready now, db_name) of every row.
fn rows(conn: &mut Conn) -> Vec<(String, u32, u32, bool, Option<String>)> {
    conn.query("SELECT status, attempts, interruptions, run_at IS NULL, db_name FROM res_queue ORDER BY res_id")
        .unwrap()
}

fn row(status: &str, attempts: u32, interruptions: u32) -> (String, u32, u32, bool, Option<String>) {
    (status.into(), attempts, interruptions, true, None)
}

#[test]
fn outcome_of_a_lost_claim_changes_nothing() {
    let (database, mut conn, jobs) = claimed("guard_lost", 2);
    conn.query_drop("DELETE FROM res_daemon").unwrap();
    assert_eq!(store(&database, "us").reclaim_expired(&[]).unwrap().jobs, 2);
    let again = claim(&database, "them", 71);
    let before = rows(&mut conn);
    // The first owner is too late, both while the second runs the job and after it has finished.
    assert_eq!(finish(&database, &[done(&jobs[0]), done(&jobs[1])]), 0);
    assert_eq!(rows(&mut conn), before);
    assert_eq!(finish(&database, &[done(&again[0])]), 1);
    assert_eq!(finish(&database, &[done(&jobs[0])]), 0);
    assert_eq!(rows(&mut conn)[0].4.as_deref(), Some("made by 71"));
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_error").unwrap(), Some(0));
}

#[test]
fn outcome_written_twice_counts_once() {
    let (database, mut conn, jobs) = claimed("guard_twice", 2);
    let failed = Err(JobError::Permanent("x".into()));
    let outcomes =
        [done(&jobs[0]), Outcome::new(FinishedAttempt { job: jobs[1].clone(), result: failed }, Next::Error)];
    assert_eq!(finish(&database, &outcomes), 2);
    let before = rows(&mut conn);
    // As after a COMMIT without an answer.
    assert_eq!(finish(&database, &outcomes), 0);
    assert_eq!(rows(&mut conn), before);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_error").unwrap(), Some(1));
}

#[test]
fn unanswered_claim_is_released_whole_and_no_other() {
    let (database, mut conn, jobs) = claimed("guard_back", 3);
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('other')").unwrap();
    assert_eq!(claim(&database, "them", 71).len(), 1);
    assert_eq!(finish(&database, &[done(&jobs[0])]), 1);
    store(&database, "us").release_claimed(70, None).unwrap();
    let done = ("done".to_string(), 1, 0, true, Some("made by 70".to_string()));
    assert_eq!(rows(&mut conn), [done, row("new", 0, 0), row("new", 0, 0), row("in_progress", 1, 0)]);
    // A claim that was never committed: nothing to release.
    store(&database, "us").release_claimed(99, None).unwrap();
}

#[test]
fn unstarted_jobs_are_released_as_if_never_claimed() {
    let (database, mut conn, jobs) = claimed("guard_unstarted", 3);
    let ids: Vec<u64> = jobs[1..].iter().map(|job| job.id).collect();
    store(&database, "us").release_claimed(jobs[1].claim_id, Some(&ids)).unwrap();
    assert_eq!(rows(&mut conn), [row("in_progress", 1, 0), row("new", 0, 0), row("new", 0, 0)]);
}

#[test]
fn reclaim_takes_jobs_without_a_lease_and_delays_them_longer_each_time() {
    let (database, mut conn, _jobs) = claimed("guard_reclaim", 1);
    assert_eq!(store(&database, "us").reclaim_expired(&[]).unwrap().jobs, 0, "its daemon has a lease");
    for interruptions in 1..=4 {
        conn.query_drop("UPDATE res_daemon SET lease_until = NOW(6) - INTERVAL 1 SECOND").unwrap();
        assert_eq!(store(&database, "us").reclaim_expired(&[]).unwrap().jobs, 1);
        let pause: Option<Option<i64>> = conn
            .query_first("SELECT TIMESTAMPDIFF(SECOND, NOW(6) - INTERVAL 1 SECOND, run_at) FROM res_queue")
            .unwrap();
        let pause = pause.flatten();
        let found = rows(&mut conn).remove(0);
        assert_eq!((found.0.as_str(), found.1, found.2), ("new", 0, interruptions));
        assert_eq!(found.3, interruptions == 1, "the first time it is ready at once");
        if interruptions > 1 {
            assert!(pause.is_some_and(|s| (1..=1 << (interruptions - 1)).contains(&s)), "{interruptions}: {pause:?} s");
        }
        conn.query_drop("UPDATE res_queue SET run_at = NULL").unwrap();
        assert_eq!(claim(&database, "us", 70 + u64::from(interruptions)).len(), 1);
    }
}
