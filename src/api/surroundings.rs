//! What open pages show besides a sample: the server, the daemons, events that are set aside, and the last action of an
//! operator.

use mysql::Conn;

use crate::{
    db::{Error, limited},
    events::chosen_rows::{self, SetAside},
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
    /// Rows of the event log that the server refuses to change.
    pub set_aside: Vec<SetAside>,
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
    let (daemons, set_aside) = (overview::daemons(conn)?, chosen_rows::set_aside(conn)?);
    Ok(Surroundings { host, version, daemons, set_aside, last_action })
}
