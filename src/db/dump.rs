//! Reading the server's binary log as a replica does: one connection of its own, not of the pool, with a limit on how long
//! it may be silent. Owns how a dump is requested and how its packets become events; knows no table.

use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use mysql::{
    BinlogRequest, BinlogStream, Conn,
    binlog::{
        EventType,
        events::{Event, GtidEvent, TransactionPayloadEvent},
    },
    prelude::Queryable,
};

use super::{
    Error, ReadRows, Version,
    codes::{ER_PARSE_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR},
    host_pool::{CurrentHost, HostPool},
    literal,
};
use crate::config::Database;

/// The server sends something at least this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// A server that is silent for so long is given up.
const SILENCE: Duration = Duration::from_secs(15);
/// No replica that an administrator set up has such a number.
const FIRST_SERVER_ID: u32 = 1 << 31;
/// The header before the body of each event.
const HEADER_BYTES: usize = 19;

const NO_LOG: Error = Error::Corrupt("the server writes no binary log (log_bin is off)");

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the last commit.
    End,
    /// At this byte of this file.
    File(String, u64),
    /// After these transactions, as the server writes them: `@@gtid_executed` of MySQL, `@@gtid_binlog_pos` of MariaDB.
    Gtids(String),
}

/// The GTID of a transaction of MySQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gtid {
    /// `source:number`, or `source:tag:number`.
    pub text: String,
    /// When it was committed on this server, in µs since 1970; 0: the log does not have it.
    pub commit_us: u64,
}

/// One event: what follows its header, without a checksum.
#[derive(Clone, Copy, Debug)]
pub struct LogEvent<'a> {
    /// Its type, as in the header.
    pub kind: u8,
    /// When the statement began, in seconds since 1970.
    pub at_s: u32,
    /// The position behind it in its file; 0 for an event that is in no file.
    pub end: u64,
    /// The server that wrote it first.
    pub server_id: u32,
    /// At the beginning of a transaction of MySQL that has one.
    pub gtid: Option<&'a Gtid>,
    /// Its body.
    pub body: &'a [u8],
}

/// The hosts of a pool, as dumps connect to them.
pub struct DumpSource {
    hosts: HostPool,
    current: CurrentHost,
}

impl DumpSource {
    /// For the host that `roles` is on.
    pub(super) fn new(config: &Database, roles: &HostPool) -> DumpSource {
        DumpSource { hosts: HostPool::for_dumps(config, SILENCE), current: roles.current().clone() }
    }

    /// Connects and asks for the log, under a server id that no other replica has.
    ///
    /// # Errors
    ///
    /// The server has no binary log, the account may not read it, or there is no connection to be had.
    pub fn open(&self, start: &Start) -> Result<Dump, Error> {
        let host = self.current.get();
        let mut conn = self.hosts.connect_unchecked(host)?.into_conn();
        let is_mariadb = Version::query(&mut conn)?.is_mariadb;
        if conn.read_first::<bool>("SELECT @@log_bin")? != Some(true) {
            return Err(NO_LOG);
        }
        let nanoseconds = HEARTBEAT.as_nanos();
        // Without the capability, MariaDB replaces its own events by others.
        conn.query_drop(format!(
            "SET @master_heartbeat_period = {nanoseconds}, @source_heartbeat_period = {nanoseconds}, \
             @mariadb_slave_capability = 4, @slave_connect_state = NULL"
        ))?;
        let request = BinlogRequest::new(FIRST_SERVER_ID | fastrand::u32(..));
        let end = match start {
            Start::End => end_of_log(&mut conn, is_mariadb)?,
            other => other.clone(),
        };
        let request = match end {
            Start::File(file, pos) => request.with_filename(file.into_bytes()).with_pos(pos),
            Start::Gtids(set) if is_mariadb => {
                conn.query_drop(format!("SET @slave_connect_state = {}", literal(&set)))?;
                request
            }
            Start::Gtids(set) => {
                let parts = set.split(',').map(str::trim).filter(|part| !part.is_empty());
                let sids = parts.map(str::parse).collect::<Result<Vec<_>, _>>();
                request.with_use_gtid(true).with_sids(sids.map_err(|_| Error::Corrupt("a GTID set is not one"))?)
            }
            Start::End => return Err(Error::Corrupt("the end of the log is nowhere")),
        };
        let stream = guarded(|| Ok(conn.get_binlog_stream(request)?))?;
        Ok(Dump { stream, host, current: self.current.clone() })
    }
}

