//! SQL templates: text with `{{NAME}}` placeholders becomes a script. A value is rendered by its kind and only where the
//! server reads a token, never inside quotes or a comment, so no value can be read as anything else. Pure; reads no
//! files.

use std::fmt;

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
    /// Those that files of `init_db` and `init_tables` may use.
    pub const OF_INIT: &[Variable] = &[Variable::GlobalDbName];
    /// Those that files of `res_db` and `res_tables` may use.
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
}

/// The values of one rendering, unquoted.
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
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Variable(Variable),
}

/// A mistake in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The file, as in [`Template::name`].
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub mistake: Mistake,
}

/// What can be wrong in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// `{{` without `}}`.
    Unclosed,
    /// A placeholder of this name does not exist here; these do.
    Unknown {
        /// The name in the file.
        name: String,
        /// The placeholders that the file may use.
        allowed: &'static [Variable],
    },
    /// A placeholder inside quotes or a comment.
    Misplaced {
        /// The placeholder.
        variable: Variable,
        /// Where it is: `quotes`, `back-quotes` or `a comment`.
        inside: &'static str,
    },
    /// Quotes or a comment that are never closed.
    Endless(&'static str),
    /// A DELIMITER line of the command-line client.
    Delimiter,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        match &self.mistake {
            Mistake::Unclosed => f.write_str("`{{` without `}}`"),
            Mistake::Unknown { name, allowed } => {
                let known: Vec<_> = allowed.iter().map(|variable| format!("{{{{{}}}}}", variable.name())).collect();
                write!(f, "unknown variable {{{{{name}}}}}; this file may use {}", known.join(", "))
            }
            Mistake::Misplaced { variable, inside } => {
                write!(f, "{{{{{}}}}} inside {inside}; write it bare, its value is quoted as needed", variable.name())
            }
            Mistake::Endless(place) => write!(f, "{place} opened here and never closed"),
            Mistake::Delimiter => f.write_str(
                "DELIMITER is a command of the command-line client; remove it, the server recognises the end of a stored program",
            ),
        }
    }
}

impl std::error::Error for TemplateError {}

/// Where the scanner is. Only in `Code` is text read as tokens.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Code,
    /// Up to this quote; inside `'` and `"` a backslash escapes the next character.
    Quoted(u8),
    LineComment,
    BlockComment,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Place::Code => "code",
            Place::Quoted(b'`') => "back-quotes",
            Place::Quoted(_) => "quotes",
            Place::LineComment | Place::BlockComment => "a comment",
        }
    }
}

/// Parses the text of the file `name`, which may use the variables `allowed`. None: the file holds only space and
/// comments, which a server would refuse as an empty query.
///
/// # Errors
/// The first mistake, with its line.
pub fn parse(name: &str, text: &str, allowed: &'static [Variable]) -> Result<Option<Template>, TemplateError> {
    let bytes = text.as_bytes();
    let error = |at: usize, mistake: Mistake| TemplateError {
        file: name.to_string(),
        line: 1 + bytes[..at].iter().filter(|b| **b == b'\n').count(),
        mistake,
    };
    let mut pieces = Vec::new();
    let (mut place, mut opened, mut i) = (Place::Code, 0, 0);
    // Text is copied up to `end`, the end of the last token, so that a comment after the last statement is left out.
    let (mut start, mut end) = (0, 0);
    while i < bytes.len() {
        if bytes[i..].starts_with(b"{{") {
            let close = text[i..].find("}}").ok_or_else(|| error(i, Mistake::Unclosed))? + i;
            let name = text[i + 2..close].trim();
            let Some(variable) = allowed.iter().copied().find(|variable| variable.name() == name) else {
                return Err(error(i, Mistake::Unknown { name: name.into(), allowed }));
            };
            if place != Place::Code {
                return Err(error(i, Mistake::Misplaced { variable, inside: place.name() }));
            }
            pieces.extend([Piece::Text(text[start..i].to_string()), Piece::Variable(variable)]);
            i = close + 2;
            (start, end) = (i, i);
            continue;
        }
        let (next, width) = step(place, &bytes[i..]);
        match (place, next) {
            (Place::Code, Place::Code) if starts_line(&bytes[..i]) && has_word(&bytes[i..], b"DELIMITER") => {
                return Err(error(i, Mistake::Delimiter));
            }
            (Place::Code, Place::Code) if !bytes[i].is_ascii_whitespace() => end = i + width,
            (Place::Code, _) => opened = i,
            (Place::Quoted(_), _) => end = i + width,
            _ => {}
        }
        (place, i) = (next, i + width);
    }
    if matches!(place, Place::Quoted(_) | Place::BlockComment) {
        return Err(error(opened, Mistake::Endless(place.name())));
    }
    pieces.push(Piece::Text(text[start..end.max(start)].to_string()));
    let empty = pieces.iter().all(|piece| matches!(piece, Piece::Text(text) if text.trim().is_empty()));
    Ok((!empty).then(|| Template { name: name.to_string(), pieces }))
}

