//! What goes wrong with the database, divided by what the caller does next: try the same again, try another connection
//! or host, or give up. Pure; never talks to a server. The numbers are in [`codes`].

mod class;
pub mod codes;
mod unreached;

use std::{
    error::Error as _,
    io::{self, ErrorKind},
};

use mysql::DriverError;

pub use class::ErrorClass;
use codes::*;
pub use unreached::Unreached;

/// A failed use of the database, as database programs print it: `ERROR 1064 (42000): You have an error …`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with an error.
    #[error("ERROR {code} ({state}): {message}")]
    Server {
        /// Its number; see [`codes`].
        code: u16,
        /// Its SQLSTATE, five characters.
        state: String,
        /// Its text.
        message: String,
    },
    /// The connection could not be made, broke, or carried something that is not the protocol.
    #[error("{}", cause(.0))]
    Lost(#[source] mysql::Error),
    /// No connection was made in time; why not.
    #[error("{0}")]
    Unavailable(String),
    /// The node is reachable and must not be used now: read-only, not in its cluster, or behind it; which.
    #[error("the node is not ready: {0}")]
    NotReady(String),
    /// Another node's commit changed rows that this transaction had locked: locks hold on one node of a cluster only.
    #[error("another node changed a locked row")]
    RaceLost,
    /// A statement or a row is larger than `max_allowed_packet`.
    #[error("larger than the server's max_allowed_packet")]
    TooLarge,
    /// The server stopped a read that took longer than [`crate::db::limited::read`] allows.
    #[error("the server stopped a query that took too long; ask for less")]
    TooSlow,
    /// The database or an answer holds what resq never puts there; what is wrong.
    #[error("{0}")]
    Corrupt(&'static str),
}

impl Error {
    /// What the caller does next.
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Server { code, state, message } => codes::class(*code, state, message),
            Error::RaceLost => ErrorClass::Retry,
            Error::Lost(_) | Error::Unavailable(_) | Error::NotReady(_) => ErrorClass::ConnectionLost,
            Error::TooLarge | Error::TooSlow | Error::Corrupt(_) => ErrorClass::Permanent,
        }
    }

    /// The statement may have caused this itself: it was killed, ran out of its time, or its connection broke meanwhile.
    /// What else is not permanent is a state of the server that passes.
    pub fn may_be_own_deed(&self) -> bool {
        matches!(self, Error::Lost(_)) || self.code().is_some_and(|code| OWN_DEEDS.contains(&code))
    }

    /// Another session, or another node of the cluster, was faster: the transaction was rolled back, or a lock was waited for
    /// in vain. The same succeeds as soon as the others are done.
    pub fn is_lost_race(&self) -> bool {
        self.class() == ErrorClass::Retry
            && (matches!(self, Error::RaceLost) || self.code().is_some_and(|code| LOST_RACES.contains(&code)))
    }

    /// The server's error number; None if no server sent this error.
    pub fn code(&self) -> Option<u16> {
        match self {
            Error::Server { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// The server did not find a table or database. For one of resq's own that is no final answer: MariaDB gives it
    /// also when it has no file descriptor left to open the table.
    pub fn is_missing_table(&self) -> bool {
        matches!(self.code(), Some(ER_FILE_NOT_FOUND | ER_BAD_DB_ERROR | ER_NO_SUCH_TABLE | ER_NO_SUCH_TABLE_IN_ENGINE))
    }

    /// A statement met an object that is missing, or another than the statement was written for.
    pub fn is_schema_fault(&self) -> bool {
        self.is_missing_table()
            || matches!(
                self.code(),
                Some(
                    ER_BAD_FIELD_ERROR
                        | ER_KEY_DOES_NOT_EXIST
                        | ER_SP_DOES_NOT_EXIST
                        | ER_WRONG_OBJECT
                        | ER_TRG_DOES_NOT_EXIST
                        | ER_NO_DEFAULT_FOR_FIELD
                        | ER_NO_SUCH_USER
                )
            )
    }

    /// The account lacks a privilege.
    pub fn is_denied(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ER_DBACCESS_DENIED_ERROR
                    | ER_TABLEACCESS_DENIED_ERROR
                    | ER_COLUMNACCESS_DENIED_ERROR
                    | ER_SPECIFIC_ACCESS_DENIED_ERROR
                    | ER_PROCACCESS_DENIED_ERROR
            )
        )
    }

    /// The server refused the login.
    fn is_login_refused(&self) -> bool {
        match self {
            // MySQL asks an account that it does not know to log in by any method.
            _ if self.unknown_auth_plugin().is_some() => true,
            _ => matches!(self.code(), Some(ER_ACCESS_DENIED_ERROR | ER_ACCESS_DENIED_NO_PASSWORD_ERROR)),
        }
    }

    /// The way of logging in that the account asks for, where the driver does not have it.
    pub fn unknown_auth_plugin(&self) -> Option<&str> {
        match self {
            Error::Lost(mysql::Error::DriverError(DriverError::UnknownAuthPlugin(name))) => Some(name),
            Error::Lost(mysql::Error::DriverError(DriverError::CleartextPluginDisabled)) => {
                Some("mysql_clear_password")
            }
            Error::Lost(mysql::Error::DriverError(DriverError::OldMysqlPasswordDisabled)) => Some("mysql_old_password"),
            _ => None,
        }
    }

    /// How far an attempt to connect came, where no server answered it.
    pub fn unreached(&self) -> Option<Unreached> {
        match self {
            Error::Lost(mysql::Error::DriverError(error)) => Unreached::of(error),
            _ => None,
        }
    }

    /// A failure to connect that the start of the server or of the network ends: not that of a wrong password or setting.
    pub fn may_pass(&self) -> bool {
        let is_a_setting = self.is_login_refused() || self.is_tls_missing() || self.is_tls_failure();
        !is_a_setting && self.unreached() != Some(Unreached::Forbidden) && self.class() != ErrorClass::Permanent
    }

    /// The server offers no TLS, and the settings ask for it.
    pub fn is_tls_missing(&self) -> bool {
        matches!(self, Error::Lost(mysql::Error::DriverError(DriverError::TlsNotSupported)))
    }

    /// The server offers TLS, and no agreement was reached: on a protocol, or on whose certificate it is.
    pub fn is_tls_failure(&self) -> bool {
        match self {
            Error::Lost(mysql::Error::TlsError(_)) => true,
            // The handshake's errors arrive as invalid data of the stream, and no others do.
            Error::Lost(error) => io_error(error).is_some_and(|error| error.kind() == ErrorKind::InvalidData),
            _ => false,
        }
    }
}

