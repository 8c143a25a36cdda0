//! What the server needs for watched tables, and how to set it.

use std::collections::BTreeMap;

use mysql::Conn;

use crate::db::{Error, ReadRows};

/// A global variable: what it must be, and why.
struct Needed {
    name: &'static str,
    suffices: fn(&str) -> bool,
    fix: &'static str,
}

const NEEDED: &[Needed] = &[
    Needed { name: "log_bin", suffices: |value| value == "ON", fix: "start the server with log_bin" },
    Needed { name: "binlog_format", suffices: |value| value == "ROW", fix: "SET GLOBAL binlog_format = ROW" },
    Needed { name: "binlog_row_image", suffices: |value| value == "FULL", fix: "SET GLOBAL binlog_row_image = FULL" },
    Needed {
        name: "binlog_row_metadata",
        suffices: |value| value == "FULL",
        fix: "SET GLOBAL binlog_row_metadata = FULL",
    },
    Needed {
        name: "binlog_row_value_options",
        suffices: |value| !value.contains("PARTIAL_JSON"),
        fix: "SET GLOBAL binlog_row_value_options = ''",
    },
];

/// On a cluster: every node has to log what the others committed, under the same GTIDs.
const OF_GALERA: &[Needed] = &[
    Needed {
        name: "wsrep_gtid_mode",
        suffices: |value| value == "ON",
        fix: "set wsrep_gtid_mode = ON, and the same wsrep_gtid_domain_id and server_id on every node: without it, each node \
              numbers transactions in its own way, and no other node can go on where one was lost",
    },
    Needed {
        name: "log_slave_updates",
        suffices: |value| value == "ON",
        fix: "start every node with log_slave_updates",
    },
];

/// The domains of what one node alone commits, and of what the cluster does.
const DOMAINS: [&str; 2] = ["gtid_domain_id", "wsrep_gtid_domain_id"];

/// What is missing, each with how to set it; empty: nothing.
///
/// # Errors
/// The server's.
pub fn missing(conn: &mut Conn) -> Result<Vec<String>, Error> {
    let all = || NEEDED.iter().chain(OF_GALERA);
    let names: Vec<&str> = all().map(|needed| needed.name).chain(DOMAINS).chain(["wsrep_on"]).collect();
    let rows: Vec<(String, String)> =
        conn.read_rows(format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('{}')", names.join("','")))?;
    let values: BTreeMap<String, String> = rows.into_iter().collect();
    let is_galera = values.get("wsrep_on").is_some_and(|value| value == "ON");
    let checked = NEEDED.iter().chain(OF_GALERA.iter().filter(|_| is_galera));
    // A server that lacks a variable has no choice.
    let lacking = checked.filter_map(|needed| Some((needed, values.get(needed.name)?)));
    let lacking = lacking.filter(|(needed, value)| !(needed.suffices)(value));
    let mut missing: Vec<String> =
        lacking.map(|(needed, value)| format!("{} is {value}: {}", needed.name, needed.fix)).collect();
    let [own, of_cluster] = DOMAINS.map(|name| values.get(name));
    if let (true, Some(domain)) = (is_galera && own == of_cluster, own) {
        missing.push(format!(
            "gtid_domain_id and wsrep_gtid_domain_id are both {domain}: set another gtid_domain_id on each node, so that what \
             one node commits for itself is not counted among the cluster's transactions"
        ));
    }
    Ok(missing)
}
