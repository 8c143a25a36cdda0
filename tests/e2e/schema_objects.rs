//! resq's own objects as other tools leave them: found by their content, reported, and mended by `init`.

use mysql::{Conn, prelude::Queryable};
use resq::{
    resources::Templates,
    schema::{
        inspection::Inspection,
        install,
        problem::{Problem, Severity},
    },
};
use resq_test_support::{Doctor, Instance, Server, TestDatabase, Verdict, wait_until};

/// What is done to the objects, what is reported (part of each line, in any order), and how bad the worst of it is.
struct Case {
    damage: &'static [&'static str],
    reported: &'static [&'static str],
    worst: Option<Severity>,
    /// What remains after `init`.
    left: usize,
    /// Removes what is neither resq's nor `init`'s to remove.
    cleanup: &'static [&'static str],
}

const HARMLESS: Case = Case { damage: &[], reported: &[], worst: None, left: 0, cleanup: &[] };
const MINOR: Case = Case { worst: Some(Severity::Minor), ..HARMLESS };
const MAJOR: Case = Case { worst: Some(Severity::Major), ..HARMLESS };
const FATAL: Case = Case { worst: Some(Severity::Fatal), ..HARMLESS };

const ON_OLD: &[&str] =
    &["trigger res_queue_inserted: is on the table q_old", "trigger res_queue_updated: is on the table q_old"];

