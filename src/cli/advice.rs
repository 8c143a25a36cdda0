//! What a program reports after an error of its database: the exit code, and what the user can do. The only place where
//! database errors are explained in terms of settings, variables and commands.

use crate::{
    base::failure::{Exit, Failure},
    db::{Error, ErrorClass, OpenError, Unreached, codes::*},
};

impl From<OpenError> for Failure {
    fn from(failed: OpenError) -> Failure {
        match &failed {
            OpenError::Authority { .. } => Failure::new(
                Exit::Usage,
                format!("{failed}; give a file of certificates in PEM form, such as the server's ca.pem"),
            ),
            OpenError::Unreachable { user, error, .. } => {
                Failure::new(Exit::Unreachable, format!("{failed}; {}", to_connect(error, user)))
            }
        }
    }
}

/// What helps after `error` ended an attempt to connect as `user`.
fn to_connect(error: &Error, user: &str) -> String {
    if let Some(why) = error.unreached() {
        return when_unreached(why).into();
    }
    if let Some(plugin) = error.unknown_auth_plugin() {
        return format!(
            "check database.user and database.password (MYSQL_USER, MYSQL_PASSWORD) and that the account {user} exists; \
             if it does, it logs in by {plugin}, which resq does not have: give it a password with \
             mysql_native_password, caching_sha2_password or ed25519"
        );
    }
    if let Some(remedy) = error.code().and_then(for_code) {
        return remedy.replace("{user}", user);
    }
    if error.is_tls_missing() {
        return "set up TLS on that server, or set database.tls (MYSQL_TLS) to preferred".into();
    }
    if error.is_tls_failure() {
        return "check database.tls and database.tls_ca (MYSQL_TLS, MYSQL_TLS_CA), and that database.host is a name in \
                the server's certificate"
            .into();
    }
    match error {
        Error::NotReady(_) => "wait until the node has joined its cluster and takes writes".into(),
        _ => ADDRESS.into(),
    }
}

const ADDRESS: &str = "check database.host and database.port, or database.socket (MYSQL_HOST, MYSQL_PORT, \
                       MYSQL_SOCKET), and that the server is running";

fn when_unreached(why: Unreached) -> &'static str {
    match why {
        Unreached::NameUnknown => "check the name in database.host (MYSQL_HOST) and the DNS of this machine",
        Unreached::Refused => {
            "start the server, or correct database.port or database.socket (MYSQL_PORT, MYSQL_SOCKET); if it runs, check \
             its bind_address and skip_networking; with database.wait_s a starting program waits for a server"
        }
        Unreached::TimedOut => {
            "check database.host (MYSQL_HOST), and that no firewall drops the packets to database.port on the way"
        }
        Unreached::NoRoute => "check database.host (MYSQL_HOST) and the network between this machine and that one",
        Unreached::NoSocket => {
            "start the server, or correct database.socket (MYSQL_SOCKET): SELECT @@socket shows its path, and \
             systemd's PrivateTmp hides one in /tmp"
        }
        Unreached::Forbidden => {
            "let the system's user that runs this program use the socket's folder and file, often by membership in \
             the group mysql, or use TCP"
        }
    }
}

/// What helps after the server refused a login with this error; {user} stands for the account's name.
fn for_code(code: u16) -> Option<&'static str> {
    Some(match code {
        ER_ACCESS_DENIED_ERROR => {
            "check database.user and database.password (MYSQL_USER, MYSQL_PASSWORD), the host part of the account, and \
             database.tls if the account requires it"
        }
        ER_ACCESS_DENIED_NO_PASSWORD_ERROR => {
            "the account {user} logs in by the system's user (auth_socket, unix_socket) and not by a password: set \
             database.socket (MYSQL_SOCKET) and run this program as the system's user {user}, or give resq an account \
             with a password"
        }
        ER_MUST_CHANGE_PASSWORD | ER_MUST_CHANGE_PASSWORD_LOGIN => {
            "the password of {user} is expired: set another with ALTER USER ... IDENTIFIED BY and in database.password \
             (MYSQL_PASSWORD); PASSWORD EXPIRE NEVER keeps it from expiring again"
        }
        ER_ACCOUNT_HAS_BEEN_LOCKED | ER_ACCOUNT_HAS_BEEN_LOCKED_MARIADB => {
            "the account {user} is locked: unlock it with ALTER USER ... ACCOUNT UNLOCK"
        }
        ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK => {
            "the account {user} is locked for a while after too many wrong passwords: correct database.password \
             (MYSQL_PASSWORD), then wait or run ALTER USER ... ACCOUNT UNLOCK"
        }
        ER_HOST_NOT_PRIVILEGED => {
            "no account of the server may log in from this machine: create {user} with this machine's address, or '%', \
             as its host"
        }
        ER_HOST_IS_BLOCKED => {
            "the server blocks this machine after too many connections that broke: run FLUSH HOSTS (MariaDB) or \
             TRUNCATE performance_schema.host_cache (MySQL) there, and raise max_connect_errors"
        }
        ER_CON_COUNT_ERROR => "raise the server's max_connections or lower queue.workers",
        ER_TOO_MANY_USER_CONNECTIONS | ER_USER_LIMIT_REACHED => {
            "raise the limits of {user} (max_user_connections, ALTER USER ... WITH MAX_USER_CONNECTIONS, \
             MAX_CONNECTIONS_PER_HOUR or MAX_QUERIES_PER_HOUR), or lower queue.workers"
        }
        ER_OUTOFMEMORY | ER_OUT_OF_RESOURCES | ER_CANT_CREATE_THREAD => {
            "the server's machine has no memory or threads left: free some there, or raise the limits of its service"
        }
        ER_NOT_SUPPORTED_AUTH_MODE | ER_PLUGIN_IS_NOT_LOADED => {
            "give the account {user} a method that the server has loaded and resq knows: mysql_native_password, \
             caching_sha2_password or ed25519"
        }
        ER_SECURE_TRANSPORT_REQUIRED => {
            "the server accepts encrypted connections only: set database.tls (MYSQL_TLS) to required or verify"
        }
        ER_NEW_ABORTING_CONNECTION => {
            "the server's init_connect fails for this account, and the server's error log says why: correct that \
             variable, or grant the account what its statements need; if the password of {user} is expired, MariaDB \
             runs no statement of it: set another with ALTER USER ... IDENTIFIED BY and in database.password \
             (MYSQL_PASSWORD)"
        }
        ER_SERVER_OFFLINE_MODE => "the server is offline by intention: SET GLOBAL offline_mode = OFF ends that",
        ER_SERVER_SHUTDOWN | ER_UNKNOWN_COM_ERROR | ER_SERVER_ISNT_AVAILABLE => {
            "wait until the server has started and its node has joined the cluster"
        }
        _ => return None,
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error.code() {
            Some(code @ ER_MUST_CHANGE_PASSWORD) => {
                let remedy = for_code(code).unwrap_or_default().replace("{user}", "this account");
                Failure::new(Exit::Unreachable, format!("{error}; {remedy}"))
            }
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
