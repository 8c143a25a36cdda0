//! What the server did for each database, by its own counters: round trips, statements and commits.

use std::{collections::BTreeMap, time::Duration};

use mysql::prelude::Queryable;
use resq_test_support::TestDatabase;

/// Counters of which the difference is printed. `Questions` counts packets of statements, a packet of several as several.
const COUNTERS: &[&str] = &[
    "Bytes_received",
    "Com_change_db",
    "Com_commit",
    "Com_select",
    "Com_set_option",
    "Com_update",
    "Com_insert",
    "Com_insert_select",
    "Handler_commit",
    "Innodb_data_fsyncs",
    "Innodb_os_log_fsyncs",
    "Questions",
];

/// Prints what each of two rounds costs a database.
pub fn per_database(
    database: &TestDatabase,
    what: &str,
    count: u32,
    ours: impl FnOnce() -> Duration,
    bare: impl FnOnce() -> Duration,
) {
    let before = counters(database);
    ours();
    let between = counters(database);
    bare();
    let after = counters(database);
    let each = |name: &str, from: &BTreeMap<String, u64>, to: &BTreeMap<String, u64>| {
        let of = |counters: &BTreeMap<String, u64>| counters.get(name).copied().unwrap_or(0) as f64;
        (of(to) - of(from)) / f64::from(count)
    };
    println!("{what} one database, ours and bare:");
    for name in COUNTERS.iter().filter(|name| after.contains_key(**name)) {
        println!("  {name:<20} {:9.2} {:9.2}", each(name, &before, &between), each(name, &between, &after));
    }
}

fn counters(database: &TestDatabase) -> BTreeMap<String, u64> {
    let rows: Vec<(String, String)> = database.bare().query("SHOW GLOBAL STATUS").expect("counters");
    rows.into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect()
}