impl From<mysql::Error> for Error {
    fn from(error: mysql::Error) -> Error {
        match error {
            mysql::Error::MySqlError(e) => Error::Server { code: e.code, state: e.state, message: e.message },
            mysql::Error::CodecError(e) if e.to_string().contains("max_allowed_packet") => Error::TooLarge,
            mysql::Error::FromRowError(_) | mysql::Error::FromValueError(_) => Error::Corrupt(
                "a column holds a value of another type than resq's own; `resqctl doctor` compares the tables",
            ),
            error => Error::Lost(error),
        }
    }
}

impl From<mysql::FromRowError> for Error {
    fn from(error: mysql::FromRowError) -> Error {
        mysql::Error::from(error).into()
    }
}

/// The cause of a lost connection, without the driver's words around it.
fn cause(error: &mysql::Error) -> String {
    match error {
        // A read timed out; the system's text for it ("resource temporarily unavailable") misleads.
        _ if io_error(error).is_some_and(|e| e.kind() == ErrorKind::WouldBlock) => "the server does not answer".into(),
        mysql::Error::IoError(error) => error.to_string(),
        mysql::Error::TlsError(error) => error.to_string(),
        mysql::Error::DriverError(error) => error.to_string(),
        mysql::Error::CodecError(error) => {
            error.source().map_or_else(|| error.to_string(), |source| source.to_string())
        }
        error => error.to_string(),
    }
}

/// The stream's own error, wherever the driver met it.
fn io_error(error: &mysql::Error) -> Option<&io::Error> {
    match error {
        mysql::Error::IoError(error) => Some(error),
        mysql::Error::CodecError(error) => error.source()?.downcast_ref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> Error {
        Error::Server { code, state: "HY000".into(), message: message.into() }
    }

    #[test]
    fn shortage_is_retried_whatever_statement_met_it() {
        for (code, message) in [
            (3, "Error writing file './a/u1.frm' (Errcode: 28 \"No space left on device\")"),
            (1005, "Can't create table `a`.`v` (errno: 24 \"Too many open files\")"),
            (1005, "Can't create table `a`.`built` (errno: 135 \"No more room in record file\")"),
            (1026, "Error writing file 'binlog' (OS errno 28 - No space left on device)"),
        ] {
            assert_eq!(server(code, message).class(), ErrorClass::Retry, "{message}");
        }
        assert_eq!(server(1005, "x").class(), ErrorClass::Permanent);
    }

    #[test]
    fn text_of_a_signal_is_no_shortage() {
        for (code, state) in [(1644, "45000"), (1644, "HY000"), (1030, "45000")] {
            let message = "No space left on device".into();
            let error = Error::Server { code, state: state.into(), message };
            assert_eq!(error.class(), ErrorClass::Permanent, "{error}");
        }
    }

    #[test]
    fn server_errors_have_the_class_of_their_number() {
        assert_eq!(server(ER_LOCK_DEADLOCK, "x").class(), ErrorClass::Retry);
        assert_eq!(server(ER_UNKNOWN_COM_ERROR, "x").class(), ErrorClass::ConnectionLost);
        assert_eq!(server(ER_PARSE_ERROR, "x").class(), ErrorClass::Permanent);
        let commit = |message| server(ER_ERROR_DURING_COMMIT, message).class();
        assert_eq!(commit("Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT"), ErrorClass::Retry);
        let cut_off =
            "Error while appending streaming replication fragment(provider status: Not connected to Primary Component)";
        assert_eq!(commit(cut_off), ErrorClass::ConnectionLost);
        let option = |option| {
            let message = format!("The server is running with the {option} option");
            server(ER_OPTION_PREVENTS_STATEMENT, &message).class()
        };
        assert_eq!(option("--read-only"), ErrorClass::ConnectionLost);
        assert_eq!(option("--secure-file-priv"), ErrorClass::Permanent);
    }

    #[test]
    fn driver_errors_mean_a_lost_connection_and_unexpected_rows_do_not() {
        let eof = Error::from(mysql::Error::IoError(ErrorKind::UnexpectedEof.into()));
        assert_eq!(eof.class(), ErrorClass::ConnectionLost);
        let late = Error::from(mysql::Error::IoError(ErrorKind::WouldBlock.into()));
        assert_eq!(late.to_string(), "the server does not answer");
        assert_eq!(Error::from(mysql::Error::FromValueError(mysql::Value::NULL)).class(), ErrorClass::Permanent);
    }
}
