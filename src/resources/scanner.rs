//! Reads SQL text as the lexers of MySQL and MariaDB do, as far as a template needs it: what is code, what is quoted, what
//! is a comment, and whether the session's state may have changed afterwards. Pure; never changes the text.
//!
//! Sources: MySQL Reference Manual, "Comments" and "String Literals"; MariaDB, "Comment Syntax"; `sql_lex.cc` of both.

/// Where the scanner is. Only in `Code` is text read as tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Outside quotes and comments; also inside an executable comment (`/*! … */`, `/*M! … */`).
    Code,
    /// Up to this quote; inside `'` and `"` a backslash escapes the next character.
    Quoted(u8),
    /// Up to the end of the line, which is a line feed: for a server, a carriage return alone does not end a line.
    LineComment,
    /// Up to `*/`.
    BlockComment,
}

impl Place {
    /// The place as named in messages.
    pub fn name(self) -> &'static str {
        match self {
            Place::Code => "code",
            Place::Quoted(b'`') => "back-quotes",
            Place::Quoted(_) => "quotes",
            Place::LineComment | Place::BlockComment => "a comment",
        }
    }
}

/// The first words of statements that leave the session's state unchanged.
const TRACELESS: &[&str] =
    &["CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE", "INSERT", "REPLACE", "UPDATE", "DELETE", "GRANT", "REVOKE"];
/// Words that mean a change of the session's state wherever they occur.
const TRACES: &[&str] = &["TEMPORARY", "GET_LOCK", "RELEASE_LOCK", "RELEASE_ALL_LOCKS", "LAST_INSERT_ID"];

/// The scanner's state between two steps.
#[derive(Clone, Debug)]
pub struct Scanner {
    /// Where the next byte is.
    pub place: Place,
    /// Inside an executable comment: the next `*/` in code closes it.
    in_executable: bool,
    /// No token of the current statement has been read yet.
    at_start: bool,
    /// A statement may have changed the session: settings, locks, user variables, an open transaction, the current
    /// database. In doubt, true.
    pub leaves_trace: bool,
}

impl Default for Scanner {
    fn default() -> Scanner {
        Scanner { place: Place::Code, in_executable: false, at_start: true, leaves_trace: false }
    }
}

/// What a step read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passed {
    /// White space in code.
    Space,
    /// A part of a comment.
    Comment,
    /// A part of a token, quoted or not, or a delimiter of an executable comment.
    Token,
    /// `;` after a statement.
    End,
    /// `;` without a statement before it, which a server refuses (error 1065, query was empty).
    EmptyEnd,
}

impl Scanner {
    /// Reads one step of `rest`, which must not be empty: what was read, and how many bytes. A step ends at a character
    /// boundary.
    pub fn step(&mut self, rest: &[u8]) -> (Passed, usize) {
        match (self.place, rest[0]) {
            (Place::Code, _) => self.code(rest),
            (Place::Quoted(b'\'' | b'"'), b'\\') => (Passed::Token, 1 + character(&rest[1..])),
            (Place::Quoted(quote), byte) => {
                // A doubled quote is treated as closing and opening again, with the same effect.
                if byte == quote {
                    self.place = Place::Code;
                }
                (Passed::Token, character(rest))
            }
            (Place::LineComment, b'\n') => self.comment_ends(1),
            (Place::BlockComment, b'*') if rest.get(1) == Some(&b'/') => self.comment_ends(2),
            (Place::LineComment | Place::BlockComment, _) => (Passed::Comment, character(rest)),
        }
    }

    /// Whether an executable comment is open.
    pub fn in_executable(&self) -> bool {
        self.in_executable
    }

    fn comment_ends(&mut self, width: usize) -> (Passed, usize) {
        self.place = Place::Code;
        (Passed::Comment, width)
    }

    fn code(&mut self, rest: &[u8]) -> (Passed, usize) {
        match rest[0] {
            b if b.is_ascii_whitespace() || b == 0x0b => (Passed::Space, 1),
            b'#' => self.opens(Place::LineComment, 1),
            // Two dashes begin a comment only before a space, a control character or the end: `5--2` is an expression.
            b'-' if rest.get(1) == Some(&b'-') && rest.get(2).is_none_or(|b| *b <= b' ' || *b == 0x7f) => {
                self.opens(Place::LineComment, 2)
            }
            b'/' if rest.get(1) == Some(&b'*') => match executable(rest) {
                Some(width) => {
                    self.in_executable = true;
                    (Passed::Token, width)
                }
                None => self.opens(Place::BlockComment, 2),
            },
            b'*' if self.in_executable && rest.get(1) == Some(&b'/') => {
                self.in_executable = false;
                (Passed::Token, 2)
            }
            b';' => match std::mem::replace(&mut self.at_start, true) {
                true => (Passed::EmptyEnd, 1),
                false => (Passed::End, 1),
            },
            quote @ (b'\'' | b'"' | b'`') => {
                self.token("");
                self.place = Place::Quoted(quote);
                (Passed::Token, 1)
            }
            b'@' => {
                // `@@name` only reads a setting, unless SET begins the statement.
                let width = if rest.get(1) == Some(&b'@') { 2 } else { 1 };
                self.leaves_trace |= width == 1;
                self.token("");
                (Passed::Token, width)
            }
            b if is_word(b) => {
                let width = rest.iter().take_while(|b| is_word(**b)).count();
                self.token(std::str::from_utf8(&rest[..width]).unwrap_or_default());
                (Passed::Token, width)
            }
            _ => {
                self.token("");
                (Passed::Token, 1)
            }
        }
    }

