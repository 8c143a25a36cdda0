//! The sessions of the server under test.

use crate::server::kind_under_test;

/// An SQL table of the sessions of the node that is asked: `id, user, db, command, state`. MySQL's
/// `information_schema.PROCESSLIST` fails (3854) while any session's statement holds a character of four bytes, even
/// where its text is not asked for; MariaDB's performance schema is off by default.
pub fn sessions() -> &'static str {
    let kind = kind_under_test();
    if kind.starts_with("mariadb") || kind == "galera" {
        "information_schema.PROCESSLIST"
    } else {
        "(SELECT processlist_id AS id, processlist_user AS user, processlist_db AS db, processlist_command AS command, \
          processlist_state AS state FROM performance_schema.threads WHERE processlist_id IS NOT NULL) AS sessions"
    }
}
