//! What every connection's session is set to.

/// A known `sql_mode`, because it decides how literals are read.
const SQL_MODE: &str = "sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'";

/// The statements that set up a session. READ COMMITTED because under REPEATABLE READ a claim that asks for more rows
/// than exist blocks the producers' INSERTs. The waits for a lock are in seconds.
pub fn session() -> [String; 2] {
    [
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED".into(),
        format!(
            "SET SESSION autocommit = 1, time_zone = '+00:00', innodb_lock_wait_timeout = 10, lock_wait_timeout = 60, \
             {SQL_MODE}"
        ),
    ]
}
