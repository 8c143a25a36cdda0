//! Which jobs a search shows and an action changes. Pure: from words to a condition in SQL.

use std::fmt;

use super::job::Status;
use crate::{
    base::text::printable,
    db::{Error, ReadRows, literal, starts_with},
};

/// Jobs that have all of what is given; with nothing given, every job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The column `status`.
    pub status: Option<Status>,
    /// The column `res_type`.
    pub res_type: Option<String>,
    /// What the column `res_name` begins with.
    pub name_prefix: Option<String>,
    /// The job that this database was built for.
    pub database: Option<String>,
}

/// What is wrong with a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// There is no such part of a filter.
    #[error("`{}` is no filter; expected one of {}", printable(.0), keys())]
    Key(String),
    /// There is no such status.
    #[error("status `{}`: expected one of {}", printable(.0), Status::ALL.map(Status::as_str).join(", "))]
    Status(String),
    /// Longer than what it is compared with can be.
    #[error("`{0}` is longer than {1} characters")]
    TooLong(&'static str, usize),
    /// Given a second time.
    #[error("`{0}` is given twice")]
    Twice(String),
}

/// The names of a filter's parts, and how many characters the values may have.
const KEYS: [(&str, usize); 4] = [("status", 16), ("type", 64), ("name", 255), ("database", 64)];

fn keys() -> String {
    KEYS.map(|(key, _)| key).join(", ")
}

impl Filter {
    /// Adds one part: `status`, `type`, `name` (a prefix) or `database`.
    ///
    /// # Errors
    /// The key or the value is none of a filter.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), FilterError> {
        let known = KEYS.into_iter().find(|(known, _)| *known == key);
        let (key, longest) = known.ok_or_else(|| FilterError::Key(key.into()))?;
        if value.chars().count() > longest {
            return Err(FilterError::TooLong(key, longest));
        }
        if key == "status" {
            let status = Status::parse(value).ok_or_else(|| FilterError::Status(value.into()))?;
            return match self.status.replace(status) {
                Some(_) => Err(FilterError::Twice(key.into())),
                None => Ok(()),
            };
        }
        let part = match key {
            "type" => &mut self.res_type,
            "name" => &mut self.name_prefix,
            _ => &mut self.database,
        };
        match part.replace(value.into()) {
            Some(_) => Err(FilterError::Twice(key.into())),
            None => Ok(()),
        }
    }

    /// Whether it names nothing, so that every job matches.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// A condition for its type and its name; status and database are looked up by their indexes.
    pub fn condition(&self) -> String {
        let mut all = vec!["TRUE".to_string()];
        if let Some(res_type) = &self.res_type {
            all.push(format!("res_type = {}", literal(res_type)));
        }
        if let Some(prefix) = self.name_prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            all.push(starts_with("res_name", prefix));
        }
        all.join(" AND ")
    }
}

/// As the audit names it: `status=error type=shop name=a*`, or `all`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name_prefix.as_ref().map(|prefix| format!("{prefix}*"));
        let parts = [
            ("status", self.status.map(|status| status.as_str().to_string())),
            ("type", self.res_type.clone()),
            ("name", name),
            ("database", self.database.clone()),
        ];
        let given: Vec<String> =
            parts.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect();
        f.write_str(if given.is_empty() { "all" } else { "" })?;
        f.write_str(&given.join(" "))
    }
}

/// The job that a database was built for, as the registry has it.
pub(crate) fn job_of_database(conn: &mut mysql::Conn, database: &str) -> Result<Option<u64>, Error> {
    conn.read_first(format!("SELECT res_id FROM res_database WHERE db_name = {}", literal(database)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(parts: &[(&str, &str)]) -> Result<Filter, FilterError> {
        let mut filter = Filter::default();
        parts.iter().try_for_each(|(key, value)| filter.set(key, value)).map(|()| filter)
    }

    #[test]
    fn words_become_a_condition_that_no_value_leaves() {
        for (parts, condition, shown) in [
            (&[][..], "TRUE", "all"),
            (&[("status", "error")], "TRUE", "status=error"),
            (&[("type", "shop")], "TRUE AND res_type = 'shop'", "type=shop"),
            (&[("name", "")], "TRUE", "name=*"),
            (&[("name", "a-1")], "TRUE AND res_name LIKE _utf8mb4 X'612D3125' ESCAPE '|'", "name=a-1*"),
            // Each character that LIKE treats as special is escaped: a|_b|%c||
            (
                &[("name", "a_b%c|")],
                "TRUE AND res_name LIKE _utf8mb4 X'617C5F627C25637C7C25' ESCAPE '|'",
                "name=a_b%c|*",
            ),
            (&[("type", "'; DROP")], "TRUE AND res_type = _utf8mb4 X'273B2044524F50'", "type='; DROP"),
            (&[("database", "res_a"), ("status", "done")], "TRUE", "status=done database=res_a"),
        ] {
            let filter = filter(parts).unwrap();
            assert_eq!((filter.condition().as_str(), filter.to_string().as_str()), (condition, shown));
            assert_eq!(filter.is_empty(), parts.is_empty());
        }
    }

    #[test]
    fn unknown_repeated_and_overlong_parts_are_refused() {
        let long = "x".repeat(256);
        for (parts, error) in [
            (&[("res_name", "a")][..], FilterError::Key("res_name".into())),
            (&[("", "a")], FilterError::Key(String::new())),
            (&[("status", "Error")], FilterError::Status("Error".into())),
            (&[("status", "")], FilterError::Status(String::new())),
            (&[("status", "new"), ("status", "new")], FilterError::Twice("status".into())),
            (&[("type", "a"), ("type", "b")], FilterError::Twice("type".into())),
            (&[("name", &long)], FilterError::TooLong("name", 255)),
            (&[("status", &long)], FilterError::TooLong("status", 16)),
        ] {
            assert_eq!(filter(parts), Err(error));
        }
        assert!(filter(&[("name", &"日".repeat(255))]).is_ok());
    }
}
