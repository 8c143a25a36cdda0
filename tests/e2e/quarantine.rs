//! One row that the server refuses to change never stops the others: it is set aside, named, and tried again until it
//! goes on.

use std::time::Duration;

use mysql::{Conn, prelude::Queryable};
use resq::{
    config,
    queue::{JobError, Queue},
};
use resq_test_support::{Instance, Server, TestDatabase, wait_at_most, wait_until};
use serde_json::Value as Json;

use crate::claims::recording_handler::{Recorder, Serving};

/// A way to refuse a change of one row.
struct Case {
    /// The column `what` of `res_quarantine`.
    change: &'static str,
    /// What makes the server refuse it.
    cause: &'static [&'static str],
    /// The columns of the bad row behind its name, and their values.
    row: (&'static str, &'static str),
    /// Part of the server's message, or of resq's.
    words: &'static [&'static str],
    /// What removes the cause.
    cure: &'static [&'static str],
}

const NEW: (&str, &str) = ("res_name", "'bad'");
const GHOSTS: (&str, &str) = ("res_name, status, owner, claim_id, attempts", "'bad', 'in_progress', 'ghost', 5, 1");

const CASES: &[Case] = &[
    Case {
        change: "claim",
        cause: &["CREATE TRIGGER refuse BEFORE UPDATE ON res_queue FOR EACH ROW IF OLD.res_name = 'bad' \
                  AND NEW.status = 'in_progress' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF"],
        row: NEW,
        words: &["not this one"],
        cure: &["DROP TRIGGER refuse"],
    },
    Case {
        change: "claim",
        cause: &["ALTER TABLE res_queue ADD CONSTRAINT forbidden CHECK (res_name <> 'bad' OR status <> 'in_progress')"],
        row: NEW,
        words: &["forbidden"],
        cure: &["ALTER TABLE res_queue DROP CONSTRAINT forbidden"],
    },
    Case {
        change: "claim",
        cause: &[
            "CREATE UNIQUE INDEX held_key ON res_queue (res_id, status)",
            "CREATE TABLE held (res_id BIGINT UNSIGNED NOT NULL, status ENUM('new', 'in_progress', 'done', 'error'), \
             CONSTRAINT held_row FOREIGN KEY (res_id, status) REFERENCES res_queue (res_id, status))",
            "CREATE TRIGGER hold AFTER INSERT ON res_queue FOR EACH ROW \
             IF NEW.res_name = 'bad' THEN INSERT INTO held VALUES (NEW.res_id, NEW.status); END IF",
        ],
        row: NEW,
        words: &["held_row"],
        cure: &["DROP TRIGGER hold", "DROP TABLE held", "DROP INDEX held_key ON res_queue"],
    },
    Case {
        change: "claim",
        cause: &["ALTER TABLE res_queue ADD small TINYINT UNSIGNED \
                  AS (IF(res_name = 'bad' AND status = 'in_progress', 300, 1)) STORED"],
        row: NEW,
        words: &["small"],
        cure: &["ALTER TABLE res_queue DROP COLUMN small"],
    },
    Case {
        change: "claim",
        cause: &["CREATE TRIGGER refuse BEFORE INSERT ON res_outbox FOR EACH ROW IF NEW.payload LIKE '%\"bad\"%' \
                  AND NEW.state = 'InProgress' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no event'; END IF"],
        row: NEW,
        words: &["no event"],
        cure: &["DROP TRIGGER refuse"],
    },
    Case {
        change: "claim",
        cause: &["ALTER TABLE res_queue MODIFY res_name VARCHAR(255) NULL"],
        row: ("res_name", "NULL"),
        words: &["res_name is NULL"],
        cure: &["UPDATE res_queue SET res_name = 'bad' WHERE res_name IS NULL"],
    },
    Case {
        change: "claim",
        cause: &["ALTER TABLE res_queue MODIFY max_attempts BIGINT NULL"],
        row: ("res_name, max_attempts", "'bad', 5000000000"),
        words: &["out of range"],
        cure: &["UPDATE res_queue SET max_attempts = NULL"],
    },
    Case {
        change: "promotion",
        cause: &["CREATE TRIGGER refuse BEFORE UPDATE ON res_queue FOR EACH ROW IF OLD.res_name = 'bad' \
                  AND OLD.run_at IS NOT NULL THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not yet'; END IF"],
        row: ("res_name, run_at", "'bad', NOW(6)"),
        words: &["not yet"],
        cure: &["DROP TRIGGER refuse"],
    },
    Case {
        change: "reclaim",
        cause: &["CREATE TRIGGER refuse BEFORE UPDATE ON res_queue FOR EACH ROW IF OLD.res_name = 'bad' \
                  AND OLD.owner = 'ghost' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not back'; END IF"],
        row: GHOSTS,
        words: &["not back"],
        cure: &["DROP TRIGGER refuse"],
    },
    Case {
        change: "outcome",
        cause: &["CREATE TRIGGER refuse BEFORE UPDATE ON res_queue FOR EACH ROW IF OLD.res_name = 'bad' \
                  AND NEW.status = 'done' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'never done'; END IF"],
        row: NEW,
        words: &["never done"],
        cure: &["DROP TRIGGER refuse"],
    },
    Case {
        change: "outcome",
        cause: &["ALTER TABLE res_queue ADD CONSTRAINT undone CHECK (res_name <> 'bad' OR status <> 'done')"],
        row: NEW,
        words: &["undone"],
        cure: &["ALTER TABLE res_queue DROP CONSTRAINT undone"],
    },
    // Last: it changes the type of the names.
    Case {
        change: "claim",
        cause: &["ALTER TABLE res_queue MODIFY res_name VARBINARY(255) NOT NULL", "DROP TRIGGER res_queue_inserted"],
        row: ("res_name", "x'62FF64'"),
        words: &["UTF-8", "utf8mb4"],
        cure: &["UPDATE res_queue SET res_name = 'bad' WHERE res_name = x'62FF64'"],
    },
];

