//! SQL templates: text with `{{NAME}}` placeholders becomes a script. A value is rendered according to its kind, and only
//! where the server expects a token, never inside quotes or a comment, so it cannot be read as anything else. Pure; reads
//! no files.

use super::scanner::{Passed, Place, Scanner};
use crate::db::{ident, literal};

/// A placeholder. Its name decides how its value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// `{{GLOBAL_DB_NAME}}`, an identifier.
    GlobalDbName,
    /// `{{RES_DB_NAME}}`, an identifier.
    ResDbName,
    /// `{{RES_NAME}}`, a string literal.
    ResName,
    /// `{{RES_TYPE}}`, a string literal.
    ResType,
    /// `{{RES_URL}}`, a string literal.
    ResUrl,
    /// `{{RES_ID}}`, a number.
    ResId,
}

impl Variable {
    /// The placeholders allowed in files of `init_db` and `init_tables`.
    pub const OF_INIT: &[Variable] = &[Variable::GlobalDbName];
    /// The placeholders allowed in files of `res_db` and `res_tables`.
    pub const OF_RESOURCE: &[Variable] = &[
        Variable::GlobalDbName,
        Variable::ResDbName,
        Variable::ResName,
        Variable::ResType,
        Variable::ResUrl,
        Variable::ResId,
    ];

    fn name(self) -> &'static str {
        match self {
            Variable::GlobalDbName => "GLOBAL_DB_NAME",
            Variable::ResDbName => "RES_DB_NAME",
            Variable::ResName => "RES_NAME",
            Variable::ResType => "RES_TYPE",
            Variable::ResUrl => "RES_URL",
            Variable::ResId => "RES_ID",
        }
    }

    fn list(variables: &[Variable]) -> String {
        variables.iter().map(|variable| format!("{{{{{}}}}}", variable.name())).collect::<Vec<_>>().join(", ")
    }
}

/// The values for one rendering, unquoted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Values<'a> {
    /// The database of the queue.
    pub global_db: &'a str,
    /// The resource's database.
    pub res_db: &'a str,
    /// The column `res_name`.
    pub res_name: &'a str,
    /// The column `res_type`.
    pub res_type: &'a str,
    /// The column `res_url`; empty if that is NULL.
    pub res_url: &'a str,
    /// The column `res_id`.
    pub res_id: u64,
}

impl Values<'_> {
    fn render(&self, variable: Variable) -> String {
        match variable {
            Variable::GlobalDbName => ident(self.global_db),
            Variable::ResDbName => ident(self.res_db),
            Variable::ResName => literal(self.res_name),
            Variable::ResType => literal(self.res_type),
            Variable::ResUrl => literal(self.res_url),
            Variable::ResId => self.res_id.to_string(),
        }
    }
}

/// A checked file: text and placeholders.
#[derive(Clone, Debug)]
pub struct Template {
    /// The file's path below the folder of templates, for messages: `res_tables/010_common.sql`.
    pub name: String,
    /// The file may change the session that runs it: a setting, a lock, a user variable, an open transaction, a different
    /// current database. That session must be reset before it runs another file.
    pub leaves_trace: bool,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Variable(Variable),
}

/// A mistake in a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {mistake}")]
pub struct TemplateError {
    /// The file, as in [`Template::name`].
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub mistake: Mistake,
}

/// What can be wrong in a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// `{{` without `}}`.
    #[error("`{{{{` without `}}}}`")]
    Unclosed,
    /// The placeholder does not exist, or is not allowed in this file.
    #[error(
        "unknown variable {{{{{name}}}}}; this file may use {}; to write {{{{ itself, write {}",
        Variable::list(allowed),
        ESCAPE
    )]
    Unknown {
        /// The name in the file.
        name: String,
        /// The placeholders allowed in this file.
        allowed: &'static [Variable],
    },
    /// A placeholder inside quotes or a comment.
    #[error("{{{{{}}}}} inside {inside}; write it bare, its value is quoted as needed", .variable.name())]
    Misplaced {
        /// The placeholder.
        variable: Variable,
        /// Where it is: `quotes`, `back-quotes` or `a comment`.
        inside: &'static str,
    },
    /// Quotes or a comment that are never closed.
    #[error("{0} opened here and never closed")]
    Endless(&'static str),
    /// A DELIMITER line of the command-line client.
    #[error(
        "DELIMITER is a command of the command-line client; remove it, the server recognises the end of a stored program"
    )]
    Delimiter,
    /// A statement without text: `;;`.
    #[error("a statement without text, which a server refuses (error 1065); remove the `;`")]
    Empty,
    /// A carriage return without a line feed inside a line comment, followed by text.
    #[error(
        "a line comment ends at a line feed only, so the server would skip what follows; save the file with line feeds"
    )]
    CarriageReturn,
    /// A NUL character.
    #[error("a NUL character; save the file as UTF-8 text")]
    Nul,
}

