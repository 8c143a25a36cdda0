//! How events get into the log: the triggers on the queue, and `publish`.

use mysql::{Conn, prelude::Queryable};

use super::verdict::{Verdict, failed, good, warning};
use crate::db::{Error, ReadRows, codes::*};

const INIT: &str = "run `resqctl init`, which creates it again";

/// The names of the triggers on the queue that the account may see; the current database is the global one.
///
/// # Errors
///
/// The connection broke.
pub fn trigger_names(conn: &mut Conn) -> Result<Vec<String>, Error> {
    conn.read_rows(
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS \
         WHERE TRIGGER_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = 'res_queue' ORDER BY 1",
    )
}

/// By a call that it must refuse.
pub fn publish(conn: &mut Conn, user: &str, global_db: &str) -> Verdict {
    match conn.query_drop("CALL publish(NULL, NULL)").map_err(Error::from) {
        Err(error) if error.code() == Some(ER_SIGNAL_EXCEPTION) => {
            good(format!("{user} may call `{global_db}`.publish"))
        }
        Err(error) if error.code() == Some(ER_PROCACCESS_DENIED_ERROR) => {
            warning(error.to_string(), format!("GRANT EXECUTE ON PROCEDURE `{global_db}`.publish TO {user}"))
        }
        Err(error) => failed(error.to_string(), INIT),
        Ok(()) => failed("`publish` accepts an event without a state", INIT),
    }
}
