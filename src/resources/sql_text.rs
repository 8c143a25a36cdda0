//! SQL text as tokens, so that two texts of one statement are equal whatever their comments and white space: clients
//! strip comments when they restore a dump. Pure.

use super::scanner::{Passed, Place, Scanner};

/// The tokens of `text` without comments. A quoted string is one token, quotes included; of operators and punctuation,
/// each character is one.
pub fn tokens(text: &str) -> Vec<String> {
    spans(text).into_iter().map(|(token, _)| token).collect()
}

/// The tokens, each with the position where it ends.
fn spans(text: &str) -> Vec<(String, usize)> {
    let (mut scanner, mut found, mut quoted, mut i) = (Scanner::default(), Vec::new(), String::new(), 0);
    while i < text.len() {
        let before = scanner.place;
        let (passed, width) = scanner.step(&text.as_bytes()[i..]);
        let part = &text[i..i + width];
        // A doubled quote closes and opens again: both halves are one string.
        if before == Place::Code && matches!(scanner.place, Place::Quoted(_)) && text[..i].ends_with(part) {
            (quoted, _) = found.pop().unwrap_or_default();
        }
        i += width;
        match (before, scanner.place, passed) {
            (_, Place::Quoted(_), Passed::Token) => quoted.push_str(part),
            (Place::Quoted(_), _, _) => found.push((std::mem::take(&mut quoted) + part, i)),
            (_, _, Passed::Token | Passed::End | Passed::EmptyEnd) => found.push((part.to_string(), i)),
            (_, _, Passed::Space | Passed::Comment) => {}
        }
    }
    found
}

/// The tokens of each statement of a script. Statements inside a stored program belong to the statement that creates it.
pub fn statements(script: &str) -> Vec<Vec<String>> {
    pieces(script).into_iter().map(|(_, tokens)| tokens).collect()
}

/// Each statement of a script, as it is written and as tokens.
pub fn pieces(script: &str) -> Vec<(&str, Vec<String>)> {
    let (mut found, mut current, mut depth) = (Vec::new(), Vec::<String>::new(), 0_usize);
    let mut start = 0;
    let mut rest = spans(script).into_iter().peekable();
    while let Some((token, end)) = rest.next() {
        // As dumps write it: /*!50003 CREATE TRIGGER … */.
        let first = current.iter().find(|token| !token.starts_with("/*"));
        let is_program = first.is_some_and(|first| is(first, "CREATE"));
        if token == ";" && depth == 0 {
            found.push((&script[start..end - 1], std::mem::take(&mut current)));
            start = end;
            continue;
        }
        if is_program && (is(&token, "BEGIN") || is(&token, "CASE")) {
            depth += 1;
        }
        // END IF, END LOOP, … end what was not counted.
        let ends_other = |next: &String| ["IF", "LOOP", "WHILE", "REPEAT"].iter().any(|word| is(next, word));
        if is(&token, "END") && !rest.peek().is_some_and(|(next, _)| ends_other(next)) {
            depth = depth.saturating_sub(1);
            if rest.peek().is_some_and(|(next, _)| is(next, "CASE")) {
                current.push(token);
                current.extend(rest.next().map(|(token, _)| token));
                continue;
            }
        }
        current.push(token);
    }
    found.push((&script[start..], current));
    found.retain(|(_, tokens)| !tokens.is_empty());
    found
}

/// Whether `token` is this word, which is compared without case as SQL does.
pub fn is(token: &str, word: &str) -> bool {
    token.eq_ignore_ascii_case(word)
}

/// The position of the first of these words.
pub fn position(tokens: &[String], word: &str) -> Option<usize> {
    tokens.iter().position(|token| is(token, word))
}

/// A name without its quotes.
pub fn unquoted(token: &str) -> String {
    token.trim_matches('`').replace("``", "`")
}

/// The text of a string literal.
pub fn literal(token: &str) -> String {
    let inner = token.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    inner.unwrap_or(token).replace("''", "'")
}

/// The tokens inside the parentheses that open at `tokens[0]`, divided at the commas between them.
pub fn list(tokens: &[String]) -> Vec<&[String]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 1);
    for (i, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && token == ",") {
            parts.push(&tokens[start.min(i)..i]);
            start = i + 1;
        }
        if depth == 0 {
            break;
        }
    }
    parts
}

/// The tokens as text that a server reads as the same statement.
pub fn text(tokens: &[String]) -> String {
    let mut text = String::new();
    for token in tokens {
        if !text.is_empty() && !text.ends_with('(') && !matches!(token.as_str(), "(" | ")" | ",") {
            text.push(' ');
        }
        text.push_str(token);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_its_comments_and_line_ends_has_the_same_tokens() {
        let text = "BEGIN\n  -- why\n  SET a = 'it''s -- no comment'; /* x */ # y\n  DO `b`();\nEND";
        for other in [
            "BEGIN\r\n  SET a = 'it''s -- no comment';   DO `b`();\r\nEND",
            "BEGIN SET a='it''s -- no comment';DO `b`();END",
        ] {
            assert_eq!(tokens(other), tokens(text), "{other}");
        }
        assert_ne!(tokens("SET a = 'x  y'"), tokens("SET a = 'x y'"));
        assert_eq!(tokens("f('a ''b', '')"), ["f", "(", "'a ''b'", ",", "''", ")"]);
        assert_eq!(tokens("é 'ü🕴' /* ñ */ # ß\n`ø`"), ["é", "'ü🕴'", "`ø`"]);
    }

    #[test]
    fn statements_of_a_stored_program_stay_together() {
        let script = "DROP PROCEDURE IF EXISTS p; CREATE PROCEDURE p() BEGIN IF 1 THEN DO 1; END IF; \
                      CASE 1 WHEN 1 THEN DO 2; END CASE; BEGIN DO 3; END; END; BEGIN; COMMIT";
        let first: Vec<String> =
            pieces(script).iter().map(|(_, tokens)| tokens[..2.min(tokens.len())].join(" ")).collect();
        assert_eq!(first, ["DROP PROCEDURE", "CREATE PROCEDURE", "BEGIN", "COMMIT"]);
        let written: Vec<&str> = pieces(script).into_iter().map(|(text, _)| text).collect();
        assert_eq!(written.join(";"), script);
    }

    #[test]
    fn lists_are_divided_at_their_own_commas() {
        let tokens = tokens("(a INT DEFAULT (1, 2), KEY k (b, c)) ENGINE = InnoDB");
        let parts: Vec<String> = list(&tokens).into_iter().map(text).collect();
        assert_eq!(parts, ["a INT DEFAULT(1, 2)", "KEY k(b, c)"]);
    }
}
