//! The types of events that resq reads, as numbers of the header. Sources: MySQL's `libs/mysql/binlog/event/binlog_event.h`,
//! MariaDB's `sql/log_event.h`.

/// A statement, or BEGIN and COMMIT.
pub const QUERY: u8 = 2;
/// The next file.
pub const ROTATE: u8 = 4;
/// The server could not write what belongs here.
pub const INCIDENT: u8 = 26;
/// Nothing happened for a while.
pub const HEARTBEAT: u8 = 27;
/// The same.
pub const HEARTBEAT_2: u8 = 41;
/// The beginning of a transaction, with its GTID.
pub const GTID: u8 = 33;
/// The beginning of a transaction without one.
pub const ANONYMOUS_GTID: u8 = 34;
/// The beginning of a transaction, with a GTID that has a tag.
pub const TAGGED_GTID: u8 = 42;
/// The beginning of a transaction or a statement (MariaDB).
pub const MARIADB_GTID: u8 = 162;
/// How the events of a file are written.
pub const FORMAT_DESCRIPTION: u8 = 15;
/// The commit of a transaction.
pub const XID: u8 = 16;
/// The table of the rows that follow, by a number.
pub const TABLE_MAP: u8 = 19;
/// The first phase of a commit in two.
pub const XA_PREPARE: u8 = 38;
/// Rows with updates of parts of JSON columns.
pub const PARTIAL_UPDATE_ROWS: u8 = 39;
/// A statement, compressed (MariaDB).
pub const QUERY_COMPRESSED: u8 = 165;

/// What rows events do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Rows after their INSERT.
    Insert,
    /// Rows before and after an UPDATE.
    Update,
    /// Rows before their DELETE.
    Delete,
}

/// A type of rows events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// What they do.
    pub op: Op,
    /// The second version, which has a part of variable length before the columns.
    pub has_extra: bool,
    /// Compressed behind the columns (MariaDB).
    pub is_compressed: bool,
    /// Updates of parts of JSON columns (MySQL).
    pub is_partial: bool,
}

impl Rows {
    /// The rows events of this type, if they are that.
    pub fn of(kind: u8) -> Option<Rows> {
        let (op, has_extra, is_compressed) = match kind {
            23 => (Op::Insert, false, false),
            24 => (Op::Update, false, false),
            25 => (Op::Delete, false, false),
            30 => (Op::Insert, true, false),
            31 | PARTIAL_UPDATE_ROWS => (Op::Update, true, false),
            32 => (Op::Delete, true, false),
            166 => (Op::Insert, false, true),
            167 => (Op::Update, false, true),
            168 => (Op::Delete, false, true),
            169 => (Op::Insert, true, true),
            170 => (Op::Update, true, true),
            171 => (Op::Delete, true, true),
            _ => return None,
        };
        Some(Rows { op, has_extra, is_compressed, is_partial: kind == PARTIAL_UPDATE_ROWS })
    }
}
