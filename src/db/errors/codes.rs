//! Every server error number that resq reacts to, under the name that the manuals list it by, and the class of those
//! that are not final. No other file spells a number out. Sources: MySQL's Server Error Message Reference (and
//! `perror`), MariaDB's `errmsg-utf8.txt`.

use super::class::ErrorClass;

/// A table cannot be created or changed; the text says why.
pub const ER_CANT_CREATE_TABLE: u16 = 1005;
/// The database to create exists.
pub const ER_DB_CREATE_EXISTS: u16 = 1007;
/// The database to drop does not exist.
pub const ER_DB_DROP_EXISTS: u16 = 1008;
/// The folder of the database to drop holds a file that the server does not know.
pub const ER_DB_DROP_RMDIR: u16 = 1010;
/// A table's file was not found; MariaDB also answers this when it has no file descriptor left.
pub const ER_FILE_NOT_FOUND: u16 = 1017;
/// The row changed since the snapshot (MariaDB, `innodb_snapshot_isolation`).
pub const ER_CHECKREAD: u16 = 1020;
/// The disk is full; space may be freed.
pub const ER_DISK_FULL: u16 = 1021;
/// The server is out of memory.
pub const ER_OUTOFMEMORY: u16 = 1037;
/// `max_connections` is reached.
pub const ER_CON_COUNT_ERROR: u16 = 1040;
/// The server is out of memory or of another resource.
pub const ER_OUT_OF_RESOURCES: u16 = 1041;
/// No privilege on the database; also the answer for a database whose existence the account may not know.
pub const ER_DBACCESS_DENIED_ERROR: u16 = 1044;
/// Wrong user or password.
pub const ER_ACCESS_DENIED_ERROR: u16 = 1045;
/// No database is selected.
pub const ER_NO_DB_ERROR: u16 = 1046;
/// The node has not joined its cluster (Galera).
pub const ER_UNKNOWN_COM_ERROR: u16 = 1047;
/// Unknown database.
pub const ER_BAD_DB_ERROR: u16 = 1049;
/// The table exists.
pub const ER_TABLE_EXISTS_ERROR: u16 = 1050;
/// The table to drop does not exist.
pub const ER_BAD_TABLE_ERROR: u16 = 1051;
/// The server is shutting down.
pub const ER_SERVER_SHUTDOWN: u16 = 1053;
/// Unknown column.
pub const ER_BAD_FIELD_ERROR: u16 = 1054;
/// The column exists.
pub const ER_DUP_FIELDNAME: u16 = 1060;
/// The index exists.
pub const ER_DUP_KEYNAME: u16 = 1061;
/// A row with this key exists.
pub const ER_DUP_ENTRY: u16 = 1062;
/// Syntax error.
pub const ER_PARSE_ERROR: u16 = 1064;
/// The statement is empty.
pub const ER_EMPTY_QUERY: u16 = 1065;
/// The table has a primary key.
pub const ER_MULTIPLE_PRI_KEY: u16 = 1068;
/// The column or index to drop does not exist.
pub const ER_CANT_DROP_FIELD_OR_KEY: u16 = 1091;
/// The session to kill does not exist.
pub const ER_NO_SUCH_THREAD: u16 = 1094;
/// The session to kill belongs to another account.
pub const ER_KILL_DENIED_ERROR: u16 = 1095;
/// The trigger is on a table that LOCK TABLES did not name.
pub const ER_TABLE_NOT_LOCKED: u16 = 1100;
/// InnoDB could not extend a file: the disk is full.
pub const ER_RECORD_FILE_FULL: u16 = 1114;
/// A loadable function is registered and cannot be loaded (MariaDB after DROP FUNCTION, in open sessions).
pub const ER_CANT_FIND_UDF: u16 = 1122;
/// The server blocks this host after too many connections that broke (`max_connect_errors`).
pub const ER_HOST_IS_BLOCKED: u16 = 1129;
/// No account may connect from this host.
pub const ER_HOST_NOT_PRIVILEGED: u16 = 1130;
/// The server cannot start a thread for the connection.
pub const ER_CANT_CREATE_THREAD: u16 = 1135;
/// No privilege on the table.
pub const ER_TABLEACCESS_DENIED_ERROR: u16 = 1142;
/// No privilege on the column.
pub const ER_COLUMNACCESS_DENIED_ERROR: u16 = 1143;
/// The table does not exist.
pub const ER_NO_SUCH_TABLE: u16 = 1146;
/// Syntax error, found after parsing.
pub const ER_SYNTAX_ERROR: u16 = 1149;
/// A statement or a value is larger than `max_allowed_packet`.
pub const ER_NET_PACKET_TOO_LARGE: u16 = 1153;
/// The server could not read from the connection.
pub const ER_NET_READ_ERROR: u16 = 1158;
/// The server waited too long for the connection.
pub const ER_NET_READ_INTERRUPTED: u16 = 1159;
/// The server could not write to the connection.
pub const ER_NET_ERROR_ON_WRITE: u16 = 1160;
/// The server waited too long while it wrote to the connection.
pub const ER_NET_WRITE_INTERRUPTED: u16 = 1161;
/// The table has no such index, or a hidden one.
pub const ER_KEY_DOES_NOT_EXIST: u16 = 1176;
/// The transaction failed certification at COMMIT (MySQL group replication).
pub const ER_ERROR_DURING_COMMIT: u16 = 1180;
/// The server ended a new session: a statement of its `init_connect` failed.
pub const ER_NEW_ABORTING_CONNECTION: u16 = 1184;
/// Unknown system variable.
pub const ER_UNKNOWN_SYSTEM_VARIABLE: u16 = 1193;
/// `max_user_connections` is reached.
pub const ER_TOO_MANY_USER_CONNECTIONS: u16 = 1203;
/// InnoDB waited too long for a lock; only the statement is rolled back.
pub const ER_LOCK_WAIT_TIMEOUT: u16 = 1205;
/// InnoDB has no memory for further locks.
pub const ER_LOCK_TABLE_FULL: u16 = 1206;
/// The transaction was chosen as deadlock victim, or failed Galera's certification, at COMMIT or later.
pub const ER_LOCK_DEADLOCK: u16 = 1213;
/// A foreign key refers to the row; the account may not see of which table. On MariaDB also of a table to drop.
pub const ER_ROW_IS_REFERENCED: u16 = 1217;
/// The account's own limit of connections is reached.
pub const ER_USER_LIMIT_REACHED: u16 = 1226;
/// A global privilege is missing (SUPER, SYSTEM_USER, PROCESS …).
pub const ER_SPECIFIC_ACCESS_DENIED_ERROR: u16 = 1227;
/// The variable does not take this value.
pub const ER_WRONG_VALUE_FOR_VAR: u16 = 1231;
/// A dump of the binary log cannot go on: what it asks for is gone or was never there, or another replica has its number.
pub const ER_MASTER_FATAL_ERROR_READING_BINLOG: u16 = 1236;
/// The variable is read-only, or not one of sessions.
pub const ER_INCORRECT_GLOBAL_LOCAL_VAR: u16 = 1238;
/// The account logs in by a method that the driver does not offer.
pub const ER_NOT_SUPPORTED_AUTH_MODE: u16 = 1251;
/// The number is out of the column's range.
pub const ER_WARN_DATA_OUT_OF_RANGE: u16 = 1264;
/// Two texts have collations that cannot be compared or joined.
pub const ER_CANT_AGGREGATE_2COLLATIONS: u16 = 1267;
/// A server option forbids the statement: `--read-only`, among others.
pub const ER_OPTION_PREVENTS_STATEMENT: u16 = 1290;
/// The procedure or function exists.
pub const ER_SP_ALREADY_EXISTS: u16 = 1304;
/// The procedure or function does not exist.
pub const ER_SP_DOES_NOT_EXIST: u16 = 1305;
/// The statement was killed.
pub const ER_QUERY_INTERRUPTED: u16 = 1317;
/// The object is a view where a table is needed, or the other way round.
pub const ER_WRONG_OBJECT: u16 = 1347;
/// The trigger exists.
pub const ER_TRG_ALREADY_EXISTS: u16 = 1359;
/// The trigger does not exist.
pub const ER_TRG_DOES_NOT_EXIST: u16 = 1360;
/// The column has no default and was given no value.
pub const ER_NO_DEFAULT_FOR_FIELD: u16 = 1364;
/// The column cannot hold the value.
pub const ER_TRUNCATED_WRONG_VALUE_FOR_FIELD: u16 = 1366;
/// No privilege on the procedure or function.
pub const ER_PROCACCESS_DENIED_ERROR: u16 = 1370;
/// The text is too long for the column.
pub const ER_DATA_TOO_LONG: u16 = 1406;
/// The binary log is on, and only an administrator may create triggers and functions.
pub const ER_BINLOG_CREATE_ROUTINE_NEED_SUPER: u16 = 1419;
/// The definer of a trigger, procedure or view does not exist.
pub const ER_NO_SUCH_USER: u16 = 1449;
/// A foreign key refers to the row, or on MariaDB to the table to drop.
pub const ER_ROW_IS_REFERENCED_2: u16 = 1451;
/// `max_prepared_stmt_count` is reached.
pub const ER_MAX_PREPARED_STMT_COUNT_REACHED: u16 = 1461;
/// The partition to drop does not exist.
pub const ER_DROP_PARTITION_NON_EXISTENT: u16 = 1507;
/// The partition exists.
pub const ER_SAME_NAME_PARTITION: u16 = 1517;
/// The server has not loaded the account's plugin.
pub const ER_PLUGIN_IS_NOT_LOADED: u16 = 1524;
/// The event exists.
pub const ER_EVENT_ALREADY_EXISTS: u16 = 1537;
/// The event does not exist.
pub const ER_EVENT_DOES_NOT_EXIST: u16 = 1539;
/// InnoDB has no room for a further transaction.
pub const ER_TOO_MANY_CONCURRENT_TRXS: u16 = 1637;
/// Raised by SIGNAL in a procedure or trigger.
pub const ER_SIGNAL_EXCEPTION: u16 = 1644;
/// The result of a calculation is larger than its type can hold.
pub const ER_DATA_OUT_OF_RANGE: u16 = 1690;
/// Login without a password was refused.
pub const ER_ACCESS_DENIED_NO_PASSWORD_ERROR: u16 = 1698;
/// The password is expired: this session may only set another.
pub const ER_MUST_CHANGE_PASSWORD: u16 = 1820;
/// The foreign key exists.
pub const ER_FK_DUP_NAME: u16 = 1826;
/// The server is read-only.
pub const ER_READ_ONLY_MODE: u16 = 1836;
/// Login refused: the password is expired.
pub const ER_MUST_CHANGE_PASSWORD_LOGIN: u16 = 1862;
/// The connection was killed (MariaDB).
pub const ER_CONNECTION_KILLED: u16 = 1927;
/// The storage engine does not know the table (MariaDB); also its answer without a free file descriptor.
pub const ER_NO_SUCH_TABLE_IN_ENGINE: u16 = 1932;
/// The statement ran into `max_statement_time` (MariaDB).
pub const ER_STATEMENT_TIMEOUT: u16 = 1969;
/// The server has gone away: the client libraries' number.
pub const CR_SERVER_GONE_ERROR: u16 = 2006;
/// The connection was lost during a statement: the client libraries' number.
pub const CR_SERVER_LOST: u16 = 2013;
/// The statement ran into `max_execution_time` (MySQL).
pub const ER_QUERY_TIMEOUT: u16 = 3024;
/// An administrator has taken the server offline (`offline_mode`).
pub const ER_SERVER_OFFLINE_MODE: u16 = 3032;
/// A cycle among sessions that wait in GET_LOCK (MySQL).
pub const ER_USER_LOCK_DEADLOCK: u16 = 3058;
/// The group's member is not online (MySQL group replication).
pub const ER_RUN_HOOK_ERROR: u16 = 3100;
/// The transaction failed certification (MySQL group replication).
pub const ER_TRANSACTION_ROLLBACK_DURING_COMMIT: u16 = 3101;
/// Login refused: the account is locked (MySQL).
pub const ER_ACCOUNT_HAS_BEEN_LOCKED: u16 = 3118;
/// The server accepts encrypted connections only (`require_secure_transport`).
pub const ER_SECURE_TRANSPORT_REQUIRED: u16 = 3159;
/// The node is not ready.
pub const ER_SERVER_ISNT_AVAILABLE: u16 = 3168;
/// The disk is too full for a new table (MySQL).
pub const ER_DISK_FULL_NOWAIT: u16 = 3675;
/// A foreign key refers to the table to drop (MySQL).
pub const ER_FK_CANNOT_DROP_PARENT: u16 = 3730;
/// The check to drop does not exist (MySQL).
pub const ER_CHECK_CONSTRAINT_NOT_FOUND: u16 = 3821;
/// The check exists (MySQL).
pub const ER_CHECK_CONSTRAINT_DUP_NAME: u16 = 3822;
/// The text has characters that the column's character set lacks (MySQL, at a conversion).
pub const ER_CANNOT_CONVERT_STRING: u16 = 3854;
/// Login refused: the account is locked for a while, after wrong passwords (MySQL).
pub const ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK: u16 = 3955;
/// The constraint to drop does not exist (MySQL).
pub const ER_CONSTRAINT_NOT_FOUND: u16 = 3940;
/// The parameter has characters that the column's character set lacks (MySQL).
pub const ER_IMPOSSIBLE_STRING_CONVERSION: u16 = 3988;
/// The server closed an idle connection (MySQL).
pub const ER_CLIENT_INTERACTION_TIMEOUT: u16 = 4031;
/// The sequence to drop does not exist (MariaDB).
pub const ER_UNKNOWN_SEQUENCES: u16 = 4091;
/// The view to drop does not exist (MariaDB).
pub const ER_UNKNOWN_VIEW: u16 = 4092;
/// Login refused: the account is locked (MariaDB).
pub const ER_ACCOUNT_HAS_BEEN_LOCKED_MARIADB: u16 = 4151;

