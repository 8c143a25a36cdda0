//! The types of events that resq reads, as numbers of the header. Sources: MySQL's `libs/mysql/binlog/event/binlog_event.h`,
//! MariaDB's `sql/log_event.h`.

/// A statement, or BEGIN and COMMIT.
pub const QUERY: u8 = 2;
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
