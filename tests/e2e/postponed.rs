//! What is not the job's fault costs it nothing: it waits for the server, however often, and says so. What it may have
//! done itself costs an attempt or an interruption.

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Instance, Server, not_tested, sessions, wait_at_most, wait_or_report, wait_until};
use serde_json::Value as Json;
use std::{
    fs::{File, remove_file},
    time::Duration,
};

use crate::faults::disk;

/// One more interruption would be the last.
const LAST: u32 = 19;
/// Pauses between attempts, waits for locks and for connections add up.
const PATIENCE: Duration = Duration::from_secs(120);

const HELD: &str = "SET lock_wait_timeout = 1; SELECT GET_LOCK('held', 60); SELECT RELEASE_LOCK('held'); \
                    CREATE TABLE late (a INT PRIMARY KEY)";

/// 24 MB.
const LARGE: &str = "CREATE TABLE t (a INT PRIMARY KEY, b LONGBLOB); \
                     INSERT INTO t VALUES (1, REPEAT('x', 12000000)), (2, REPEAT('x', 12000000))";

/// A server of its own with one worker, and templates that do not wait long for locks.
struct Setup<'a> {
    instance: Instance<'a>,
    conn: Conn,
    jobs: u32,
}

impl<'a> Setup<'a> {
    fn new(server: &'a Server, name: &str) -> (Setup<'a>, resq_test_support::Running) {
        let instance = Instance::on(server, name);
        instance.resqctl(["init"]).ok();
        let altered = format!("SET lock_wait_timeout = 1; ALTER TABLE {name}_app.t COMMENT = 'changed'");
        let inserts = format!("INSERT INTO {name}_app.t VALUES (1)");
        let signal =
            "SIGNAL SQLSTATE 'HY000' SET MESSAGE_TEXT = 'Error writing file (Errcode: 28 \"No space left on device\")'";
        let sql = instance.sql_dir(&[
            ("res_db/10.sql", "SET lock_wait_timeout = 1; CREATE DATABASE {{RES_DB_NAME}}"),
            ("res_tables/held/10.sql", HELD),
            ("res_tables/altered/10.sql", &altered),
            ("res_tables/signals/10.sql", signal),
            ("res_tables/small/10.sql", "CREATE TABLE t (a INT PRIMARY KEY)"),
            ("res_tables/large/10.sql", LARGE),
            ("res_tables/inserts/10.sql", &inserts),
        ]);
        let conn = instance.conn();
        let resqd = instance.resqd().args(["--workers", "1"]).arg("--sql-dir").arg(sql).spawn_ready();
        (Setup { instance, conn, jobs: 0 }, resqd)
    }

    fn add(&mut self, res_type: &str) -> u64 {
        self.jobs += 1;
        let number = self.jobs;
        self.conn
            .query_drop(format!(
                "INSERT INTO res_queue (res_name, res_type, interruptions, max_attempts) \
                 VALUES ('{res_type}{number}', '{res_type}', {LAST}, 2)"
            ))
            .unwrap();
        self.conn.last_insert_id()
    }

    fn count(&mut self, sql: &str) -> u64 {
        self.conn.query_first(sql).unwrap().unwrap()
    }

    /// Waits until this holds for the job.
    fn wait_for(&mut self, condition: &str, id: u64) {
        let sql = format!("SELECT COUNT(*) FROM res_queue WHERE res_id = {id} AND {condition}");
        wait_at_most(PATIENCE, condition, || self.count(&sql) == 1);
    }

    /// How many events of this state the job has whose payload contains `text`.
    fn events(&mut self, id: u64, state: &str, text: &str) -> u64 {
        let of = format!("state = '{state}' AND payload LIKE '%\"res_id\": {id},%' AND payload LIKE '%{text}%'");
        self.count(&format!(
            "SELECT (SELECT COUNT(*) FROM res_outbox WHERE {of}) + (SELECT COUNT(*) FROM res_event WHERE {of})"
        ))
    }

