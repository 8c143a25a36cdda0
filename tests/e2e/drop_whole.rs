//! `resqctl drop` and `resqctl clear` drop all or nothing. What could not be known beforehand is shown by `resqctl status`,
//! and the same call completes it. What operators drop or delete by hand does not block a name.

use std::path::Path;

use mysql::{Conn, prelude::Queryable};
use serde_json::Value as Json;

use resq_test_support::{Instance, Running, templates, wait_until};

/// Three tables, of which another database may refer to the one in the middle.
const TABLES: (&str, &str) = (
    "res_tables/10.sql",
    "CREATE TABLE a (id INT PRIMARY KEY); CREATE TABLE m (id INT PRIMARY KEY); CREATE TABLE z (id INT PRIMARY KEY)",
);

fn resqd(instance: &Instance) -> Running {
    let sql = instance.sql_dir(&templates::with(templates::MINIMAL, &[TABLES]));
    instance.resqd().arg("--sql-dir").arg(sql).args(["--poll-ms", "20"]).spawn_ready()
}

/// Adds a job and waits until it is done; returns its `res_id`.
fn done(instance: &Instance, name: &str) -> u64 {
    let id = instance.resqctl(["add", name]).ok().trim().parse().unwrap();
    wait_until("the job to be done", || status(instance, id).0 == "done");
    id
}

/// The job's status and its last error.
fn status(instance: &Instance, id: u64) -> (String, String) {
    let sql = format!("SELECT status, COALESCE(last_error, '') FROM res_queue WHERE res_id = {id}");
    instance.conn().query_first(sql).unwrap().unwrap()
}

/// Every job, registered database and table: what a refused call must not change.
fn everything(instance: &Instance) -> Vec<String> {
    instance
        .conn()
        .query(format!(
            "SELECT CONCAT('job ', res_id, ' ', COALESCE(status, '')) AS x FROM res_queue \
             UNION ALL SELECT CONCAT('registered ', db_name, ' ', state, COALESCE(dropping_at, '')) FROM res_database \
             UNION ALL SELECT CONCAT('table ', TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES \
               WHERE TABLE_SCHEMA LIKE '{}%' ORDER BY x",
            instance.db_prefix.replace('_', "\\_")
        ))
        .unwrap()
}

fn dropping(instance: &Instance) -> Vec<Json> {
    let status: Json = serde_json::from_str(&instance.resqctl(["status", "--json"]).ok()).unwrap();
    status["dropping"].as_array().unwrap().clone()
}

