//! resq prepares no statements: another application may have used up all that the server allows.

use mysql::prelude::Queryable;
use resq_test_support::{Instance, Server, wait_until};

#[test]
fn everything_works_where_no_statement_can_be_prepared() {
    let server = Server::own();
    let mut conn = server.conn();
    conn.query_drop("SET GLOBAL max_prepared_stmt_count = 0").unwrap();
    assert!(conn.prep("SELECT 1").is_err());
    let instance = Instance::on(&server, "unprepared");
    instance.resqctl(["init"]).ok();
    // On what is there already, and on what lacks a part.
    conn.query_drop("ALTER TABLE resq_unprepared.res_queue DROP COLUMN seeded").unwrap();
    instance.resqctl(["init"]).ok();
    let resqd = instance.resqd().args(["--max-attempts", "1"]).spawn_ready();
    let add = |name: &str| instance.resqctl(["add", name, "--url", "it's", "--delay", "1"]).ok().trim().to_string();
    let (good, other) = (add("a'b\\c 日本"), add("d"));
    instance.resqctl(["seed", "--count", "3"]).ok();
    conn.query_drop("INSERT INTO resq_unprepared.res_queue (res_name, res_type) VALUES ('c', 'unknown')").unwrap();
    let ended = "SELECT status, COUNT(*) FROM resq_unprepared.res_queue GROUP BY status ORDER BY status";
    let all = [("done".to_string(), 5), ("error".to_string(), 1)];
    wait_until("all to end", || conn.query::<(String, u64), _>(ended).unwrap() == all);
    for command in [&["status", "--json"][..], &["list", "--json"], &["doctor"], &["events", "--json"]] {
        let finished = instance.resqctl([]).args(command).run();
        assert_eq!(finished.code(), Some(0), "{finished}");
    }
    let shown = instance.resqctl(["show", &good]).ok();
    assert!(shown.contains("a'b\\c 日本") && shown.contains("it's"), "{shown}");
    instance.resqctl(["retry", "--all-errors"]).ok();
    wait_until("it to end again", || conn.query::<(String, u64), _>(ended).unwrap() == all);
    instance.resqctl(["wait", "--timeout", "60"]).ok();
    instance.resqctl(["pause"]).ok();
    instance.resqctl(["resume"]).ok();
    let events = instance.resqctl(["events", "--state", "Completed"]).ok();
    assert_eq!(events.lines().count(), 5, "{events}");
    assert_eq!(resqd.stop().code(), Some(0));
    instance.resqctl(["drop", &good, &other, "--yes"]).ok();
    instance.resqctl(["clear", "--yes"]).ok();
}
