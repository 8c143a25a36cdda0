//! One value of a row as JSON.

use std::{borrow::Cow, io::Read};

use flate2::read::{DeflateDecoder, ZlibDecoder};

use super::{
    bytes::{Bytes, Malformed},
    charset::Charsets,
    column::{BINARY, Column, Kind},
    decimal, jsonb, temporal,
    text::{double, float, quoted, quoted_base64},
};
use crate::db::Error;

/// Why a change could not be written as JSON.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// The log holds what resq cannot read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The server could not be asked about a character set.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Appends the value; None: NULL.
///
/// # Errors
/// It is not one of this column's, or the server could not be asked.
pub fn write(
    column: &Column,
    value: Option<&[u8]>,
    charsets: &mut dyn Charsets,
    out: &mut Vec<u8>,
) -> Result<(), Undecodable> {
    let Some(value) = value else {
        out.extend(b"null");
        return Ok(());
    };
    let plain = |text: String, out: &mut Vec<u8>| quoted(&text, out);
    match column.kind {
        Kind::Integer(bytes) => integer(value, bytes, column.is_unsigned, out)?,
        Kind::Float => float(f32::from_bits(Bytes(value).little(4)? as u32), out),
        Kind::Double => double(f64::from_bits(Bytes(value).little(8)?), out),
        // A parser of JSON would make a number of it that is not exact.
        Kind::Decimal(digits, behind) => plain(decimal::text(value, digits, behind)?, out),
        Kind::Year => {
            let year = Bytes(value).byte()?;
            out.extend(if year == 0 { 0 } else { 1900 + u32::from(year) }.to_string().bytes());
        }
        Kind::Date => plain(temporal::date(value)?, out),
        Kind::Time(digits) => plain(temporal::time(value, digits)?, out),
        Kind::DateTime(digits) => plain(temporal::datetime(value, digits)?, out),
        Kind::Timestamp(digits) => plain(temporal::timestamp(value, digits)?, out),
        Kind::OldTime => plain(temporal::old_time(value)?, out),
        Kind::OldDateTime => plain(temporal::old_datetime(value)?, out),
        Kind::OldTimestamp => plain(temporal::old_timestamp(value)?, out),
        Kind::Bits(bytes) => out.extend(Bytes(value).big(bytes)?.to_string().bytes()),
        Kind::Enum(bytes) => match Bytes(value).little(bytes)? {
            // What an invalid value becomes.
            0 => out.extend(b"\"\""),
            place => member(column, place as usize - 1, charsets, out)?,
        },
        Kind::Set(bytes) => set(column, Bytes(value).little(bytes)?, charsets, out)?,
        Kind::Fixed(most) if column.collation == BINARY => {
            let mut whole = value.to_vec();
            whole.resize(value.len().max(most), 0);
            quoted_base64("", &whole, out);
        }
        Kind::Fixed(_) | Kind::Text(_) => text(column, value, charsets, out)?,
        Kind::CompressedText(_) => text(column, &uncompressed(value)?, charsets, out)?,
        Kind::Binary(_) | Kind::Geometry(_) => quoted_base64("", value, out),
        Kind::Json(_) => jsonb::write(value, out)?,
    }
    Ok(())
}

fn integer(value: &[u8], bytes: usize, is_unsigned: bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let number = Bytes(value).little(bytes)?;
    let unused = 64 - 8 * bytes;
    match is_unsigned {
        true => decimal_digits(number, out),
        false => {
            let number = ((number << unused) as i64) >> unused;
            if number < 0 {
                out.push(b'-');
            }
            decimal_digits(number.unsigned_abs(), out);
        }
    }
    Ok(())
}

/// The digits of a number; of every row, without an allocation.
fn decimal_digits(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend(&digits[first..]);
}

fn text(column: &Column, value: &[u8], charsets: &mut dyn Charsets, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    if column.collation == BINARY {
        quoted_base64("", value, out);
        return Ok(());
    }
    quoted(&charsets.utf8(column.collation, value)?, out);
    Ok(())
}

fn name<'a>(column: &'a Column, place: usize, charsets: &mut dyn Charsets) -> Result<Cow<'a, str>, Undecodable> {
    let name = column.members.get(place).ok_or(Malformed("a value has no name in its ENUM or SET"))?;
    Ok(charsets.utf8(column.collation, name)?)
}

fn member(column: &Column, place: usize, charsets: &mut dyn Charsets, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    quoted(&name(column, place, charsets)?, out);
    Ok(())
}

/// As SELECT prints it: names separated by commas.
fn set(column: &Column, bits: u64, charsets: &mut dyn Charsets, out: &mut Vec<u8>) -> Result<(), Undecodable> {
    let places = (0..64).filter(|place| bits & (1 << place) != 0);
    let names = places.map(|place| name(column, place, charsets)).collect::<Result<Vec<_>, _>>()?;
    quoted(&names.join(","), out);
    Ok(())
}

/// A value of a compressed column of MariaDB: how it is compressed, the bytes of its length, the length, then deflate.
fn uncompressed(value: &[u8]) -> Result<Cow<'_, [u8]>, Malformed> {
    const WRONG: Malformed = Malformed("a value of a compressed column cannot be unpacked");
    let mut rest = Bytes(value);
    let header = match rest.byte() {
        Err(_) => return Ok(Cow::Borrowed(&[])),
        Ok(0) => return Ok(Cow::Borrowed(rest.0)),
        Ok(header) if header >> 4 == 8 => header,
        Ok(_) => return Err(WRONG),
    };
    let length = rest.big((header & 7).into())?;
    let mut bytes = Vec::new();
    // Without the header of zlib, unless column_compression_zlib_wrap is on.
    let read = match header & 8 == 0 {
        true => ZlibDecoder::new(rest.0).take(length).read_to_end(&mut bytes),
        false => DeflateDecoder::new(rest.0).take(length).read_to_end(&mut bytes),
    };
    match read {
        Ok(read) if read as u64 == length => Ok(Cow::Owned(bytes)),
        _ => Err(WRONG),
    }
}
