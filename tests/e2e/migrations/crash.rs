//! Daemons and servers are killed during rollouts; every database ends with exactly its migrations.

use std::time::{Duration, Instant};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Server, templates, wait_until};

use super::fleet::{Fleet, stop};

/// Statements of every kind. Each database counts to 12 if each of them takes effect once.
pub const COUNTING: &[(&str, &str)] = &[
    (
        "res_migrations/0001_first.sql",
        "CREATE TABLE counter (id INT PRIMARY KEY, n INT); INSERT INTO counter VALUES (1, 0);\n\
         UPDATE counter SET n = n + 1; ALTER TABLE a ADD x INT; UPDATE counter SET n = n + @@autocommit",
    ),
    (
        "res_migrations/0002_second.sql",
        "SET @ten = 10; ALTER TABLE b ADD y INT; UPDATE counter SET n = n + @ten; DROP TABLE c; CREATE INDEX i ON a (x)",
    ),
];

pub fn assert_exact(fleet: &Fleet<'_>, conn: &mut Conn, databases: u32) {
    assert_eq!(fleet.versions(conn), [(2, databases.into())]);
    for n in 1..=databases {
        let db_name = fleet.database(n);
        let count: Vec<i64> = conn.query(format!("SELECT n FROM `{db_name}`.counter")).unwrap();
        assert_eq!(count, [12], "{db_name}");
        let left: Vec<String> = conn.query(format!("SHOW TABLES FROM `{db_name}` LIKE 'c'")).unwrap();
        assert!(left.is_empty(), "{db_name}");
    }
    assert_eq!(fleet.with_column(conn, "a", "x"), u64::from(databases));
    assert_eq!(fleet.with_column(conn, "b", "y"), u64::from(databases));
    assert_eq!(fleet.with_state(conn, "migrated").len(), databases as usize);
    assert_eq!(fleet.events(conn, "Migrated").len(), databases as usize, "one event for each");
    let failed: Vec<String> = conn.query("SELECT message FROM res_error").unwrap();
    assert!(failed.is_empty(), "{failed:?}");
}

/// The first file only adds, so that several databases are begun together; in the second one, each statement is recorded.
pub const COLUMNS: &[(&str, &str)] = &[
    ("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT; ALTER TABLE b ADD x INT; ALTER TABLE c ADD x INT"),
    ("res_migrations/0002_y.sql", "ALTER TABLE b ADD y INT; DROP TABLE c"),
];

/// Kills so many daemons in turn amid a rollout, then lets two others complete it.
fn kill_daemons(fleet: &Fleet<'_>, conn: &mut Conn, kills: u32) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..kills {
        // Another one takes part, and outlives it.
        let resqd = fleet.resqd().spawn_ready();
        let end = Instant::now() + Duration::from_micros(random.u64(..150_000));
        wait_until("the moment", || Instant::now() >= end);
        resqd.signal("KILL");
        resqd.wait();
    }
    let daemons = [fleet.resqd().spawn_ready(), fleet.resqd().spawn_ready()];
    fleet.wait_for(conn, "finished");
    daemons.into_iter().for_each(stop);
}

fn kills(name: &str, kills: u32, databases: u32) {
    let fleet = Fleet::new(name, databases);
    let mut conn = fleet.conn();
    fleet.add(COUNTING);
    fleet.start(["--wave", "50"]);
    kill_daemons(&fleet, &mut conn, kills);
    assert_exact(&fleet, &mut conn, databases);
}

fn kills_amid_columns(name: &str, kills: u32, databases: u32) {
    let fleet = Fleet::new(name, databases);
    let mut conn = fleet.conn();
    for files in [&COLUMNS[..1], &COLUMNS[1..]] {
        fleet.add(files);
        fleet.start(["--wave", "50"]);
        kill_daemons(&fleet, &mut conn, kills);
    }
    assert_columns(&fleet, &mut conn, databases);
    assert_eq!(fleet.events(&mut conn, "Migrated").len(), 2 * databases as usize, "one event for each and file");
}

fn assert_columns(fleet: &Fleet<'_>, conn: &mut Conn, databases: u32) {
    assert_eq!(fleet.versions(conn), [(2, databases.into())]);
    for (table, column) in [("a", "x"), ("b", "x"), ("b", "y")] {
        assert_eq!(fleet.with_column(conn, table, column), u64::from(databases), "{table}.{column}");
    }
    assert_eq!(fleet.with_column(conn, "c", "id"), 0);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_error").unwrap(), Some(0));
}