    /// A value was inserted here; it counts as a token.
    pub fn value(&mut self) {
        self.token("");
    }

    fn opens(&mut self, place: Place, width: usize) -> (Passed, usize) {
        self.place = place;
        (Passed::Comment, width)
    }

    fn token(&mut self, word: &str) {
        let is = |list: &[&str]| list.iter().any(|one| one.eq_ignore_ascii_case(word));
        if std::mem::take(&mut self.at_start) {
            self.leaves_trace |= !is(TRACELESS);
        }
        self.leaves_trace |= is(TRACES);
    }
}

/// The width of the opening of an executable comment: `/*!` or `/*M!`, with or without a version of five or six digits.
fn executable(rest: &[u8]) -> Option<usize> {
    let mark = [&b"/*!"[..], b"/*M!"].into_iter().find(|mark| rest.starts_with(mark))?.len();
    let digits = rest[mark..].iter().take(6).take_while(|b| b.is_ascii_digit()).count();
    Some(mark + if digits >= 5 { digits } else { 0 })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// The width of the first UTF-8 character; 0 at the end.
fn character(rest: &[u8]) -> usize {
    rest.first().map_or(0, |_| 1 + rest[1..].iter().take_while(|b| **b & 0xc0 == 0x80).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of a text, with each comment replaced by `~` and each quoted part by `q`.
    fn outline(text: &str) -> (String, Scanner) {
        let (mut scanner, mut out, mut i) = (Scanner::default(), String::new(), 0);
        while i < text.len() {
            let before = scanner.place;
            let (passed, width) = scanner.step(&text.as_bytes()[i..]);
            let mark = match (before, scanner.place, passed) {
                (Place::Quoted(_), Place::Code, _) => Some("q"),
                (Place::Quoted(_), ..) | (Place::Code, Place::Quoted(_), _) => None,
                (Place::Code, _, Passed::Comment) => Some("~"),
                (_, _, Passed::Comment) => None,
                _ => Some(&text[i..i + width]),
            };
            out.push_str(mark.unwrap_or_default());
            i += width;
        }
        (out, scanner)
    }

    #[test]
    fn code_is_distinguished_from_quotes_and_comments() {
        for (text, expected) in [
            ("a /* b */ c", "a ~ c"),
            ("a -- b\nc", "a ~c"),
            ("a --\tb\nc", "a ~c"),
            ("a --\u{7f}b\nc", "a ~c"),
            ("5--2", "5--2"),
            ("a --", "a ~"),
            ("a # b\r\nc", "a ~c"),
            ("a -- b\rc\nd", "a ~d"),
            ("'a''b' \"c\\\"d\" `e\\`", "qq q q"),
            ("'a\\'b' c", "q c"),
            ("'\\é' c", "q c"),
            ("a /*+ hint */ b", "a ~ b"),
            ("/*!50100 PARTITION /* x */ 'y' */ z", "/*!50100 PARTITION ~ q */ z"),
            ("/*M!100500 a */ b", "/*M!100500 a */ b"),
            ("/*m! a */ b", "~ b"),
            ("/*!a*/b", "/*!a*/b"),
            ("/*! -- x */\n y */ z", "/*! ~ y */ z"),
            ("a * / b */ c", "a * / b */ c"),
            ("/* a /* b */ c", "~ c"),
        ] {
            assert_eq!(outline(text).0, expected, "{text:?}");
        }
    }

    #[test]
    fn what_may_change_the_session_is_noticed() {
        for (text, traces) in [
            ("CREATE TABLE t (a INT) CHARACTER SET utf8mb4; INSERT INTO t VALUES (1)", false),
            ("insert into t select @@version", false),
            ("/*!40101 SET NAMES utf8 */; CREATE TABLE t (a INT)", true),
            ("CREATE TABLE t (a INT); /* now */ use other", true),
            ("SET autocommit = 0; INSERT INTO t VALUES (1)", true),
            ("INSERT INTO t VALUES (@a := 1)", true),
            ("CREATE TEMPORARY TABLE t (a INT)", true),
            ("INSERT INTO t VALUES (GET_LOCK('a', 1))", true),
            ("CALL p()", true),
            ("LOCK TABLES t WRITE", true),
            ("INSERT INTO t VALUES ('SET @a')", false),
        ] {
            assert_eq!(outline(text).1.leaves_trace, traces, "{text:?}");
        }
    }

    #[test]
    fn empty_statements_are_noticed() {
        for (text, empty) in [
            ("SELECT 1;;", true),
            ("SELECT 1; -- x\n ; SELECT 2", true),
            (";", true),
            ("SELECT 1; /*!99999 x */;", false),
            ("SELECT ';;' ; SELECT 2;", false),
        ] {
            let (mut scanner, mut i, mut found) = (Scanner::default(), 0, false);
            while i < text.len() {
                let (passed, width) = scanner.step(&text.as_bytes()[i..]);
                found |= passed == Passed::EmptyEnd;
                i += width;
            }
            assert_eq!(found, empty, "{text:?}");
        }
    }
}