/// Runs each statement as root, outside the instance's databases.
fn run(conn: &mut Conn, script: &str) {
    for statement in script.split(";;") {
        conn.query_drop(statement).unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
}

#[test]
fn what_can_refuse_is_asked_before_anything_is_dropped() {
    let instance = Instance::ready("whole");
    let resqd = resqd(&instance);
    let (first, second) = (done(&instance, "aa"), done(&instance, "bb"));
    let waiting: u64 = instance.resqctl(["add", "later", "--delay", "3600"]).ok().trim().parse().unwrap();
    let mut conn = instance.conn();
    conn.query_drop("UPDATE res_queue SET seeded = TRUE; DROP DATABASE IF EXISTS wholeapp; CREATE DATABASE wholeapp")
        .unwrap();
    let (queue, user) = (&instance.global_db, &instance.daemon.user);
    let to_job = |table: &str, constraint: &str, action: &str| {
        format!(
            "CREATE TABLE {table} (id BIGINT UNSIGNED, \
             {constraint} FOREIGN KEY (id) REFERENCES {queue}.res_queue (res_id) {action})"
        )
    };
    // What refuses; how it is undone; a word of the message.
    let table = [
        (
            "a row of an application refers to the second job; the account may see it",
            to_job(&format!("{queue}.notes"), "CONSTRAINT to_job", "")
                + &format!(";; INSERT INTO {queue}.notes VALUES ({second})"),
            format!("DROP TABLE {queue}.notes"),
            "to_job",
        ),
        (
            "the same in a database that the account does not know",
            to_job("wholeapp.c", "", "") + &format!(";; INSERT INTO wholeapp.c VALUES ({second})"),
            "DROP TABLE wholeapp.c".into(),
            "KEY_COLUMN_USAGE",
        ),
        (
            "a table of an application refers to a table of the second database",
            format!(
                "CREATE TABLE wholeapp.d (id INT, CONSTRAINT to_m FOREIGN KEY (id) REFERENCES whole_bb.m (id));; \
                 GRANT SELECT ON wholeapp.* TO '{user}'@'%'"
            ),
            "DROP TABLE wholeapp.d".into(),
            "`to_m` of `wholeapp`.`d`",
        ),
        (
            "a trigger keeps the second job's row",
            format!(
                "CREATE TRIGGER {queue}.keep BEFORE DELETE ON {queue}.res_queue FOR EACH ROW \
                 IF OLD.res_id = {second} THEN \
                   SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'kept for the auditor'; \
                 END IF"
            ),
            format!("DROP TRIGGER {queue}.keep"),
            "kept for the auditor",
        ),
    ];
    for (case, refuse, undo, word) in table {
        run(&mut conn, &refuse);
        let before = everything(&instance);
        let ids = [first, second, waiting].map(|id| id.to_string());
        for call in
            [vec!["drop", &ids[0], &ids[1], &ids[2], "--yes"], vec!["clear", "--yes"], vec!["clear", "--all", "--yes"]]
        {
            let refused = instance.resqctl([]).args(&call).expect_code(1);
            assert_eq!(everything(&instance), before, "{case}: {call:?}: {refused}");
            assert!(
                refused.stderr.contains(word) && refused.stderr.contains("nothing was dropped"),
                "{case}: {refused}"
            );
        }
        run(&mut conn, &undo);
    }
    // Foreign keys that give way, and a foreign key between two of the databases, refuse nothing.
    run(&mut conn, &to_job("wholeapp.e", "", "ON DELETE CASCADE"));
    run(&mut conn, &to_job("wholeapp.f", "", "ON DELETE SET NULL"));
    run(&mut conn, &format!("INSERT INTO wholeapp.e VALUES ({first});; INSERT INTO wholeapp.f VALUES ({second})"));
    run(&mut conn, "CREATE TABLE whole_bb.refers (id INT, FOREIGN KEY (id) REFERENCES whole_aa.m (id))");
    let dropped = instance.resqctl([]).args(["drop", &first.to_string(), &second.to_string(), "--yes"]).ok();
    assert_eq!(dropped, "2 databases and 2 rows dropped\n");
    instance.resqctl(["clear", "--yes"]).ok();
    assert_eq!(everything(&instance), Vec::<String>::new());
    conn.query_drop("DROP DATABASE wholeapp").unwrap();
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn what_cannot_be_known_before_is_shown_and_completed_by_the_same_call() {
    let instance = Instance::ready("halfdrop");
    let resqd = resqd(&instance);
    let mut conn = instance.conn();
    let datadir: String = conn.query_first("SELECT @@datadir").unwrap().unwrap();
    conn.query_drop("DROP DATABASE IF EXISTS halfapp; CREATE DATABASE halfapp").unwrap();
    for (n, (case, hint)) in [
        ("a stray file in the database's folder", "remove that file"),
        ("a foreign key that the account cannot see", "KEY_COLUMN_USAGE"),
    ]
    .into_iter()
    .enumerate()
    {
        for call in ["drop", "clear"] {
            let names = ["a", "b", "c"].map(|letter| format!("{call}{n}{letter}"));
            let ids = names.clone().map(|name| done(&instance, &name));
            conn.query_drop("UPDATE res_queue SET seeded = TRUE").unwrap();
            let middle = format!("halfdrop_{}", names[1]);
            let stray = Path::new(&datadir).join(&middle).join("notes.txt");
            if n == 0 {
                std::fs::write(&stray, "").unwrap();
            } else {
                conn.query_drop(format!(
                    "CREATE TABLE halfapp.c (id INT, FOREIGN KEY (id) REFERENCES {middle}.m (id))"
                ))
                .unwrap();
            }
            let words = ids.map(|id| id.to_string());
            let args = match call {
                "drop" => vec!["drop", &words[0], &words[1], &words[2], "--yes"],
                _ => vec!["clear", "--yes"],
            };
            let failed = instance.resqctl([]).args(&args).expect_code(1);
            assert!(failed.stderr.contains(&middle) && failed.stderr.contains(hint), "{case}: {failed}");
            // The first is gone with its row, the last untouched, the middle one is shown.
            let left: Vec<u64> = conn.query("SELECT res_id FROM res_queue ORDER BY res_id").unwrap();
            assert_eq!(left, ids[1..], "{case}");
            let shown = dropping(&instance);
            assert_eq!((shown.len(), &shown[0]["db_name"]), (1, &middle.clone().into()), "{case}: {shown:?}");
            let tables: Vec<String> = conn.query(format!("SHOW TABLES FROM halfdrop_{}", names[2])).unwrap();
            assert_eq!(tables, ["a", "m", "z"], "{case}");
            // A job of the same name waits for the end of the drop.
            instance.resqctl([]).args(&args).expect_code(1);
            if n == 0 {
                std::fs::remove_file(&stray).unwrap()
            } else {
                conn.query_drop("DROP TABLE halfapp.c").unwrap()
            }
            instance.resqctl([]).args(&args).ok();
            assert_eq!(everything(&instance), Vec::<String>::new(), "{case}");
            assert_eq!(dropping(&instance), Vec::<Json>::new(), "{case}");
        }
    }
    conn.query_drop("DROP DATABASE halfapp").unwrap();
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn names_are_not_blocked_by_what_was_dropped_by_hand() {
    let instance = Instance::ready("byhand");
    let resqd = resqd(&instance);
    let mut conn = instance.conn();
    // Whether the database and the row were removed by hand; how the next job for the name ends, and what it then needs.
    for (n, (database, row, state)) in
        [(true, true, "done"), (true, false, "error"), (false, true, "error")].into_iter().enumerate()
    {
        let case = format!("database dropped: {database}, row deleted: {row}");
        let name = format!("n{n}");
        let old = done(&instance, &name);
        if database {
            conn.query_drop(format!("DROP DATABASE byhand_{name}")).unwrap();
        }
        if row {
            conn.query_drop(format!("DELETE FROM res_queue WHERE res_id = {old}")).unwrap();
        }
        let id: u64 = instance.resqctl(["add", &name]).ok().trim().parse().unwrap();
        wait_until(&case, || status(&instance, id).0 == state);
        if state == "error" {
            let remedy = format!("resqctl drop {old} --yes");
            assert!(status(&instance, id).1.contains(&remedy), "{case}: {:?}", status(&instance, id));
            instance.resqctl(["drop", &old.to_string(), "--yes"]).ok();
            instance.resqctl(["retry", &id.to_string()]).ok();
            wait_until(&case, || status(&instance, id).0 == "done");
        }
        let tables: Vec<String> = conn.query(format!("SHOW TABLES FROM byhand_{name}")).unwrap();
        assert_eq!(tables, ["a", "m", "z"], "{case}");
        let owner: Vec<(u64, String)> =
            conn.query(format!("SELECT res_id, state FROM res_database WHERE db_name = 'byhand_{name}'")).unwrap();
        assert_eq!(owner, [(id, "ready".to_string())], "{case}");
    }
    // A job that is put back by hand after its database was dropped is built again; with its database it is refused.
    let id = done(&instance, "again");
    conn.query_drop("DROP DATABASE byhand_again").unwrap();
    conn.query_drop(format!("UPDATE res_queue SET status = 'new' WHERE res_id = {id}")).unwrap();
    wait_until("the job to be built again", || {
        conn.query_first(
            "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'byhand_again' AND TABLE_NAME = 'z'",
        )
        .unwrap()
            == Some(1)
            && status(&instance, id).0 == "done"
    });
    conn.query_drop(format!("UPDATE res_queue SET status = 'new' WHERE res_id = {id}")).unwrap();
    wait_until("the refusal", || status(&instance, id).0 == "error");
    assert_eq!(resqd.stop().code(), Some(0));
}