/// What the server runs out of for a while, as the system and the storage engine (`my_handler_errors.h`) call it. The
/// text follows many error numbers (3, 23, 1005, 1016, 1026, 1030 …), depending on what the server was doing.
const SHORTAGES: &[&str] = &["No space left on device", "No more room in", "Too many open files"];

/// The class of a server error.
pub fn class(code: u16, state: &str, message: &str) -> ErrorClass {
    // Every such number has the general SQLSTATE. What a SIGNAL raises may have any text, and is never a shortage.
    let may_be_shortage = state == "HY000" && code != ER_SIGNAL_EXCEPTION;
    if may_be_shortage && SHORTAGES.iter().any(|text| message.contains(text)) {
        return ErrorClass::Retry;
    }
    match code {
        // Galera: the node was cut off while the COMMIT waited for the others, which may have carried it out.
        ER_ERROR_DURING_COMMIT if message.contains("provider status") => ErrorClass::ConnectionLost,
        ER_LOCK_WAIT_TIMEOUT
        | ER_LOCK_DEADLOCK
        | ER_CHECKREAD
        | ER_USER_LOCK_DEADLOCK
        | ER_TRANSACTION_ROLLBACK_DURING_COMMIT
        | ER_ERROR_DURING_COMMIT
        | ER_DISK_FULL
        | ER_RECORD_FILE_FULL
        | ER_DISK_FULL_NOWAIT
        | ER_OUTOFMEMORY
        | ER_OUT_OF_RESOURCES
        | ER_CANT_CREATE_THREAD
        | ER_LOCK_TABLE_FULL
        | ER_TOO_MANY_CONCURRENT_TRXS
        | ER_MAX_PREPARED_STMT_COUNT_REACHED
        | ER_STATEMENT_TIMEOUT
        | ER_QUERY_TIMEOUT => ErrorClass::Retry,
        // Other options (secure_file_priv, skip_grant_tables) forbid other statements, and permanently.
        ER_OPTION_PREVENTS_STATEMENT if !message.contains("read-only") && !message.contains("read_only") => {
            ErrorClass::Permanent
        }
        ER_OPTION_PREVENTS_STATEMENT
        | ER_READ_ONLY_MODE
        | ER_CON_COUNT_ERROR
        | ER_TOO_MANY_USER_CONNECTIONS
        | ER_USER_LIMIT_REACHED
        | ER_UNKNOWN_COM_ERROR
        | ER_NEW_ABORTING_CONNECTION
        | ER_SERVER_SHUTDOWN
        | ER_QUERY_INTERRUPTED
        | ER_CONNECTION_KILLED
        | CR_SERVER_GONE_ERROR
        | CR_SERVER_LOST
        | ER_RUN_HOOK_ERROR
        | ER_SERVER_ISNT_AVAILABLE
        | ER_CLIENT_INTERACTION_TIMEOUT
        | ER_NET_READ_ERROR
        | ER_NET_READ_INTERRUPTED
        | ER_NET_ERROR_ON_WRITE
        | ER_NET_WRITE_INTERRUPTED
        | ER_SERVER_OFFLINE_MODE => ErrorClass::ConnectionLost,
        _ => ErrorClass::Permanent,
    }
}

