//! One `init` at a time on a whole cluster, whose nodes do not see each other's server locks. The lock is a row of `res_meta`
//! that expires: of two nodes that write it at the same time, the cluster lets only the first one commit. Owns that row;
//! knows nothing of what is done under it.

use std::{thread, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use mysql::{Conn, prelude::Queryable};

use crate::{
    base::clock,
    db::{Db, Error, Link, ReadRows},
};

/// How long the lock outlives its holder, in seconds.
const EXPIRES_S: u32 = 30;
/// Between two renewals.
const RENEW: Duration = Duration::from_secs(5);
/// Between two attempts to get it.
const POLL: Duration = Duration::from_millis(250);

/// As in `init_tables/030_records.sql`, which runs later. IF NOT EXISTS is repeatable on every node.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS res_meta ( \
    name VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY, value VARCHAR(255) NOT NULL \
    ) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci";

/// Held until it is dropped.
#[derive(Debug)]
pub struct ClusterLock {
    stop: Option<Sender<()>>,
    renewer: Option<thread::JoinHandle<()>>,
}

impl ClusterLock {
    /// Waits for the lock, at most for `timeout`; None: another holder keeps it. Creates the table in the global database
    /// if it is not there yet, and uses a connection of its own.
    ///
    /// # Errors
    ///
    /// The database does not exist, or the connection broke.
    pub fn acquire(db: &Db, timeout: Duration) -> Result<Option<ClusterLock>, Error> {
        let (token, mut link) = (fastrand::u64(..), Link::new(db));
        link.run(|conn| Ok(conn.query_drop(TABLE)?))?;
        let deadline = clock::now() + timeout;
        let mut is_reported = false;
        while !link.run(|conn| take(conn, token))? {
            if clock::now() > deadline {
                return Ok(None);
            }
            if !std::mem::replace(&mut is_reported, true) {
                log::info!("init: another one runs on this cluster, or ended a moment ago; waiting for it");
            }
            clock::sleep(POLL);
        }
        let (stop, stopped) = bounded(0);
        let renewer = thread::spawn(move || renew(&mut link, token, &stopped));
        Ok(Some(ClusterLock { stop: Some(stop), renewer: Some(renewer) }))
    }

    /// Whether an `init` holds it; the current database is the global one.
    ///
    /// # Errors
    ///
    /// The server's, among them that there is no such table.
    pub fn is_held(conn: &mut Conn) -> Result<bool, Error> {
        let expiry =
            "SELECT SUBSTRING_INDEX(value, ' ', 1) + 0 > UNIX_TIMESTAMP(NOW(6)) FROM res_meta WHERE name = 'init'";
        Ok(conn.read_first::<Option<bool>>(expiry)?.flatten() == Some(true))
    }
}

impl Drop for ClusterLock {
    fn drop(&mut self) {
        self.stop = None;
        let _ = self.renewer.take().map(thread::JoinHandle::join);
    }
}

fn renew(link: &mut Link, token: u64, stopped: &Receiver<()>) {
    while stopped.recv_timeout(RENEW) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = link.run(|conn| take(conn, token)) {
            log::debug!("init: the cluster's lock could not be renewed; trying again: {error}");
        }
    }
    let release = format!("DELETE FROM res_meta WHERE name = 'init' AND value LIKE '% {token}'");
    if let Err(error) = link.run(|conn| Ok(conn.query_drop(&release)?)) {
        log::debug!("init: the cluster's lock could not be released and will expire: {error}");
    }
}

/// Takes the lock, or renews it; false: it is another's.
fn take(conn: &mut Conn, token: u64) -> Result<bool, Error> {
    conn.query_drop(format!(
        "INSERT INTO res_meta (name, value) VALUES ('init', CONCAT(UNIX_TIMESTAMP(NOW(6)) + {EXPIRES_S}, ' {token}')) \
         ON DUPLICATE KEY UPDATE value = IF(SUBSTRING_INDEX(value, ' ', 1) + 0 < UNIX_TIMESTAMP(NOW(6)) \
         OR SUBSTRING_INDEX(value, ' ', -1) = '{token}', VALUES(value), value)"
    ))?;
    let holder = "SELECT SUBSTRING_INDEX(value, ' ', -1) FROM res_meta WHERE name = 'init'";
    Ok(conn.read_first::<String>(holder)?.is_some_and(|holder| holder == token.to_string()))
}
