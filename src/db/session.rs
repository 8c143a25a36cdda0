//! What a session of resq is: the table of every variable that it sets, and why. Servers, accounts and `init_connect`
//! preset sessions as they like, and no statement of resq may depend on that: [`reset`] undoes it, after each login and
//! whenever a session is to be a fresh one. Reads no setting of resq's.

use std::sync::LazyLock;

use mysql::{ChangeUserOpts, Conn, prelude::Queryable};

use super::{Error, codes::*, script::run_script};

/// A session variable that resq sets.
#[derive(Debug)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// Where it exists.
    pub on: On,
    /// What it is set to, as an SQL expression.
    pub value: &'static str,
    /// Whether `doctor` names another global value: one that servers do not come with and that few have a reason for.
    pub is_odd: bool,
    /// What would go wrong with another value.
    pub why: &'static str,
}

/// The servers that have a variable, from MySQL 8.0 and MariaDB 10.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// MySQL and MariaDB.
    Both,
    /// MySQL alone.
    MySql,
    /// MariaDB alone.
    MariaDb,
}

/// The least `max_allowed_packet` that resq works with, in bytes: the largest event fits, with what is around it. A
/// session cannot set it.
pub const LEAST_PACKET: usize = 1 << 20;

/// The first statements of a session, which no server refuses. READ COMMITTED, because under REPEATABLE READ a claim
/// that asks for more rows than exist blocks the producers' INSERTs.
const FIRST: &str = "SET NAMES utf8mb4; SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// What [`FIRST`] sets, in place of rows in [`SETTINGS`].
pub const SET_FIRST: &[&str] = &[
    "character_set_client",
    "character_set_connection",
    "character_set_results",
    "collation_connection",
    "transaction_isolation",
    "transaction_read_only",
    "tx_isolation",
    "tx_read_only",
];

/// Another global value is odd.
const fn odd(name: &'static str, on: On, value: &'static str, why: &'static str) -> Setting {
    Setting { name, on, value, is_odd: true, why }
}

/// Other global values are nothing unusual.
const fn own(name: &'static str, on: On, value: &'static str, why: &'static str) -> Setting {
    Setting { name, on, value, is_odd: false, why }
}

const ON: &str = "1";
const OFF: &str = "0";
const NO_LIMIT: &str = "18446744073709551615";

/// Every variable that resq sets. No value is DEFAULT, which means the server's global one. The only limits are those
/// on waits for locks, in seconds; they keep another session's transaction from stopping a thread for good.
#[rustfmt::skip]
pub const SETTINGS: &[Setting] = &[
    // How a statement is read, and what it may do.
    own("sql_mode", On::Both, "'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'", "literals and errors"),
    own("time_zone", On::Both, "'+00:00'", "times are UTC"),
    own("lc_messages", On::Both, "'en_US'", "some errors are recognised by their text"),
    odd("sql_safe_updates", On::Both, OFF, "refuses an UPDATE or DELETE by other than a key (1175)"),
    odd("sql_select_limit", On::Both, NO_LIMIT, "results are cut off"),
    odd("sql_big_selects", On::Both, ON, "refuses what max_join_size calls large (1104)"),
    odd("sql_auto_is_null", On::Both, OFF, "IS NULL finds the row inserted last"),
    own("sql_quote_show_create", On::Both, ON, "SHOW CREATE prints names that are not quoted"),
    odd("sql_if_exists", On::MariaDb, OFF, "a DROP or ALTER of what does not exist passes"),
    // Transactions.
    odd("autocommit", On::Both, ON, "statements are never committed"),
    odd("completion_type", On::Both, "'NO_CHAIN'", "a COMMIT begins a transaction, or ends the session"),
    odd("foreign_key_checks", On::Both, ON, "templates: rows without their parents"),
    odd("unique_checks", On::Both, ON, "templates: duplicates in unique keys"),
    odd("check_constraint_checks", On::MariaDb, ON, "templates: rows that break a CHECK"),
    // Tables.
    odd("default_storage_engine", On::Both, "'InnoDB'", "templates: tables without transactions"),
    own("default_tmp_storage_engine", On::Both, "'InnoDB'", "templates: an engine that may be disabled (3161)"),
    odd("old_alter_table", On::MySql, OFF, "an upgrade copies the queue"),
    odd("alter_algorithm", On::MariaDb, "'DEFAULT'", "an upgrade copies the queue, or is refused (1845)"),
    // Waits and limits.
    own("innodb_lock_wait_timeout", On::Both, "10", "a wait for a row"),
    own("lock_wait_timeout", On::Both, "60", "a wait for a table"),
    own("wait_timeout", On::Both, "28800", "idle sessions are ended"),
    own("net_read_timeout", On::Both, "30", "a slow network ends sessions"),
    own("net_write_timeout", On::Both, "60", "a slow reader ends sessions"),
    odd("max_execution_time", On::MySql, OFF, "long reads are interrupted"),
    odd("max_statement_time", On::MariaDb, OFF, "long statements are interrupted; accounts can preset it"),
    odd("idle_transaction_timeout", On::MariaDb, OFF, "sessions end within a transaction"),
    odd("idle_readonly_transaction_timeout", On::MariaDb, OFF, "sessions end within a transaction"),
    odd("idle_write_transaction_timeout", On::MariaDb, OFF, "sessions end within a transaction"),
    odd("max_session_mem_used", On::MariaDb, "9223372036854775807", "large statements are refused (1290)"),
    odd("tmp_disk_table_size", On::MariaDb, NO_LIMIT, "internal temporary tables are full (1114)"),
    own("big_tables", On::Both, OFF, "a claim needs room on the disk"),
    own("tmp_table_size", On::Both, "16777216", "the same"),
    own("max_heap_table_size", On::Both, "16777216", "the same"),
    own("sort_buffer_size", On::Both, "262144", "long rows cannot be sorted (1038)"),
    own("max_sort_length", On::Both, "1024", "long names are sorted by their beginning"),
    own("group_concat_max_len", On::Both, "1048576", "templates: lists are cut off"),
    // Plans: a scan in place of a key reads rows that others have locked, and locks those that it reads.
    own("optimizer_search_depth", On::Both, "62", "a read of information_schema takes MySQL seconds: many joins"),
    own("optimizer_prune_level", On::Both, "1", "the same"),
    own("optimizer_switch", On::MySql, "'derived_merge=on'", "the same; there is no value for the built-in default"),
    odd("range_optimizer_max_mem_size", On::MySql, "8388608", "a list of ids scans the table"),
    odd("optimizer_max_sel_arg_weight", On::MariaDb, "32000", "a list of ids scans the table"),
    own("in_predicate_conversion_threshold", On::MariaDb, OFF, "a list of ids becomes a join"),
    own("join_cache_level", On::MariaDb, "2", "from 3 on, a page of the log is joined by scanning the table"),
    own("sql_buffer_result", On::Both, OFF, "reads copy what they find"),
    own("query_cache_type", On::MariaDb, OFF, "a read of uncommitted rows comes from before they were written"),
    // What the server adds to its answers.
    own("session_track_gtids", On::MySql, "'OFF'", "answers grow"),
    own("session_track_state_change", On::Both, OFF, "answers grow"),
    own("session_track_system_variables", On::Both, "''", "answers grow"),
    own("session_track_transaction_info", On::Both, "'OFF'", "answers grow"),
    // Galera.
    odd("wsrep_sync_wait", On::MariaDb, OFF, "each statement waits for the other nodes"),
    odd("wsrep_dirty_reads", On::MariaDb, OFF, "a node outside its cluster answers"),
    odd("wsrep_osu_method", On::MariaDb, "'TOI'", "a database is made on one node alone"),
];

