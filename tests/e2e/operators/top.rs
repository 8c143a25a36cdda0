//! `resqctl top` where there is no terminal: one line per view.

use std::collections::BTreeMap;

use mysql::prelude::Queryable;
use resq_test_support::{DEADLINE, Instance, wait_until_all_done};

/// The values of a line by their names.
fn values(line: &str) -> BTreeMap<&str, &str> {
    line.split(' ').filter_map(|part| part.split_once('=')).collect()
}

#[test]
fn top_prints_a_line_per_view_and_rates_from_the_second_on() {
    let instance = Instance::ready("top");
    let mut conn = instance.conn();
    instance.resqctl(["pause"]).ok();
    conn.query_drop("INSERT INTO res_queue (res_name) VALUES ('a'), ('b'), ('c')").unwrap();
    let printed = instance.resqctl(["top", "--count", "2", "--interval", "1"]).ok();
    let lines: Vec<_> = printed.lines().map(values).collect();
    assert_eq!(lines.len(), 2, "{printed}");
    for line in &lines {
        assert_eq!((line["new"], line["done"], line["paused"], line["daemons"]), ("3", "0", "true", "0"), "{printed}");
    }
    assert!(!lines[0].contains_key("done_per_s") && lines[1]["done_per_s"] == "0.0", "{printed}");
    instance.resqctl(["resume"]).ok();
    let resqd = instance.resqd().spawn_ready();
    wait_until_all_done(&mut conn, 3, DEADLINE);
    let printed = instance.resqctl(["top", "--count", "1"]).ok();
    let line = values(printed.trim());
    assert_eq!(
        (line["new"], line["done"], line["oldest_waiting_s"], line["daemons"]),
        ("0", "3", "none", "1"),
        "{printed}"
    );
    assert_eq!(resqd.stop().code(), Some(0));
}
