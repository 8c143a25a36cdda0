//! DECIMAL as the binary log and MySQL's JSON store it: groups of nine digits in four bytes, with a sign in the first bit.
//! Source: `decimal2bin` of MySQL's `strings/decimal.cc`.

use super::bytes::{Bytes, Malformed};

/// The bytes of 0 to 9 digits.
const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const GROUP: usize = 9;
/// More digits than any server allows.
const MOST_DIGITS: usize = 255;

/// The bytes of a value with so many digits in all, and behind the point.
///
/// # Errors
/// No column has these digits.
pub fn bytes(digits: usize, behind: usize) -> Result<usize, Malformed> {
    let before =
        digits.checked_sub(behind).ok_or(Malformed("a DECIMAL has more digits behind its point than in all"))?;
    let part = |digits: usize| digits / GROUP * 4 + BYTES[digits % GROUP];
    Ok(part(before) + part(behind))
}

/// The value as text, as SELECT prints it.
///
/// # Errors
/// It is cut off, or holds no digits.
pub fn text(value: &[u8], digits: usize, behind: usize) -> Result<String, Malformed> {
    if digits > MOST_DIGITS || value.len() != bytes(digits, behind)? || value.is_empty() {
        return Err(Malformed("a DECIMAL has the wrong size"));
    }
    let is_negative = value[0] & 0x80 == 0;
    let mut value: Vec<u8> = value.iter().map(|byte| if is_negative { !byte } else { *byte }).collect();
    value[0] ^= 0x80;
    let mut rest = Bytes(&value);
    let mut all = String::with_capacity(digits + 2);
    let before = digits - behind;
    let mut group = |digits: usize, all: &mut String| {
        let number = rest.big(BYTES[digits])?;
        if digits > 0 {
            all.push_str(&format!("{number:0digits$}"));
        }
        Ok::<(), Malformed>(())
    };
    group(before % GROUP, &mut all)?;
    for _ in 0..before / GROUP {
        group(GROUP, &mut all)?;
    }
    let leading = all.bytes().take_while(|digit| *digit == b'0').count();
    all.drain(..leading);
    if all.is_empty() {
        all.push('0');
    }
    if behind > 0 {
        all.push('.');
        for _ in 0..behind / GROUP {
            group(GROUP, &mut all)?;
        }
        group(behind % GROUP, &mut all)?;
    }
    if is_negative {
        all.insert(0, '-');
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_exact_on_both_sides_of_the_point() {
        for (bytes, digits, behind, expected) in [
            (&[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2][..], 14, 4, "1234567890.1234"),
            (&[0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d], 14, 4, "-1234567890.1234"),
            (&[0x80, 0x00], 3, 1, "0.0"),
            (&[0x80], 2, 0, "0"),
            (&[0x7f, 0xfe], 3, 1, "-0.1"),
            (&[0x80, 0, 0, 1], 9, 9, "0.000000001"),
        ] {
            assert_eq!(text(bytes, digits, behind).as_deref(), Ok(expected), "{bytes:x?}");
        }
        assert!(text(&[], 0, 0).is_err() && text(&[1], 9, 9).is_err() && text(&[1], 1, 2).is_err());
    }
}
