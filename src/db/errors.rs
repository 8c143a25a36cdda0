//! The one table of what a database error means for who gets it: try the same again, try another connection or
//! host, or give up. Pure; it never talks to a server.

use std::{
    error::Error as _,
    io::{self, ErrorKind},
};

use mysql::Error;

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The server undid the transaction and is well: the same again, after a little jitter.
    Retry,
    /// This connection or this host is of no use now: a new connection, on the next host if there is one. Whether
    /// the last statement took effect is not known.
    ConnectionLost,
    /// The same statement will fail the same way.
    Permanent,
}

/// ServerInfo error errors that are not final, with their source. Everything else is [`ErrorClass::Permanent`].
const CODES: &[(u16, ErrorClass, &str)] = &[
    (1205, ErrorClass::Retry, "ER_LOCK_WAIT_TIMEOUT: a lock was held too long (InnoDB)"),
    (1213, ErrorClass::Retry, "ER_LOCK_DEADLOCK: deadlock victim; on Galera a lost certification, at COMMIT or after"),
    (1020, ErrorClass::Retry, "ER_CHECKREAD: the row changed since the snapshot (MariaDB, innodb_snapshot_isolation)"),
    (3058, ErrorClass::Retry, "ER_USER_LOCK_DEADLOCK: a cycle among GET_LOCK holders"),
    (3101, ErrorClass::Retry, "ER_TRANSACTION_ROLLBACK_DURING_COMMIT: lost certification (MySQL group replication)"),
    (1180, ErrorClass::Retry, "ER_ERROR_DURING_COMMIT: lost certification, seen at COMMIT (MySQL group replication)"),
    (1021, ErrorClass::Retry, "ER_DISK_FULL: somebody will free some space"),
    (1114, ErrorClass::Retry, "ER_RECORD_FILE_FULL: InnoDB could not make a file larger, as 1021"),
    (3675, ErrorClass::Retry, "no room for a new table, as 1021 (MySQL)"),
    (1040, ErrorClass::ConnectionLost, "ER_CON_COUNT_ERROR: too many connections, some will end"),
    (1203, ErrorClass::ConnectionLost, "ER_TOO_MANY_USER_CONNECTIONS: as 1040, for this account"),
    (1226, ErrorClass::ConnectionLost, "ER_USER_LIMIT_REACHED: as 1040, by the account's own limit"),
    (1047, ErrorClass::ConnectionLost, "ER_UNKNOWN_COM_ERROR: the node has not joined its cluster (Galera)"),
    (1053, ErrorClass::ConnectionLost, "ER_SERVER_SHUTDOWN: the server is stopping"),
    (
        1290,
        ErrorClass::ConnectionLost,
        "ER_OPTION_PREVENTS_STATEMENT: --read-only, a replica or a node that left its group",
    ),
    (1836, ErrorClass::ConnectionLost, "ER_READ_ONLY_MODE: read-only, as 1290"),
    (1317, ErrorClass::ConnectionLost, "ER_QUERY_INTERRUPTED: somebody killed the statement"),
    (1927, ErrorClass::ConnectionLost, "ER_CONNECTION_KILLED: somebody killed the connection (MariaDB)"),
    (2006, ErrorClass::ConnectionLost, "CR_SERVER_GONE_ERROR"),
    (2013, ErrorClass::ConnectionLost, "CR_SERVER_LOST"),
    (
        3100,
        ErrorClass::ConnectionLost,
        "ER_RUN_HOOK_ERROR: the node's group member is not online (MySQL group replication)",
    ),
    (3168, ErrorClass::ConnectionLost, "ER_SERVER_ISNT_AVAILABLE: the node is not ready"),
    (4031, ErrorClass::ConnectionLost, "ER_CLIENT_INTERACTION_TIMEOUT: the server closed an idle connection (MySQL)"),
];

/// What the server's system runs out of for a while, in the system's words and the storage engine's (my_handler_errors.h):
/// they come behind many errors (3, 23, 1005, 1016, 1026, 1030 and more), by what the server was about to do with its file.
const SHORTAGES: &[&str] = &["No space left on device", "No more room in", "Too many open files"];