const CASES: &[Case] = &[
    // An online schema change: the new table has no triggers, the old one keeps them.
    Case {
        damage: &["CREATE TABLE q2 LIKE res_queue", "RENAME TABLE res_queue TO q_old, q2 TO res_queue"],
        reported: ON_OLD,
        cleanup: &["DROP TABLE q_old"],
        ..MAJOR
    },
    // The same with the triggers and the ghost table of a tool.
    Case {
        damage: &[
            "CREATE TABLE _res_queue_gho LIKE res_queue",
            "CREATE TRIGGER pt_osc_ins AFTER INSERT ON res_queue FOR EACH ROW REPLACE INTO _res_queue_gho (res_name) VALUES (NEW.res_name)",
        ],
        cleanup: &["DROP TRIGGER pt_osc_ins", "DROP TABLE _res_queue_gho"],
        ..HARMLESS
    },
    Case {
        damage: &["RENAME TABLE res_queue TO q_old"],
        reported: &["table res_queue: does not exist", ON_OLD[0], ON_OLD[1]],
        cleanup: &["DROP TABLE q_old"],
        ..FATAL
    },
    Case {
        damage: &["CREATE TABLE q2 AS SELECT * FROM res_queue", "DROP TABLE res_queue", "RENAME TABLE q2 TO res_queue"],
        reported: &[
            "column res_id has no AUTO_INCREMENT",
            "index PRIMARY does not exist",
            "index res_queue_claim does not exist",
            "trigger res_queue_inserted: does not exist",
            "trigger res_queue_updated: does not exist",
        ],
        ..MAJOR
    },
    Case {
        damage: &["RENAME TABLE res_queue TO q_real", "CREATE VIEW res_queue AS SELECT * FROM q_real"],
        reported: &["table res_queue: is a view", "is on the table q_real", "is on the table q_real"],
        cleanup: &["DROP VIEW res_queue", "RENAME TABLE q_real TO res_queue"],
        left: 3,
        ..FATAL
    },
    Case {
        damage: &["ALTER TABLE res_queue PARTITION BY HASH (res_id) PARTITIONS 4"],
        cleanup: &["ALTER TABLE res_queue REMOVE PARTITIONING"],
        ..HARMLESS
    },
    // A dump without triggers, without routines.
    Case {
        damage: &["DROP TRIGGER res_queue_inserted", "DROP TRIGGER res_queue_updated"],
        reported: &["trigger res_queue_inserted: does not exist", "trigger res_queue_updated: does not exist"],
        ..MAJOR
    },
    Case {
        damage: &["DROP PROCEDURE res_number", "DROP PROCEDURE publish"],
        reported: &["procedure res_number: does not exist", "procedure publish: does not exist"],
        ..FATAL
    },
    Case { damage: &["DELETE FROM res_log"], reported: &["res_log: has lost its row"], ..FATAL },
    Case { damage: &["DROP TABLE res_daemon"], reported: &["table res_daemon: does not exist"], ..FATAL },
    // Other content under the same name.
    Case {
        damage: &[
            "DROP TRIGGER res_queue_inserted",
            "CREATE TRIGGER res_queue_inserted AFTER INSERT ON res_queue FOR EACH ROW DO 1",
        ],
        reported: &["trigger res_queue_inserted: differs"],
        ..MAJOR
    },
    Case {
        damage: &[
            "DROP TRIGGER res_queue_updated",
            "CREATE TRIGGER res_queue_updated BEFORE UPDATE ON res_queue FOR EACH ROW DO 1",
        ],
        reported: &["trigger res_queue_updated: runs BEFORE UPDATE"],
        ..MAJOR
    },
    Case {
        damage: &[
            "DROP PROCEDURE publish",
            "CREATE DEFINER = {me} PROCEDURE publish(IN p_state TEXT, IN p_payload TEXT) DO 1",
        ],
        reported: &["procedure publish: accepts an event without a state"],
        ..MAJOR
    },
    Case {
        damage: &[
            "DROP PROCEDURE res_number",
            "CREATE DEFINER = {me} PROCEDURE res_number(IN p_floor BIGINT UNSIGNED, IN p_limit INT, OUT p_last BIGINT UNSIGNED) DO 1",
        ],
        reported: &["procedure res_number: differs"],
        ..MAJOR
    },
    // A trigger of the user's, and a copy of resq's that a tool left under another name.
    Case {
        damage: &["CREATE TRIGGER mine BEFORE INSERT ON res_queue FOR EACH ROW SET NEW.priority = 3"],
        cleanup: &["DROP TRIGGER mine"],
        ..HARMLESS
    },
    // Columns and indexes.
    Case { damage: &["ALTER TABLE res_queue DROP COLUMN owner"], reported: &["column owner does not exist"], ..FATAL },
    Case {
        damage: &["ALTER TABLE res_queue DROP COLUMN res_url"],
        reported: &["column res_url does not exist"],
        ..FATAL
    },
    Case { damage: &["ALTER TABLE res_event DROP COLUMN at"], reported: &["column at does not exist"], ..FATAL },
    Case {
        damage: &["ALTER TABLE res_queue MODIFY claim_id INT NULL"],
        reported: &["column claim_id has the type int"],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_queue MODIFY res_type VARCHAR(10) CHARACTER SET latin1 NOT NULL"],
        reported: &["column res_type has the type varchar(10)"],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_queue MODIFY last_error TEXT CHARACTER SET latin1"],
        reported: &["column last_error has the character set latin1"],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_queue MODIFY started_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"],
        reported: &["column started_at does not accept NULL"],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_queue ALTER status DROP DEFAULT"],
        reported: &["column status has no default"],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_outbox DROP COLUMN bytes, ADD COLUMN bytes INT UNSIGNED NULL"],
        reported: &["column bytes is not generated"],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_outbox CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"],
        reported: &[
            "column state has the collation utf8mb4_general_ci",
            "column payload has the collation utf8mb4_general_ci",
        ],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_queue DROP INDEX res_queue_claim"],
        reported: &["index res_queue_claim does not exist"],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_queue DROP INDEX res_queue_claim, ADD INDEX res_queue_claim (status, res_id)"],
        reported: &["index res_queue_claim is on (status, res_id)"],
        ..MINOR
    },
    Case {
        damage: &["ALTER TABLE res_queue ADD COLUMN tenant INT NOT NULL"],
        reported: &["column tenant is not resq's"],
        left: 1,
        cleanup: &["ALTER TABLE res_queue DROP COLUMN tenant"],
        ..MAJOR
    },
    Case {
        damage: &[
            "ALTER TABLE res_queue ADD COLUMN tenant INT NULL, ADD COLUMN note VARCHAR(9) NOT NULL DEFAULT '', ADD INDEX mine (res_name)",
            "ALTER TABLE res_queue MODIFY res_type VARCHAR(255) CHARACTER SET utf8mb4 NOT NULL DEFAULT 'shop'",
            "ALTER TABLE res_error MODIFY message LONGTEXT NOT NULL",
        ],
        cleanup: &["ALTER TABLE res_queue DROP COLUMN tenant, DROP COLUMN note, DROP INDEX mine"],
        ..HARMLESS
    },
];

