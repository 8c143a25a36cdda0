//! How far the log has been read, and whether the server still has what follows.

use mysql::{Conn, Row};

use super::{gtid::GtidSet, transactions::Step};
use crate::db::{Error, ReadRows, Version, codes::ER_MASTER_FATAL_ERROR_READING_BINLOG, dump::Start, literal};

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
        match (&mut self.gtids, &step.gtid) {
            (Some(gtids), Some(gtid)) => {
                // It was read as one.
                let _ = gtids.add(gtid);
            }
            // MySQL's GTIDs were turned off: those read before do not say any more how far the log has been read.
            (Some(gtids), None) if step.pos > 0 && gtids.has_sources() => self.gtids = None,
            _ => {}
        }
    }

    /// Where a dump goes on, unless this server cannot have what follows.
    ///
    /// # Errors
    /// The server's.
    pub fn start(&mut self, conn: &mut Conn) -> Result<Option<Start>, Error> {
        let here = identity(conn)?;
        let Some(gtids) = &self.gtids else { return Ok(self.start_in_file(&here)) };
        let gtids = gtids.to_string();
        // MariaDB itself refuses what it does not have.
        if !Version::query(conn)?.is_mariadb {
            let subset = format!(
                "SELECT GTID_SUBSET({}, @@global.gtid_executed) FROM DUAL WHERE @@global.gtid_mode = 'ON'",
                literal(&gtids)
            );
            match conn.read_first::<bool>(subset)? {
                Some(true) => {}
                Some(false) => return Ok(None),
                // GTIDs were turned off meanwhile.
                None => return Ok(self.start_in_file(&here)),
            }
        }
        if self.server != here {
            (self.server, self.file, self.pos) = (here, String::new(), 0);
        }
        Ok(Some(Start::Gtids(gtids)))
    }

    /// Goes on by file and position after a dump by GTIDs that ended with this error, if that is the way; whether it is.
    pub fn leave_gtids(&mut self, error: &Error) -> bool {
        let is_end =
            self.gtids.is_some() && matches!(error, Error::Server { message, .. } if message.contains(BY_GTIDS));
        if is_end {
            self.gtids = None;
        }
        is_end
    }

    fn start_in_file(&self, here: &str) -> Option<Start> {
        let is_here = self.server == here && !self.file.is_empty();
        is_here.then(|| Start::File(self.file.clone(), self.pos))
    }

    /// For messages and payloads.
    pub fn describe(&self) -> String {
        match &self.gtids {
            Some(gtids) => gtids.to_string(),
            None => format!("{}:{}", self.file, self.pos),
        }
    }
}

/// Words of errors with the number of a lost log whose reason passes: another replica has this one's server id, or a dump
/// by GTIDs met their end, where one by file and position goes on.
const PASSING: &[&str] = &["server_id", "server_uuid", BY_GTIDS];
/// A dump of MySQL's by GTIDs ended because they were turned off, or had been when what follows was committed.
const BY_GTIDS: &str = "AUTO_POSITION";

/// Whether a dump ended because the server does not have what follows; the server's words.
pub fn lost(error: &Error) -> Option<&str> {
    match error {
        Error::Server { code: ER_MASTER_FATAL_ERROR_READING_BINLOG, message, .. }
            if !PASSING.iter().any(|words| message.contains(words)) =>
        {
            Some(message)
        }
        _ => None,
    }
}

fn identity(conn: &mut Conn) -> Result<String, Error> {
    let identity = match Version::query(conn)?.is_mariadb {
        true => "SELECT CONCAT(LEFT(@@hostname, 100), ':', @@port, ':', LEFT(@@datadir, 100))",
        false => "SELECT @@server_uuid",
    };
    Ok(conn.read_first(identity)?.unwrap_or_default())
}

fn gtids(conn: &mut Conn) -> Result<Option<GtidSet>, Error> {
    let text: Option<String> = match Version::query(conn)?.is_mariadb {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::codes::ER_PARSE_ERROR;

    #[test]
    fn position_follows_the_transactions_and_drops_gtids_that_were_turned_off() {
        let step = |pos, gtid: Option<&str>| Step { file: "log.000002".into(), pos, gtid: gtid.map(String::from) };
        let a = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let (next, far) = (format!("{a}:6"), format!("{a}:7"));
        for (gtids, step, expected) in [
            (Some(format!("{a}:1-5")), step(9, Some(&next)), Some(format!("{a}:1-6"))),
            // Nothing ended here.
            (Some(format!("{a}:1-5")), Step::default(), Some(format!("{a}:1-5"))),
            (Some(format!("{a}:1-5")), step(9, None), None),
            (Some("0-1-5".into()), step(9, Some("0-1-6")), Some("0-1-6".into())),
            (Some("0-1-5".into()), step(9, None), Some("0-1-5".into())),
            (None, step(9, Some(&far)), None),
        ] {
            let gtids = gtids.map(|text| GtidSet::parse(&text).unwrap());
            let mut position = Position { server: "s".into(), file: "log.000001".into(), pos: 4, gtids };
            position.advance(&step);
            assert_eq!(position.gtids.map(|gtids| gtids.to_string()), expected, "{step:?}");
            let place = if step.pos > 0 { ("log.000002", 9) } else { ("log.000001", 4) };
            assert_eq!((position.file.as_str(), position.pos), place, "{step:?}");
        }
    }

    #[test]
    fn log_is_lost_only_where_the_reason_does_not_pass() {
        let error = |code, message: &str| Error::Server { code, state: "HY000".into(), message: message.into() };
        for (message, is_lost) in [
            ("Could not find first log file name in binary log index file", true),
            ("Cannot replicate because the source purged required binary logs.", true),
            ("A replica with the same server_uuid/server_id as this replica has connected to the source", false),
            (
                "The replication sender thread cannot start in AUTO_POSITION mode: this server has GTID_MODE = OFF",
                false,
            ),
            ("Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file ./binlog.000003", false),
        ] {
            let error = error(ER_MASTER_FATAL_ERROR_READING_BINLOG, message);
            assert_eq!(lost(&error), is_lost.then_some(message), "{message}");
            let gtids = GtidSet::parse("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5");
            let mut position = Position { server: "s".into(), file: "log.000001".into(), pos: 4, gtids };
            assert_eq!(position.leave_gtids(&error), message.contains("AUTO_POSITION"), "{message}");
            assert_eq!(position.gtids.is_none(), message.contains("AUTO_POSITION"), "{message}");
        }
        assert_eq!(lost(&error(ER_PARSE_ERROR, "syntax")), None);
    }
}
