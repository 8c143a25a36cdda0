//! Actions on all jobs that match a filter: what the dry run counts is done, once for each job, whatever is killed.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Instance, wait_until};

/// As many rows, in error; ids in the order of the numbers.
fn failed_jobs(conn: &mut Conn, thousands: u32) {
    for n in 0..thousands {
        let rows: Vec<String> = (0..1000)
            .map(|m| format!("('{}{:06}', 'error')", if m % 4 == 0 { "a_" } else { "ab" }, n * 1000 + m))
            .collect();
        conn.query_drop(format!("INSERT INTO res_queue (res_name, status) VALUES {}", rows.join(", "))).unwrap();
    }
}

/// (count in the audit, refused, whether it has ended) of the newest batch.
fn newest(conn: &mut Conn) -> (u64, u64, bool) {
    conn.query_first(
        "SELECT a.count, b.refused, b.ended_at IS NOT NULL FROM res_batch b JOIN res_audit a ON a.id = b.id \
         ORDER BY b.id DESC LIMIT 1",
    )
    .unwrap()
    .unwrap()
}

fn done_to(conn: &mut Conn) -> u64 {
    conn.query_first("SELECT done_to_id FROM res_batch").unwrap().unwrap_or(0)
}

/// Each job was returned to the queue exactly so often, by the events of that.
fn assert_each_retried_once(conn: &mut Conn, jobs: u64) {
    let retried: Vec<(u64, u64)> = conn
        .query(
            "SELECT COUNT(*), COUNT(DISTINCT payload) FROM (SELECT state, payload FROM res_event \
             UNION ALL SELECT state, payload FROM res_outbox) e WHERE state = 'New'",
        )
        .unwrap();
    assert_eq!(retried, [(jobs, jobs)]);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status = 'new'").unwrap(), Some(jobs));
}

#[test]
fn killed_action_on_5000_jobs_goes_on_elsewhere_and_changes_each_once() {
    let instance = Instance::ready("batch_kill");
    let (mut conn, mut hold) = (instance.conn(), instance.conn());
    failed_jobs(&mut conn, 5);
    // What is retried stays `new`, to be counted.
    instance.resqctl(["pause"]).ok();
    let ids: Vec<u64> = conn.query("SELECT res_id FROM res_queue ORDER BY res_id").unwrap();
    // A step waits for the lock of a job's row, and so does whatever is to be killed.
    let mut hold_at = |at: usize| {
        hold.query_drop(format!(
            "COMMIT; START TRANSACTION; SELECT 1 FROM res_queue WHERE res_id = {} FOR UPDATE",
            ids[at]
        ))
        .unwrap();
    };
    hold_at(1700);
    let resqctl = instance.resqctl(["retry", "--all-errors", "--reason", "killed"]).spawn();
    wait_until("the steps before the lock", || done_to(&mut conn) == ids[1499]);
    resqctl.signal("KILL");
    resqctl.wait();
    let daemon = || instance.resqd().env("RESQ_SOCKET", "").args(["--poll-ms", "100"]).spawn_ready();
    let first = daemon();
    hold_at(3200);
    wait_until("the daemon to go on", || done_to(&mut conn) == ids[2999]);
    first.signal("KILL");
    first.wait();
    let (second, third) = (daemon(), daemon());
    hold.query_drop("COMMIT").unwrap();
    wait_until("the end", || newest(&mut conn).2);
    assert_eq!(newest(&mut conn), (5000, 0, true));
    assert_each_retried_once(&mut conn, 5000);
    let audited = "SELECT COUNT(*) FROM res_audit WHERE action = 'retry'";
    assert_eq!(conn.query_first(audited).unwrap(), Some(1));
    // Both daemons have seen its events; neither begins again.
    wait_until("the event of its end", || {
        conn.query_first("SELECT COUNT(*) FROM res_event WHERE state = 'BatchFinished'").unwrap() == Some(1)
    });
    for daemon in [second, third] {
        assert_eq!(daemon.stop().code(), Some(0));
    }
    assert_eq!(newest(&mut conn), (5000, 0, true));
}