/// Polls often, and keeps its leases.
fn settings() -> config::Queue {
    config::Queue { poll: Duration::from_millis(200), ..config::Queue::default() }
}

fn count(conn: &mut Conn, condition: &str) -> u64 {
    conn.query_first(format!("SELECT COUNT(*) FROM res_queue WHERE {condition}")).unwrap().unwrap()
}

/// A bad row in front of 30 good ones.
fn insert(conn: &mut Conn, case: &Case) {
    let (columns, values) = case.row;
    conn.query_drop("START TRANSACTION").unwrap();
    conn.query_drop(format!("INSERT INTO res_queue ({columns}) VALUES ({values})")).unwrap();
    for n in 0..30 {
        conn.query_drop(
            format!("INSERT INTO res_queue ({columns}) VALUES ({values})")
                .replace(
                    if values.contains("'bad'") { "'bad'" } else { values.split(',').next().unwrap() },
                    &format!("'good{n}'"),
                )
                .replace("5000000000", "5"),
        )
        .unwrap();
    }
    conn.query_drop("COMMIT").unwrap();
}

#[test]
fn refused_row_is_set_aside_named_and_taken_up_again() {
    let database = TestDatabase::new(Server::shared(), "quarantine");
    let mut conn = database.bare();
    let mut queue = Queue::on(&database.db);
    let serving = Serving::start(&database, settings(), &Recorder::new());
    for (number, case) in CASES.iter().enumerate() {
        let what = format!("case {number}, {}", case.change);
        case.cause.iter().for_each(|sql| conn.query_drop(sql).unwrap_or_else(|error| panic!("{what}: {error}: {sql}")));
        insert(&mut conn, case);
        wait_until(&format!("{what}: the others"), || count(&mut conn, "status = 'done' AND attempts = 1") == 30);
        wait_until(&format!("{what}: the list"), || queue.set_aside().unwrap().len() == 1);
        let listed = queue.set_aside().unwrap().remove(0);
        assert_eq!(listed.change, case.change, "{what}: {listed:?}");
        assert!(case.words.iter().any(|words| listed.message.contains(words)), "{what}: {listed:?}");
        case.cure.iter().for_each(|sql| conn.query_drop(sql).unwrap_or_else(|error| panic!("{what}: {error}: {sql}")));
        wait_until(&format!("{what}: the cured row"), || count(&mut conn, "status = 'done'") == 31);
        wait_until(&format!("{what}: an empty list"), || {
            queue.set_aside().unwrap().is_empty()
                && conn.query_first("SELECT COUNT(*) FROM res_quarantine").unwrap() == Some(0)
        });
        conn.query_drop("DELETE FROM res_queue").unwrap();
    }
    serving.stop();
}

