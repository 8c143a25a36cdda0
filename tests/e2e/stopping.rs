//! Signals: a drain lets running jobs finish and releases the others; a second signal and a deadline end it.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, templates, wait_until};

/// Templates that hold each job until the test releases the lock `name`.
fn holding(instance: &Instance, name: &str) -> std::path::PathBuf {
    instance.sql_dir(&templates::with(templates::MINIMAL, &[("res_tables/10.sql", &templates::hold(name))]))
}

#[test]
fn drain_finishes_running_jobs_and_releases_the_others() {
    let instance = Instance::ready("drain");
    let sql = holding(&instance, "drain");
    let mut held = instance.server.conn();
    held.query_drop("DO GET_LOCK('drain', 60)").unwrap();
    let mut conn = instance.conn();
    let resqd = instance.resqd().args(["--workers", "2"]).arg("--sql-dir").arg(&sql).spawn();
    instance.resqctl(["seed", "--count", "20"]).ok();
    let count = |conn: &mut mysql::Conn, status: &str| -> Option<u64> {
        conn.query_first(format!("SELECT COUNT(*) FROM res_queue WHERE status = '{status}'")).unwrap()
    };
    // Two run, and a few more are claimed: about one for each worker.
    wait_until("jobs to be claimed ahead", || count(&mut conn, "in_progress") > Some(2));
    assert!(count(&mut conn, "in_progress") <= Some(8));
    resqd.signal("TERM");
    wait_until("unstarted jobs to be released", || count(&mut conn, "in_progress") == Some(2));
    held.query_drop("DO RELEASE_LOCK('drain')").unwrap();
    let finished = resqd.wait();
    assert_eq!(finished.code(), Some(0), "{finished}");
    assert_eq!(
        (count(&mut conn, "done"), count(&mut conn, "new"), count(&mut conn, "in_progress")),
        (Some(2), Some(18), Some(0))
    );
    assert_eq!(
        conn.query_first("SELECT COUNT(*) FROM res_queue WHERE status = 'new' AND attempts > 0").unwrap(),
        Some(0)
    );
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_daemon").unwrap(), Some(0), "its lease ended with it");
}

#[test]
fn second_signal_and_end_of_the_drain_both_stop_it() {
    for (name, second) in [("sig_second", true), ("end_of_drain", false)] {
        let instance = Instance::ready(name);
        let sql = holding(&instance, name);
        let mut held = instance.server.conn();
        held.query_drop(format!("DO GET_LOCK('{name}', 60)")).unwrap();
        let mut conn = instance.conn();
        let mut resqd = instance
            .resqd()
            .args(["--drain-s", if second { "60" } else { "1" }])
            .arg("--sql-dir")
            .arg(&sql)
            .spawn_ready();
        instance.resqctl(["add", "a"]).ok();
        // Claimed is not enough: a job that no worker has begun is released.
        wait_until("the job to run", || instance.sessions_at_a_user_lock(&mut conn).len() == 1);
        resqd.signal("INT");
        wait_until("the signal to arrive", || resqd.has_notified("STOPPING=1"));
        if second {
            // A signal within a quarter of a second of the first counts as the same.
            wait_until("the second signal to end it", || {
                resqd.is_running() && {
                    resqd.signal("INT");
                    false
                } || !resqd.is_running()
            });
        }
        let finished = resqd.wait();
        assert_eq!(finished.code(), Some(1), "{finished}");
        held.query_drop(format!("DO RELEASE_LOCK('{name}')")).unwrap();
        let resqd = instance.resqd().args(["--lease-s", "2"]).arg("--sql-dir").arg(&sql).spawn();
        if second {
            // Its lease of 30 s was not ended: the test deletes it, as if the time had passed.
            conn.query_drop("DELETE FROM res_daemon WHERE lease_until > NOW() + INTERVAL 5 SECOND").unwrap();
        }
        wait_until("the next daemon to take the job over", || {
            conn.query_first("SELECT 1 FROM res_queue WHERE status = 'done'").unwrap() == Some(1)
        });
        assert_eq!(resqd.stop().code(), Some(0));
    }
}
