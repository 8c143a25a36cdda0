//! One form for what servers write in several: types, defaults, options, definers, names that a server chose. Pure.

use super::text;

/// Display widths say nothing about the values of a column unless it is filled with zeros: `int(11)` is `int`.
pub fn column_type(found: &str) -> String {
    let lower = found.to_ascii_lowercase();
    let (word, rest) = lower.split_at(lower.find('(').unwrap_or(lower.len()));
    let has_width = matches!(word, "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year");
    match rest.find(')') {
        Some(end) if has_width && !lower.contains("zerofill") => format!("{word}{}", &rest[end + 1..]),
        // The values of ENUM and SET are written as they are.
        _ if matches!(word, "enum" | "set") => format!("{word}{}", &found[word.len()..]),
        _ => lower,
    }
}

/// `utf8` is an older name of `utf8mb3`.
pub fn collation(found: &str) -> String {
    found.strip_prefix("utf8_").map_or_else(|| found.to_string(), |rest| format!("utf8mb3_{rest}"))
}

/// A column's default as MariaDB writes it: always an expression, NULL included.
pub fn default_of_mariadb(found: Option<&str>) -> String {
    match found {
        None | Some("NULL") => "NULL".into(),
        Some(expression) => number(&text::canonical(expression)),
    }
}

/// A column's default as MySQL writes it: a value, or an expression if the server says so.
pub fn default_of_mysql(found: Option<&str>, is_expression: bool) -> String {
    match found {
        None => "NULL".into(),
        Some(expression) if is_expression => text::canonical_escaped(expression),
        Some(value) if value.starts_with("0x") || value.starts_with("b'") => value.into(),
        Some(value) => number(&text::quoted(value)),
    }
}

/// A number in quotes is that number.
fn number(literal: &str) -> String {
    let inner = literal.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    match inner {
        Some(inner)
            if inner.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) && inner.parse::<f64>().is_ok() =>
        {
            inner.into()
        }
        _ => literal.into(),
    }
}

/// What a column is beside its type: AUTO_INCREMENT, ON UPDATE, INVISIBLE, STORED or VIRTUAL.
pub fn extra(found: &str) -> String {
    let lower = found.to_ascii_lowercase().replace("default_generated", "");
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The options of a table, in the order of their names. Whether it has partitions is a property of its own.
pub fn table_options(found: &str) -> String {
    let mut options: Vec<String> = found.split_whitespace().map(str::to_ascii_lowercase).collect();
    options.retain(|option| option != "partitioned");
    options.sort_unstable();
    options.join(" ")
}

/// The modes in which the same text of a stored program means something else, or which errors it raises.
const MODES: &[&str] = &[
    "ANSI_QUOTES",
    "EMPTY_STRING_IS_NULL",
    "HIGH_NOT_PRECEDENCE",
    "NO_BACKSLASH_ESCAPES",
    "NO_UNSIGNED_SUBTRACTION",
    "ORACLE",
    "PAD_CHAR_TO_FULL_LENGTH",
    "PIPES_AS_CONCAT",
    "REAL_AS_FLOAT",
    "SIMULTANEOUS_ASSIGNMENT",
];

/// The sql_mode of a stored program as far as it matters: servers and releases come with different ones.
pub fn sql_mode(found: &str) -> String {
    let mut modes: Vec<&str> = found.split(',').filter(|mode| MODES.contains(mode)).collect();
    if found.contains("STRICT_") {
        modes.push("STRICT");
    }
    modes.sort_unstable();
    modes.join(",")
}

/// The user of an account: where it may log in from is no part of a shape.
pub fn user(definer: &str) -> &str {
    definer.rsplit_once('@').map_or(definer, |(user, _)| user)
}

/// Whether the server chose this name of a constraint: `orders_ibfk_1`, `orders_chk_1`, `CONSTRAINT_1`, `1`.
pub fn is_generated_constraint(table: &str, name: &str) -> bool {
    let number = match name.strip_prefix(table) {
        Some(rest) => rest.strip_prefix("_ibfk_").or_else(|| rest.strip_prefix("_chk_")),
        None => None,
    };
    let number = number.or_else(|| name.strip_prefix("CONSTRAINT_")).unwrap_or(name);
    is_number(number)
}

/// Whether the server chose this name of an index: that of its first column, with or without a number.
pub fn is_generated_index(first_column: &str, name: &str) -> bool {
    match name.strip_prefix(first_column) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('_').is_some_and(is_number),
        None => false,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_write_differently_has_one_form() {
        for (found, form) in [
            ("int(11)", "int"),
            ("INT", "int"),
            ("int(10) unsigned", "int unsigned"),
            ("tinyint(1)", "tinyint"),
            ("year(4)", "year"),
            ("int(4) unsigned zerofill", "int(4) unsigned zerofill"),
            ("varchar(20)", "varchar(20)"),
            ("decimal(10,2)", "decimal(10,2)"),
            ("enum('A','b')", "enum('A','b')"),
            ("double", "double"),
        ] {
            assert_eq!(column_type(found), form);
        }
        for (mariadb, mysql, is_expression, form) in [
            (Some("NULL"), None, false, "NULL"),
            (None, None, false, "NULL"),
            (Some("'x''y\\\\z'"), Some("x'y\\z"), false, "'x''y\\z'"),
            (Some("0.00"), Some("0.00"), false, "0.00"),
            (Some("'5'"), Some("5"), false, "5"),
            (Some("''"), Some(""), false, "''"),
            (Some("'NULL'"), Some("NULL"), false, "'NULL'"),
            (Some("concat('a','b')"), Some("concat(_utf8mb4\\'a\\',_utf8mb4\\'b\\')"), true, "concat ( 'a' , 'b' )"),
            (Some("b'101'"), Some("b'101'"), false, "b'101'"),
        ] {
            let form = |got: String| assert_eq!(got.replace("b '", "b'"), form);
            form(default_of_mariadb(mariadb));
            form(default_of_mysql(mysql, is_expression));
        }
        assert_ne!(
            default_of_mysql(Some("CURRENT_TIMESTAMP"), true),
            default_of_mysql(Some("CURRENT_TIMESTAMP"), false)
        );
        assert_eq!(collation("utf8_general_ci"), "utf8mb3_general_ci");
        assert_eq!(extra("DEFAULT_GENERATED on update CURRENT_TIMESTAMP"), "on update current_timestamp");
        assert_eq!(table_options("row_format=DYNAMIC partitioned"), "row_format=dynamic");
        assert_eq!(sql_mode("ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION"), "STRICT");
        assert_eq!(sql_mode("STRICT_ALL_TABLES,ANSI_QUOTES"), "ANSI_QUOTES,STRICT");
        assert_eq!((user("resq@%"), user("a@b@10.0.0.%"), user("role")), ("resq", "a@b", "role"));
    }

    #[test]
    fn names_that_a_server_chose_are_recognised() {
        for name in ["orders_ibfk_1", "orders_ibfk_12", "orders_chk_1", "CONSTRAINT_1", "1"] {
            assert!(is_generated_constraint("orders", name), "{name}");
        }
        for name in ["orders_product", "orders_ibfk_", "other_ibfk_1", "CONSTRAINT_A", "orders"] {
            assert!(!is_generated_constraint("orders", name), "{name}");
        }
        assert!(is_generated_index("a", "a") && is_generated_index("a", "a_2"));
        assert!(!is_generated_index("a", "ab") && !is_generated_index("a", "a_b") && !is_generated_index("a", "b"));
    }
}