#[test]
fn more_refused_rows_than_can_be_set_aside_delay_the_others_and_no_more() {
    let database = TestDatabase::new(Server::shared(), "quarantine_many");
    let mut conn = database.bare();
    conn.query_drop(
        "CREATE TRIGGER refuse BEFORE UPDATE ON res_queue FOR EACH ROW IF NEW.res_type = 'bad' THEN \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
    )
    .unwrap();
    database.fill(3, ", res_type", ", 'bad'");
    database.fill(2, ", res_type", ", 'bad'");
    database.fill(1, "", "");
    let serving = Serving::start(&database, settings(), &Recorder::new());
    wait_at_most(Duration::from_secs(60), "the good ones", || count(&mut conn, "status = 'done'") == 10);
    assert_eq!(Queue::on(&database.db).set_aside().unwrap().len(), 1_000);
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('late')").unwrap();
    wait_at_most(Duration::from_secs(10), "a late one", || count(&mut conn, "status = 'done'") == 11);
    conn.query_drop("DROP TRIGGER refuse").unwrap();
    wait_at_most(Duration::from_secs(60), "all of them", || count(&mut conn, "status = 'done'") == 1_111);
    serving.stop();
}

#[test]
fn outcome_that_stays_refused_does_not_hold_up_the_stop_and_its_job_runs_again() {
    let (database, recorder) = (TestDatabase::new(Server::shared(), "quarantine_stop"), Recorder::new());
    let mut conn = database.bare();
    conn.query_drop(
        "CREATE TRIGGER refuse BEFORE UPDATE ON res_queue FOR EACH ROW IF NEW.status = 'done' THEN \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF",
    )
    .unwrap();
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('a')").unwrap();
    let mut queue = Queue::on(&database.db);
    let serving = Serving::start(&database, settings(), &recorder);
    wait_until("the list", || queue.set_aside().unwrap().len() == 1);
    assert_eq!(count(&mut conn, "status = 'in_progress'"), 1);
    serving.stop();
    assert_eq!(queue.set_aside().unwrap(), [], "its daemon is gone");
    conn.query_drop("DROP TRIGGER refuse").unwrap();
    let serving = Serving::start(&database, settings(), &recorder);
    wait_until("the job", || count(&mut conn, "status = 'done' AND attempts = 1 AND interruptions = 1") == 1);
    assert_eq!(recorder.ids(), [1, 1]);
    serving.stop();
}

#[test]
fn error_text_that_the_server_cannot_store_is_replaced() {
    let database = TestDatabase::new(Server::shared(), "quarantine_text");
    let mut conn = database.bare();
    conn.query_drop("ALTER TABLE res_queue MODIFY last_error VARCHAR(60) CHARACTER SET latin1").unwrap();
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('a'), ('b')").unwrap();
    let recorder = Recorder::ending(|job| match job.name.as_str() {
        "a" => Err(JobError::Permanent("日本".into())),
        _ => Ok(()),
    });
    let serving = Serving::start(&database, settings(), &recorder);
    wait_until("both", || count(&mut conn, "status = 'error'") == 1 && count(&mut conn, "status = 'done'") == 1);
    serving.stop();
}