/// What a transaction meets that loses a race against another one.
pub const LOST_RACES: &[u16] = &[
    ER_LOCK_WAIT_TIMEOUT,
    ER_LOCK_DEADLOCK,
    ER_CHECKREAD,
    ER_USER_LOCK_DEADLOCK,
    ER_TRANSACTION_ROLLBACK_DURING_COMMIT,
    ER_ERROR_DURING_COMMIT,
];

/// What a statement may have brought upon itself: it was killed, ran out of its time, or took its session with it.
pub const OWN_DEEDS: &[u16] = &[
    ER_QUERY_INTERRUPTED,
    ER_CONNECTION_KILLED,
    ER_STATEMENT_TIMEOUT,
    ER_QUERY_TIMEOUT,
    CR_SERVER_GONE_ERROR,
    CR_SERVER_LOST,
];

/// What a statement that creates or drops something meets where that was done before.
pub const ALREADY_DONE: &[u16] = &[
    ER_DB_CREATE_EXISTS,
    ER_DB_DROP_EXISTS,
    ER_TABLE_EXISTS_ERROR,
    ER_BAD_TABLE_ERROR,
    ER_DUP_FIELDNAME,
    ER_DUP_KEYNAME,
    ER_MULTIPLE_PRI_KEY,
    ER_CANT_DROP_FIELD_OR_KEY,
    ER_SP_ALREADY_EXISTS,
    ER_SP_DOES_NOT_EXIST,
    ER_TRG_ALREADY_EXISTS,
    ER_TRG_DOES_NOT_EXIST,
    ER_DROP_PARTITION_NON_EXISTENT,
    ER_SAME_NAME_PARTITION,
    ER_EVENT_ALREADY_EXISTS,
    ER_EVENT_DOES_NOT_EXIST,
    ER_FK_DUP_NAME,
    ER_CHECK_CONSTRAINT_NOT_FOUND,
    ER_CHECK_CONSTRAINT_DUP_NAME,
    ER_CONSTRAINT_NOT_FOUND,
    ER_UNKNOWN_SEQUENCES,
    ER_UNKNOWN_VIEW,
];