#[test]
fn killed_daemons_lose_and_repeat_no_statement() {
    kills("rollout_kills", 3, 20);
    kills_amid_columns("columns_kills", 3, 30);
}

/// `cargo test --release --test e2e -- --ignored twenty_kills_of_a_rollout`
#[test]
#[ignore = "takes a minute"]
fn twenty_kills_of_a_rollout_over_200_databases_lose_and_repeat_no_statement() {
    kills("rollout_20_kills", 20, 200);
    kills_amid_columns("columns_20_kills", 20, 300);
}

#[test]
fn daemon_killed_at_each_point_of_a_migration_is_continued_there() {
    let hold = templates::hold("rollout_points");
    let first = "CREATE TABLE counter (id INT PRIMARY KEY, n INT)";
    let rows = "INSERT INTO counter VALUES (1, 0); UPDATE counter SET n = n + 12";
    let rest = "ALTER TABLE a ADD x INT; ALTER TABLE b ADD y INT; DROP TABLE c";
    // The two files, and where the daemon is killed: the migration, and the statement that is recorded, if it is done.
    type Point<'a> = (&'a str, String, String, Option<(u32, u32, bool)>);
    let points: [Point<'_>; 5] = [
        ("before_all", format!("{hold}; {first}; {rows}"), rest.into(), None),
        // The table is there; that is not recorded yet.
        ("behind_a_table", format!("{first}; {hold}; {rows}"), rest.into(), Some((1, 1, false))),
        // In the transaction, behind the rows: they are gone, and come once.
        ("behind_rows", format!("{first}; {rows}; {hold}"), rest.into(), Some((1, 1, false))),
        ("between_files", format!("{first}; {rows}"), format!("{hold}; {rest}"), Some((1, 3, true))),
        ("at_the_end", format!("{first}; {rows}"), format!("{rest}; {hold}"), Some((2, 3, false))),
    ];
    for (point, one, two, recorded) in points {
        let fleet = Fleet::new(&format!("killed_{point}"), 1);
        let mut conn = fleet.conn();
        let mut lock = fleet.instance.server.conn();
        lock.query_drop("DO GET_LOCK('rollout_points', 60)").unwrap();
        fleet.add(&[("res_migrations/0001_one.sql", one.as_str()), ("res_migrations/0002_two.sql", two.as_str())]);
        let resqd = fleet.resqd().spawn_ready();
        fleet.start([]);
        wait_until(point, || fleet.instance.sessions_at_a_user_lock(&mut conn).len() == 1);
        resqd.signal("KILL");
        resqd.wait();
        let ledger: Option<(u32, u32, bool)> =
            conn.query_first("SELECT number, statement, is_done FROM res_ledger ORDER BY number DESC LIMIT 1").unwrap();
        assert_eq!(ledger, recorded, "{point}");
        lock.query_drop("DO RELEASE_LOCK('rollout_points')").unwrap();
        let resqd = fleet.resqd().spawn_ready();
        fleet.wait_for(&mut conn, "finished");
        assert_exact(&fleet, &mut conn, 1);
        stop(resqd);
    }
}

