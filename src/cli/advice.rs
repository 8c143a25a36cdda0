//! What a program reports after an error of its database: the exit code, and what the user can do. The only place where
//! database errors are explained in terms of settings, variables and commands.

use crate::{
    base::failure::{Exit, Failure},
    db::{Error, ErrorClass, OpenError, codes::*},
};

impl From<OpenError> for Failure {
    fn from(failed: OpenError) -> Failure {
        match &failed {
            OpenError::Authority { .. } => Failure::new(
                Exit::Usage,
                format!("{failed}; give a file of certificates in PEM form, such as the server's ca.pem"),
            ),
            OpenError::Unreachable { error, .. } => {
                Failure::new(Exit::Unreachable, format!("{failed}; {}", to_connect(error)))
            }
        }
    }
}

/// What to check after `error` ended an attempt to connect.
fn to_connect(error: &Error) -> &'static str {
    if error.is_login_refused() {
        return "check database.user and database.password (MYSQL_USER, MYSQL_PASSWORD), and database.tls if the \
                account requires it";
    }
    if error.is_out_of_connections() {
        return "raise the server's max_connections or lower queue.workers";
    }
    if error.code() == Some(ER_NEW_ABORTING_CONNECTION) {
        return "the server's init_connect fails for this account: correct that variable, or grant the account what its \
                statements need";
    }
    if error.code() == Some(ER_SECURE_TRANSPORT_REQUIRED) {
        return "the server accepts encrypted connections only: set database.tls (MYSQL_TLS) to required or verify";
    }
    if error.is_tls_missing() {
        return "set up TLS on that server, or set database.tls (MYSQL_TLS) to preferred";
    }
    if error.is_tls_failure() {
        return "check database.tls and database.tls_ca (MYSQL_TLS, MYSQL_TLS_CA), and that database.host is a name in \
                the server's certificate";
    }
    "check database.host and database.port, or database.socket (MYSQL_HOST, MYSQL_PORT, MYSQL_SOCKET), and that the \
     server is running"
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.code() {
            Some(ER_BAD_DB_ERROR | ER_NO_SUCH_TABLE | ER_SP_DOES_NOT_EXIST | ER_BAD_FIELD_ERROR) => {
                Failure::new(Exit::Failed, format!("{error}; run `resqctl init` on this server first"))
            }
            code if error.is_denied() || code == Some(ER_BINLOG_CREATE_ROUTINE_NEED_SUPER) => {
                Failure::new(Exit::Failed, format!("{error}; run `resqctl doctor` to see which privilege is missing"))
            }
            _ if error.class() == ErrorClass::ConnectionLost => {
                Failure::new(Exit::Unreachable, format!("lost the database server: {error}; try again when it is back"))
            }
            _ => Failure::new(Exit::Failed, error.to_string()),
        }
    }
}

/// For commands that use the driver's connection themselves.
impl From<mysql::Error> for Failure {
    fn from(error: mysql::Error) -> Failure {
        Error::from(error).into()
    }
}
