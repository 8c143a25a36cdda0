//! The server's disk fills up during a rollout: it waits, says why, and goes on when there is room.

use std::{fs::File, sync::mpsc, thread};

use mysql::{Conn, prelude::Queryable};
use resq_test_support::{Server, not_tested, wait_at_most, wait_or_report, warnings};

use super::{
    crash::assert_exact,
    fleet::{Fleet, stop},
};
use crate::faults::{
    disk::{fill, keep_running, options},
    scenario::PATIENCE,
};

const DATABASES: u32 = 12;
/// Bytes left free when the rollout begins: enough for some of the databases.
const LEFT: u64 = 25 << 20;

/// 4 MB in each database, in the middle of its statements.
const FILES: &[(&str, &str)] = &[
    (
        "res_migrations/0001_large.sql",
        "CREATE TABLE counter (id INT PRIMARY KEY, n INT); INSERT INTO counter VALUES (1, 0);\n\
         CREATE TABLE large (id INT PRIMARY KEY, text LONGTEXT NOT NULL); UPDATE counter SET n = n + 2;\n\
         INSERT INTO large VALUES (1, REPEAT('x', 1000000)), (2, REPEAT('x', 1000000)), (3, REPEAT('x', 1000000)), \
         (4, REPEAT('x', 1000000)); ALTER TABLE a ADD x INT",
    ),
    ("res_migrations/0002_more.sql", "ALTER TABLE b ADD y INT; UPDATE counter SET n = n + 10; DROP TABLE c"),
];

#[test]
fn rollout_waits_while_the_disk_is_full_and_goes_on_when_there_is_room() {
    let Some(options) = options() else { return };
    let Some(server) = Server::on_small_disk(450, options) else {
        return not_tested("this system allows no private mounts (unshare -m)");
    };
    // See `faults::disk`: of MariaDB only the databases of resources meet the full disk.
    let is_mysql = server.kind() == "mysql97";
    server.conn().query_drop(format!("SET GLOBAL innodb_file_per_table = {is_mysql}")).unwrap();
    let fleet = Fleet::on(&server, "rollout_disk", DATABASES);
    server.conn().query_drop("SET GLOBAL innodb_file_per_table = true").unwrap();
    fleet.add(FILES);
    let filler = server.disk().join("filler");
    thread::scope(|scope| {
        let (_test, ended) = mpsc::channel();
        scope.spawn(|| keep_running(&server, options, &filler, &{ ended }));
        let mut file = File::options().create(true).append(true).open(&filler).unwrap();
        fill(&mut file);
        file.set_len(file.metadata().unwrap().len() - LEFT).unwrap();
        fleet.start(["--canary", "0"]);
        let resqd = fleet.resqd().spawn_ready();
        // Either a database waits and says why, or the server has ended itself, which resqd reports.
        wait_or_report(PATIENCE, "words about the full disk", || {
            let rows = conn(&fleet).and_then(|mut conn| databases(&mut conn));
            let is_said = |(_, state, message): &Row| {
                state == "waiting"
                    && message.as_deref().is_some_and(|words| words.contains("full") || words.contains("space"))
            };
            match rows {
                Ok(rows) if rows.iter().any(is_said) => Ok(()),
                Err(_) if !warnings(&resqd.stderr()).is_empty() => Ok(()),
                rows => Err(format!("{rows:?}\n{}", resqd.stderr())),
            }
        });
        drop(file); // or its space is not freed
        std::fs::remove_file(&filler).unwrap();
        wait_at_most(PATIENCE, "the server", || server.try_conn(1).is_ok());
        wait_or_report(PATIENCE, "the end of the rollout", || {
            let mut conn = conn(&fleet).map_err(|error| error.to_string())?;
            let state: Option<Option<String>> = conn.query_first("SELECT state FROM res_rollout").ok();
            match state.flatten().as_deref() {
                Some("finished") => Ok(()),
                state => Err(format!("{state:?} {:?}\n{}", databases(&mut conn), resqd.stderr())),
            }
        });
        let mut conn = fleet.conn();
        assert_exact(&fleet, &mut conn, DATABASES);
        for n in 1..=DATABASES {
            let large =
                format!("SELECT COUNT(*), CAST(SUM(LENGTH(text)) AS UNSIGNED) FROM `{}`.large", fleet.database(n));
            assert_eq!(conn.query_first(large).unwrap(), Some((4, 4_000_000)), "{n}");
        }
        stop(resqd);
    });
}

/// A session, if the server answers.
fn conn(fleet: &Fleet<'_>) -> mysql::Result<Conn> {
    let mut conn = fleet.instance.server.try_conn(1)?;
    conn.query_drop(format!("USE `{}`", fleet.instance.global_db))?;
    Ok(conn)
}

/// Name, state, message.
type Row = (String, String, Option<String>);

/// The databases of the rollout. Grouped, long messages would need room on the disk.
fn databases(conn: &mut Conn) -> mysql::Result<Vec<Row>> {
    conn.query("SELECT db_name, state, message FROM res_rollout_database")
}
