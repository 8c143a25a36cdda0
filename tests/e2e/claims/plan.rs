//! What a claim reads and locks: its own rows only, whatever else is in the table.

use std::{sync::Arc, thread, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use mysql::{Conn, Row, Value, prelude::Queryable};
use resq::db;
use resq::queue::claim_ids::ClaimIds;
use resq::queue::sql_store::{self, SqlQueueStore};
use resq::queue::store::{Cursor, QueueStore};
use resq::queue::{Job, NoHooks, TransactionHooks};

use resq_test_support::{Server, TestDatabase};

const NONE: [u64; 0] = [];

/// 100,000 finished rows, 100,000 delayed ones, and 10,000 ready ones of ten priorities, which are claimed in the
/// order of their last digit.
fn crowded(name: &str) -> TestDatabase {
    let database = TestDatabase::new(Server::shared(), name);
    database.fill(5, ", status", ", 'done'");
    database.fill(5, ", run_at", ", NOW(6) + INTERVAL 1 DAY");
    database.fill(4, ", priority", ", t0.d - 5");
    database.bare().query_drop("ANALYZE TABLE res_queue").unwrap();
    database
}

fn store(database: &TestDatabase) -> SqlQueueStore {
    super::store(database, "test", Arc::new(NoHooks))
}

fn ids(jobs: &[Job]) -> Vec<u64> {
    jobs.iter().map(|job| job.id).collect()
}

/// The first ready rows in the order in which they are to be claimed.
fn expected(conn: &mut Conn, limit: usize) -> Vec<u64> {
    conn.query(format!(
        "SELECT res_id FROM res_queue WHERE status = 'new' AND run_at IS NULL ORDER BY priority, res_id LIMIT {limit}"
    ))
    .unwrap()
}

/// (type, key, extra) of the plan's row for res_queue.
pub fn plan(conn: &mut Conn, sql: &str) -> (String, String, String) {
    // MySQL can be set to print a tree; MariaDB has no such variable.
    let _ = conn.query_drop("SET SESSION explain_format = TRADITIONAL");
    let rows: Vec<Row> = conn.query(format!("EXPLAIN {sql}")).unwrap();
    let text = |row: &Row, column: &str| match row.get::<Value, _>(column) {
        Some(Value::Bytes(bytes)) => String::from_utf8(bytes).unwrap(),
        _ => String::new(),
    };
    let row = rows.iter().find(|row| text(row, "table") == "res_queue").expect("a row for res_queue");
    (text(row, "type"), text(row, "key"), text(row, "Extra"))
}

#[test]
fn claim_reads_by_its_index_and_sorts_nothing() {
    let database = crowded("claim_plan");
    let mut conn = database.bare();
    // As many rows as may be set aside, among them those that would be next.
    let set_aside: Vec<u64> = (0..1_000).map(|n| 200_001 + n * 10).collect();
    let mut statements = Vec::new();
    for excluded in [&[][..], &set_aside[..1], &set_aside] {
        statements.push(sql_store::token_update("test", 7, 5, excluded));
        if database.info.skip_locked {
            statements.extend([5, 500].map(|limit| sql_store::locking_read(limit, None, excluded)));
            for (priority, id) in [(-5, 200_500), (0, 205_000), (4, 210_000)] {
                statements.push(sql_store::locking_read(5, Some(Cursor { priority, id }), excluded));
            }
        }
    }
    for sql in statements {
        let (_, key, extra) = plan(&mut conn, &sql);
        assert_eq!(key, "res_queue_claim", "{sql}");
        assert!(!extra.contains("filesort"), "{extra}: {sql}");
    }
}

/// Holds a claim's transaction open.
struct Hold {
    claimed: Sender<()>,
    may_end: Receiver<()>,
}

impl TransactionHooks for Hold {
    fn reserve(&self, _: &mut Conn, _: &[Job]) -> Result<(), db::Error> {
        self.claimed.send(()).expect("the test waits");
        self.may_end.recv().map_err(|_| db::Error::RaceLost)
    }
}

#[test]
fn concurrent_claims_take_different_rows_and_lock_no_others() {
    let database = crowded("claim_two");
    let first_ten = expected(&mut database.bare(), 10);
    let (claimed, has_claimed) = bounded(1);
    let (end, may_end) = bounded(1);
    let (mut one, mut two) = (super::store(&database, "test", Arc::new(Hold { claimed, may_end })), store(&database));
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| one.claim(&mut ClaimIds::beginning_with(1), 5, None, &[]).expect("a claim"));
        has_claimed.recv().expect("a claim");
        // Its transaction is open. With SKIP LOCKED the second claim does not wait for it, and what it gets shows which
        // rows the first has locked.
        if !database.info.skip_locked {
            end.send(()).expect("the first waits");
        }
        let second = two.claim(&mut ClaimIds::beginning_with(2), 5, None, &[]).expect("another claim").jobs;
        let _ = end.try_send(());
        (first.join().expect("no panic"), second)
    });
    assert_eq!(ids(&first.jobs), first_ten[..5]);
    assert_eq!(ids(&second), first_ten[5..]);
    assert_eq!(first.cursor.map(|cursor| cursor.id), database.info.skip_locked.then_some(first_ten[4]));
}