/// What `error` means for the one who got it.
pub fn class(error: &Error) -> ErrorClass {
    match error {
        // Other options prevent other statements (secure_file_priv, skip_grant_tables), and those for good.
        Error::MySqlError(e)
            if e.code == 1290 && !e.message.contains("read-only") && !e.message.contains("read_only") =>
        {
            ErrorClass::Permanent
        }
        Error::MySqlError(e) if SHORTAGES.iter().any(|text| e.message.contains(text)) => ErrorClass::Retry,
        Error::MySqlError(e) => {
            CODES.iter().find(|(code, ..)| *code == e.code).map_or(ErrorClass::Permanent, |(_, class, _)| *class)
        }
        // Larger than max_allowed_packet: it will not shrink.
        Error::CodecError(e) if e.to_string().contains("max_allowed_packet") => ErrorClass::Permanent,
        // The driver's own: the stream broke or what it carried made no sense.
        Error::IoError(_) | Error::CodecError(_) | Error::DriverError(_) => ErrorClass::ConnectionLost,
        _ => ErrorClass::Permanent,
    }
}

/// Whether the server does not find a table, which of our own says nothing but that it could not look: MariaDB answers
/// so (1017, 1146, 1932, 1049 for a database) where it has no file descriptor left to open it.
pub fn is_missing(error: &Error) -> bool {
    matches!(code(error), 1017 | 1049 | 1146 | 1932)
}

/// The server's error number, 0 where the error is the driver's own.
pub fn code(error: &Error) -> u16 {
    match error {
        Error::MySqlError(e) => e.code,
        _ => 0,
    }
}

/// The error of who finds rows changed that it had locked: a lock holds on its own node only, so in a cluster the
/// server cannot tell.
pub fn lost_race() -> Error {
    let message = "another node has changed a locked row".into();
    Error::MySqlError(mysql::MySqlError { state: "HY000".into(), message, code: 1020 })
}

/// The error as people know it: `ERROR 1064 (42000): You have an error …`.
pub fn describe(error: &Error) -> String {
    match error {
        Error::MySqlError(e) => e.to_string(),
        // A read time-out; the system's words for it tell nobody anything.
        _ if io_error(error).is_some_and(|e| e.kind() == ErrorKind::WouldBlock) => "it does not answer".into(),
        Error::IoError(e) => e.to_string(),
        Error::TlsError(e) => e.to_string(),
        Error::DriverError(e) => e.to_string(),
        Error::CodecError(e) => e.source().map_or_else(|| e.to_string(), ToString::to_string),
        other => other.to_string(),
    }
}

/// The stream's own error, wherever the driver met it.
fn io_error(error: &Error) -> Option<&io::Error> {
    match error {
        Error::IoError(e) => Some(e),
        Error::CodecError(e) => e.source()?.downcast_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16) -> Error {
        Error::MySqlError(mysql::MySqlError { state: "HY000".into(), message: "x".into(), code })
    }

    #[test]
    fn every_code_stands_once() {
        for (i, (code, ..)) in CODES.iter().enumerate() {
            assert!(!CODES[i + 1..].iter().any(|(other, ..)| other == code), "{code} twice");
        }
    }

    #[test]
    fn a_shortage_passes_whatever_it_kept_the_server_from() {
        for (code, message) in [
            (3, "Error writing file './a/u1.frm' (Errcode: 28 \"No space left on device\")"),
            (1005, "Can't create table `a`.`v` (errno: 24 \"Too many open files\")"),
            (1005, "Can't create table `a`.`built` (errno: 135 \"No more room in record file\")"),
            (1026, "Error writing file 'binlog' (OS errno 28 - No space left on device)"),
        ] {
            let error = Error::MySqlError(mysql::MySqlError { state: "HY000".into(), message: message.into(), code });
            assert_eq!(class(&error), ErrorClass::Retry, "{message}");
        }
        assert_eq!(class(&server(1005)), ErrorClass::Permanent);
    }

    #[test]
    fn a_lost_race_is_again_a_dead_host_is_lost_a_typo_is_never() {
        assert_eq!(class(&server(1213)), ErrorClass::Retry);
        assert_eq!(class(&server(1047)), ErrorClass::ConnectionLost);
        assert_eq!(class(&server(1064)), ErrorClass::Permanent);
        assert_eq!(class(&server(1290)), ErrorClass::Permanent, "some other option than read-only");
        assert_eq!(class(&Error::IoError(std::io::ErrorKind::UnexpectedEof.into())), ErrorClass::ConnectionLost);
    }
}
