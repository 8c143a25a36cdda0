//! A table as the log describes it before its rows: names, columns and key as they were when the rows were written, so that
//! no later ALTER makes a difference.

use super::{
    bytes::{Bytes, Malformed},
    column::{BINARY, Column, Kind},
};

/// The log lacks what names the columns.
pub const NO_NAMES: Malformed = Malformed(
    "the binary log does not name columns: set binlog_row_metadata = FULL (GLOBAL), and in the server's file",
);

/// A table at one point of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap {
    /// The database.
    pub db: String,
    /// The table.
    pub table: String,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The places of the columns of its primary key.
    pub key: Vec<usize>,
}

/// The number, database and table, without the columns.
///
/// # Errors
/// The body is cut off.
pub fn head<'a>(body: &mut Bytes<'a>) -> Result<(u64, &'a [u8], &'a [u8]), Malformed> {
    let id = body.little(6)?;
    body.take(2)?;
    Ok((id, body.name()?, body.name()?))
}

impl TableMap {
    /// The table in the body of an event.
    ///
    /// # Errors
    /// The body is cut off, or does not name the columns.
    pub fn parse(body: &[u8]) -> Result<TableMap, Malformed> {
        let mut body = Bytes(body);
        let (_, db, table) = head(&mut body)?;
        let count = body.packed()?;
        let codes = body.take(count)?;
        let length = body.packed()?;
        let mut metadata = Bytes(body.take(length)?);
        let mut columns = Vec::with_capacity(count);
        for code in codes {
            let kind = Kind::parse(*code, &mut metadata)?;
            let collation = BINARY;
            columns.push(Column { name: String::new(), kind, is_unsigned: false, collation, members: Vec::new() });
        }
        // Which of them may be NULL.
        body.take(count.div_ceil(8))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut map = TableMap { db: text(db), table: text(table), columns, key: Vec::new() };
        while !body.0.is_empty() {
            let field = body.byte()?;
            let length = body.packed()?;
            map.add(field, Bytes(body.take(length)?))?;
        }
        match map.columns.iter().any(|column| column.name.is_empty()) {
            true => Err(NO_NAMES),
            false => Ok(map),
        }
    }

    /// One field of the optional metadata.
    fn add(&mut self, field: u8, mut value: Bytes<'_>) -> Result<(), Malformed> {
        let is_text = |column: &Column| column.kind.is_text();
        let is_named = |column: &Column| matches!(column.kind, Kind::Enum(_) | Kind::Set(_));
        match field {
            1 => {
                let numeric = self.columns.iter_mut().filter(|column| column.kind.is_numeric());
                for (place, column) in numeric.enumerate() {
                    let byte = value.0.get(place / 8).copied().unwrap_or_default();
                    column.is_unsigned = byte & (0x80 >> (place % 8)) != 0;
                }
            }
            2 => self.default_collations(&mut value, is_text)?,
            3 => self.collations(&mut value, is_text)?,
            4 => {
                for column in &mut self.columns {
                    let length = value.packed()?;
                    column.name = String::from_utf8_lossy(value.take(length)?).into_owned();
                }
            }
            5 => self.members(&mut value, |kind| matches!(kind, Kind::Set(_)))?,
            6 => self.members(&mut value, |kind| matches!(kind, Kind::Enum(_)))?,
            8 | 9 => {
                while !value.0.is_empty() {
                    self.key.push(value.packed()?);
                    if field == 9 {
                        // How much of it.
                        value.packed()?;
                    }
                }
                if self.key.iter().any(|place| *place >= self.columns.len()) {
                    return Err(Malformed("a primary key has a column that its table lacks"));
                }
            }
            10 => self.default_collations(&mut value, is_named)?,
            11 => self.collations(&mut value, is_named)?,
            // The types of geometries, what is invisible, what is yet to come.
            _ => {}
        }
        Ok(())
    }

    /// The most frequent collation, then those of the other columns.
    fn default_collations(&mut self, value: &mut Bytes<'_>, has: fn(&Column) -> bool) -> Result<(), Malformed> {
        let mut collations: Vec<&mut u32> =
            self.columns.iter_mut().filter(|column| has(column)).map(|column| &mut column.collation).collect();
        let default = value.packed()? as u32;
        collations.iter_mut().for_each(|collation| **collation = default);
        while !value.0.is_empty() {
            let (place, collation) = (value.packed()?, value.packed()?);
            **collations.get_mut(place).ok_or(Malformed("a character set has no column"))? = collation as u32;
        }
        Ok(())
    }

    fn collations(&mut self, value: &mut Bytes<'_>, has: fn(&Column) -> bool) -> Result<(), Malformed> {
        for column in self.columns.iter_mut().filter(|column| has(column)) {
            column.collation = value.packed()? as u32;
        }
        Ok(())
    }

    fn members(&mut self, value: &mut Bytes<'_>, has: fn(&Kind) -> bool) -> Result<(), Malformed> {
        for column in self.columns.iter_mut().filter(|column| has(&column.kind)) {
            for _ in 0..value.packed()? {
                let length = value.packed()?;
                column.members.push(value.take(length)?.to_vec());
            }
        }
        Ok(())
    }
}
