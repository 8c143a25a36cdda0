//! Names and values as SQL text, for the places where a statement takes no parameter.

/// `name` as an SQL identifier.
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `text` as an SQL string literal under the session's `sql_mode`.
pub fn literal(text: &str) -> String {
    mysql::Value::from(text).as_sql(false)
}

/// `1,2,3`, for an IN list of numbers.
pub fn id_list<'a>(ids: impl IntoIterator<Item = &'a u64>) -> String {
    ids.into_iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}