/// One step of the scanner: the place after the first bytes of `rest`, and how many bytes those are.
fn step(place: Place, rest: &[u8]) -> (Place, usize) {
    match (place, rest[0]) {
        (Place::Code, quote @ (b'\'' | b'"' | b'`')) => (Place::Quoted(quote), 1),
        (Place::Code, b'#') => (Place::LineComment, 1),
        // Two dashes begin a comment only before a space or the end: `5--2` is an expression.
        (Place::Code, b'-') if rest.get(1) == Some(&b'-') && rest.get(2).is_none_or(|b| *b <= b' ') => {
            (Place::LineComment, 2)
        }
        (Place::Code, b'/') if rest.get(1) == Some(&b'*') => (Place::BlockComment, 2),
        (Place::Quoted(b'\'' | b'"'), b'\\') => (place, rest.len().min(2)),
        // A doubled quote is read as closing and opening again, with the same effect.
        (Place::Quoted(quote), b) if b == quote => (Place::Code, 1),
        (Place::LineComment, b'\n') => (Place::Code, 1),
        (Place::BlockComment, b'*') if rest.get(1) == Some(&b'/') => (Place::Code, 2),
        _ => (place, 1),
    }
}

fn starts_line(before: &[u8]) -> bool {
    before.iter().rev().take_while(|b| **b != b'\n').all(u8::is_ascii_whitespace)
}

fn has_word(rest: &[u8], word: &[u8]) -> bool {
    rest.len() > word.len() && rest[..word.len()].eq_ignore_ascii_case(word) && rest[word.len()].is_ascii_whitespace()
}

impl Template {
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
        check("SELECT {{RES_NAME}}, {{ RES_ID }},{{RES_URL}}", Ok(Some(r"SELECT 'it\'s\\', 7,''")));
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
        check("/*! {{RES_ID}} */", Err((1, "inside a comment")));
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
        /// Whatever a name holds, the scanner that read the template reads the rendered script as the same tokens:
        /// the value opens and closes its own quotes, and what follows it is code again.
        #[test]
        fn no_value_leaves_its_place(name in "\\PC*|[`'\"\\\\;\n\0#/*-]{0,20}") {
            let text = "SELECT {{RES_NAME}} ; USE {{RES_DB_NAME}} ; {{RES_ID}}";
            let template = parse("f.sql", text, Variable::OF_RESOURCE).unwrap().unwrap();
            let script = template.render(&Values { res_name: &name, res_db: &name, ..Values::default() });
            let (mut place, mut i, mut statements) = (Place::Code, 0, 1);
            while i < script.len() {
                let (next, width) = step(place, &script.as_bytes()[i..]);
                statements += usize::from(place == Place::Code && script.as_bytes()[i] == b';');
                (place, i) = (next, i + width);
            }
            prop_assert!(place == Place::Code && statements == 3, "{script:?}");
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC*") {
            let _ = parse("f.sql", &text, Variable::OF_RESOURCE);
        }
    }
}
