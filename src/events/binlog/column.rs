//! The columns of a table as a table map describes them, and how many bytes a value of each takes. Sources: MySQL's
//! `sql/rpl_utility.cc` and `libs/mysql/binlog/event/binary_log_funcs.cpp`.

use super::{
    bytes::{Bytes, Malformed},
    decimal,
};

/// What a column holds, with what is needed to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of this many bytes.
    Integer(usize),
    /// Four bytes.
    Float,
    /// Eight bytes.
    Double,
    /// Digits in all, and behind the point.
    Decimal(usize, usize),
    /// A year in one byte.
    Year,
    /// Three bytes.
    Date,
    /// With this many digits of fractions of a second.
    Time(usize),
    /// The same, without a zone.
    DateTime(usize),
    /// The same, in UTC.
    Timestamp(usize),
    /// As before MySQL 5.6, without fractions: TIME, DATETIME and TIMESTAMP.
    OldTime,
    /// See [`Kind::OldTime`].
    OldDateTime,
    /// See [`Kind::OldTime`].
    OldTimestamp,
    /// Bits in this many bytes.
    Bits(usize),
    /// The place in a list of names, in this many bytes.
    Enum(usize),
    /// One bit for each of a list of names, in this many bytes.
    Set(usize),
    /// Text or bytes of at most this many bytes, without the spaces or zeros at their end.
    Fixed(usize),
    /// Text or bytes behind a length of this many bytes.
    Text(usize),
    /// The same, compressed column by column (MariaDB).
    CompressedText(usize),
    /// Bytes behind a length of this many bytes: a VECTOR.
    Binary(usize),
    /// The same: a GEOMETRY, which has a place among the character sets.
    Geometry(usize),
    /// MySQL's own form of JSON, behind a length of this many bytes.
    Json(usize),
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// A number without a sign.
    pub is_unsigned: bool,
    /// The number of the collation of a text, or of the names of an ENUM or SET; 63: bytes.
    pub collation: u32,
    /// The names of an ENUM or SET, in that character set.
    pub members: Vec<Vec<u8>>,
}

/// The number of the collation `binary`.
pub const BINARY: u32 = 63;

impl Kind {
    /// The kind of a column of this type. Reads its part of the metadata.
    pub fn parse(code: u8, metadata: &mut Bytes<'_>) -> Result<Kind, Malformed> {
        Ok(match code {
            1 => Kind::Integer(1),
            2 => Kind::Integer(2),
            3 => Kind::Integer(4),
            8 => Kind::Integer(8),
            9 => Kind::Integer(3),
            4 => skip(metadata, Kind::Float)?,
            5 => skip(metadata, Kind::Double)?,
            246 => Kind::Decimal(metadata.byte()?.into(), metadata.byte()?.into()),
            13 => Kind::Year,
            10 | 14 => Kind::Date,
            7 => Kind::OldTimestamp,
            11 => Kind::OldTime,
            12 => Kind::OldDateTime,
            17 => Kind::Timestamp(metadata.byte()?.into()),
            18 => Kind::DateTime(metadata.byte()?.into()),
            19 => Kind::Time(metadata.byte()?.into()),
            16 => {
                let (bits, bytes) = (metadata.byte()?, metadata.byte()?);
                Kind::Bits(usize::from(bytes) + usize::from(bits > 0))
            }
            // VARCHAR, VAR_STRING
            15 | 253 => Kind::Text(lengths(metadata.little(2)?)),
            141 => Kind::CompressedText(lengths(metadata.little(2)?)),
            254 => {
                let (high, low) = (metadata.byte()?, metadata.byte()?);
                match high {
                    247 => Kind::Enum(low.into()),
                    248 => Kind::Set(low.into()),
                    // Two bits of the length of a long CHAR are where its type leaves room.
                    _ => Kind::Fixed((usize::from(high & 0x30 ^ 0x30) << 4) | usize::from(low)),
                }
            }
            249..=252 => Kind::Text(metadata.byte()?.into()),
            140 => Kind::CompressedText(metadata.byte()?.into()),
            242 => Kind::Binary(metadata.byte()?.into()),
            255 => Kind::Geometry(metadata.byte()?.into()),
            245 => Kind::Json(metadata.byte()?.into()),
            _ => return Err(Malformed("a column has a type that resq does not know")),
        })
    }

    /// The bytes of the next value, without its length.
    ///
    /// # Errors
    /// There are fewer.
    pub fn slice<'a>(&self, row: &mut Bytes<'a>) -> Result<&'a [u8], Malformed> {
        let fraction = |digits: usize| digits.div_ceil(2);
        match *self {
            Kind::Integer(bytes) | Kind::Bits(bytes) | Kind::Enum(bytes) | Kind::Set(bytes) => row.take(bytes),
            Kind::Float | Kind::OldTimestamp => row.take(4),
            Kind::Double | Kind::OldDateTime => row.take(8),
            Kind::Decimal(digits, behind) => row.take(decimal::bytes(digits, behind)?),
            Kind::Year => row.take(1),
            Kind::Date | Kind::OldTime => row.take(3),
            Kind::Time(digits) => row.take(3 + fraction(digits)),
            Kind::DateTime(digits) => row.take(5 + fraction(digits)),
            Kind::Timestamp(digits) => row.take(4 + fraction(digits)),
            Kind::Fixed(most) => {
                let bytes = row.little(lengths(most as u64))?;
                row.take(bytes as usize)
            }
            Kind::Text(length)
            | Kind::CompressedText(length)
            | Kind::Binary(length)
            | Kind::Geometry(length)
            | Kind::Json(length) => {
                let bytes = row.little(length.min(8))?;
                row.take(usize::try_from(bytes).map_err(|_| Malformed("a value is too long"))?)
            }
        }
    }

    /// Whether the signedness in the metadata has a bit for it.
    pub fn is_numeric(&self) -> bool {
        matches!(self, Kind::Integer(_) | Kind::Float | Kind::Double | Kind::Decimal(..) | Kind::Year)
    }

    /// Whether the character sets in the metadata have a place for it.
    pub fn is_text(&self) -> bool {
        matches!(self, Kind::Fixed(_) | Kind::Text(_) | Kind::CompressedText(_) | Kind::Geometry(_))
    }
}

/// The bytes of the length of a value of at most so many bytes.
fn lengths(most: u64) -> usize {
    if most < 256 { 1 } else { 2 }
}

fn skip(metadata: &mut Bytes<'_>, kind: Kind) -> Result<Kind, Malformed> {
    metadata.byte().map(|_| kind)
}
