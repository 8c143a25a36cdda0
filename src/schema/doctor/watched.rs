//! Watched tables: whether the server logs what they need, and whether a daemon reads it.

use mysql::Conn;

use super::verdict::{AGAIN, Verdict, failed, good, warning};
use crate::{
    config::Config,
    db::{Db, ReadRows, dump::Start},
    events::binlog::conditions,
};

/// Who reads and until when, and how old the stored position is, in seconds.
type Reader = (Option<String>, bool, Option<i64>);

/// The verdict for the server at the other end of `conn`.
pub fn check(db: &Db, conn: &mut Conn, config: &Config, user: &str) -> Verdict {
    match conditions::missing(conn) {
        Err(error) => return failed(error.to_string(), "cannot read the server's variables"),
        Ok(missing) if !missing.is_empty() => {
            return failed(missing.join("; "), "set them on every node, and in the server's settings file");
        }
        Ok(_) => {}
    }
    if let Err(error) = db.dumps(&config.database).open(&Start::End) {
        return failed(
            error.to_string(),
            format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}; {AGAIN}"),
        );
    }
    let reader =
        "SELECT owner, COALESCE(lease_until > NOW(6), FALSE), TIMESTAMPDIFF(SECOND, saved_at, NOW(6)) FROM res_watch";
    match conn.read_first::<Reader>(reader) {
        Err(error) => failed(error.to_string(), "see the check `tables`"),
        Ok(Some((Some(owner), true, age))) => match age {
            Some(age) if age > 60 => {
                warning(format!("{owner} reads them; its position is {age} s old"), "see its log for what it waits for")
            }
            _ => good(format!("{owner} reads them")),
        },
        Ok(_) => warning("no resqd reads them", "start one with these settings"),
    }
}