    /// Waits until the job has been postponed twice for this reason and is tried again.
    fn wait_for_attempts(&mut self, id: u64, reason: &str) {
        wait_or_report(PATIENCE, reason, || {
            assert_eq!(self.count("SELECT COUNT(*) FROM res_queue WHERE status = 'error'"), 0);
            let is_tried_again = self.events(id, "New", &format!("waiting for the server: %{reason}")) >= 2
                && self.events(id, "InProgress", "") >= 3;
            let job =
                format!("SELECT CONCAT(status, ': ', COALESCE(last_error, '')) FROM res_queue WHERE res_id = {id}");
            if is_tried_again { Ok(()) } else { Err(self.conn.query_first(job).unwrap().unwrap_or_default()) }
        });
    }

    /// Waits until the job is done, at no cost but its last attempt.
    fn wait_for_end(&mut self, id: u64, reason: &str) {
        let free = format!(
            "SELECT COUNT(*) FROM res_queue WHERE res_id = {id} AND status = 'done' AND attempts = 1 \
             AND interruptions = {LAST} AND last_error IS NULL"
        );
        wait_at_most(PATIENCE, "the end of the job", || self.count(&free) == 1);
        assert_eq!(self.count(&format!("SELECT COUNT(*) FROM res_error WHERE res_id = {id}")), 0);
        assert!(self.events(id, "New", &format!("waiting for the server: %{reason}")) >= 1, "it never waited");
    }

    /// Adds a job, and waits until its statement waits for the lock `held`; returns its session.
    fn add_held(&mut self) -> (u64, u64) {
        let id = self.add("held");
        let session = format!("SELECT id FROM {} WHERE state = 'User lock'", sessions());
        let mut found = None;
        wait_until("the job to run", || {
            found = self.conn.query_first(&session).unwrap();
            found.is_some()
        });
        (id, found.expect("a session"))
    }

    /// Waits until the attempt on this session has ended.
    fn wait_for_idle(&mut self, session: u64) {
        let idle = format!("SELECT COUNT(*) FROM {} WHERE id = {session} AND command = 'Sleep'", sessions());
        wait_until("the attempt to end", || self.count(&idle) == 1);
    }

    fn status(&self) -> Json {
        serde_json::from_str(&self.instance.resqctl(["status", "--json"]).ok()).unwrap()
    }
}

fn is_mariadb() -> bool {
    !matches!(Server::shared().kind(), "mysql97" | "group")
}

/// Runs a job during a backup: DDL waits, rows do not.
fn wait_for_backup(setup: &mut Setup<'_>, other: &mut Conn) {
    let (begin, end) = match is_mariadb() {
        true => (&["BACKUP STAGE START", "BACKUP STAGE BLOCK_DDL"][..], "BACKUP STAGE END"),
        false => (&["LOCK INSTANCE FOR BACKUP"][..], "UNLOCK INSTANCE"),
    };
    begin.iter().for_each(|statement| other.query_drop(statement).unwrap());
    let id = setup.add("default");
    setup.wait_for_attempts(id, "1205");
    wait_until("the list", || {
        let status = setup.status();
        let waiting = status["waiting"].as_array().unwrap();
        waiting.iter().any(|job| job["res_id"] == id && job["reason"].as_str().unwrap().contains("1205"))
    });
    wait_until("the line", || {
        let text = setup.instance.resqctl(["status"]).ok();
        text.lines().any(|line| line.starts_with("waiting") && line.contains("1 job") && line.contains("1205"))
    });
    other.query_drop(end).unwrap();
    setup.wait_for_end(id, "1205");
    assert_eq!(setup.status()["waiting"], Json::Array(Vec::new()));
}