#[test]
fn claims_go_by_priority_then_id_and_miss_no_row() {
    let database = TestDatabase::new(Server::shared(), "claim_order");
    database.fill(3, ", priority", ", t0.d - 5");
    let (mut store, expected) = (store(&database), expected(&mut database.bare(), 1000));
    let (mut claimed, mut after) = (Vec::new(), None);
    for claim_id in 1.. {
        let claim = store.claim(&mut ClaimIds::beginning_with(claim_id), 70, after, &[]).unwrap();
        if claim.jobs.is_empty() {
            break;
        }
        claimed.extend(ids(&claim.jobs));
        after = claim.cursor;
    }
    assert!(claimed == expected, "{claimed:?}");
}

#[test]
fn late_row_before_the_cursor_is_found_by_a_full_scan() {
    let database = TestDatabase::new(Server::shared(), "claim_late");
    let (mut store, mut conn, mut late) = (store(&database), database.bare(), database.bare());
    late.query_drop("START TRANSACTION").unwrap();
    late.query_drop("INSERT INTO res_queue (res_id, res_name) VALUES (1, 'late')").unwrap();
    conn.query_drop("INSERT INTO res_queue (res_id, res_name) VALUES (2, 'a'), (3, 'b')").unwrap();
    if !database.info.skip_locked {
        // Without SKIP LOCKED a claim would wait for the row.
        late.query_drop("ROLLBACK; START TRANSACTION").unwrap();
    }
    let mut claim = |claim_id, after| {
        let claim = store.claim(&mut ClaimIds::beginning_with(claim_id), 10, after, &[]).unwrap();
        (ids(&claim.jobs), claim.cursor)
    };
    let (jobs, cursor) = claim(1, None);
    assert_eq!(jobs, [2, 3], "an uncommitted row is neither waited for nor taken");
    if !database.info.skip_locked {
        late.query_drop("INSERT INTO res_queue (res_id, res_name) VALUES (1, 'late')").unwrap();
    }
    late.query_drop("COMMIT").unwrap();
    late.query_drop("INSERT INTO res_queue (res_id, res_name, priority) VALUES (4, 'first', -1)").unwrap();
    if database.info.skip_locked {
        assert_eq!(claim(2, cursor).0, NONE, "both are before the cursor");
    }
    assert_eq!(claim(3, None).0, [4, 1]);
}

#[test]
fn paused_queue_and_delayed_row_give_a_claim_nothing() {
    let database = TestDatabase::new(Server::shared(), "claim_none");
    let (mut store, mut conn) = (store(&database), database.bare());
    conn.query_drop("INSERT INTO res_queue (res_name, run_at) VALUES ('d', NOW(6) + INTERVAL 1 HOUR)").unwrap();
    let claim =
        |store: &mut SqlQueueStore| ids(&store.claim(&mut ClaimIds::beginning_with(7), 10, None, &[]).unwrap().jobs);
    assert_eq!(store.due(10, &[]).unwrap(), NONE);
    assert_eq!(store.promote(&[1]).unwrap(), 0);
    assert_eq!(claim(&mut store), NONE, "not before its time");
    let due = store.next_due(&[]).unwrap().expect("a delayed row");
    assert!(due > Duration::from_secs(3500) && due <= Duration::from_secs(3600), "{due:?}");
    conn.query_drop("UPDATE res_queue SET run_at = NOW(6)").unwrap();
    assert_eq!(store.due(10, &[1]).unwrap(), NONE, "set aside");
    assert_eq!(store.due(10, &[]).unwrap(), [1]);
    assert_eq!(store.promote(&[1, 2]).unwrap(), 1);
    conn.query_drop("INSERT INTO res_meta (name, value) VALUES ('paused', '1')").unwrap();
    assert_eq!(claim(&mut store), NONE, "paused");
    conn.query_drop("DELETE FROM res_meta WHERE name = 'paused'").unwrap();
    assert_eq!(claim(&mut store), [1]);
}
