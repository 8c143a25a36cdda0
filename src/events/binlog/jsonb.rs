//! MySQL's own form of JSON, as text. Numbers keep all their digits. Source: MySQL's `sql-common/json_binary.h`.

use super::{
    bytes::{Bytes, Malformed},
    decimal, temporal,
    text::{quoted, quoted_base64},
};

/// Deeper than any server allows.
const DEEPEST: usize = 128;

/// Writes the value in `bytes` as text.
///
/// # Errors
/// It is cut off, or no JSON.
pub fn write(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    // An empty value stands for null.
    match Bytes(bytes).byte() {
        Ok(kind) => value(kind, &bytes[1..], out, 0),
        Err(_) => {
            out.extend(b"null");
            Ok(())
        }
    }
}

const WRONG: Malformed = Malformed("a JSON value is none");

/// `bytes` begins with the value; containers have offsets into it.
fn value(kind: u8, bytes: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Malformed> {
    if depth > DEEPEST {
        return Err(Malformed("a JSON value is too deep"));
    }
    let mut rest = Bytes(bytes);
    match kind {
        0..=3 => return container(kind, bytes, out, depth),
        4 => out.extend(match rest.byte()? {
            0 => &b"null"[..],
            1 => b"true",
            2 => b"false",
            _ => return Err(WRONG),
        }),
        5 => out.extend((rest.little(2)? as i16).to_string().bytes()),
        6 => out.extend(rest.little(2)?.to_string().bytes()),
        7 => out.extend((rest.little(4)? as i32).to_string().bytes()),
        8 => out.extend(rest.little(4)?.to_string().bytes()),
        9 => out.extend((rest.little(8)? as i64).to_string().bytes()),
        10 => out.extend(rest.little(8)?.to_string().bytes()),
        11 => super::text::double(f64::from_bits(rest.little(8)?), out),
        12 => {
            let length = variable_length(&mut rest)?;
            quoted(&String::from_utf8_lossy(rest.take(length)?), out);
        }
        15 => {
            let code = rest.byte()?;
            let length = variable_length(&mut rest)?;
            opaque(code, rest.take(length)?, out)?;
        }
        _ => return Err(WRONG),
    }
    Ok(())
}

fn variable_length(rest: &mut Bytes<'_>) -> Result<usize, Malformed> {
    let mut length = 0;
    for place in 0..5 {
        let byte = rest.byte()?;
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(length);
        }
    }
    Err(WRONG)
}

fn container(kind: u8, bytes: &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Malformed> {
    let (is_large, is_object) = (kind % 2 == 1, kind < 2);
    let width = if is_large { 4 } else { 2 };
    let mut rest = Bytes(bytes);
    let count = rest.little(width)? as usize;
    let all = rest.little(width)? as usize;
    let bytes = bytes.get(..all).ok_or(WRONG)?;
    let mut keys = rest;
    if is_object {
        rest.take(count.checked_mul(width + 2).ok_or(WRONG)?)?;
    }
    out.push(if is_object { b'{' } else { b'[' });
    for place in 0..count {
        if place > 0 {
            out.push(b',');
        }
        if is_object {
            let (at, length) = (keys.little(width)? as usize, keys.little(2)? as usize);
            let key = bytes.get(at..at.saturating_add(length)).ok_or(WRONG)?;
            quoted(&String::from_utf8_lossy(key), out);
            out.push(b':');
        }
        let kind = rest.byte()?;
        let entry = rest.take(width)?;
        let is_inlined = matches!(kind, 4..=6) || (is_large && matches!(kind, 7 | 8));
        match is_inlined {
            true => value(kind, entry, out, depth + 1)?,
            false => {
                let at = Bytes(entry).little(width)? as usize;
                // A container within itself would never end.
                let inner = bytes.get(at..).filter(|_| at > 0).ok_or(WRONG)?;
                value(kind, inner, out, depth + 1)?;
            }
        }
    }
    out.push(if is_object { b'}' } else { b']' });
    Ok(())
}

/// A value of another type of SQL, as the server prints it.
fn opaque(code: u8, data: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let packed = || Bytes(data).little(8);
    match code {
        246 => {
            let mut rest = Bytes(data);
            let (digits, behind) = (rest.byte()?.into(), rest.byte()?.into());
            out.extend(decimal::text(rest.0, digits, behind)?.bytes());
        }
        10 => quoted(&temporal::packed_date(packed()?), out),
        11 => quoted(&temporal::packed_time(packed()? as i64), out),
        7 | 12 => quoted(&temporal::packed_datetime(packed()?), out),
        _ => quoted_base64(&format!("base64:type{code}:"), data, out),
    }
    Ok(())
}
