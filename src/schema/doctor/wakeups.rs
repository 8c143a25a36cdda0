//! What announces a commit to resqd: the loadable functions, the binary log, or nothing but the next poll; and what is
//! missing for a better one.

use mysql::Conn;

use super::{
    functions::Functions,
    verdict::{Verdict, good, warning},
};
use crate::{
    config::{Binlog, Config},
    db::{Db, dump::Start},
};

/// The wakeups that a resqd with the same settings has.
#[derive(Clone, Debug)]
pub struct Wakeups {
    functions: bool,
    /// Why the binary log gives none; None: it does.
    no_binlog: Option<String>,
}

impl Wakeups {
    /// Tries them. `functions`: what is known of them.
    pub fn query(db: &Db, config: &Config, functions: &Functions) -> Wakeups {
        let no_binlog = match config.events.binlog {
            Binlog::Off => Some("events.binlog is off".into()),
            Binlog::Auto | Binlog::On => {
                db.dumps(&config.database).open(&Start::End).err().map(|error| error.to_string())
            }
        };
        Wakeups { functions: functions.present(), no_binlog }
    }

    /// Those that are in use, in one line, and why others are not.
    pub fn describe(&self) -> String {
        match (self.functions, &self.no_binlog) {
            (true, None) => "the loadable functions and the binary log".into(),
            (true, Some(why)) => format!("the loadable functions; not the binary log: {why}"),
            (false, None) => "the binary log".into(),
            (false, Some(why)) => {
                format!("none, work waits for the next poll (queue.poll_ms); not the binary log: {why}")
            }
        }
    }
}

/// The verdict for the server at the other end of `conn`.
pub fn check(db: &Db, conn: &mut Conn, config: &Config, user: &str) -> Verdict {
    // What is wrong with the functions themselves is another check's.
    let functions = Functions::query(conn).unwrap_or_default();
    let wakeups = Wakeups::query(db, config, &functions);
    let what = wakeups.describe();
    match wakeups.functions || wakeups.no_binlog.is_none() {
        true => good(what),
        false => warning(
            what,
            format!(
                "install the loadable functions (udf/install.sh), or let resqd read the binary log: log_bin on, and GRANT \
                 REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {user}"
            ),
        ),
    }
}