/// The whole table in one round trip: a session is reset between any two jobs. Each server skips the other's comments.
static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let part = |on: On| {
        let wanted = SETTINGS.iter().filter(|setting| setting.on == on);
        wanted.map(|setting| format!("{} = {}", setting.name, setting.value)).collect::<Vec<_>>().join(", ")
    };
    format!(
        "{FIRST}; SET SESSION {} /*!80000 , {} */ /*M!100500 , {} */",
        part(On::Both),
        part(On::MySql),
        part(On::MariaDb)
    )
});

/// Makes `conn` as good as newly logged in, in no database, and sets what [`SETTINGS`] names. COM_CHANGE_USER to the
/// same account ends transactions, locks, temporary tables and user variables, gives every variable its global value,
/// and runs no `init_connect`. It also leaves the current database, which COM_RESET_CONNECTION does not.
///
/// # Errors
///
/// The session cannot be used; throw the connection away.
pub fn reset(conn: &mut Conn) -> Result<(), Error> {
    conn.change_user(ChangeUserOpts::new().with_db_name(None))?;
    set(conn)
}

/// Sets what [`SETTINGS`] names, and nothing else, in a new session. `init_connect` may have begun a transaction in it, in
/// which MySQL refuses some of them (1766), and a completion type that would end it.
///
/// # Errors
///
/// As [`reset`].
pub fn set_new(conn: &mut Conn) -> Result<(), Error> {
    // A node outside its Galera cluster refuses it (1047), and is to say its state next. A session that is of no use shows in
    // what follows.
    let _ = conn.query_drop("ROLLBACK AND NO CHAIN NO RELEASE");
    set(conn)
}

fn set(conn: &mut Conn) -> Result<(), Error> {
    match run_script(conn, &SCRIPT) {
        Err(failed) if is_refusal(&failed.error) => set_each(conn),
        result => Ok(result?),
    }
}

/// For a server that has one of the variables no more, or lets only administrators set it: all others are set.
fn set_each(conn: &mut Conn) -> Result<(), Error> {
    run_script(conn, FIRST)?;
    for Setting { name, on, value, .. } in SETTINGS {
        let set = match on {
            On::Both => format!("SET SESSION {name} = {value}"),
            On::MySql => format!("SET SESSION autocommit = 1 /*!80000 , {name} = {value} */"),
            On::MariaDb => format!("SET SESSION autocommit = 1 /*M!100500 , {name} = {value} */"),
        };
        match conn.query_drop(set).map_err(Error::from) {
            Err(error) if is_refusal(&error) => log::debug!("session: {name} stays as it is: {error}"),
            result => result?,
        }
    }
    Ok(())
}

fn is_refusal(error: &Error) -> bool {
    matches!(
        error.code(),
        Some(
            ER_UNKNOWN_SYSTEM_VARIABLE
                | ER_SPECIFIC_ACCESS_DENIED_ERROR
                | ER_WRONG_VALUE_FOR_VAR
                | ER_INCORRECT_GLOBAL_LOCAL_VAR
        )
    )
}
