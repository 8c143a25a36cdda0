//! What a column has to be able to hold, and whether one that a server describes can. Accepts what other tools and
//! older installations make of a column as long as nothing that resq writes is lost. Pure.

use crate::resources::sql_text::{is, list, literal, position, text, tokens};

/// A type as far as resq's values need it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Type {
    /// Bytes, and whether it is unsigned.
    Int(u8, bool),
    /// Up to so many characters.
    Chars(u64),
    /// TEXT 2, MEDIUMTEXT 3, LONGTEXT 4: the bytes of the length.
    Text(u8),
    /// One of these strings.
    Enum(Vec<String>),
    /// TIMESTAMP or DATETIME with so many digits after the second.
    Time(u64),
    /// Any other, in lower case.
    Other(String),
}

impl Type {
    /// Reads the beginning of a definition, or the server's `COLUMN_TYPE`.
    fn of(tokens: &[String]) -> Type {
        let word = tokens.first().map(|word| word.to_lowercase()).unwrap_or_default();
        let arguments = match tokens.get(1) {
            Some(open) if open == "(" => list(&tokens[1..]),
            _ => Vec::new(),
        };
        let number = arguments.first().and_then(|part| part.first()?.parse().ok()).unwrap_or(0);
        let unsigned = position(tokens, "UNSIGNED").is_some();
        match word.as_str() {
            "bool" | "boolean" | "tinyint" => Type::Int(1, unsigned),
            "smallint" => Type::Int(2, unsigned),
            "mediumint" => Type::Int(3, unsigned),
            "int" | "integer" => Type::Int(4, unsigned),
            "bigint" => Type::Int(8, unsigned),
            "char" | "varchar" | "varbinary" => Type::Chars(number),
            "text" | "blob" => Type::Text(2),
            "mediumtext" | "mediumblob" => Type::Text(3),
            "longtext" | "longblob" | "json" => Type::Text(4),
            "enum" => Type::Enum(arguments.iter().filter_map(|part| part.first().map(|one| literal(one))).collect()),
            "timestamp" | "datetime" => Type::Time(number),
            _ => Type::Other(text(tokens).to_lowercase()),
        }
    }

    /// Whether it holds every value of `other`.
    fn holds(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Int(own, own_sign), Type::Int(bytes, sign)) => own > bytes || (own == bytes && own_sign == sign),
            (Type::Chars(own), Type::Chars(max)) => own >= max,
            (Type::Text(_), Type::Chars(_)) => true,
            (Type::Text(own), Type::Text(bytes)) => own >= bytes,
            (Type::Enum(own), Type::Enum(values)) => values.iter().all(|value| own.contains(value)),
            (Type::Chars(own), Type::Enum(values)) => values.iter().all(|value| value.len() as u64 <= *own),
            (Type::Time(own), Type::Time(digits)) => own >= digits,
            (own, other) => own == other,
        }
    }
}

/// A column that `init` creates.
#[derive(Clone, Debug)]
pub struct Column {
    /// As a statement that adds it spells it, without PRIMARY KEY.
    pub definition: String,
    /// The server computes it.
    pub is_generated: bool,
    /// An installation from before resq may have it in another form, as long as it works.
    is_old: bool,
    holds: Type,
    is_nullable: bool,
    has_default: bool,
    is_numbered: bool,
    is_updated: bool,
    character_set: Option<String>,
    is_binary: bool,
}

impl Column {
    /// Reads a definition: what follows the name.
    pub fn parse(definition: &[String], is_old: bool) -> Column {
        let has = |word: &str| position(definition, word).is_some();
        let after = |words: &[&str]| {
            let at = definition.windows(words.len()).position(|w| w.iter().zip(words).all(|(t, word)| is(t, word)))?;
            definition.get(at + words.len()).map(|token| token.to_lowercase())
        };
        let is_generated = has("AS");
        // A nullable column without a default has DEFAULT NULL all the same.
        let default = after(&["DEFAULT"]).filter(|value| value != "null");
        let written = definition.windows(2).position(|w| is(&w[0], "PRIMARY") && is(&w[1], "KEY"));
        Column {
            definition: text(&definition[..written.unwrap_or(definition.len())]),
            is_generated,
            is_old,
            holds: Type::of(definition),
            is_nullable: after(&["NOT"]).as_deref() != Some("null"),
            has_default: default.is_some(),
            is_numbered: has("AUTO_INCREMENT"),
            is_updated: has("UPDATE"),
            character_set: after(&["CHARACTER", "SET"]),
            is_binary: after(&["COLLATE"]).is_some_and(|collation| collation.ends_with("_bin")),
        }
    }