#[test]
fn killed_server_loses_and_repeats_no_statement_of_a_rollout() {
    let server = Server::own();
    let exact: fn(&Fleet<'_>, &mut Conn, u32) = assert_exact;
    for (name, files, check) in [("rollout_server", COUNTING, exact), ("columns_server", COLUMNS, assert_columns)] {
        let fleet = Fleet::on(&server, name, 15);
        fleet.add(files);
        let resqd = fleet.resqd().spawn_ready();
        fleet.start([]);
        let mut random = fastrand::Rng::new();
        for _ in 0..2 {
            let end = Instant::now() + Duration::from_micros(random.u64(..400_000));
            wait_until("the moment", || Instant::now() >= end);
            server.kill9(1);
            server.restart(1);
        }
        let mut conn = fleet.conn();
        fleet.wait_for(&mut conn, "finished");
        check(&fleet, &mut conn, 15);
        stop(resqd);
    }
}

#[test]
fn aborted_amid_a_wave_databases_under_way_are_completed_and_the_others_left() {
    let fleet = Fleet::new("rollout_amid", 8);
    let mut conn = fleet.conn();
    let mut lock = fleet.instance.server.conn();
    lock.query_drop("DO GET_LOCK('rollout_amid', 60)").unwrap();
    let hold = templates::hold("rollout_amid");
    fleet.add(&[("res_migrations/0001_x.sql", &format!("ALTER TABLE a ADD x INT; {hold}; ALTER TABLE b ADD y INT"))]);
    let resqd = fleet.resqd_long_lease().spawn_ready();
    fleet.start(["--canary", "0"]);
    wait_until("two to be held", || fleet.instance.sessions_at_a_user_lock(&mut conn).len() == 2);
    // New resources do not wait for them.
    fleet.instance.resqctl(["seed", "--count", "3", "--type", "default"]).ok();
    fleet.instance.resqctl(["wait", "--timeout", "30"]).ok();
    assert_eq!(fleet.instance.sessions_at_a_user_lock(&mut conn).len(), 2, "never more than half of the workers");
    fleet.newest("abort").ok();
    assert!(fleet.migrate(["start", "--yes", "--no-verify"]).expect_code(1).stderr.contains(&fleet.says("is aborted")));
    lock.query_drop("DO RELEASE_LOCK('rollout_amid')").unwrap();
    fleet.wait_for(&mut conn, "aborted");
    let counts: Vec<(String, u64)> =
        conn.query("SELECT state, COUNT(*) FROM res_rollout_database GROUP BY state ORDER BY state").unwrap();
    assert_eq!(counts, [("migrated".into(), 2), ("skipped".into(), 6)]);
    assert_eq!((fleet.with_column(&mut conn, "a", "x"), fleet.with_column(&mut conn, "b", "y")), (2, 2));
    wait_until("the end of it", || {
        conn.query_first::<u8, _>("SELECT 1 FROM res_meta WHERE name = 'rollout'").unwrap().is_none()
    });
    fleet.start([]);
    fleet.wait_for(&mut conn, "finished");
    assert_eq!(fleet.with_column(&mut conn, "b", "y"), 8);
    stop(resqd);
}

/// An abort leaves what waits: a database that is altered must not wait because its record lost a race.
#[test]
fn record_that_loses_a_race_is_repeated_until_it_is_stored() {
    let fleet = Fleet::new("rollout_race", 3);
    let mut conn = fleet.conn();
    fleet.add(COUNTING);
    fleet.add(&[("res_migrations/0003_plain.sql", "ALTER TABLE a ADD p INT; ALTER TABLE b MODIFY id BIGINT")]);
    // Each session loses three races at each kind of record; a session that was reset begins anew.
    let mut root = fleet.instance.server.conn();
    root.query_drop(format!("USE `{}`", fleet.instance.global_db)).unwrap();
    for (name, when) in [("version", "UPDATE ON res_database"), ("reach", "UPDATE ON res_ledger")] {
        root.query_drop(format!(
            "CREATE TRIGGER {name} BEFORE {when} FOR EACH ROW BEGIN SET @{name} = COALESCE(@{name}, 0) + 1; \
             IF @{name} <= 3 THEN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'a race'; END IF; END"
        ))
        .unwrap();
    }
    let resqd = fleet.resqd_long_lease().spawn_ready();
    fleet.start([]);
    fleet.wait_for(&mut conn, "finished");
    let given_up: Option<u64> =
        conn.query_first("SELECT CAST(SUM(postponed + interrupted) AS UNSIGNED) FROM res_rollout_database").unwrap();
    assert_eq!((fleet.versions(&mut conn), given_up), (vec![(3, 3)], Some(0)));
    stop(resqd);
}

/// What crashes the server takes the record of it away each time.
#[test]
fn migration_that_never_leaves_a_connection_is_given_up() {
    let fleet = Fleet::new("rollout_worn", 1);
    let mut conn = fleet.conn();
    fleet.add(&[("res_migrations/0001_x.sql", "ALTER TABLE a ADD x INT")]);
    fleet.start([]);
    conn.query_drop("UPDATE res_rollout_database SET interrupted = 21").unwrap();
    let resqd = fleet.resqd_long_lease().spawn_ready();
    fleet.wait_for(&mut conn, "halted");
    assert_eq!(fleet.with_column(&mut conn, "a", "x"), 0);
    let message: String = conn.query_first("SELECT message FROM res_rollout_database").unwrap().unwrap();
    assert!(message.contains("0001_x.sql") && message.contains("21 attempts lost their connection"), "{message}");
    fleet.newest("retry").ok();
    fleet.wait_for(&mut conn, "finished");
    assert_eq!(fleet.with_column(&mut conn, "a", "x"), 1);
    stop(resqd);
}