/// How to write `{{` where no placeholder is meant.
const ESCAPE: &str = "{{'{{'}}";

/// Parses the text of the file `name`, in which the variables `allowed` may be used. None: the file contains only white
/// space and comments, which a server would refuse as an empty query.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse(name: &str, text: &str, allowed: &'static [Variable]) -> Result<Option<Template>, TemplateError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let bytes = text.as_bytes();
    let error = |at: usize, mistake: Mistake| TemplateError {
        file: name.to_string(),
        line: 1 + bytes[..at].iter().filter(|b| **b == b'\n').count(),
        mistake,
    };
    let mut pieces = Vec::new();
    let (mut scanner, mut opened, mut i) = (Scanner::default(), 0, 0);
    // Text is copied up to `end`, the end of the last token, so that a comment after the last statement is left out.
    let (mut start, mut end) = (0, 0);
    while i < bytes.len() {
        if bytes[i..].starts_with(ESCAPE.as_bytes()) {
            pieces.push(Piece::Text(format!("{}{{{{", &text[start..i])));
            if scanner.place == Place::Code {
                scanner.value();
            }
            i += ESCAPE.len();
            (start, end) = (i, i);
            continue;
        }
        if bytes[i..].starts_with(b"{{") {
            let close = text[i..].find("}}").ok_or_else(|| error(i, Mistake::Unclosed))? + i;
            let name = text[i + 2..close].trim();
            let Some(variable) = allowed.iter().copied().find(|variable| variable.name() == name) else {
                return Err(error(i, Mistake::Unknown { name: name.into(), allowed }));
            };
            if scanner.place != Place::Code {
                return Err(error(i, Mistake::Misplaced { variable, inside: scanner.place.name() }));
            }
            scanner.value();
            pieces.extend([Piece::Text(text[start..i].to_string()), Piece::Variable(variable)]);
            i = close + 2;
            (start, end) = (i, i);
            continue;
        }
        let before = scanner.place;
        if before == Place::Code && starts_line(&bytes[..i]) && has_word(&bytes[i..], b"DELIMITER") {
            return Err(error(i, Mistake::Delimiter));
        }
        if before == Place::LineComment && bytes[i] == b'\r' && !ends_line(&bytes[i + 1..]) {
            return Err(error(i, Mistake::CarriageReturn));
        }
        if bytes[i] == 0 {
            return Err(error(i, Mistake::Nul));
        }
        let (passed, width) = scanner.step(&bytes[i..]);
        match passed {
            Passed::EmptyEnd => return Err(error(i, Mistake::Empty)),
            Passed::Token | Passed::End => end = i + width,
            Passed::Space | Passed::Comment => {}
        }
        if before == Place::Code && scanner.place != before {
            opened = i;
        }
        i += width;
    }
    if matches!(scanner.place, Place::Quoted(_) | Place::BlockComment) {
        return Err(error(opened, Mistake::Endless(scanner.place.name())));
    }
    if scanner.in_executable() {
        return Err(error(bytes.len(), Mistake::Endless("an executable comment")));
    }
    pieces.push(Piece::Text(text[start..end.max(start)].to_string()));
    let empty = pieces.iter().all(|piece| matches!(piece, Piece::Text(text) if text.trim().is_empty()));
    let leaves_trace = scanner.leaves_trace;
    Ok((!empty).then(|| Template { name: name.to_string(), leaves_trace, pieces }))
}

fn starts_line(before: &[u8]) -> bool {
    before.iter().rev().take_while(|b| !matches!(b, b'\n' | b'\r')).all(u8::is_ascii_whitespace)
}

/// Whether `rest`, which follows a carriage return, begins with a line feed or is only white space.
fn ends_line(rest: &[u8]) -> bool {
    rest.first() == Some(&b'\n') || rest.iter().all(u8::is_ascii_whitespace)
}

fn has_word(rest: &[u8], word: &[u8]) -> bool {
    rest.len() > word.len() && rest[..word.len()].eq_ignore_ascii_case(word) && rest[word.len()].is_ascii_whitespace()
}

/// More bytes than any rendered value has: the 500 characters of `res_url` as UTF-8 in hexadecimal.
const LONGEST_VALUE: usize = 4_096;
/// More bytes than a packet has beside the script: the command, and a USE of a database.
const AROUND: usize = 100;

