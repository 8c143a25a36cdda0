//! Who lost a job changes nothing of it, and what a lost daemon held comes back, statement by statement.

use mysql::{Conn, prelude::Queryable};
use resq::queue::job::{FinishedAttempt, JobResult, Next};
use resq::queue::sql_store::{self, Claimer};
use resq::queue::{Job, Outcome};
use resq_test_support::{Server, TestDatabase};

/// `count` jobs, claimed in one claim by an owner who has a lease.
fn claimed(name: &str, count: usize) -> (TestDatabase, Conn, Vec<Job>) {
    let database = TestDatabase::new(Server::shared(), name);
    let mut conn = database.bare();
    for number in 0..count {
        conn.exec_drop("INSERT INTO res_queue (res_name) VALUES (?)", (format!("g{number}"),)).unwrap();
    }
    sql_store::renew_lease(&mut conn, "us", 30).unwrap();
    let jobs = claim(&database, &mut conn, "us", 70);
    assert_eq!(jobs.len(), count);
    (database, conn, jobs)
}

fn claim(database: &TestDatabase, conn: &mut Conn, owner: &str, claim_id: u64) -> Vec<Job> {
    let claimer = Claimer { owner: owner.into(), skip_locked: database.info.skip_locked };
    claimer.claim(conn, claim_id, 100, None, |_, _| Ok(())).unwrap().0
}

fn done(job: &Job) -> Outcome {
    let ended = JobResult::Done { db_name: Some(format!("made by {}", job.claim_id)) };
    Outcome { attempt: FinishedAttempt { job: job.clone(), result: ended }, next: Next::Done }
}

fn finish(conn: &mut Conn, endings: &[Outcome]) -> usize {
    sql_store::finish(conn, endings, |_, _| Ok(())).unwrap()
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
fn an_outcome_of_a_lost_claim_changes_nothing() {
    let (database, mut conn, jobs) = claimed("guard_lost", 2);
    conn.query_drop("DELETE FROM res_daemon").unwrap();
    assert_eq!(sql_store::reclaim_expired(&mut conn).unwrap(), 2);
    let again = claim(&database, &mut conn, "them", 71);
    let before = rows(&mut conn);
    // The first holder comes too late, while the second runs it and after that has finished.
    assert_eq!(finish(&mut conn, &[done(&jobs[0]), done(&jobs[1])]), 0);
    assert_eq!(rows(&mut conn), before);
    assert_eq!(finish(&mut conn, &[done(&again[0])]), 1);
    assert_eq!(finish(&mut conn, &[done(&jobs[0])]), 0);
    assert_eq!(rows(&mut conn)[0].4.as_deref(), Some("made by 71"));
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_error").unwrap(), Some(0));
}

#[test]
fn an_outcome_written_twice_counts_once() {
    let (_bed, mut conn, jobs) = claimed("guard_twice", 2);
    let failed = JobResult::Failed { error: "x".into(), permanent: true };
    let endings = [
        done(&jobs[0]),
        Outcome { attempt: FinishedAttempt { job: jobs[1].clone(), result: failed }, next: Next::Error },
    ];
    assert_eq!(finish(&mut conn, &endings), 2);
    let before = rows(&mut conn);
    // As after a COMMIT whose answer was lost.
    assert_eq!(finish(&mut conn, &endings), 0);
    assert_eq!(rows(&mut conn), before);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_error").unwrap(), Some(1));
}

#[test]
fn a_claim_that_got_no_answer_is_given_back_whole_and_no_other() {
    let (database, mut conn, jobs) = claimed("guard_back", 3);
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('other')").unwrap();
    assert_eq!(claim(&database, &mut conn, "them", 71).len(), 1);
    assert_eq!(finish(&mut conn, &[done(&jobs[0])]), 1);
    sql_store::release_claimed(&mut conn, 70, None, |_| Ok(())).unwrap();
    let done = ("done".to_string(), 1, 0, true, Some("made by 70".to_string()));
    assert_eq!(rows(&mut conn), [done, row("new", 0, 0), row("new", 0, 0), row("in_progress", 1, 0)]);
    // A claim that never was committed: nothing to give back.
    sql_store::release_claimed(&mut conn, 99, None, |_| Ok(())).unwrap();
}

#[test]
fn unstarted_jobs_are_given_back_as_if_never_claimed() {
    let (_bed, mut conn, jobs) = claimed("guard_unstarted", 3);
    let ids: Vec<u64> = jobs[1..].iter().map(|job| job.id).collect();
    sql_store::release_claimed(&mut conn, jobs[1].claim_id, Some(&ids), |_| Ok(())).unwrap();
    assert_eq!(rows(&mut conn), [row("in_progress", 1, 0), row("new", 0, 0), row("new", 0, 0)]);
}

#[test]
fn a_rescue_takes_what_no_lease_holds_and_waits_longer_each_time() {
    let (database, mut conn, _jobs) = claimed("guard_rescue", 1);
    assert_eq!(sql_store::reclaim_expired(&mut conn).unwrap(), 0, "its daemon has a lease");
    for interruptions in 1..=4 {
        conn.query_drop("UPDATE res_daemon SET lease_until = NOW(6) - INTERVAL 1 SECOND").unwrap();
        assert_eq!(sql_store::reclaim_expired(&mut conn).unwrap(), 1);
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
        assert_eq!(claim(&database, &mut conn, "us", 70 + u64::from(interruptions)).len(), 1);
    }
}
