//! Pieces of JSON text: strings, bytes as base64, numbers; and JSON as an SQL literal.

/// Appends `text` as a JSON string.
pub fn quoted(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.extend(&rest[..at]);
        match rest[at] {
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            byte @ 0..=0x1f => {
                out.extend([b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            byte => out.extend([b'\\', byte]),
        }
        rest = &rest[at + 1..];
    }
    out.extend(rest);
    out.push(b'"');
}

/// Appends a JSON string: `prefix`, which needs no escapes, and `bytes` as base64.
pub fn quoted_base64(prefix: &str, bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    out.extend(prefix.bytes());
    for group in bytes.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            out.push(match place <= group.len() {
                true => DIGITS[(bits >> (18 - 6 * place) & 63) as usize],
                false => b'=',
            });
        }
    }
    out.push(b'"');
}

/// Appends the shortest number that is read as this one; JSON has none for what is not finite.
pub fn double(number: f64, out: &mut Vec<u8>) {
    shortest(serde_json::Number::from_f64(number), out);
}

/// The same for a number with fewer digits.
pub fn float(number: f32, out: &mut Vec<u8>) {
    // Its own shortest digits, not those of the number with more digits.
    shortest(number.to_string().parse().ok().and_then(serde_json::Number::from_f64), out);
}

fn shortest(number: Option<serde_json::Number>, out: &mut Vec<u8>) {
    out.extend(number.map_or_else(|| "null".into(), |number| number.to_string()).bytes());
}

/// Appends JSON as a literal of resq's own sessions, whose character set and `sql_mode` are known: a quarter of the bytes of
/// [`crate::db::literal`], for as much as a binary log has.
pub fn push_literal(json: &str, out: &mut String) {
    out.push('\'');
    let mut rest = json;
    while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'\'' | b'\\')) {
        out.push_str(&rest[..at]);
        out.push('\\');
        out.push_str(&rest[at..=at]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('\'');
}

/// The bytes of that literal.
pub fn literal_bytes(payload: &[u8]) -> usize {
    payload.len() + payload.iter().filter(|byte| matches!(byte, b'\'' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_those_that_a_parser_reads_back() {
        for text in ["", "a\"b\\c", "\0\x1f\n\t\r", "größe 日本 🎉", "\u{7f}"] {
            assert_eq!(serde_json::from_str::<String>(&written(|out| quoted(text, out))).unwrap(), text);
        }
    }

    #[test]
    fn bytes_are_base64_with_padding() {
        for (bytes, expected) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"\xff\xfe", "//4=")]
        {
            assert_eq!(written(|out| quoted_base64("", bytes, out)), format!("\"{expected}\""));
        }
    }

    #[test]
    fn numbers_have_their_shortest_digits() {
        assert_eq!(written(|out| float(1.1, out)), "1.1");
        assert_eq!(written(|out| double(1e300, out)), "1e+300");
        assert_eq!(written(|out| double(0.1 + 0.2, out)), "0.30000000000000004");
    }
}
