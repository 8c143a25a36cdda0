//! How far the log has been read, and whether the server still has what follows.

use mysql::{Conn, Row};

use super::{gtid::GtidSet, transactions::Step};
use crate::db::{Error, ReadRows, codes::ER_MASTER_FATAL_ERROR_READING_BINLOG, dump::Start, literal};

/// A place in the log, between two transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Identifies the server whose files these are.
    pub server: String,
    /// The file; empty: not known yet.
    pub file: String,
    /// The position in it.
    pub pos: u64,
    /// The transactions up to there, which any server that has them can go on from; None: the server numbers none.
    pub gtids: Option<GtidSet>,
}

/// Why the log cannot be read on from a position.
pub const FOREIGN: &str = "it is a place in the binary log of another server, or of this one before it was reset";

impl Position {
    /// The end of the log now.
    ///
    /// # Errors
    /// The server's.
    pub fn current(conn: &mut Conn) -> Result<Position, Error> {
        let server = identity(conn)?;
        let gtids = gtids(conn)?;
        let (file, pos) = match &gtids {
            Some(_) => (String::new(), 0),
            None => status(conn)?,
        };
        Ok(Position { server, file, pos, gtids })
    }

    /// Adds a transaction.
    pub fn advance(&mut self, step: &Step) {
        if step.pos > 0 {
            (self.file, self.pos) = (step.file.to_string(), step.pos);
        }
        if let (Some(gtids), Some(gtid)) = (&mut self.gtids, &step.gtid) {
            // It was read as one.
            let _ = gtids.add(gtid);
        }
    }

    /// Where a dump goes on, unless this server cannot have what follows.
    ///
    /// # Errors
    /// The server's.
    pub fn start(&self, conn: &mut Conn) -> Result<Option<Start>, Error> {
        let Some(gtids) = &self.gtids else {
            let is_here = identity(conn)? == self.server && !self.file.is_empty();
            return Ok(is_here.then(|| Start::File(self.file.clone(), self.pos)));
        };
        let gtids = gtids.to_string();
        if is_mariadb(conn)? {
            // The server itself refuses what it does not have.
            return Ok(Some(Start::Gtids(gtids)));
        }
        let subset = format!(
            "SELECT GTID_SUBSET({}, @@global.gtid_executed) FROM DUAL WHERE @@global.gtid_mode = 'ON'",
            literal(&gtids)
        );
        match conn.read_first::<bool>(subset)? {
            Some(true) => Ok(Some(Start::Gtids(gtids))),
            Some(false) => Ok(None),
            // GTIDs were turned off meanwhile.
            None => {
                let is_here = identity(conn)? == self.server && !self.file.is_empty();
                Ok(is_here.then(|| Start::File(self.file.clone(), self.pos)))
            }
        }
    }

    /// For messages and payloads.
    pub fn describe(&self) -> String {
        match &self.gtids {
            Some(gtids) => gtids.to_string(),
            None => format!("{}:{}", self.file, self.pos),
        }
    }
}

/// Whether a dump ended because the server does not have what follows; the server's words.
pub fn lost(error: &Error) -> Option<&str> {
    match error {
        // The same number also means that another replica has this one's server id.
        Error::Server { code: ER_MASTER_FATAL_ERROR_READING_BINLOG, message, .. }
            if !message.contains("server_id") && !message.contains("server_uuid") =>
        {
            Some(message)
        }
        _ => None,
    }
}

fn is_mariadb(conn: &mut Conn) -> Result<bool, Error> {
    Ok(conn.read_first::<String>("SELECT VERSION()")?.is_some_and(|version| version.contains("MariaDB")))
}

fn identity(conn: &mut Conn) -> Result<String, Error> {
    let identity = match is_mariadb(conn)? {
        true => "SELECT CONCAT(LEFT(@@hostname, 100), ':', @@port, ':', LEFT(@@datadir, 100))",
        false => "SELECT @@server_uuid",
    };
    Ok(conn.read_first(identity)?.unwrap_or_default())
}

fn gtids(conn: &mut Conn) -> Result<Option<GtidSet>, Error> {
    let text: Option<String> = match is_mariadb(conn)? {
        true => conn.read_first("SELECT @@global.gtid_binlog_pos")?,
        false => conn.read_first("SELECT @@global.gtid_executed FROM DUAL WHERE @@global.gtid_mode = 'ON'")?,
    };
    text.map(|text| GtidSet::parse(&text).ok_or(Error::Corrupt("the server's GTIDs cannot be read"))).transpose()
}

fn status(conn: &mut Conn) -> Result<(String, u64), Error> {
    // By the name before MySQL 8.4 as well.
    let status = conn.read_first("SHOW BINARY LOG STATUS").or_else(|_| conn.read_first("SHOW MASTER STATUS"));
    let mut row: Row = status?.ok_or(Error::Corrupt("the server writes no binary log"))?;
    Ok((row.take(0).unwrap_or_default(), row.take(1).unwrap_or(4)))
}
