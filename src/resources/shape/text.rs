//! SQL text in one form: without comments and superfluous quotes, its tokens separated by one space. Two texts that a
//! server reads as the same have the same form, however they were written and whichever client stored them. Pure.

use crate::resources::scanner::{Passed, Place, Scanner};

/// The text of an expression or of the body of a view, a trigger, a routine or an event.
pub fn canonical(text: &str) -> String {
    let mut raw = tokens(text);
    // MySQL keeps the end of the statement that created a stored program, if others follow it.
    while raw.last().is_some_and(|last| last == ";") {
        raw.pop();
    }
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < raw.len() {
        let (token, width) = match (raw[i].as_str(), raw.get(i + 1), raw.get(i + 2)) {
            // A character set in front of a string, and its text in hexadecimal or in quotes.
            (word, Some(next), Some(quoted)) if is_introducer(word) && is(next, "X") && quoted.starts_with('\'') => {
                (from_hex(quoted).unwrap_or_else(|| quoted.clone()), 3)
            }
            (word, Some(next), _) if is_introducer(word) && next.starts_with('\'') => (next.clone(), 2),
            // MariaDB keeps the texts of stored programs without the character set.
            (word, Some(quoted), _) if is(word, "X") && quoted.starts_with('\'') => match from_hex(quoted) {
                Some(text) => (text, 2),
                None => (word.to_string(), 1),
            },
            (token, ..) => (token.to_string(), 1),
        };
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&token);
        i += width;
    }
    out
}

/// As [`canonical`], for what MySQL stores with its quotes and backslashes escaped once more: `_utf8mb4\'it\\\'s\'`.
pub fn canonical_escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    canonical(&plain)
}

/// A string as a token of the canonical form.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as a token of the canonical form: bare if that is a plain word.
pub fn name(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    match text.chars().all(is_plain) && text.chars().any(|c| !c.is_ascii_digit()) {
        true => text.to_string(),
        false => format!("`{}`", text.replace('`', "``")),
    }
}

fn tokens(text: &str) -> Vec<String> {
    let (mut scanner, mut found, mut i, mut joins) = (Scanner::default(), Vec::<String>::new(), 0, false);
    while i < text.len() {
        let (passed, width) = scanner.step(&text.as_bytes()[i..]);
        let Place::Quoted(quote) = scanner.place else {
            if matches!(passed, Passed::Token | Passed::End | Passed::EmptyEnd) {
                let part = &text[i..i + width];
                match found.last_mut() {
                    Some(last) if joins && is_continued(last, part) => last.push_str(part),
                    _ => found.push(part.to_string()),
                }
            }
            joins = passed == Passed::Token;
            i += width;
            continue;
        };
        let (value, end) = unquote(text, i + width, char::from(quote));
        found.push(if quote == b'`' { name(&value) } else { quoted(&value) });
        (scanner.place, i, joins) = (Place::Code, end, false);
    }
    found
}

/// The value that begins at `start`, behind its opening quote, and the position behind its closing one.
fn unquote(text: &str, start: usize, quote: char) -> (String, usize) {
    let (mut value, mut chars) = (String::new(), text[start..].char_indices().peekable());
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote != '`' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, 'r')) => value.push('\r'),
                Some((_, '0')) => value.push('\0'),
                Some((_, other)) => value.push(other),
                None => {}
            },
            c if c == quote => match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                    value.push(quote);
                }
                _ => return (value, start + at + c.len_utf8()),
            },
            c => value.push(c),
        }
    }
    (value, text.len())
}

/// Whether two parts with no space between them are one token: `<>`, `0.5`.
fn is_continued(token: &str, part: &str) -> bool {
    let is_operator = |text: &str| text.bytes().all(|byte| b"<>=!|&:".contains(&byte));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match token.strip_suffix('.') {
        Some(digits) if !digits.is_empty() => is_digits(digits) && is_digits(part),
        _ => is_operator(token) && is_operator(part) || is_digits(token) && part == ".",
    }
}

fn is(token: &str, word: &str) -> bool {
    token.eq_ignore_ascii_case(word)
}

/// `_utf8mb4` and the like, but not `_binary`, by which a string is another value.
fn is_introducer(word: &str) -> bool {
    ["_utf8mb4", "_utf8mb3", "_utf8", "_latin1", "_ascii"].iter().any(|set| is(word, set))
}

fn from_hex(token: &str) -> Option<String> {
    let digits = token.trim_matches('\'');
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    Some(quoted(&String::from_utf8(bytes?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_mean_the_same_have_one_form() {
        for (text, form) in [
            ("`e` > 0", "e > 0"),
            ("e>0.50", "e > 0.50"),
            ("(`a` <> 'no\\'t')", "( a <> 'no''t' )"),
            ("(a <> \"no't\")", "( a <> 'no''t' )"),
            ("(a <> _utf8mb4'no''t')", "( a <> 'no''t' )"),
            ("(a <> _utf8mb4 X'6E6F2774')", "( a <> 'no''t' )"),
            ("(a <> X'6E6F2774')", "( a <> 'no''t' )"),
            ("(a <> _latin1'x')", "( a <> 'x' )"),
            ("SET NEW.a = 1 /* why */ -- so\n", "SET NEW . a = 1"),
            ("SET\r\n  NEW.`a`=1;", "SET NEW . a = 1"),
            ("select `a b`.`1`", "select `a b` . `1`"),
            ("select `a``b`", "select `a``b`"),
            ("'x' 'y'", "'x' 'y'"),
            ("'a''b'", "'a''b'"),
            ("'é\\\\'", "'é\\'"),
        ] {
            assert_eq!(canonical(text), form, "{text:?}");
        }
        assert_eq!(canonical_escaped("concat(`a`,_utf8mb4\\'q\\\\\\'r\\')"), "concat ( a , 'q''r' )");
    }

    #[test]
    fn texts_that_mean_different_things_have_different_forms() {
        for (one, other) in [
            ("'x  y'", "'x y'"),
            ("'a'", "`a`"),
            ("_binary'a'", "'a'"),
            ("'1'", "1"),
            ("`1`", "1"),
            ("a < > b", "a <> b"),
            ("/*! a */", ""),
            ("X'FF'", "'FF'"),
        ] {
            assert_ne!(canonical(one), canonical(other), "{one:?} {other:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn strings_and_names_are_read_back(value in "\\PC*|['`\"\\\\]{0,5}") {
            proptest::prop_assert_eq!(canonical(&crate::db::literal(&value)), quoted(&value));
            if !value.is_empty() {
                proptest::prop_assert_eq!(canonical(&crate::db::ident(&value)), name(&value));
            }
        }

        #[test]
        fn any_text_has_a_form(text in "\\PC*") {
            let _ = (canonical(&text), canonical_escaped(&text));
        }
    }
}