/// By file and position where the account may see them, since a server finds a GTID by reading from the beginning of a file.
fn end_of_log(conn: &mut Conn, is_mariadb: bool) -> Result<Start, Error> {
    let statement = if is_mariadb { "SHOW MASTER STATUS" } else { "SHOW BINARY LOG STATUS" };
    let status = match conn.read_first(statement) {
        // Before MySQL 8.4.
        Err(error) if error.code() == Some(ER_PARSE_ERROR) => conn.read_first("SHOW MASTER STATUS"),
        other => other,
    };
    let denial = match status {
        Ok(Some(row)) => {
            let mut row: mysql::Row = row;
            let (file, pos) = (row.take_opt::<String, _>(0), row.take_opt::<u64, _>(1));
            return Ok(Start::File(
                file.and_then(Result::ok).unwrap_or_default(),
                pos.and_then(Result::ok).unwrap_or(4),
            ));
        }
        Ok(None) => NO_LOG,
        Err(error) if error.code() == Some(ER_SPECIFIC_ACCESS_DENIED_ERROR) => error,
        Err(error) => return Err(error),
    };
    let gtids = match is_mariadb {
        true => conn.read_first("SELECT @@gtid_binlog_pos"),
        false => conn.read_first("SELECT @@global.gtid_executed FROM DUAL WHERE @@global.gtid_mode = 'ON'"),
    };
    gtids?.map(Start::Gtids).ok_or(denial)
}

/// An open dump.
pub struct Dump {
    stream: BinlogStream,
    host: usize,
    current: CurrentHost,
}

impl Dump {
    /// Waits for the next event, at most 15 s: the server sends one each second even if nothing happens. Calls `each` for
    /// it, or for each event of a compressed transaction in its place, until that returns false.
    ///
    /// # Errors
    ///
    /// The dump ended: open another.
    pub fn next(&mut self, each: &mut dyn FnMut(LogEvent<'_>) -> bool) -> Result<(), Error> {
        if self.current.get() != self.host {
            return Err(Error::NotReady("another node is used now".into()));
        }
        let stream = &mut self.stream;
        let event = guarded(|| match stream.next() {
            Some(event) => Ok(event?),
            None => Err(Error::NotReady("it ended the dump of its binary log".into())),
        })?;
        let header = event.header();
        let end = header.log_pos().into();
        if header.event_type_raw() == EventType::TRANSACTION_PAYLOAD_EVENT as u8 {
            return guarded(|| unpacked(&event, end, each));
        }
        let gtid = gtid(&event)?;
        each(LogEvent {
            kind: header.event_type_raw(),
            at_s: header.timestamp(),
            end,
            server_id: header.server_id(),
            gtid: gtid.as_ref(),
            body: event.data(),
        });
        Ok(())
    }
}

fn gtid(event: &Event) -> Result<Option<Gtid>, Error> {
    let kind = event.header().event_type_raw();
    if kind != EventType::GTID_EVENT as u8 && kind != EventType::GTID_TAGGED_LOG_EVENT as u8 {
        return Ok(None);
    }
    let gtid = guarded(|| {
        let gtid = event.read_event::<GtidEvent>();
        gtid.map_err(|_| Error::Corrupt("a GTID in the binary log cannot be read"))
    })?;
    let digits: String = gtid.sid().iter().map(|byte| format!("{byte:02x}")).collect();
    let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| &digits[part]);
    let tag = gtid.tag().map_or_else(String::new, |tag| format!(":{tag}"));
    let text = format!("{a}-{b}-{c}-{d}-{e}{tag}:{}", gtid.gno());
    Ok(Some(Gtid { text, commit_us: gtid.immediate_commit_timestamp() }))
}

/// Calls `each` for the events of a compressed transaction, one at a time: together they may be large.
fn unpacked(event: &Event, end: u64, each: &mut dyn FnMut(LogEvent<'_>) -> bool) -> Result<(), Error> {
    let corrupt = |_| Error::Corrupt("a compressed transaction in the binary log cannot be read");
    let payload = event.read_event::<TransactionPayloadEvent<'_>>().map_err(corrupt)?;
    let mut reader = payload.decompressed().map_err(corrupt)?;
    let mut body = Vec::new();
    while reader.has_data_left().map_err(corrupt)? {
        let mut header = [0; HEADER_BYTES];
        reader.read_exact(&mut header).map_err(corrupt)?;
        let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let bytes = (number(9) as usize).saturating_sub(HEADER_BYTES);
        body.clear();
        let read = reader.by_ref().take(bytes as u64).read_to_end(&mut body).map_err(corrupt)?;
        if read < bytes {
            return Err(Error::Corrupt("a compressed transaction in the binary log is cut off"));
        }
        if !each(LogEvent { kind: header[4], at_s: number(0), end, server_id: number(5), gtid: None, body: &body }) {
            break;
        }
    }
    Ok(())
}

/// The driver panics for some events: that ends the dump, and not the thread.
fn guarded<T>(read: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(read))
        .unwrap_or_else(|_| Err(Error::Corrupt("the database driver panicked at an event of the binary log")))
}
