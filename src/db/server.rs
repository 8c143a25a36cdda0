//! What this server is and can do, asked once at start.

use mysql::{Conn, prelude::Queryable};

use super::Error;

/// A server's facts that change what resq does or says.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// As the server prints it: `10.11.6-MariaDB`, `9.7.0`.
    pub version: String,
    /// `host:port`, as the server calls itself: on a cluster, which node this is.
    pub host: String,
    pub mariadb: bool,
    /// SELECT … FOR UPDATE SKIP LOCKED: MySQL from 8.0, MariaDB from 10.6. Without it jobs are claimed by token.
    pub skip_locked: bool,
    /// One node of several that take writes: Galera or group replication.
    pub is_cluster: bool,
    /// `lower_case_table_names`: not 0 means that names of databases which differ only in case are one.
    pub folds_case: bool,
    /// Commits are written to a binary log.
    pub binary_log: bool,
    /// `binlog_format=STATEMENT` with the log on: READ COMMITTED fails every INSERT there (error 1665).
    pub statement_log: bool,
}

impl ServerInfo {
    pub fn ask(conn: &mut Conn) -> Result<ServerInfo, Error> {
        let (version, host, folds, log_bin): (String, String, u8, bool) = conn
            .query_first("SELECT VERSION(), CONCAT(@@hostname, ':', @@port), @@lower_case_table_names, @@log_bin")?
            .unwrap_or_default();
        // MySQL 9 has dropped binlog_format: rows are all it writes.
        let format: Option<(String, String)> = conn.query_first("SHOW VARIABLES LIKE 'binlog_format'")?;
        let replication: Vec<(String, String)> =
            conn.query("SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'group_replication_group_name')")?;
        let mariadb = version.contains("MariaDB");
        let mut numbers = version.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Ok(ServerInfo {
            skip_locked: release >= if mariadb { (10, 6) } else { (8, 0) },
            host,
            is_cluster: replication.iter().any(|(_, value)| !matches!(value.as_str(), "" | "OFF")),
            mariadb,
            folds_case: folds != 0,
            binary_log: log_bin,
            statement_log: log_bin && format.is_some_and(|(_, f)| f.eq_ignore_ascii_case("STATEMENT")),
            version,
        })
    }
}