fn lines(problems: &[Problem]) -> Vec<&str> {
    problems.iter().map(|problem| problem.what.as_str()).collect()
}

fn assert_reported(problems: &[Problem], expected: &[&str], context: &str) {
    let found = lines(problems);
    let all = expected.iter().all(|part| found.iter().any(|line| line.contains(part)));
    assert!(all && found.len() == expected.len(), "{context}: {found:#?}, expected {expected:#?}");
}

/// A row inserted into the queue becomes exactly one event.
fn assert_events(conn: &mut Conn, context: &str) {
    let count = |conn: &mut Conn| conn.query_first::<u64, _>("SELECT COUNT(*) FROM res_outbox").unwrap().unwrap();
    let before = count(conn);
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('a')").unwrap_or_else(|e| panic!("{context}: {e}"));
    assert_eq!(count(conn), before + 1, "{context}");
    conn.query_drop("UPDATE res_queue SET status = 'done' WHERE status = 'new'").unwrap();
    assert!(count(conn) > before + 1, "{context}");
    conn.query_drop("DELETE FROM res_queue").unwrap();
}

#[test]
fn what_other_tools_leave_is_found_and_mended() {
    let database = TestDatabase::new(Server::shared(), "objects");
    let templates = Templates::load(None).unwrap();
    let inspection = Inspection::new(&templates);
    let inspect = || inspection.run(&mut database.db.global().unwrap()).unwrap();
    assert_eq!(lines(&inspect()), [""; 0]);
    for case in CASES {
        let mut root = database.bare();
        let context = case.damage.join("; ");
        for sql in case.damage {
            let sql = sql.replace("{me}", &format!("'{}'@'%'", database.config.database.user));
            root.query_drop(&sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
        let found = inspect();
        assert_reported(&found, case.reported, &context);
        assert_eq!(found.first().map(|problem| problem.severity), case.worst, "{context}");
        match install::init(&database.db, &database.info, &templates) {
            Ok(report) => {
                assert_eq!(report.left.len(), case.left, "{context}: {:?}", lines(&report.left));
                assert_eq!(report.mended.len(), found.len() - case.left, "{context}: {:?}", lines(&report.mended));
                assert_eq!(inspect(), report.left, "{context}");
            }
            Err(failure) => assert_eq!(inspect().len(), case.left, "{context}: {failure}"),
        }
        case.cleanup.iter().for_each(|sql| root.query_drop(sql).unwrap_or_else(|e| panic!("{sql}: {e}")));
        assert_events(&mut root, &context);
        assert_eq!(lines(&inspect()), [""; 0], "{context}");
    }
}

/// Creates a trigger of resq's again, in this sql_mode, with this definer and name.
fn recreate(conn: &mut Conn, name: &str, mode: &str, definer: &str, new_name: &str) {
    let (when, body): (String, String) = conn
        .exec_first(
            "SELECT CONCAT(ACTION_TIMING, ' ', EVENT_MANIPULATION), ACTION_STATEMENT FROM information_schema.TRIGGERS \
             WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME = ?",
            (name,),
        )
        .unwrap()
        .unwrap();
    if name == new_name {
        conn.query_drop(format!("DROP TRIGGER {name}")).unwrap();
    }
    conn.query_drop(format!("SET SESSION sql_mode = '{mode}'")).unwrap();
    let create = format!("CREATE {definer} TRIGGER {new_name} {when} ON res_queue FOR EACH ROW {body}");
    conn.query_drop(create).unwrap();
}

#[test]
fn triggers_are_compared_with_their_mode_and_definer() {
    let database = TestDatabase::new(Server::shared(), "objects_modes");
    let templates = Templates::load(None).unwrap();
    let inspection = Inspection::new(&templates);
    let (name, mode) = ("res_queue_updated", "STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION");
    for (mode, definer, new_name, reported) in [
        (mode, "", name, &[][..]),
        ("HIGH_NOT_PRECEDENCE", "", name, &["was created with sql_mode=HIGH_NOT_PRECEDENCE"]),
        (mode, "DEFINER = gone@'%'", name, &["its definer does not exist: gone@%"]),
        (mode, "", "res_queue_updated_old", &["a copy of resq's"]),
    ] {
        let mut root = database.bare();
        recreate(&mut root, name, mode, definer, new_name);
        // The daemon's account may not read the list of accounts.
        let found = inspection.run(&mut root).unwrap();
        assert_reported(&found, reported, new_name);
        install::init(&database.db, &database.info, &templates).unwrap();
        if name != new_name {
            root.query_drop(format!("DROP TRIGGER {new_name}")).unwrap();
        }
        assert_eq!(lines(&inspection.run(&mut root).unwrap()), [""; 0]);
        assert_events(&mut root, new_name);
    }
}

#[test]
fn procedures_are_compared_by_what_they_do() {
    let database = TestDatabase::new(Server::shared(), "objects_bodies");
    let templates = Templates::load(None).unwrap();
    let inspection = Inspection::new(&templates);
    let mut root = database.bare();
    let text = |conn: &mut Conn, name: &str| {
        let row: mysql::Row = conn.query_first(format!("SHOW CREATE PROCEDURE {name}")).unwrap().unwrap();
        let text: String = row.get(2).unwrap();
        text[text.find("PROCEDURE").unwrap()..].to_string()
    };
    for name in ["res_number", "publish"] {
        let original = text(&mut root, name);
        let without_comments: Vec<&str> =
            original.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
        let without_comments = without_comments.join("\r\n ");
        assert_ne!(without_comments, original);
        let gone = format!("DEFINER = gone@'%' {original}");
        for (create, reported) in [
            (without_comments, &[][..]),
            (original.replace("64", "65").replace("16777216", "16777217"), &["differs"]),
            (gone, &["its definer does not exist: gone@%"]),
        ] {
            root.query_drop("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'").unwrap();
            root.query_drop(format!("DROP PROCEDURE {name}")).unwrap();
            root.query_drop(format!("CREATE {create}")).unwrap();
            assert_reported(&inspection.run(&mut root).unwrap(), reported, name);
            // As an administrator, since the account may not read what another has created.
            let server = Server::shared();
            let config = resq::config::Database {
                user: "root".into(),
                password: resq::config::Secret(String::new()),
                ..database.config.database.clone()
            };
            let db = resq::db::Db::open(&config, 2).unwrap();
            install::init(&db, &database.info, &templates).unwrap();
            assert_eq!(lines(&inspection.run(&mut root).unwrap()), [""; 0], "{}", server.kind());
            assert_events(&mut root, name);
        }
    }
}

#[test]
fn resqd_refuses_without_a_procedure_and_warns_without_its_triggers() {
    let instance = Instance::ready("objects_start");
    let mut conn = instance.conn();
    conn.query_drop("DROP PROCEDURE res_number").unwrap();
    let refused = instance.resqd().expect_code(1);
    assert!(refused.stderr.contains("res_number") && refused.stderr.contains("resqctl init"), "{refused}");
    let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(1));
    assert_eq!(doctor.verdict("procedures"), Verdict::Failed);
    assert!(doctor.text("procedures").contains("res_number"), "{}", doctor.finished);
    instance.resqctl(["init"]).ok();

    conn.query_drop("CREATE TABLE q2 LIKE res_queue; RENAME TABLE res_queue TO q_old, q2 TO res_queue").unwrap();
    let resqd = instance.resqd().spawn_ready();
    let status = instance.resqctl(["status", "--json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["schema"].as_array().map(Vec::len), Some(2), "{status}");
    assert!(status["schema"][0].as_str().unwrap().contains("q_old"), "{status}");
    let doctor = Doctor::of(instance.resqctl(["doctor"]).expect_code(1));
    assert_eq!(doctor.verdict("triggers"), Verdict::Failed);
    assert!(doctor.text("triggers").contains("q_old"), "{}", doctor.finished);
    let stopped = resqd.stop();
    assert_eq!((stopped.code(), stopped.warnings().len()), (Some(0), 2), "{stopped}");

    instance.resqctl(["init"]).ok();
    assert_eq!(Doctor::of(instance.resqctl(["doctor"]).expect_code(0)).verdict("triggers"), Verdict::Good);
    let resqd = instance.resqd().spawn_ready();
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('a')").unwrap();
    wait_until("New, InProgress and Completed to be numbered", || {
        conn.query_first::<u64, _>("SELECT COUNT(*) FROM res_event").unwrap() == Some(3)
    });
    assert!(resqd.stop().warnings().is_empty());
}
