//! Lost answers: the service must not guess whether a COMMIT was executed.

use mysql::prelude::Queryable;
use resq::config::Database;
use resq::db::Db;

use resq_test_support::{FaultProxy, Server, TestDatabase, wait_until};

use super::recording_handler::{Recorder, Serving, without_polling};

/// 100 jobs while the answer to a COMMIT behind a statement with `mark` is lost.
fn lose(name: &str, mark: &'static str) {
    let (database, recorder) = (TestDatabase::new(Server::shared(), name), Recorder::new());
    database.fill(2, "", "");
    let proxy = FaultProxy::to(database.config.database.port);
    proxy.lose_answer_to_commit(mark);
    let through_proxy = Database { port: proxy.port, ..database.config.database.clone() };
    let db = Db::open(&through_proxy, 16).expect("the proxy passes logins");
    let serving = Serving::start_over(&db, &database, without_polling(), &recorder);
    let mut conn = database.bare();
    let done = "SELECT COUNT(*) FROM res_queue WHERE status = 'done' AND attempts = 1 AND interruptions = 0";
    wait_until("all to be done", || conn.query_first::<u64, _>(done).unwrap() == Some(100));
    assert!(proxy.has_lost());
    let mut ids = recorder.ids();
    ids.sort_unstable();
    let jobs: Vec<u64> = conn.query("SELECT res_id FROM res_queue ORDER BY res_id").unwrap();
    assert_eq!(ids, jobs, "each is run once");
    serving.stop();
}

#[test]
fn claim_whose_commit_got_no_answer_is_released_and_claimed_again() {
    lose("lost_claim", "status = 'in_progress', attempts");
}

#[test]
fn outcomes_whose_commit_got_no_answer_are_recorded_once() {
    lose("lost_outcome", "SET status = 'done'");
}

#[test]
fn connection_returned_inside_a_transaction_is_rolled_back() {
    let database = TestDatabase::new(Server::shared(), "left_open");
    let mut conn = database.db.global().unwrap();
    conn.query_drop("START TRANSACTION").unwrap();
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('a')").unwrap();
    drop(conn);
    // The pool has only this one connection.
    let mut conn = database.db.global().unwrap();
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_queue").unwrap(), Some(0));
}
