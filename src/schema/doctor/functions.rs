//! The loadable functions as this server has them. Without them resq works by polling.

use mysql::Conn;

use super::verdict::{Verdict, good, warning};
use crate::{
    config::Database,
    db::{ANSWER, Db, Error, ReadRows, codes::*},
};

/// What the server answered about the functions.
#[derive(Clone, Debug, Default)]
pub struct Functions {
    /// What `resq_stats()` returned, JSON; None: the functions are not installed.
    stats: Option<String>,
}

impl Functions {
    /// Queries the server at the other end of `conn`.
    ///
    /// # Errors
    ///
    /// The function exists and could not be called, or the connection broke.
    pub fn query(conn: &mut Conn) -> Result<Functions, Error> {
        match conn.read_first::<Option<String>>("SELECT resq_stats()") {
            Ok(stats) => Ok(Functions { stats: stats.flatten() }),
            Err(error) if matches!(error.code(), Some(ER_SP_DOES_NOT_EXIST | ER_CANT_FIND_UDF | ER_NO_DB_ERROR)) => {
                Ok(Functions { stats: None })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether they are installed.
    pub fn present(&self) -> bool {
        self.stats.is_some()
    }

    /// Their state in one line.
    pub fn describe(&self) -> String {
        match &self.stats {
            Some(stats) => format!("loaded: {stats}"),
            None => "not loaded: changes are found by polling (queue.poll_ms)".into(),
        }
    }
}

/// The verdict for the server at the other end of `conn`, or for each node where there are several: an INSERT rings only
/// on the node that it runs on.
pub fn check(conn: &mut Conn, config: &Database) -> Verdict {
    if config.hosts.len() < 2 {
        return of_one(conn);
    }
    let nodes: Vec<(String, Verdict)> =
        config.hosts.iter().map(|(host, port)| (format!("{host}:{port}"), of_node(config, host, *port))).collect();
    let mut fixes = Vec::new();
    let mut lines = Vec::new();
    for (node, verdict) in nodes {
        let what = match verdict {
            Verdict::Good(what) => what,
            Verdict::Warning { what, fix } | Verdict::Failed { what, fix } => {
                fixes.push(format!("{node}: {fix}"));
                what
            }
        };
        lines.push(format!("{node} {what}"));
    }
    let what = lines.join("; ");
    if fixes.is_empty() { good(what) } else { warning(what, fixes.join("; ")) }
}

fn of_node(config: &Database, host: &str, port: u16) -> Verdict {
    let node = Database { hosts: Vec::new(), host: host.into(), port, ..config.clone() };
    let conn = Db::open_within(&node, 1, Some(ANSWER)).map_err(|error| error.to_string());
    match conn.and_then(|db| db.any().map_err(|error| error.to_string())) {
        Ok(mut conn) => of_one(&mut conn),
        Err(error) => warning(format!("could not be queried: {error}"), "bring the node back, then run doctor again"),
    }
}

fn of_one(conn: &mut Conn) -> Verdict {
    let functions = match Functions::query(conn) {
        Ok(functions) => functions,
        Err(error) => return warning(error.to_string(), "grant EXECUTE"),
    };
    let what = functions.describe();
    match &functions.stats {
        None => {
            warning(what, "udf/install.sh installs them; a managed server does not allow that, and resq works without")
        }
        Some(stats) if !stats.contains("\"connected\":0,") => good(what),
        Some(_) => warning(what, "start resqd, and check the address and token in resq_udf.conf beside the library"),
    }
}
