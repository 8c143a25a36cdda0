//! Event states and the patterns that subscribe to them. Both are checked once, where bytes or text enter; a [`State`] or
//! a [`Pattern`] is always valid.

use super::Error;
use std::fmt;

/// The longest state or pattern, in bytes.
pub const MAX_STATE: usize = 64;

/// The state of an event: 1 to 64 of `A-Z a-z 0-9 _ . : -`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State<'a>(&'a str);

impl<'a> State<'a> {
    /// Checks a state.
    ///
    /// # Errors
    /// [`Error::State`]: the text is too long, empty, or has other characters.
    pub fn new(text: &'a str) -> Result<State<'a>, Error> {
        match (1..=MAX_STATE).contains(&text.len()) && plain(text) {
            true => Ok(State(text)),
            false => Err(refused(text)),
        }
    }

    /// Its text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Which states a subscription wants: one by its name, or all with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pattern<'a> {
    /// The state with this name.
    Exact(&'a str),
    /// All states that begin with this text; written with a `*` at the end.
    Prefix(&'a str),
}

impl<'a> Pattern<'a> {
    /// Checks a pattern: a state, or a prefix of one followed by `*`, at most 64 characters together.
    ///
    /// # Errors
    /// [`Error::State`]: the text is neither.
    pub fn new(text: &'a str) -> Result<Pattern<'a>, Error> {
        match text.strip_suffix('*') {
            Some(prefix) if text.len() <= MAX_STATE && plain(prefix) => Ok(Pattern::Prefix(prefix)),
            Some(_) => Err(refused(text)),
            None => State::new(text).map(|state| Pattern::Exact(state.0)),
        }
    }

    /// Whether it matches this state.
    pub fn matches(self, state: &str) -> bool {
        match self {
            Pattern::Exact(name) => name == state,
            Pattern::Prefix(prefix) => state.starts_with(prefix),
        }
    }

    /// Whether it matches every state that `other` matches.
    pub fn covers(self, other: Pattern<'_>) -> bool {
        match (self, other) {
            (Pattern::Prefix(prefix), Pattern::Exact(text) | Pattern::Prefix(text)) => text.starts_with(prefix),
            (Pattern::Exact(one), Pattern::Exact(other)) => one == other,
            (Pattern::Exact(_), Pattern::Prefix(_)) => false,
        }
    }
}

impl fmt::Display for Pattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Exact(name) => f.write_str(name),
            Pattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

fn plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}

/// The error quotes no more of an untrusted text than a state can have.
fn refused(text: &str) -> Error {
    Error::State(text.chars().take(MAX_STATE).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let longest = "x".repeat(MAX_STATE);
        for good in ["A", "Completed", "a_b.c:d-9", &longest] {
            assert_eq!(State::new(good).map(State::as_str), Ok(good));
        }
        let too_long = "x".repeat(MAX_STATE + 1);
        for bad in ["", "*", "A*", "a b", "ä", "a\n", "a\0", "a/b", &too_long] {
            assert!(State::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn patterns() {
        let longest = format!("{}*", "x".repeat(MAX_STATE - 1));
        for (text, yes, no) in [
            ("A", "A", "AB"),
            ("A*", "AB", "B"),
            ("A*", "A", "a"),
            (&longest, &longest[..63], "x"),
            ("a.b", "a.b", "a"),
        ] {
            let pattern = Pattern::new(text).unwrap();
            assert_eq!(pattern.to_string(), text);
            assert!(pattern.matches(yes) && !pattern.matches(no), "{text}");
        }
        assert!(Pattern::new("*").unwrap().matches("anything"));
        for (one, other, covers) in [
            ("*", "A*", true),
            ("A*", "A*", true),
            ("A*", "AB", true),
            ("A*", "*", false),
            ("A", "A", true),
            ("A", "A*", false),
            ("AB*", "A", false),
        ] {
            assert_eq!(Pattern::new(one).unwrap().covers(Pattern::new(other).unwrap()), covers, "{one} {other}");
        }
        let too_long = format!("{}*", "x".repeat(MAX_STATE));
        for bad in ["", "**", "*A", "A*B", "a b*", "ä*", &too_long] {
            assert!(Pattern::new(bad).is_err(), "{bad:?}");
        }
    }
}
