//! The rows of one event: which bytes belong to which column. Decodes no value.

use std::borrow::Cow;

use super::{
    bytes::{Bytes, Malformed},
    compressed,
    kind::{Op, Rows},
    table_map::TableMap,
};

/// A row before or after a change; None: NULL. Every column is there.
pub type Image<'a> = Vec<Option<&'a [u8]>>;

/// The log lacks columns.
pub const NOT_FULL: Malformed = Malformed(
    "the binary log lacks columns of rows: set binlog_row_image = FULL, in the server's file and in every session",
);
/// The log has parts of values.
pub const PARTIAL: Malformed =
    Malformed("the binary log has parts of JSON values: set binlog_row_value_options = '', in every session");

/// The number of the table in the body of a rows event.
///
/// # Errors
/// The body is cut off.
pub fn table_id(body: &[u8]) -> Result<u64, Malformed> {
    Bytes(body).little(6)
}

/// Calls `each` for every change in the body of an event of this type, with the row before and after it.
///
/// # Errors
/// The body is cut off, or lacks columns; or what `each` returns.
pub fn each<E: From<Malformed>>(
    rows: Rows,
    body: &[u8],
    table: &TableMap,
    mut each: impl FnMut(Option<&Image<'_>>, Option<&Image<'_>>) -> Result<(), E>,
) -> Result<(), E> {
    if rows.is_partial {
        return Err(PARTIAL.into());
    }
    let mut body = Bytes(body);
    body.take(8)?;
    if rows.has_extra {
        let length = body.little(2)? as usize;
        body.take(length.saturating_sub(2))?;
    }
    let count = body.packed()?;
    if count != table.columns.len() {
        return Err(Malformed("rows have another number of columns than their table").into());
    }
    let mut bitmaps = body;
    let images = if rows.op == Op::Update { 2 } else { 1 };
    for _ in 0..images {
        let bitmap = bitmaps.take(count.div_ceil(8))?;
        if (0..count).any(|place| bitmap[place / 8] & (1 << (place % 8)) == 0) {
            return Err(NOT_FULL.into());
        }
    }
    let data = match rows.is_compressed {
        true => Cow::Owned(compressed::unpack(bitmaps.0)?),
        false => Cow::Borrowed(bitmaps.0),
    };
    let mut data = Bytes(&data);
    let (mut first, mut second) = (Image::new(), Image::new());
    while !data.0.is_empty() {
        image(&mut data, table, &mut first)?;
        match rows.op {
            Op::Insert => each(None, Some(&first))?,
            Op::Delete => each(Some(&first), None)?,
            Op::Update => {
                image(&mut data, table, &mut second)?;
                each(Some(&first), Some(&second))?;
            }
        }
    }
    Ok(())
}

fn image<'a>(data: &mut Bytes<'a>, table: &TableMap, image: &mut Image<'a>) -> Result<(), Malformed> {
    image.clear();
    let nulls = data.take(table.columns.len().div_ceil(8))?;
    for (place, column) in table.columns.iter().enumerate() {
        let is_null = nulls[place / 8] & (1 << (place % 8)) != 0;
        image.push(if is_null { None } else { Some(column.kind.slice(data)?) });
    }
    Ok(())
}
