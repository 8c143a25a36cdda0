//! Statements that are recorded together, of one database and of several.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Program, Server, wait_until};

use super::{
    crash::COLUMNS,
    fleet::{Fleet, stop},
};

/// It only adds.
const ADDS: &[(&str, &str)] = &[COLUMNS[0]];

/// The statements of such a file are sent together. The server goes on with them when the application ends its transaction:
/// before the database is taken over, or when that has ended the session.
#[test]
fn daemon_killed_amid_statements_that_are_sent_together_repeats_those_it_was_in() {
    if Server::shared().kind() == "galera" {
        return println!("not tested: on Galera no statement waits for an application's transaction");
    }
    for (is_taken_over_first, has_some) in [(false, false), (false, true), (true, false), (true, true)] {
        let name = format!("rollout_packet{}{}", u8::from(is_taken_over_first), u8::from(has_some));
        let fleet = Fleet::new(&name, 1);
        let mut conn = fleet.conn();
        let db_name = fleet.database(1);
        fleet.add(ADDS);
        // It stops in the second statement. The third one's column may be there already.
        if has_some {
            conn.query_drop(format!("ALTER TABLE `{db_name}`.c ADD x INT")).unwrap();
        }
        let mut application = application(&fleet, &[&db_name]);
        let resqd = resqd_alone(&fleet).spawn_ready();
        fleet.start([]);
        let mut claim = |other: u64| {
            let mut found = None;
            wait_until("it to wait for a table", || {
                found = conn.query_first("SELECT claim_id, statement FROM res_ledger WHERE NOT is_done").unwrap();
                let is_new = found.is_some_and(|(claim, _): (u64, u32)| claim != other);
                is_new && fleet.instance.sessions_at_a_table(&mut conn).len() == 1
            });
            // What may have begun: all that it lacks, or what was recorded by itself, as where a look was not answered in time.
            let recorded = found.map(|(_, statement)| statement);
            assert!(recorded == Some(2) || recorded == Some(3) && !has_some, "{name}: {recorded:?}");
            found.map_or(0, |(claim, _)| claim)
        };
        let killed = claim(0);
        resqd.signal("KILL");
        resqd.wait();
        let resqd = if is_taken_over_first {
            let resqd = resqd_alone(&fleet).spawn_ready();
            claim(killed);
            application.query_drop("COMMIT").unwrap();
            resqd
        } else {
            application.query_drop("COMMIT").unwrap();
            fleet.resqd().spawn_ready()
        };
        fleet.wait_for(&mut conn, if has_some { "halted" } else { "finished" });
        if has_some {
            let message = fleet.with_state(&mut conn, "failed")[0].1.clone().unwrap();
            assert!(message.contains("statement 3") && message.contains("1060"), "{message}");
        }
        assert_eq!((fleet.with_column(&mut conn, "b", "x"), fleet.with_column(&mut conn, "c", "x")), (1, 1));
        stop(resqd);
    }
}

/// Only one of its workers migrates, so no other one claims by itself what is to be begun together.
fn resqd_alone(fleet: &Fleet<'_>) -> Program {
    fleet.resqd().args(["--workers", "2"])
}

/// A transaction that keeps others from altering the table `b` of these databases.
fn application(fleet: &Fleet<'_>, databases: &[&str]) -> Conn {
    let reads: Vec<String> = databases.iter().map(|name| format!("SELECT * FROM `{name}`.b")).collect();
    let mut application = fleet.instance.server.conn();
    application.query_drop(format!("START TRANSACTION; {}", reads.join("; "))).unwrap();
    application
}

#[test]
fn statements_behind_one_that_was_not_done_must_find_nothing_when_they_are_run_again() {
    if Server::shared().kind() == "galera" {
        return println!("not tested: on Galera no statement waits for an application's transaction");
    }
    let fleet = Fleet::new("rollout_again", 1);
    let mut conn = fleet.conn();
    fleet.add(ADDS);
    let db_name = fleet.database(1);
    let mut application = application(&fleet, &[&db_name]);
    let resqd = fleet.resqd().spawn_ready();
    fleet.start([]);
    let mut waiting = Vec::new();
    wait_until("the second statement to wait", || {
        waiting = fleet.instance.sessions_at_a_table(&mut conn);
        waiting.len() == 1
    });
    resqd.signal("KILL");
    resqd.wait();
    // It is not done, and neither is the third one, whose column an operator adds.
    fleet.instance.server.conn().query_drop(format!("KILL {}", waiting[0])).unwrap();
    wait_until("its end", || fleet.instance.sessions_at_a_table(&mut conn).is_empty());
    application.query_drop("COMMIT").unwrap();
    conn.query_drop(format!("ALTER TABLE `{db_name}`.c ADD x INT")).unwrap();
    let resqd = fleet.resqd().spawn_ready();
    fleet.wait_for(&mut conn, "halted");
    let message = fleet.with_state(&mut conn, "failed")[0].1.clone().unwrap();
    assert!(message.contains("statement 3") && message.contains("1060"), "{message}");
    assert_eq!(fleet.with_column(&mut conn, "b", "x"), 1);
    conn.query_drop(format!("ALTER TABLE `{db_name}`.c DROP x")).unwrap();
    fleet.newest("retry").ok();
    fleet.wait_for(&mut conn, "finished");
    assert_eq!(fleet.with_column(&mut conn, "c", "x"), 1);
    stop(resqd);
}

