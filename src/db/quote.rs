//! Names and values as SQL text. resq prepares no statements: each would cost a round trip more where it runs once, and
//! a place of `max_prepared_stmt_count`, which other applications may have used up.

/// `name` as an SQL identifier.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `text` as an SQL string literal that is the same literal in every `sql_mode` and character set, and that cannot end
/// whatever it is put into by mistake: nothing but letters, digits and a few marks between quotes, everything else in
/// hexadecimal. A server that reads quotes by other rules (`NO_BACKSLASH_ESCAPES`, gbk) reads these all the same.
pub fn literal(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '.' | ':' | '@' | '-');
    if text.chars().all(is_plain) {
        return format!("'{text}'");
    }
    let digits: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    format!("_utf8mb4 X'{digits}'")
}

/// A condition: `column` starts with `prefix`.
pub fn starts_with(column: &str, prefix: &str) -> String {
    let escaped = prefix.replace('|', "||").replace('%', "|%").replace('_', "|_");
    format!("{column} LIKE {} ESCAPE '|'", literal(&format!("{escaped}%")))
}

/// `1,2,3`, for an IN list of numbers.
pub fn id_list<'a>(ids: impl IntoIterator<Item = &'a u64>) -> String {
    ids.into_iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

/// A condition that leaves out the rows with these ids; empty without any. Written as a sum, so that the optimizer does
/// not choose the primary key for it.
pub fn except(column: &str, ids: &[u64]) -> String {
    if ids.is_empty() { String::new() } else { format!("AND {column} + 0 NOT IN ({})", id_list(ids)) }
}
