//! A database whose drop broke off midway stays marked until a drop completes it, whatever later calls do.

use std::path::Path;

use mysql::prelude::Queryable;

use resq_test_support::Instance;

/// Registers databases of jobs in error, each with whether it is marked, as earlier calls left them; returns the jobs' ids.
fn registered<const N: usize>(instance: &Instance, databases: [(&str, &str, bool); N]) -> [u64; N] {
    let mut conn = instance.conn();
    databases.map(|(name, state, is_marked)| {
        let db_name = format!("{}{name}", instance.db_prefix);
        conn.query_drop(format!("DROP DATABASE IF EXISTS {db_name}; CREATE DATABASE {db_name}")).unwrap();
        conn.query_drop(format!("INSERT INTO res_queue (res_name, status, seeded) VALUES ('{name}', 'error', TRUE)"))
            .unwrap();
        let id = conn.last_insert_id();
        conn.query_drop(format!(
            "INSERT INTO res_database (db_name, res_id, res_type, template_version, claim_id, state, dropping_at) \
             VALUES ('{db_name}', {id}, 'default', '', 1, '{state}', IF({is_marked}, NOW(6), NULL))"
        ))
        .unwrap();
        id
    })
}

/// The names of the marked databases, without the prefix.
fn marked(instance: &Instance) -> Vec<String> {
    let from = instance.db_prefix.len() + 1;
    let sql =
        format!("SELECT SUBSTR(db_name, {from}) FROM res_database WHERE dropping_at IS NOT NULL ORDER BY db_name");
    instance.conn().query(sql).unwrap()
}

#[test]
fn half_dropped_database_stays_marked_when_a_later_call_fails_on_another() {
    let instance = Instance::ready("marks");
    let mut conn = instance.conn();
    let datadir: String = conn.query_first("SELECT @@datadir").unwrap().unwrap();
    let [stuck, half, whole] =
        registered(&instance, [("a", "ready", false), ("b", "ready", true), ("c", "ready", false)]);
    let stray = Path::new(&datadir).join(format!("{}a", instance.db_prefix)).join("notes.txt");
    std::fs::write(&stray, "").unwrap();
    let ids = [stuck, half, whole].map(|id| id.to_string());
    for call in [vec!["drop", &ids[0], &ids[1], &ids[2], "--yes"], vec!["clear", "--yes"]] {
        instance.resqctl([]).args(&call).expect_code(1);
        assert_eq!(marked(&instance), ["a", "b"], "{call:?}");
    }
    std::fs::remove_file(&stray).unwrap();
    instance.resqctl(["clear", "--yes"]).ok();
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_database").unwrap(), Some(0));
}

#[test]
fn clear_that_is_refused_by_a_job_begun_meanwhile_can_be_repeated() {
    let instance = Instance::ready("marksrun");
    let mut conn = instance.conn();
    let [.., running] =
        registered(&instance, [("half", "ready", true), ("part", "making", false), ("run", "ready", false)]);
    conn.query_drop("UPDATE res_queue SET status = 'new', run_at = NOW() + INTERVAL 1 DAY WHERE res_name = 'part'")
        .unwrap();
    // A daemon claims a job between the first look at the queue and the second.
    conn.query_drop(format!(
        "CREATE TRIGGER begins AFTER INSERT ON res_audit FOR EACH ROW \
         UPDATE res_queue SET status = 'in_progress' WHERE res_id = {running}"
    ))
    .unwrap();
    instance.resqctl(["clear", "--yes"]).expect_code(1);
    assert_eq!(marked(&instance), ["half", "part"]);
    conn.query_drop("DROP TRIGGER begins; UPDATE res_queue SET status = 'error'").unwrap();
    instance.resqctl(["clear", "--yes"]).ok();
    let left: Vec<String> =
        conn.query(format!("SHOW DATABASES LIKE '{}%'", instance.db_prefix.replace('_', "\\_"))).unwrap();
    assert_eq!(left, Vec::<String>::new());
}
