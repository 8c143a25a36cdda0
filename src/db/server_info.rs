//! What a server is and can do, read once at start.

use mysql::Conn;

use super::{Error, ReadRows};

/// The facts about a server that change what resq does or reports.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// As the server prints it: `10.11.6-MariaDB`, `9.7.0`.
    pub version: String,
    /// `host:port` by the server's own account; on a cluster it shows which node this is.
    pub host: String,
    /// `SELECT … FOR UPDATE SKIP LOCKED` works: MySQL from 8.0, MariaDB from 10.6. Without it jobs are claimed by token.
    pub skip_locked: bool,
    /// One of several nodes that accept writes: Galera or group replication.
    pub is_cluster: bool,
    /// `lower_case_table_names` is not 0: names of databases that differ only in case are the same.
    pub folds_case: bool,
    /// Commits are written to a binary log.
    pub binary_log: bool,
    /// They are, with `binlog_format=STATEMENT`: there READ COMMITTED fails every INSERT
    /// (1665, ER_BINLOG_STMT_MODE_AND_ROW_ENGINE).
    pub statement_log: bool,
    /// `max_allowed_packet`, in bytes: no statement, and no file sent whole, may be larger.
    pub max_packet_bytes: usize,
}

impl ServerInfo {
    /// Queries the server at the other end of `conn`.
    ///
    /// # Errors
    ///
    /// The connection broke, or this is neither MySQL nor MariaDB.
    pub fn query(conn: &mut Conn) -> Result<ServerInfo, Error> {
        let (version, host, folds, binary_log, max_packet_bytes): (String, String, u8, bool, usize) = conn
            .read_first(
                "SELECT VERSION(), CONCAT(@@hostname, ':', @@port), @@lower_case_table_names, @@log_bin, \
                 @@global.max_allowed_packet",
            )?
            .unwrap_or_default();
        // MySQL 9 has no binlog_format any more: it writes rows only.
        let format: Option<(String, String)> = conn.read_first("SHOW VARIABLES LIKE 'binlog_format'")?;
        let replication: Vec<(String, String)> =
            conn.read_rows("SHOW VARIABLES WHERE Variable_name IN ('wsrep_on', 'group_replication_group_name')")?;
        let Version { is_mariadb, release } = Version::parse(&version);
        Ok(ServerInfo {
            skip_locked: release >= if is_mariadb { (10, 6) } else { (8, 0) },
            host,
            is_cluster: replication.iter().any(|(_, value)| !matches!(value.as_str(), "" | "OFF")),
            folds_case: folds != 0,
            max_packet_bytes,
            binary_log,
            statement_log: binary_log && format.is_some_and(|(_, f)| f.eq_ignore_ascii_case("STATEMENT")),
            version,
        })
    }
}

/// What a server calls itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// MariaDB, not MySQL.
    pub is_mariadb: bool,
    /// The first two numbers: 10 and 11 of `10.11.6-MariaDB`.
    pub release: (u32, u32),
}

impl Version {
    /// Queries the server at the other end of `conn`.
    ///
    /// # Errors
    ///
    /// The connection broke.
    pub fn query(conn: &mut Conn) -> Result<Version, Error> {
        Ok(Version::parse(&conn.read_first::<String>("SELECT VERSION()")?.unwrap_or_default()))
    }

    fn parse(text: &str) -> Version {
        let mut numbers = text.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        Version { is_mariadb: text.contains("MariaDB"), release }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_servers_print_them() {
        for (text, is_mariadb, release) in [
            ("9.7.0", false, (9, 7)),
            ("8.0.40-0ubuntu0.24.04.1", false, (8, 0)),
            ("10.11.6-MariaDB-0+deb12u1-log", true, (10, 11)),
            ("11.4-MariaDB", true, (11, 4)),
            ("", false, (0, 0)),
        ] {
            assert_eq!(Version::parse(text), Version { is_mariadb, release }, "{text}");
        }
    }
}
