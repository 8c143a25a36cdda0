//! The statements in the log: BEGIN and COMMIT, DDL, and what a session with `binlog_format=STATEMENT` did.

use std::borrow::Cow;

use super::{
    bytes::{Bytes, Malformed},
    compressed, kind,
};

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Its text, in the session's character set.
    pub text: Cow<'a, [u8]>,
}

impl<'a> Statement<'a> {
    /// The statement in the body of an event of this type.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse(kind: u8, body: &'a [u8]) -> Result<Statement<'a>, Malformed> {
        let mut body = Bytes(body);
        // The session's number, how long it took.
        body.take(8)?;
        let db_bytes: usize = body.byte()?.into();
        // Its error.
        body.take(2)?;
        let variables = body.little(2)?;
        body.take(variables as usize)?;
        body.take(db_bytes + 1)?;
        let text = match kind {
            kind::QUERY_COMPRESSED => Cow::Owned(compressed::unpack(body.0)?),
            _ => Cow::Borrowed(body.0),
        };
        Ok(Statement { text })
    }

    /// Its first word in capital letters; the first two of an XA statement.
    pub fn verb(&self) -> String {
        let mut words = Words(&self.text);
        match words.next() {
            xa if xa == "XA" => format!("XA {}", words.next()),
            verb => verb,
        }
    }

    /// Whether it is ROLLBACK TO a savepoint.
    pub fn is_to_savepoint(&self) -> bool {
        let mut words = Words(&self.text);
        words.next() == "ROLLBACK" && words.next() == "TO"
    }
}

/// The words of a statement, as far as they are letters.
struct Words<'a>(&'a [u8]);

impl Words<'_> {
    /// Longer than every keyword.
    const LONGEST: usize = 16;

    fn next(&mut self) -> String {
        loop {
            self.0 = self.0.trim_ascii_start();
            let end: &[u8] = match self.0 {
                [b'/', b'*', ..] => b"*/",
                [b'#', ..] | [b'-', b'-', ..] => b"\n",
                _ => break,
            };
            let at = self.0.windows(end.len()).skip(2).position(|part| part == end);
            self.0 = at.map_or(&[], |at| &self.0[at + 2 + end.len()..]);
        }
        let letters = self.0.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (word, rest) = self.0.split_at(letters);
        self.0 = rest;
        String::from_utf8_lossy(&word[..letters.min(Words::LONGEST)]).to_ascii_uppercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verb_is_the_first_word_behind_comments() {
        for (text, verb) in [
            ("BEGIN", "BEGIN"),
            ("  insert into t values (1)", "INSERT"),
            ("/* a */ -- b\n# c\n update t", "UPDATE"),
            ("/*!40000 ALTER */ drop table t", "DROP"),
            ("XA START 'a'", "XA START"),
            ("xa commit 'a'", "XA COMMIT"),
            ("(SELECT 1)", ""),
            ("/* never ends", ""),
            ("#", ""),
            ("/*/", ""),
            ("", ""),
        ] {
            let statement = Statement { text: Cow::Borrowed(text.as_bytes()) };
            assert_eq!(statement.verb(), verb, "{text}");
        }
    }

    #[test]
    fn text_follows_the_variables_and_the_database() {
        let mut body = vec![0; 8];
        body.extend([2, 0, 0, 3, 0, 9, 9, 9]);
        body.extend(b"db\0COMMIT");
        assert_eq!(Statement::parse(kind::QUERY, &body).unwrap().verb(), "COMMIT");
        for end in 0..body.len() - 6 {
            assert!(Statement::parse(kind::QUERY, &body[..end]).is_err(), "{end}");
        }
    }
}