#[test]
fn dry_run_counts_what_is_then_done() {
    let instance = Instance::ready("batch_dry");
    let mut conn = instance.conn();
    failed_jobs(&mut conn, 1);
    conn.query_drop(
        "INSERT INTO res_queue (res_name, res_type, status) VALUES ('a_x', 'shop', 'error'), ('a_y', 'shop', 'new'), \
         ('A_Z', 'shop', 'new'), ('100%', 'shop', 'new'), ('100x', 'shop', 'new'), ('d', 'shop', 'done')",
    )
    .unwrap();
    let shop: u64 = conn.query_first("SELECT res_id FROM res_queue WHERE res_name = 'd'").unwrap().unwrap();
    conn.query_drop(format!(
        "INSERT INTO res_database (db_name, res_id, res_type, template_version, claim_id) VALUES ('res_d', {shop}, '', '', 0)"
    ))
    .unwrap();
    let number = |text: &str| text.split(' ').next().unwrap().parse::<u64>().unwrap();
    for (args, expected) in [
        (&["cancel", "--name-prefix", "100%"][..], 1),
        (&["cancel", "--name-prefix", "nothing"], 0),
        (&["cancel", "--database", "res_d"], 0),
        (&["cancel", "--database", "no_such"], 0),
        // The collation of names ignores case.
        (&["cancel", "--type", "shop", "--name-prefix", "a_"], 2),
        (&["cancel", "--status", "new"], 1),
        (&["retry", "--name-prefix", "a_"], 253),
        (&["retry", "--type", "shop"], 2),
        (&["retry", "--status", "error", "--type", "default"], 750),
        (&["retry", "--all-errors"], 0),
    ] {
        let before: u64 = conn.query_first("SELECT COUNT(*) FROM res_audit").unwrap().unwrap();
        let counted = number(&instance.resqctl([]).args(args).arg("--dry-run").ok());
        assert_eq!(
            conn.query_first("SELECT COUNT(*) FROM res_audit").unwrap(),
            Some(before),
            "a dry run leaves no trace"
        );
        let done = number(&instance.resqctl([]).args(args).ok());
        assert_eq!((counted, done), (expected, expected), "{args:?}");
        assert_eq!(newest(&mut conn), (expected, 0, true), "{args:?}");
    }
    for wrong in [
        &["retry", "--status", "new"][..],
        &["cancel", "--status", "error"],
        &["retry", "--status", "failed"],
        &["retry", "1", "--type", "shop"],
        &["cancel"],
    ] {
        instance.resqctl([]).args(wrong).expect_code(2);
    }
}

#[test]
fn job_that_the_server_refuses_to_change_is_left_out_and_named() {
    let instance = Instance::ready("batch_refuse");
    let mut conn = instance.conn();
    failed_jobs(&mut conn, 1);
    let bad: Vec<u64> = conn.query("SELECT res_id FROM res_queue WHERE res_name IN ('a_000004', 'ab000701')").unwrap();
    conn.query_drop(format!(
        "CREATE TRIGGER refuses BEFORE UPDATE ON res_queue FOR EACH ROW BEGIN IF NEW.res_id IN ({}, {}) THEN \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF; END",
        bad[0], bad[1]
    ))
    .unwrap();
    let finished = instance.resqctl(["retry", "--all-errors"]).expect_code(1);
    assert_eq!(finished.stdout, "998 jobs returned to the queue\n");
    assert!(finished.stderr.contains("2 jobs") && finished.stderr.contains("not this one"), "{finished}");
    assert_eq!(newest(&mut conn), (998, 2, true));
    let left: Vec<u64> = conn.query("SELECT res_id FROM res_queue WHERE status = 'error' ORDER BY res_id").unwrap();
    assert_eq!(left, bad);
}
