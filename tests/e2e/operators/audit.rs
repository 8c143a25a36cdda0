//! Every action of resqctl's leaves its row in the audit, with who, what, why and how many.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Server};
use serde_json::Value as Json;

#[test]
fn each_command_that_changes_something_leaves_one_row() {
    if Server::shared().nodes().len() > 1 {
        return; // ids do not count by ones there
    }
    let instance = Instance::ready("audit_rows");
    let mut conn = instance.conn();
    let set_errors = "UPDATE res_queue SET status = 'error' WHERE res_id IN (1, 2)";
    let mut id = 0;
    // Arguments, exit code, and the row: action, target, count.
    for (before, args, code, row) in [
        ("DO 1", &["add", "a", "--reason", "a new shop"][..], 0, Some(("add", "job 1", 1))),
        ("DO 1", &["add", "b"], 0, Some(("add", "job 2", 1))),
        ("DO 1", &["seed", "--count", "1500", "--prefix", "s"], 0, Some(("seed", "jobs s_1_… of type default", 1500))),
        ("DO 1", &["pause", "--reason", "maintenance"], 0, Some(("pause", "the queue", 0))),
        ("DO 1", &["resume"], 0, Some(("resume", "the queue", 0))),
        (set_errors, &["retry", "1", "2", "3"], 1, Some(("retry", "jobs 1,2,3", 2))),
        (set_errors, &["retry", "--all-errors", "--dry-run"], 0, None),
        ("DO 1", &["retry", "--all-errors", "--reason", "mended"], 0, Some(("retry", "status=error", 2))),
        ("DO 1", &["retry"], 2, None),
        ("DO 1", &["cancel", "1", "--dry-run"], 0, None),
        ("DO 1", &["cancel", "1"], 0, Some(("cancel", "job 1", 1))),
        (
            "DO 1",
            &["cancel", "--type", "default", "--name-prefix", "s_"],
            0,
            Some(("cancel", "status=new type=default name=s_*", 1500)),
        ),
        ("DO 1", &["drop", "1", "2"], 2, None),
        ("DO 1", &["drop", "1", "2", "--yes", "--reason", "gone"], 0, Some(("drop", "jobs 1,2", 2))),
        ("DO 1", &["clear"], 2, None),
        ("DO 1", &["clear", "--yes"], 0, Some(("clear", "seeded resources", 1500))),
        ("DO 1", &["init"], 0, None),
        ("DO 1", &["init", "--new-log"], 0, Some(("new-log", "the event log", 0))),
        ("DO 1", &["status"], 0, None),
        ("DO 1", &["list"], 0, None),
        ("DO 1", &["audit"], 0, None),
    ] {
        conn.query_drop(before).unwrap();
        instance.resqctl([]).args(args).expect_code(code);
        let found: Vec<(u64, String, String, String, u64, Option<String>)> = conn
            .query(format!("SELECT id, who, action, target, count, reason FROM res_audit WHERE id > {id}"))
            .unwrap();
        let Some((action, target, count)) = row else {
            assert!(found.is_empty(), "{args:?}: {found:?}");
            continue;
        };
        let reason = args.iter().position(|arg| *arg == "--reason").map(|at| args[at + 1].to_string());
        let [(newest, who, found_action, found_target, found_count, found_reason)] = &found[..] else {
            panic!("{args:?}: {found:?}")
        };
        assert!(who.contains('@') && who.ends_with(" via resqctl"), "{who}");
        assert_eq!(
            (found_action.as_str(), found_target.as_str(), *found_count, found_reason),
            (action, target, count, &reason),
            "{args:?}"
        );
        id = *newest;
    }
    let listed: Json = serde_json::from_str(&instance.resqctl(["audit", "--json"]).ok()).unwrap();
    let listed = listed.as_array().unwrap();
    let rows: u64 = conn.query_first("SELECT COUNT(*) FROM res_audit").unwrap().unwrap();
    assert_eq!(listed.len() as u64, rows);
    assert!(listed.windows(2).all(|pair| pair[0]["id"].as_u64() > pair[1]["id"].as_u64()), "newest first");
    let oldest = listed.last().unwrap();
    assert_eq!((&oldest["action"], &oldest["reason"]), (&"add".into(), &"a new shop".into()));
    let after = listed[2]["id"].to_string();
    let page = instance.resqctl(["audit", "--limit", "2", "--after", &after]).ok();
    assert_eq!(page.lines().count(), 2, "{page}");
    assert!(page.lines().next().unwrap().trim_start().starts_with(&listed[3]["id"].to_string()), "{page}");
}

#[test]
fn action_that_fails_leaves_no_row() {
    let instance = Instance::ready("audit_failed");
    let mut conn = instance.conn();
    let long = "x".repeat(256);
    instance.resqctl(["add", &long]).expect_code(1);
    conn.query_drop(
        "INSERT INTO res_queue (res_name, status) VALUES ('a', 'error'); \
         CREATE TRIGGER refuses BEFORE UPDATE ON res_queue FOR EACH ROW SIGNAL SQLSTATE '45000'",
    )
    .unwrap();
    let id: u64 = conn.query_first("SELECT MAX(res_id) FROM res_queue").unwrap().unwrap();
    instance.resqctl(["retry", &id.to_string()]).expect_code(1);
    assert_eq!(conn.query_first("SELECT COUNT(*) FROM res_audit").unwrap(), Some(0));
    // Control characters of a name or a reason reach no terminal.
    instance.resqctl(["pause", "--reason", "\u{1b}[2J\n\u{202e}"]).ok();
    assert!(!instance.resqctl(["audit"]).ok().trim_end().contains(['\u{1b}', '\n']));
}
