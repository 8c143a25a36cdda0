//! What open pages show besides a sample: the server, the daemons, and the last action of an operator.

use mysql::Conn;

use crate::{
    db::{Error, limited},
    queue::overview::{self, Daemon},
};

/// What is read at a time.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The server: host and port by its own account.
    pub host: String,
    /// Its version, as it prints it.
    pub version: String,
    /// The daemons that serve this queue.
    pub daemons: Vec<Daemon>,
    /// The number of the last action in the audit; None: there was none.
    pub last_action: Option<u64>,
}

/// Reads them.
///
/// # Errors
/// The server's; it took too long.
pub fn read(conn: &mut Conn) -> Result<Surroundings, Error> {
    let server: Option<(String, String, Option<u64>)> = limited::read_first(
        conn,
        "SELECT CONCAT(@@hostname, ':', @@port), VERSION(), (SELECT MAX(id) FROM res_audit)",
    )?;
    let (host, version, last_action) = server.unwrap_or_default();
    Ok(Surroundings { host, version, daemons: overview::daemons(conn)?, last_action })
}
