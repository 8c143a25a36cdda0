//! Whether a node of a cluster can be used: it belongs to the cluster, takes writes, and has applied what the cluster
//! committed before. Asked of each new connection where there are several hosts; knows nothing of their order.

use mysql::{Conn, prelude::Queryable};

use super::{Error, codes, run_script};

/// Read-only, and the node's state; NULL: a server without Galera.
const GALERA: &str = "SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF'), \
    (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_local_state_comment')";
/// The same; NULL: a server without group replication. One that has it and has not joined yet calls itself ''.
const GROUP: &str = "SELECT @@global.read_only, \
    (SELECT MAX(MEMBER_STATE) FROM performance_schema.replication_group_members WHERE MEMBER_ID IN (@@server_uuid, ''))";
/// For an account that may not read that table: a member that left is read-only, too.
const GROUP_UNSEEN: &str = "SELECT @@global.read_only, 'ONLINE'";

/// MySQL waits for `wait_timeout` at most, Galera as its provider's `repl.causal_read_timeout` says.
const CAUGHT_UP_GALERA: &str =
    "SET SESSION wsrep_sync_wait = 1; START TRANSACTION; COMMIT; SET SESSION wsrep_sync_wait = DEFAULT";
const CAUGHT_UP_GROUP: &str = "SET SESSION wait_timeout = 5, group_replication_consistency = 'BEFORE'; \
    START TRANSACTION; COMMIT; SET SESSION wait_timeout = DEFAULT, group_replication_consistency = DEFAULT";

/// Err: the node is not to be used now, and why.
pub fn check(conn: &mut Conn) -> Result<(), Error> {
    let state: Option<(bool, Option<String>)> = match is_mariadb(conn)? {
        true => conn.query_first(GALERA)?,
        false => state_in_group(conn)?,
    };
    match state {
        Some((true, _)) => Err(Error::NotReady("it is read-only".into())),
        Some((_, Some(state))) if !matches!(state.as_str(), "Synced" | "ONLINE") => {
            Err(Error::NotReady(format!("its state is {state}")))
        }
        _ => catch_up(conn),
    }
}

/// Comes back when this node has applied all that any node had committed when this was called; at once where there is
/// no cluster. Err: it is too far behind, or has lost the others.
pub fn catch_up(conn: &mut Conn) -> Result<(), Error> {
    let script = if is_mariadb(conn)? { CAUGHT_UP_GALERA } else { CAUGHT_UP_GROUP };
    match run_script(conn, script) {
        Err(failed) if failed.error.code() != Some(codes::ER_UNKNOWN_SYSTEM_VARIABLE) => {
            Err(Error::NotReady(format!("it can't catch up with the cluster: {}", failed.error)))
        }
        _ => Ok(()),
    }
}

fn is_mariadb(conn: &mut Conn) -> Result<bool, Error> {
    Ok(conn.query_first::<String, _>("SELECT VERSION()")?.is_some_and(|version| version.contains("MariaDB")))
}

fn state_in_group(conn: &mut Conn) -> Result<Option<(bool, Option<String>)>, Error> {
    match conn.query_first(GROUP).map_err(Error::from) {
        Err(error) if error.code() == Some(codes::ER_TABLEACCESS_DENIED_ERROR) => Ok(conn.query_first(GROUP_UNSEEN)?),
        state => state,
    }
}