    /// What keeps a column as the server describes it from serving as this one.
    pub fn fault(&self, found: &Found) -> Option<String> {
        let is_integer = |kind: &Type| matches!(kind, Type::Int(..));
        let kind = Type::of(&tokens(&found.column_type));
        let extra = found.extra.to_lowercase();
        // An INT res_id of an older installation stays, since changing it copies the table.
        let fits = kind.holds(&self.holds) || (self.is_old && is_integer(&kind) && is_integer(&self.holds));
        let is_narrow =
            self.character_set.as_deref() == Some("utf8mb4") && !matches!(found.character_set.as_str(), "utf8mb4" | "");
        let what = if !fits {
            format!("has the type {}", found.column_type)
        } else if is_narrow {
            format!("has the character set {}", found.character_set)
        } else if self.is_binary && !found.collation.is_empty() && !found.collation.ends_with("_bin") {
            format!("has the collation {}", found.collation)
        } else if self.is_nullable && !found.is_nullable && !self.is_old {
            "does not accept NULL".into()
        } else if !self.is_nullable && found.is_nullable && !self.is_old && !self.is_generated {
            "accepts NULL".into()
        } else if self.has_default && !found.has_default {
            "has no default".into()
        } else if self.is_numbered && !extra.contains("auto_increment") {
            "has no AUTO_INCREMENT".into()
        } else if self.is_generated && !extra.contains("generated") {
            "is not generated".into()
        } else if self.is_updated && !extra.contains("on update") {
            "has no ON UPDATE CURRENT_TIMESTAMP".into()
        } else {
            return None;
        };
        Some(what)
    }
}

/// A column as `information_schema.COLUMNS` describes it.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// `bigint(20) unsigned`.
    pub column_type: String,
    /// It accepts NULL.
    pub is_nullable: bool,
    /// It has a default other than NULL.
    pub has_default: bool,
    /// `auto_increment`, `STORED GENERATED`, …
    pub extra: String,
    /// Empty for a type without one.
    pub character_set: String,
    /// Empty for a type without one.
    pub collation: String,
}

impl Found {
    /// Whether an INSERT that does not name it is refused.
    pub fn is_obligatory(&self) -> bool {
        let extra = self.extra.to_lowercase();
        !self.is_nullable && !self.has_default && !extra.contains("auto_increment") && !extra.contains("generated")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (what init creates, type found, accepts NULL, has a default, extra, the fault)
    #[test]
    fn what_holds_every_value_is_accepted() {
        let new = false;
        let old = true;
        for (definition, is_old, column_type, is_nullable, has_default, extra, fault) in [
            ("BIGINT UNSIGNED NOT NULL", new, "bigint(20) unsigned", false, false, "", None),
            ("BIGINT UNSIGNED NOT NULL", new, "bigint unsigned", false, false, "", None),
            ("BIGINT UNSIGNED NOT NULL", new, "bigint", false, false, "", Some("has the type bigint")),
            ("BIGINT UNSIGNED NOT NULL", new, "int unsigned", false, false, "", Some("has the type int unsigned")),
            ("BIGINT UNSIGNED NOT NULL AUTO_INCREMENT", old, "int(11)", false, false, "auto_increment", None),
            ("BIGINT UNSIGNED NOT NULL AUTO_INCREMENT", old, "int", false, true, "", Some("has no AUTO_INCREMENT")),
            ("VARCHAR(64) NOT NULL DEFAULT 'a'", new, "varchar(64)", false, true, "", None),
            ("VARCHAR(64) NOT NULL DEFAULT 'a'", new, "varchar(255)", false, true, "", None),
            ("VARCHAR(64) NOT NULL DEFAULT 'a'", new, "varchar(32)", false, true, "", Some("has the type varchar(32)")),
            ("VARCHAR(64) NOT NULL DEFAULT 'a'", new, "varchar(64)", false, false, "", Some("has no default")),
            ("VARCHAR(64) NOT NULL DEFAULT 'a'", new, "varchar(64)", true, true, "", Some("accepts NULL")),
            ("VARCHAR(255) NOT NULL", old, "varbinary(255)", true, false, "", None),
            ("TEXT NULL", new, "longtext", true, false, "", None),
            ("TEXT NULL", new, "text", false, false, "", Some("does not accept NULL")),
            ("MEDIUMTEXT NOT NULL", new, "text", false, false, "", Some("has the type text")),
            ("TIMESTAMP(6) NULL DEFAULT NULL", new, "timestamp(6)", true, false, "", None),
            ("TIMESTAMP(6) NULL DEFAULT NULL", new, "datetime(6)", true, false, "", None),
            ("TIMESTAMP(6) NULL DEFAULT NULL", new, "timestamp", true, false, "", Some("has the type timestamp")),
            ("ENUM('a', 'b') DEFAULT 'a'", old, "enum('a','b','c')", true, true, "", None),
            ("ENUM('a', 'b') DEFAULT 'a'", old, "varchar(20)", false, true, "", None),
            ("ENUM('a', 'b') DEFAULT 'a'", old, "enum('a')", true, true, "", Some("has the type enum('a')")),
            ("BOOLEAN NOT NULL DEFAULT FALSE", new, "tinyint(1)", false, true, "", None),
            ("INT UNSIGNED AS (LENGTH(p)) STORED", new, "int(10) unsigned", true, false, "STORED GENERATED", None),
            ("INT UNSIGNED AS (LENGTH(p)) STORED", new, "int unsigned", true, false, "", Some("is not generated")),
            (
                "TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP",
                old,
                "timestamp",
                false,
                true,
                "DEFAULT_GENERATED",
                Some("has no ON UPDATE CURRENT_TIMESTAMP"),
            ),
        ] {
            let found = Found {
                name: "c".into(),
                column_type: column_type.into(),
                is_nullable,
                has_default,
                extra: extra.into(),
                character_set: String::new(),
                collation: String::new(),
            };
            let column = Column::parse(&tokens(definition), is_old);
            assert_eq!(column.fault(&found).as_deref(), fault, "{definition} as {column_type}");
        }
    }
}