#[test]
fn database_that_fails_among_others_leaves_those_behind_it_untouched_and_they_are_migrated() {
    let fleet = Fleet::new("rollout_among", 16);
    let mut conn = fleet.conn();
    fleet.add(ADDS);
    let odd: Vec<String> = [4, 8, 12].map(|n| fleet.database(n)).into();
    for db_name in &odd {
        conn.query_drop(format!("DROP TABLE `{db_name}`.b")).unwrap();
    }
    let resqd = fleet.resqd_long_lease().spawn_ready();
    fleet.start(["--canary", "0", "--max-failures", "3"]);
    fleet.wait_for(&mut conn, "finished");
    let failed = fleet.with_state(&mut conn, "failed");
    assert_eq!(failed.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), odd);
    for (name, message) in &failed {
        let message = message.as_deref().unwrap();
        assert!(message.contains("statement 2") && message.contains("1146"), "{name}: {message}");
    }
    let reached = "SELECT DISTINCT number, statement, is_done FROM res_ledger l JOIN res_database d USING (db_name) \
                   WHERE d.version = 0";
    assert_eq!(conn.query::<(u32, u32, bool), _>(reached).unwrap(), [(1, 1, true)]);
    let with = |conn: &mut Conn| ["a", "b", "c"].map(|table| fleet.with_column(conn, table, "x"));
    assert_eq!((fleet.versions(&mut conn), with(&mut conn)), (vec![(0, 3), (1, 13)], [16, 13, 13]));
    let lost = "SELECT CAST(SUM(interrupted + postponed) AS UNSIGNED) FROM res_rollout_database";
    assert_eq!(conn.query_first::<u64, _>(lost).unwrap(), Some(0));
    for db_name in &odd {
        conn.query_drop(format!("CREATE TABLE `{db_name}`.b (id INT PRIMARY KEY)")).unwrap();
    }
    fleet.newest("retry").ok();
    fleet.newest("wait").args(["--timeout", "60"]).ok();
    assert_eq!((fleet.versions(&mut conn), with(&mut conn)), (vec![(1, 16)], [16, 16, 16]));
    assert_eq!(fleet.events(&mut conn, "Migrated").len(), 16, "one event for each");
    stop(resqd);
}

#[test]
fn repetition_that_meets_a_lock_forgets_nothing_that_was_done_and_an_abort_leaves_it_out() {
    if Server::shared().kind() == "galera" {
        return println!("not tested: on Galera no statement waits for an application's transaction");
    }
    let fleet = Fleet::new("rollout_repeated", 1);
    let mut conn = fleet.conn();
    fleet.add(ADDS);
    let db_name = fleet.database(1);
    let mut application = application(&fleet, &[&db_name]);
    let resqd = resqd_alone(&fleet).spawn_ready();
    fleet.start([]);
    wait_until("the second statement to wait", || fleet.instance.sessions_at_a_table(&mut conn).len() == 1);
    let waiting = fleet.instance.sessions_at_a_table(&mut conn)[0];
    resqd.signal("KILL");
    resqd.wait();
    fleet.instance.server.conn().query_drop(format!("KILL {waiting}")).unwrap();
    wait_until("its end", || fleet.instance.sessions_at_a_table(&mut conn).is_empty());
    // Now the first one meets it as well, which was done.
    application.query_drop(format!("SELECT * FROM `{db_name}`.a")).unwrap();
    let resqd = resqd_alone(&fleet).spawn_ready();
    wait_until("the first statement to wait", || fleet.instance.sessions_at_a_table(&mut conn).len() == 1);
    fleet.newest("abort").ok();
    fleet.wait_for(&mut conn, "aborted");
    let state: Vec<String> = conn.query("SELECT state FROM res_rollout_database").unwrap();
    let recorded = "SELECT number, statement, is_done FROM res_ledger";
    assert_eq!((state, conn.query(recorded).unwrap()), (vec!["skipped".to_string()], vec![(1, 3, false)]));
    application.query_drop("COMMIT").unwrap();
    wait_until("the end of it", || {
        conn.query_first::<u8, _>("SELECT 1 FROM res_meta WHERE name = 'rollout'").unwrap().is_none()
    });
    fleet.start([]);
    fleet.wait_for(&mut conn, "finished");
    assert_eq!(["a", "b", "c"].map(|table| fleet.with_column(&mut conn, table, "x")), [1; 3]);
    stop(resqd);
}

#[test]
fn database_that_cannot_be_entered_with_others_is_begun_afterwards_as_if_new() {
    let fleet = Fleet::new("rollout_entered", 6);
    let mut conn = fleet.conn();
    fleet.add(ADDS);
    let odd = fleet.database(3);
    // A session that an earlier attempt seems to have left has the lock of the name.
    let mut left = fleet.instance.daemon.conn(fleet.instance.server);
    left.query_drop(format!("DO GET_LOCK(CONCAT('resq.', SHA2('{odd}', 224)), 0)")).unwrap();
    let resqd = resqd_alone(&fleet).spawn_ready();
    fleet.start(["--canary", "0"]);
    fleet.wait_for(&mut conn, "finished");
    assert!(left.query_drop("DO 1").is_err(), "it was ended");
    let lost = "SELECT CAST(SUM(interrupted + postponed) AS UNSIGNED) FROM res_rollout_database";
    assert_eq!((fleet.versions(&mut conn), conn.query_first::<u64, _>(lost).unwrap()), (vec![(1, 6)], Some(0)));
    stop(resqd);
}