#[test]
fn status_and_doctor_name_refused_jobs_in_the_servers_words() {
    let instance = Instance::ready("quarantined");
    let mut conn = instance.conn();
    conn.query_drop(
        "CREATE TRIGGER refuse BEFORE UPDATE ON res_queue FOR EACH ROW IF NEW.res_name = 'bad' THEN \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'by order'; END IF",
    )
    .unwrap();
    let status = || serde_json::from_str::<Json>(&instance.resqctl(["status", "--json"]).ok()).unwrap();
    assert_eq!(status()["set_aside"], Json::Array(Vec::new()));
    let id: u64 = instance.resqctl(["add", "bad"]).ok().trim().parse().unwrap();
    instance.resqctl(["add", "good"]).ok();
    let resqd = instance.resqd().spawn();
    wait_until("the list", || status()["set_aside"].as_array().is_some_and(|jobs| jobs.len() == 1));
    wait_until("the good one", || status()["done"] == 1);
    let listed = &status()["set_aside"][0];
    assert_eq!(
        (&listed["res_id"], &listed["res_name"], &listed["refused"]),
        (&id.into(), &"bad".into(), &"claim".into())
    );
    assert!(listed["error"].as_str().unwrap().contains("by order"), "{listed}");
    let text = instance.resqctl(["status"]).ok();
    assert!(text.contains(&format!("job {id} `bad`")) && text.contains("by order"), "{text}");
    let doctor = instance.resqctl(["doctor"]).run().stdout;
    let line = doctor.lines().find(|line| line.contains(" set aside:")).expect("a check");
    assert!(line.starts_with("warning") && line.contains(&id.to_string()) && line.contains("by order"), "{line}");
    conn.query_drop("DROP TRIGGER refuse").unwrap();
    wait_until("the bad one", || status()["done"] == 2);
    wait_until("an empty list", || status()["set_aside"] == Json::Array(Vec::new()));
    assert_eq!(resqd.stop().code(), Some(0));
}

#[test]
fn rows_of_an_older_table_that_resq_cannot_read_stop_nothing() {
    let instance = Instance::ready("older_rows");
    let mut conn = instance.conn();
    for sql in [
        "ALTER TABLE res_queue MODIFY res_id INT NOT NULL AUTO_INCREMENT, MODIFY res_name VARBINARY(255) NULL, \
         MODIFY claim_id BIGINT NULL",
        "DROP TRIGGER res_queue_inserted",
        // The driver cannot make an id of a negative number, nor a text of the others.
        "INSERT INTO res_queue (res_id, res_name, status, run_at, claim_id, owner) VALUES \
         (-9, 'a', 'new', NULL, NULL, NULL), (-8, 'a', 'new', NOW(6), NULL, NULL), (-7, 'a', 'error', NULL, NULL, NULL), \
         (-6, 'a', 'in_progress', NULL, 1, 'ghost'), (1, 'a', 'in_progress', NULL, -1, 'ghost'), \
         (2, NULL, 'in_progress', NULL, 1, 'held'), (3, x'FF', 'in_progress', NULL, 1, 'held')",
        "INSERT INTO res_daemon (owner, lease_until) VALUES ('held', NOW(6) + INTERVAL 1 HOUR)",
    ] {
        conn.query_drop(sql).unwrap();
    }
    let resqd = instance.resqd().args(["--poll-ms", "50"]).spawn_ready();
    let ids = ["good", "later"].map(|name| instance.resqctl(["add", name]).ok().trim().to_string());
    wait_until("the good ones", || count(&mut conn, "status = 'done'") == 2);
    let status: Json = serde_json::from_str(&instance.resqctl(["status", "--json"]).ok()).unwrap();
    assert_eq!(status["running"].as_array().map(Vec::len), Some(3), "{status}");
    let listed: Json = serde_json::from_str(&instance.resqctl(["list", "--json"]).ok()).unwrap();
    assert_eq!(listed.as_array().map(Vec::len), Some(5), "{listed}");
    for args in [&["list", "--status", "error"][..], &["wait", "--timeout", "1"], &["show", &ids[0]]] {
        let finished = instance.resqctl([]).args(args).run();
        assert!(!finished.stderr.contains("panicked"), "{args:?}: {finished}");
    }
    assert_eq!(resqd.stop().code(), Some(0));
}
