//! The loadable functions as this server has them. Without them resq works by polling.

use mysql::{Conn, prelude::Queryable};

use super::verdict::{Verdict, good, warning};
use crate::db::{Error, codes::*};

/// What the server answered about the functions.
#[derive(Clone, Debug)]
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
        match conn.query_first::<Option<String>, _>("SELECT resq_stats()").map_err(Error::from) {
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

pub fn check(conn: &mut Conn) -> Verdict {
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