impl Template {
    /// The size in bytes of the largest packet in which this template can be sent.
    pub fn max_bytes(&self) -> usize {
        let bytes = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Variable(_) => LONGEST_VALUE,
        });
        AROUND + bytes.sum::<usize>()
    }

    /// The whole script to send.
    pub fn render(&self, values: &Values) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Variable(variable) => values.render(*variable),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<Option<&str>, (usize, &str)>) {
        let values =
            Values { global_db: "resq", res_db: "res_a`b", res_name: "it's\\", res_type: "t", res_url: "", res_id: 7 };
        match (parse("f.sql", text, Variable::OF_RESOURCE), expected) {
            (Ok(template), Ok(expected)) => {
                assert_eq!(template.map(|t| t.render(&values)).as_deref(), expected, "{text:?}")
            }
            (Err(e), Err((line, what))) => assert!(e.line == line && e.to_string().contains(what), "{text:?}: {e}"),
            (got, expected) => panic!("{text:?}: {got:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn placeholders_are_rendered_by_kind_and_mistakes_are_found_with_their_line() {
        check("CREATE DATABASE {{RES_DB_NAME}};", Ok(Some("CREATE DATABASE `res_a``b`;")));
        check("SELECT {{RES_NAME}}, {{ RES_ID }},{{RES_URL}}", Ok(Some("SELECT _utf8mb4 X'697427735C', 7,''")));
        check("", Ok(None));
        check(" -- nothing\n/* at all */ # here\n", Ok(None));
        check("SELECT 1;\n-- done\n", Ok(Some("SELECT 1;")));
        check(
            "SELECT 5--2, 'a''b\\'', \"--\", `#` /* x */;  ",
            Ok(Some("SELECT 5--2, 'a''b\\'', \"--\", `#` /* x */;")),
        );
        check("SELECT 1;\n\nSELECT {{NOPE}}", Err((3, "unknown variable {{NOPE}}")));
        check("SELECT '{{RES_NAME}}'", Err((1, "inside quotes")));
        check("SELECT \"\\\"{{RES_NAME}}\"", Err((1, "inside quotes")));
        check("USE `x{{RES_DB_NAME}}`", Err((1, "inside back-quotes")));
        check("-- {{RES_ID}}", Err((1, "inside a comment")));
        check("/*! {{RES_ID}} */", Ok(Some("/*! 7 */")));
        check(
            "CREATE TABLE t (a INT)\n/*!50100 PARTITION BY HASH (a) */\n",
            Ok(Some("CREATE TABLE t (a INT)\n/*!50100 PARTITION BY HASH (a) */")),
        );
        check("/*!50003 CREATE TABLE c (a INT) */", Ok(Some("/*!50003 CREATE TABLE c (a INT) */")));
        check("/*!50003 CREATE TABLE c (a INT)", Err((1, "never closed")));
        check("\u{feff}SELECT 1", Ok(Some("SELECT 1")));
        check("SELECT 'Dear {{'{{'}}first_name}}'", Ok(Some("SELECT 'Dear {{first_name}}'")));
        check("SELECT 'Dear {{first_name}}'", Err((1, "{{'{{'}}")));
        check("SELECT 1; -- {{'{{'}}x}}\nSELECT 2", Ok(Some("SELECT 1; -- {{x}}\nSELECT 2")));
        check("SELECT 1;\n;", Err((2, "1065")));
        check("-- a\rSELECT 1", Err((1, "line feed")));
        check("-- a\r\nSELECT 1\r\n", Ok(Some("-- a\r\nSELECT 1")));
        check("SELECT 1,\r'a\rb'\r", Ok(Some("SELECT 1,\r'a\rb'")));
        check("SELECT 1;\nSELECT \0", Err((2, "NUL")));
        check("SELECT {{RES_ID", Err((1, "without `}}`")));
        check("SELECT\n'abc", Err((2, "never closed")));
        check("SELECT 1 /* abc", Err((1, "never closed")));
        check("SELECT 1;\ndelimiter //\n", Err((2, "DELIMITER")));
        check("SELECT 1;\n SET delimiter = 1", Ok(Some("SELECT 1;\n SET delimiter = 1")));
        check("{{RES_ID}}", Ok(Some("7")));
    }

    #[test]
    fn a_resources_variable_is_unknown_in_init_files() {
        assert!(parse("f.sql", "SELECT {{RES_ID}}", Variable::OF_INIT).is_err());
        assert!(parse("f.sql", "USE {{GLOBAL_DB_NAME}}", Variable::OF_INIT).is_ok());
    }

    proptest! {
        /// For any name, the scanner reads the rendered script as the same tokens as the template: the value opens and
        /// closes its own quotes, and code follows it.
        #[test]
        fn no_value_leaves_its_place(name in "\\PC*|[`'\"\\\\;\n\0#/*-]{0,20}") {
            let text = "SELECT {{RES_NAME}} ; USE {{RES_DB_NAME}} ; {{RES_ID}}";
            let template = parse("f.sql", text, Variable::OF_RESOURCE).unwrap().unwrap();
            let script = template.render(&Values { res_name: &name, res_db: &name, ..Values::default() });
            let (mut scanner, mut i, mut statements) = (Scanner::default(), 0, 1);
            while i < script.len() {
                let (passed, width) = scanner.step(&script.as_bytes()[i..]);
                statements += usize::from(passed == Passed::End);
                i += width;
            }
            prop_assert!(scanner.place == Place::Code && statements == 3, "{script:?}");
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            let _ = parse("f.sql", &text, Variable::OF_RESOURCE);
        }
    }
}