#[test]
fn job_waits_for_a_backup_a_lock_and_a_connection_at_no_cost() {
    let server = Server::own();
    let (mut setup, resqd) = Setup::new(&server, "waits_locks");
    let mut other = server.conn();

    // All connections are used up by others when the worker needs a new one.
    other.query_drop("DO GET_LOCK('held', 60)").unwrap();
    let (id, session) = setup.add_held();
    other.query_drop("DO RELEASE_LOCK('held')").unwrap();
    setup.wait_for("status = 'done'", id);
    let taken: Vec<Conn> = (0..12).map(|_| server.conn()).collect();
    other.query_drop("SET GLOBAL max_connections = 10").unwrap();
    other.query_drop(format!("KILL {session}")).unwrap();
    let id = setup.add("default");
    setup.wait_for_attempts(id, "1040");
    other.query_drop("SET GLOBAL max_connections = 151").unwrap();
    drop(taken);
    setup.wait_for_end(id, "1040");

    if server.kind() == "galera" {
        // Its node commits nothing during a backup, and DDL ends the transactions that are in its way.
        return assert_eq!(resqd.stop().code(), Some(0));
    }
    wait_for_backup(&mut setup, &mut other);

    // An application's transaction holds a table that a template alters.
    other.query_drop("CREATE DATABASE waits_locks_app; CREATE TABLE waits_locks_app.t (a INT PRIMARY KEY)").unwrap();
    other.query_drop("START TRANSACTION; SELECT * FROM waits_locks_app.t").unwrap();
    let id = setup.add("altered");
    setup.wait_for_attempts(id, "1205");
    other.query_drop("COMMIT").unwrap();
    setup.wait_for_end(id, "1205");
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn job_waits_for_a_server_that_is_locked_or_read_only_at_no_cost() {
    let server = Server::own();
    let (mut setup, resqd) = Setup::new(&server, "waits_global");
    let (mut other, mut held) = (server.conn(), server.conn());
    // A node of Galera that is locked takes no part in its cluster, and refuses DDL at once.
    let locked = if server.kind() == "galera" { "1047" } else { "1205" };
    for (close, open, reason) in [
        ("FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES", locked),
        ("SET GLOBAL read_only = 1", "SET GLOBAL read_only = 0", "1290"),
    ] {
        held.query_drop("DO GET_LOCK('held', 60)").unwrap();
        let (id, session) = setup.add_held();
        other.query_drop(close).unwrap();
        held.query_drop("DO RELEASE_LOCK('held')").unwrap();
        setup.wait_for_idle(session);
        other.query_drop(open).unwrap();
        setup.wait_for_end(id, reason);
    }
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn job_waits_for_room_on_a_full_disk_at_no_cost() {
    let Some(options) = disk::options() else { return };
    // The queue's own tables have room, and claims need no temporary ones on the disk, as this server would have them;
    // only what jobs build meets the full disk.
    let room = [
        "--innodb-data-file-path=ibdata1:12M;ibdata2:150M:autoextend",
        "--big-tables=1",
        "--tmp-table-size=1024",
        "--max-heap-table-size=16384",
    ];
    let Some(server) = Server::on_small_disk(450, &[options, &room].concat()) else {
        return not_tested("this system allows no private mounts (unshare -m)");
    };
    let mut other = server.conn();
    other.query_drop("SET GLOBAL innodb_file_per_table = 0").unwrap();
    let (mut setup, resqd) = Setup::new(&server, "waits_room");
    other.query_drop("SET GLOBAL innodb_file_per_table = 1").unwrap();
    let created = if is_mariadb() { "Errcode: 28" } else { "3675" };
    // Nothing can be created; or what is created finds no room for its rows, of which MariaDB dies.
    for (runs, res_type, left, reason) in [(true, "small", 0, created), (!is_mariadb(), "large", 8 << 20, "1114")] {
        if !runs {
            continue;
        }
        let filler = server.disk().join("filler");
        let mut file = File::options().create(true).append(true).open(&filler).expect("a file");
        disk::fill(&mut file);
        file.set_len(file.metadata().expect("a file").len() - left).expect("a shorter file");
        let id = setup.add(res_type);
        setup.wait_for_attempts(id, reason);
        drop(file); // or its space is not freed
        remove_file(&filler).expect("the filler");
        setup.wait_for_end(id, reason);
    }
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn signal_with_the_text_of_a_shortage_counts_and_a_killed_statement_is_an_interruption() {
    let server = Server::own();
    let (mut setup, resqd) = Setup::new(&server, "own_deeds");
    let id = setup.add("signals");
    wait_until("both attempts to fail", || {
        setup.count("SELECT COUNT(*) FROM res_queue WHERE status = 'error' AND attempts = 2") == 1
    });
    let row = format!("SELECT interruptions, (SELECT COUNT(*) FROM res_error) FROM res_queue WHERE res_id = {id}");
    assert_eq!(setup.conn.query_first(row).unwrap(), Some((LAST, 2)));

    // Its statement waits for a table, and is killed. Of one that waits for a row, Galera reports a lost race.
    let mut held = server.conn();
    held.query_drop("CREATE DATABASE own_deeds_app; CREATE TABLE own_deeds_app.t (a INT PRIMARY KEY)").unwrap();
    held.query_drop("LOCK TABLES own_deeds_app.t WRITE").unwrap();
    let id = setup.add("inserts");
    let mut conn = server.conn();
    let interrupted = format!("SELECT COUNT(*) FROM res_queue WHERE status = 'new' AND interruptions = {}", LAST + 1);
    wait_at_most(PATIENCE, "an interruption", || {
        let busy = format!("SELECT id FROM {} WHERE db = 'own_deeds_inserts2' AND command = 'Query'", sessions());
        for session in conn.query::<u64, _>(busy).unwrap() {
            // It may have ended by itself.
            let _ = conn.query_drop(format!("KILL QUERY {session}"));
        }
        setup.count(&interrupted) == 1
    });
    // It was the twentieth. The pause is long by now.
    setup.conn.query_drop("UPDATE res_queue SET run_at = NULL WHERE status = 'new'").unwrap();
    setup.wait_for("status = 'error' AND last_error LIKE 'abandoned%'", id);
    let words = format!("SELECT COUNT(*) FROM res_error WHERE res_id = {id} AND message LIKE '%1317%'");
    assert_eq!(setup.count(&words), 1);
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn only_jobs_that_a_worker_of_the_lost_daemon_had_begun_are_interrupted() {
    let server = Server::own();
    let instance = Instance::on(&server, "lost_daemon");
    instance.resqctl(["init"]).ok();
    let sql = instance.sql_dir(&[("res_db/10.sql", "CREATE DATABASE {{RES_DB_NAME}}"), ("res_tables/10.sql", HELD)]);
    let (mut conn, mut held) = (instance.conn(), server.conn());
    held.query_drop("DO GET_LOCK('held', 600)").unwrap();
    let daemon = || instance.resqd().args(["--workers", "2", "--lease-s", "2"]).arg("--sql-dir").arg(&sql);
    let resqd = daemon().spawn_ready();
    instance.resqctl(["seed", "--count", "20"]).ok();
    let count = |conn: &mut Conn, condition: &str| -> u64 {
        conn.query_first(format!("SELECT COUNT(*) FROM res_queue WHERE {condition}")).unwrap().unwrap()
    };
    let running = format!("SELECT COUNT(*) FROM {} WHERE state = 'User lock'", sessions());
    wait_until("two jobs to run and others to be claimed", || {
        conn.query_first(&running).unwrap() == Some(2) && count(&mut conn, "status = 'in_progress'") > 2
    });
    resqd.signal("KILL");
    resqd.wait();
    held.query_drop("DO RELEASE_LOCK('held')").unwrap();
    let resqd = daemon().spawn_ready();
    wait_until("all jobs to be done", || count(&mut conn, "status = 'done' AND attempts = 1") == 20);
    assert_eq!((count(&mut conn, "interruptions = 1"), count(&mut conn, "interruptions = 0")), (2, 18));
    assert_eq!(resqd.stop().code(), Some(0));
}
