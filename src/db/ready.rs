//! Whether a node of a cluster can be used: it belongs to the cluster, accepts writes, and has applied what the cluster
//! committed before. Asked of each new connection where there are several hosts; knows nothing of their order.

use mysql::Conn;

use super::{Error, ReadRows, Version, codes, run_script};

/// Whether the node is read-only, and its state; NULL: a server without Galera.
const GALERA: &str = "SELECT CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF'), \
    (SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_local_state_comment')";
/// The same; NULL: a server without group replication. A node that has it and has not joined yet lists itself as ''.
const GROUP: &str = "SELECT @@global.read_only, \
    (SELECT MAX(MEMBER_STATE) FROM performance_schema.replication_group_members WHERE MEMBER_ID IN (@@server_uuid, ''))";
/// For an account that may not read that table: a member that left its group is read-only as well.
const GROUP_UNSEEN: &str = "SELECT @@global.read_only, 'ONLINE'";

/// Whether most members of the group can be reached from this one; NULL: a server without group replication.
const GROUP_MAJORITY: &str = "SELECT SUM(MEMBER_STATE <> 'UNREACHABLE') * 2 > COUNT(*) \
    FROM performance_schema.replication_group_members";
/// The same of a Galera cluster.
const GALERA_MAJORITY: &str = "SELECT VARIABLE_VALUE <> 'non-Primary' \
    FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'wsrep_cluster_status'";

/// Galera waits as long as its provider's `repl.causal_read_timeout` says. Within a transaction it does not wait, and
/// `init_connect` may have begun one.
const CATCH_UP_GALERA: &str = "COMMIT; SET SESSION wsrep_sync_wait = 1; START TRANSACTION; COMMIT";
/// MySQL waits for `wait_timeout` at most, in seconds, but without an end if the group loses its majority meanwhile.
const CATCH_UP_GROUP: &str =
    "COMMIT; SET SESSION wait_timeout = 5, group_replication_consistency = 'BEFORE'; START TRANSACTION; COMMIT";

/// Checks that the node at the other end of `conn` can be used now; `conn` is as [`catch_up`] wants it.
///
/// # Errors
///
/// [`Error::NotReady`], or the connection broke.
pub fn check(conn: &mut Conn) -> Result<(), Error> {
    let is_mariadb = Version::query(conn)?.is_mariadb;
    let state: Option<(bool, Option<String>)> = match is_mariadb {
        true => conn.read_first(GALERA)?,
        false => state_in_group(conn)?,
    };
    match state {
        Some((true, _)) => Err(Error::NotReady("it is read-only".into())),
        Some((_, Some(state))) if !matches!(state.as_str(), "Synced" | "ONLINE") => {
            Err(Error::NotReady(format!("its state is {state}")))
        }
        _ => {
            check_majority_of(conn, is_mariadb)?;
            wait_for_cluster(conn, is_mariadb)
        }
    }
}

/// Checks that the node belongs to the part of its cluster that has the majority, which alone can commit. A member of a
/// group that has lost it answers queries as before and lets each commit wait, without an end by default. Never waits for
/// the cluster.
///
/// # Errors
///
/// [`Error::NotReady`], or the connection broke.
pub fn check_majority(conn: &mut Conn) -> Result<(), Error> {
    let is_mariadb = Version::query(conn)?.is_mariadb;
    check_majority_of(conn, is_mariadb)
}

fn check_majority_of(conn: &mut Conn, is_mariadb: bool) -> Result<(), Error> {
    let query = if is_mariadb { GALERA_MAJORITY } else { GROUP_MAJORITY };
    match conn.read_first::<Option<bool>>(query) {
        Ok(Some(Some(false))) => Err(Error::NotReady("it has lost the majority of its cluster".into())),
        Ok(_) => Ok(()),
        // This account may not know.
        Err(error) if error.code() == Some(codes::ER_TABLEACCESS_DENIED_ERROR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Waits until this node has applied all that any node had committed at the time of the call; returns at once where
/// there is no cluster. `conn` is a new session, and its settings are not restored: once a session of MariaDB was reset,
/// by COM_CHANGE_USER or COM_RESET_CONNECTION, its `wsrep_sync_wait` has no effect any more (MDEV-41385).
///
/// # Errors
///
/// [`Error::NotReady`]: it is too far behind, or has lost the other nodes.
pub fn catch_up(conn: &mut Conn) -> Result<(), Error> {
    let is_mariadb = Version::query(conn)?.is_mariadb;
    wait_for_cluster(conn, is_mariadb)
}

fn wait_for_cluster(conn: &mut Conn, is_mariadb: bool) -> Result<(), Error> {
    let script = if is_mariadb { CATCH_UP_GALERA } else { CATCH_UP_GROUP };
    match run_script(conn, script) {
        Err(failed) if failed.error.code() != Some(codes::ER_UNKNOWN_SYSTEM_VARIABLE) => {
            Err(Error::NotReady(format!("it cannot catch up with the cluster: {}", failed.error)))
        }
        _ => Ok(()),
    }
}

fn state_in_group(conn: &mut Conn) -> Result<Option<(bool, Option<String>)>, Error> {
    match conn.read_first(GROUP) {
        Err(error) if error.code() == Some(codes::ER_TABLEACCESS_DENIED_ERROR) => conn.read_first(GROUP_UNSEEN),
        state => state,
    }
}
