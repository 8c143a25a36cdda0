//! Columns of resq's own tables that another tool has altered, with values that fit no type of resq's: a command reports
//! that or shows the value as well as it can. None panics, as the driver does by itself.

use mysql::prelude::Queryable;
use resq_test_support::Instance;

/// (what was done to a table, the commands that read it).
const ALTERED: &[(&str, &[&[&str]])] = &[
    (
        "ALTER TABLE res_error MODIFY message VARBINARY(64), MODIFY attempt BIGINT NULL; \
         INSERT INTO res_error (res_id, attempt, message) VALUES (1, -1, X'FF'), (1, NULL, NULL)",
        &[&["show", "1"], &["show", "1", "--json"]],
    ),
    (
        "ALTER TABLE res_daemon MODIFY owner VARBINARY(128); \
         INSERT INTO res_daemon (owner, lease_until, workers) VALUES (X'FF', NOW(6) + INTERVAL 1 HOUR, 1)",
        &[&["status"], &["status", "--json"], &["doctor"]],
    ),
    (
        "ALTER TABLE res_database MODIFY db_name VARBINARY(64), MODIFY res_id BIGINT NULL; \
         INSERT INTO res_database (db_name, res_id, res_type, state, template_version, claim_id, dropping_at) \
         VALUES (X'FF', -1, 'default', 'ready', '', 1, NOW(6))",
        &[&["status"], &["drop", "1", "--yes"], &["clear", "--yes"]],
    ),
    (
        "ALTER TABLE res_audit MODIFY action VARBINARY(64), MODIFY count BIGINT NULL; \
         UPDATE res_audit SET action = X'FF', count = -1",
        &[&["audit"], &["audit", "--json"]],
    ),
    (
        "ALTER TABLE res_event MODIFY state VARBINARY(64), MODIFY payload LONGBLOB NULL; \
         INSERT INTO res_event (seq, bytes, state, payload) VALUES (999, 1, X'FF', NULL)",
        &[&["events"], &["events", "--json"]],
    ),
    ("UPDATE res_meta SET value = 'x' WHERE name <> 'schema_version'", &[&["status"], &["doctor"]]),
];

#[test]
fn no_command_panics_at_a_value_of_another_type() {
    let instance = Instance::ready("altered");
    let mut conn = instance.conn();
    instance.resqctl(["add", "a"]).ok();
    instance.resqctl(["pause"]).ok();
    for (change, commands) in ALTERED {
        conn.query_drop(change).unwrap_or_else(|error| panic!("{change}: {error}"));
        for command in *commands {
            let finished = instance.resqctl([]).args(*command).run();
            let code = finished.code();
            assert!(matches!(code, Some(0 | 1)) && !finished.stderr.contains("panicked"), "{command:?}: {finished}");
        }
    }
}
